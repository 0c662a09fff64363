"""The command ``mirage`` as a shell sees it: what it prints and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

import mirage_ros
from mirage_ros import cli
from mirage_ros.evaluation.result_file import write_result
from mirage_ros.evaluation.results import Picture, Result, Section, Target

#: A subcommand whose behaviour its argument picks.
PROBE = """
import sys, time
from mirage_ros.errors import ConfigurationError, FrameError

def add_arguments(parser):
    parser.add_argument("what")

def run(options):
    if options.what == "configuration":
        raise ConfigurationError("size must be even. Got 3")
    if options.what == "frame":
        raise FrameError("an image is broken:\\n  row 3\\n  row 4")
    if options.what == "system":
        raise OSError("library cannot be loaded")
    if options.what == "package":
        import no_such_package.inside
    if options.what == "defect":
        import mirage_ros.no_such_module
    if options.what == "wait":
        print("ready", flush=True)
        time.sleep(60)
    if options.what == "print":
        print("a line")
    return 3 if options.what == "three" else 0
"""


def mirage(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mirage_ros.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(),
        check=False,
    )


def environment(*folders: Path) -> dict[str, str]:
    """Finds the package under test from any folder, and buffers output as a shell's would."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    path = [str(Path(mirage_ros.__file__).parents[1]), *map(str, folders)]
    path += filter(None, [os.environ.get("PYTHONPATH")])
    return {**inherited, "PYTHONPATH": os.pathsep.join(path)}


def start_probe(what: str, folder: Path, stdout: int) -> subprocess.Popen[str]:
    (folder / "probe_command.py").write_text(PROBE)
    script = (
        # A shell's background jobs ignore interrupts, and so would the programs of this test there.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from mirage_ros import cli\n"
        "cli.COMMANDS['probe'] = ('probe_command', 'for this test')\n"
        "sys.exit(cli.main())"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, "probe", what],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder),
    )


def probe(what: str, folder: Path) -> tuple[int, str]:
    process = start_probe(what, folder, subprocess.DEVNULL)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.fixture
def result(tmp_path: Path) -> Path:
    target = [Target("a", 1, 1, True), Target("b", 1, 2, False), Target("c", None, 2, None)]
    path = tmp_path / "result.json"
    now = datetime.now(timezone.utc)
    write_result(Result("Title", "", {}, [Section("s", targets=target)], now, {}), path)
    return path


def test_help_lists_the_commands() -> None:
    done = mirage("--help")
    assert done.returncode == 0
    # However its lines are broken.
    text = " ".join(done.stdout.split())
    for name, (_, summary) in cli.COMMANDS.items():
        assert f"{name} {summary}" in text


def test_the_version_is_told() -> None:
    assert mirage("--version").stdout == f"mirage_ros {mirage_ros.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"]])
def test_help_imports_neither_torch_nor_matplotlib(arguments: list[str]) -> None:
    script = (
        # A shell's background jobs ignore interrupts, and so would the programs of this test there.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from mirage_ros import cli\n"
        "try: cli.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "sys.exit(str({'torch', 'matplotlib', 'jinja2'} & sys.modules.keys() or ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert "usage: mirage" in done.stdout
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_can_be_asked_for_help(name: str) -> None:
    done = mirage(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: mirage {name} ")


@pytest.mark.parametrize("arguments", [[], ["paint"], ["report"], ["report", "a.json", "--size"]])
def test_a_wrong_question_is_answered_with_the_usage(arguments: list[str]) -> None:
    done = mirage(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: mirage")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("configuration", 2, "size must be even. Got 3"),
        ("frame", 1, "an image is broken: row 3 row 4"),
        ("system", 1, "library cannot be loaded"),
        (
            "package",
            1,
            "the Python package 'no_such_package' is needed for this; "
            "the extras of mirage_ros bring it: pip install 'mirage_ros[eval,sim,wan]'",
        ),
    ],
)
def test_errors_are_one_line(what: str, code: int, message: str, tmp_path: Path) -> None:
    assert probe(what, tmp_path) == (code, f"mirage probe: error: {message}\n")


def test_a_defect_of_the_package_shows_where_it_is(tmp_path: Path) -> None:
    code, errors = probe("defect", tmp_path)
    assert code == 1
    assert "Traceback" in errors
    assert "mirage_ros.no_such_module" in errors


def test_the_exit_code_is_the_commands(tmp_path: Path) -> None:
    assert probe("three", tmp_path) == (3, "")


def test_an_interrupt_ends_it_quietly(tmp_path: Path) -> None:
    process = start_probe("wait", tmp_path, subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize("what", ["print", "--help"])
def test_a_reader_that_goes_away_ends_it_quietly(what: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start_probe(what, tmp_path, writing)
    os.close(writing)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (141, "")


def test_a_report_is_written(result: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = mirage("report", result, result, "-o", out, "--title", "Both of them")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out}: results 2, targets met 2 of 6\n"
    assert "<h1>Both of them</h1>" in out.read_text()
    assert mirage("report", result, folder=tmp_path).returncode == 0
    assert "<h1>Title</h1>" in (tmp_path / "report.html").read_text()


def test_a_report_of_what_is_not_there_or_no_result_is_refused(
    result: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.json"
    done = mirage("report", missing)
    line = f"mirage report: error: No such file or directory: {missing}\n"
    assert (done.returncode, done.stderr) == (1, line)
    out = tmp_path / "nowhere" / "page.html"
    done = mirage("report", result, "-o", out)
    line = f"mirage report: error: No such file or directory: {out}\n"
    assert (done.returncode, done.stderr) == (1, line)
    missing.write_text("{}")
    done = mirage("report", missing)
    assert done.returncode == 1
    assert done.stderr.startswith(f"mirage report: error: {missing}: results must be")
    assert done.stderr.count("\n") == 1


def test_a_report_never_replaces_a_result(result: Path) -> None:
    before = result.read_bytes()
    done = mirage("report", result, "-o", result.parent / "." / "result.json")
    assert done.returncode == 2
    assert "must not replace a result" in done.stderr
    assert result.read_bytes() == before


def test_a_report_finds_pictures_beside_each_result(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc)
    section = Section("s", pictures=[Picture("picture.png")])
    folder = tmp_path / "measured"
    folder.mkdir()
    write_result(Result("Title", "", {}, [section], now, {}), folder / "result.json")
    done = mirage("report", folder / "result.json", "-o", tmp_path / "page.html")
    assert done.returncode == 1
    assert done.stderr.endswith(f"No such file or directory: {folder / 'picture.png'}\n")
    assert not (tmp_path / "page.html").exists()

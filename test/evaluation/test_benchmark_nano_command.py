"""``mirage benchmark nano`` from its arguments to its files, with a tiny model without a head."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_nano import tiny_nano

from mirage_ros.cli import main
from mirage_ros.evaluation.benchmark_nano_rows import (
    DRAFT,
    MEAN,
    NO_MEMORY,
    NO_MEMORY_SAMPLE,
    READOUT,
    RGB_MEMORY,
    SAMPLE,
)
from mirage_ros.evaluation.result_file import read_result
from mirage_ros.evaluation.results import Result, Section
from mirage_ros.generation.nano_model import save_nano


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    save_nano(folder, tiny_nano(zero_head=True))
    return folder


def run(model: Path, out: Path, *arguments: str) -> Result:
    common = ["benchmark", "nano", "--quick", "--threads", "1", "--model", str(model)]
    assert main([*common, "--out", str(out), *arguments]) == 0
    assert "Small model benchmark (quick" in (out / "report.html").read_text()
    return read_result(out / "benchmark.json")


def named(section: Section, table: int = 0) -> dict[object, tuple[object, ...]]:
    return {row[0]: tuple(row[1:]) for row in section.tables[table].rows}


def test_views_of_real_frames(
    model: Path, tmp_path: Path, small_sequence: Callable[[int], Path]
) -> None:
    """Ablations with either memory stand beside the model; this one is the model itself."""
    sequence = small_sequence(31)
    result = run(
        model, tmp_path / "out", "--parts", "real", "--sequence", str(sequence), "--size", "64x32",
        "--ablation", f"same={model}", "--rgb-ablation", f"points={model}",
    )  # fmt: skip
    (section,) = result.sections
    rows = named(section)
    assert rows[MEAN] == rows[DRAFT] == rows["same, mean"]
    assert rows["points, mean"] == rows[RGB_MEMORY]
    assert len(rows) == 10
    assert len(section.targets) == 4
    assert (tmp_path / "out" / section.pictures[0].file).stat().st_size > 0
    assert result.inputs["recording"] == "sequence"
    assert result.inputs["ablations"] == "same, points"
    assert str(model.parent) not in result.command
    assert "--ablation same=tiny --rgb-ablation points=tiny" in result.command


def test_apartments(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    parts = "long,views,loops,steps"
    result = run(model, tmp_path / "out", "--parts", parts, "--size", "64x64")
    views, loops, steps, rollouts = result.sections
    rows = named(views)
    assert rows[MEAN] == rows[DRAFT]
    closed = named(loops)
    assert set(closed) == {READOUT, MEAN, SAMPLE, RGB_MEMORY, NO_MEMORY, NO_MEMORY_SAMPLE}
    # The first view is remembered; of nothing a model without a head makes grey.
    assert closed[MEAN][0] > closed[NO_MEMORY][0] + 4.0
    assert loops.targets[0].met is True
    assert named(loops, 1)["true frames"][4] == pytest.approx(0.0, abs=0.3)
    assert list(named(steps)) == [1, 2]
    assert named(rollouts)[MEAN][0] == pytest.approx(named(rollouts)[SAMPLE][0], abs=0.1)
    assert result.inputs["apartments"] == "1 of split test"
    files = sorted(picture.name for picture in (tmp_path / "out" / "pictures").iterdir())
    assert files == ["closed_loops.png", "views.png"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "ghosts"], "parts are some of views, real, loops, steps, long, episodes"),
        (["--parts", ","], "Got none"),
        (["--parts", "real"], "part 'real' needs a recording"),
        (["--ablation", "constant"], "an ablation is NAME=FOLDER"),
        (["--ablation", "a=x", "--rgb-ablation", "a=y"], "different names. Got a, a"),
        (["--steps-sample", "1"], "steps-sample at least 2"),
        (["--threads", "0"], "Got 0, 8 and 0"),
        (["--size", "64"], "multiples of 32. Got '64'"),
        (["--apartments", "0"], "has 1 to 1000 apartments. Got 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], told: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none"
    common = ["benchmark", "nano", "--model", str(model), "--out", str(out)]
    assert main([*common, *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_a_model_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "nano", "--model", str(tmp_path / "none")]) == 1
    assert "expected a folder of a small model" in capsys.readouterr().err

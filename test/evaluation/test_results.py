from __future__ import annotations

import json
import math
import os
import platform
import socket
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mirage_ros import machine as machine_module
from mirage_ros.errors import ResultFormatError
from mirage_ros.evaluation.result_file import from_json, read_result, to_json, write_result
from mirage_ros.evaluation.results import (
    Picture,
    Plot,
    Result,
    Section,
    Series,
    Table,
    Target,
)

RESULT = Result(
    title="Readout of 10 views",
    command="mirage evaluate sequence",
    inputs={"frames": 20, "grids": None, "seed": 0, "compiled": True, "sequence": "kitchen"},
    sections=[
        Section(
            "Quality",
            "One paragraph.\n\nAnother, with “quotes” & <tags>.",
            tables=[Table(["way", "PSNR, dB"], [["memory", 20.1], ["nearest", None]], "means")],
            plots=[Plot("Decay", "s", "dB", [Series("memory", [0, 1, 2], [3.0, math.nan, 1.0])])],
            pictures=[Picture("pictures/target_000.png", "true, predicted")],
            targets=[
                Target("PSNR", 20.1, "at least 18.6 dB", True),
                Target("LPIPS", None, 0.3, None, "weights are missing"),
            ],
        ),
        Section("Speed"),
    ],
    created=datetime(2026, 1, 31, 12, 30, 5, 250, tzinfo=timezone(timedelta(hours=2))),
    machine={"cpu": "one", "cores": 2, "memory_gib": 7.5, "gpu": None},
    version="0.1.0",
)


def document() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(to_json(RESULT))
    return content


def test_a_document_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(RESULT, path)
    assert read_result(path) == RESULT
    assert read_result(path).created.utcoffset() == timedelta(hours=2)


def test_the_json_is_plain_and_says_its_version() -> None:
    content = document()
    assert content["schema"] == "mirage_ros/result"
    assert content["schema_version"] == 1
    series = content["sections"][0]["plots"][0]["series"][0]
    assert series == {"name": "memory", "x": [0.0, 1.0, 2.0], "y": [3.0, None, 1.0]}
    assert content["sections"][0]["tables"][0]["rows"] == [["memory", 20.1], ["nearest", None]]
    assert content["inputs"]["compiled"] is True


def test_figures_that_are_not_finite_become_null_and_gaps() -> None:
    series = Series("s", [0, 1, 2, 3], [math.inf, -math.inf, math.nan, None])
    assert all(math.isnan(y) for y in series.y)
    table = Table(["a"], [[math.nan], [math.inf], [np.float32("nan")]])
    assert table.rows == ((None,), (None,), (None,))
    assert Target("t", math.inf, "finite", False).measured is None
    read = from_json(to_json(replace(RESULT, sections=[Section("s", tables=[table])])))
    assert read.sections[0].tables[0].rows == ((None,), (None,), (None,))


def test_numpy_figures_become_plain_ones() -> None:
    cells = [np.float32(0.5), np.int64(3), np.bool_(True), np.str_("x")]
    (row,) = Table(["a", "b", "c", "d"], [cells]).rows
    assert json.dumps(row) == '[0.5, 3, true, "x"]'
    assert Series("s", np.arange(3), np.linspace(0, 1, 3)).y == (0.0, 0.5, 1.0)
    assert Target("t", np.float64(2), "1", np.float64(2) > 1).met is True


def test_targets_are_those_of_all_sections() -> None:
    late = Target("late", 1, 2, False)
    both = replace(RESULT, sections=[*RESULT.sections, Section("More", targets=[late])])
    assert [target.name for target in both.targets] == ["PSNR", "LPIPS", "late"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table([], []), "at least one column"),
        (lambda: Table(["a", "b"], [[1, 2], [3]]), "columns, 2. Got 1 in row 1"),
        (lambda: Table(["a"], [[[1]]]), "row 0, cell 0 must be text, a number or nothing"),
        (lambda: Table("ab", [[1, 2]]), "columns must be a list. Got str 'ab'"),
        (lambda: Series("s", [1, 2], [1]), "one length. Got 2 and 1 in 's'"),
        (lambda: Series("s", ["1"], [1]), "x must hold numbers. Got str '1'"),
        (lambda: Plot("p", "x", "y", []), "at least one series. Got none in 'p'"),
        (lambda: Plot("p", "x", "y", [Series("s", [], [])], 1), "log_y must be true or false"),
        (lambda: Plot("p", "x", "y", [Table(["a"], [])]), "series must hold Series. Got Table"),
        (lambda: Picture("/etc/picture.png"), "below the folder of the document"),
        (lambda: Picture("a/../../b.png"), "Got 'a/../../b.png'"),
        (lambda: Picture(""), "must not be empty"),
        (lambda: Target("t", 1, 2, "yes"), "met must be true or false. Got str 'yes'"),
        (lambda: Target("t", math.nan, 2, True), "without a figure cannot be met"),
        (lambda: Section(" "), "a section's title must not be empty"),
        (lambda: Section("a\0b"), "must not hold control characters"),
        (lambda: Table(["a"], [["\x1b[31m"]]), "row 0, cell 0 must not hold control"),
        (lambda: Section("s", "\ud800"), "must not hold control characters"),
        (lambda: Section("s", None), "text must be text. Got nothing"),
        (lambda: replace(RESULT, inputs=["a"]), "inputs must be names with values"),
        (lambda: replace(RESULT, inputs={"a": {}}), r"inputs\['a'\] must be text"),
        (lambda: replace(RESULT, created=datetime(2026, 1, 1)), "with a time zone"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_is_made(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ResultFormatError, match=message):
        make()


def change(path: str, value: object) -> str:
    """The document's text with one thing in it, such as ``sections.0.title``, set or taken out."""
    content = document()
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place: Any = content
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", "other", "mirage_ros/result"),
        ("schema_version", 2, "schema_version 1. Got 2"),
        ("schema_version", ..., "Got None"),
        ("machine", ..., "lacks 'machine'"),
        ("created", "yesterday", "Got 'yesterday'"),
        ("created", None, "Got None"),
        ("created", "2026-01-31T12:00:00", "with a time zone"),
        ("sections", {}, "result.sections must be a list. Got dict"),
        ("sections.1", "text", r"result.sections\[1\] must be an object. Got str"),
        ("sections.0.heading", "text", r"result.sections\[0\] may have title, text"),
        ("sections.0.tables.0.rows", ..., r"result.sections\[0\].tables\[0\] lacks 'rows'"),
        ("sections.0.plots.0.series.0.y", [1], r"plots\[0\].series\[0\]: x and y must have"),
        ("sections.0.targets.1.met", "no", r"sections\[0\].targets\[1\]: met must be true"),
    ],
)
def test_a_file_that_does_not_follow_the_schema_says_where(
    path: str, value: object, message: str
) -> None:
    with pytest.raises(ResultFormatError, match=message):
        from_json(change(path, value))


def test_what_has_a_default_may_be_left_out() -> None:
    assert from_json(change("sections.0.tables.0.caption", ...)).sections[0].tables[0].caption == ""
    assert from_json(change("sections.0.pictures", ...)).sections[0].pictures == ()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_document_is_refused_with_its_path(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(ResultFormatError, match=r"broken\.json: results must be"):
        read_result(path)


def test_a_write_that_fails_leaves_the_file_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result.json"
    write_result(RESULT, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_result(replace(RESULT, title="other"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_a_file_as_the_umask_says(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    before = os.umask(0o022)
    try:
        write_result(RESULT, path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_the_machine_is_described_without_its_owner() -> None:
    found = machine_module.machine()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert isinstance(found["memory_gib"], float)
    assert (found["gpu"] is None) == (not torch.cuda.is_available())
    assert found["cpu"]
    words = [word for value in found.values() for word in str(value).split()]
    assert socket.gethostname() not in words
    assert not [word for word in words if word.startswith(("/", str(Path.home())))]


def test_the_processor_is_named_by_the_kernel_or_by_the_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo, board = tmp_path / "cpuinfo", tmp_path / "model"
    monkeypatch.setattr(machine_module, "_CPUINFO", cpuinfo)
    monkeypatch.setattr(machine_module, "_BOARD", board)
    assert machine_module.machine()["cpu"] == platform.machine()
    board.write_bytes(b"Some Board 8GB\0")
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 62.50\n")
    assert machine_module.machine()["cpu"] == "Some Board 8GB"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: A  Processor: 3 GHz\n")
    assert machine_module.machine()["cpu"] == "A Processor: 3 GHz"


def test_a_result_made_now_says_when_and_on_what() -> None:
    before = datetime.now(timezone.utc)
    result = Result("t", "c", {}, [])
    assert before <= result.created <= datetime.now(timezone.utc)
    assert result.machine == machine_module.machine()

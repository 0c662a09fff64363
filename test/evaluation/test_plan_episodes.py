from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mirage_ros import cli
from mirage_ros.evaluation.episodes import Outcome, rate_of, wilson_interval
from mirage_ros.evaluation.result_file import read_result


def outcome(
    distance: float = 0.1, turn: float = 0.1, *, said: bool = True, collided: bool = False
) -> Outcome:
    return Outcome(
        0,
        0,
        "random",
        said,
        collided,
        distance,
        turn,
        9.0,
        2.0,
        1.5,
        0.9,
        0.1,
        0,
        np.zeros((1, 3)),
        (),
    )


def test_wilson_intervals_are_the_tables() -> None:
    # Brown, Cai and DasGupta 2001: 95 % intervals of 0 of 10 and 5 of 10.
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_success_needs_place_heading_word_and_no_collision() -> None:
    good = outcome()
    bad = [
        outcome(0.31),
        outcome(turn=0.27),
        outcome(said=False),
        outcome(collided=True),
    ]
    assert good.success
    assert not any(one.success for one in bad)
    assert [one.nearly for one in bad] == [True, True, False, False]
    rate, low, high = rate_of([good, *bad])
    assert (rate, low < rate < high) == (0.2, True)


def test_quick_episodes_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mujoco")
    av = pytest.importorskip("av")
    out = tmp_path / "out"
    arguments = ["plan-episodes", "--quick", "--apartments", "3", "--video"]
    methods = ["--methods", "imagination,best keyframe,random"]
    assert cli.main([*arguments, *methods, "--out", str(out)]) == 0
    result = read_result(out / "plan_episodes.json")
    table = result.sections[0].tables[0]
    assert [row[0] for row in table.rows] == ["imagination", "best keyframe", "random"]
    assert all(row[1] == 1 for row in table.rows)
    # Twice as near as the keyframe that looks most alike, in the least: views were imagined.
    errors = {row[0]: row[1] for row in result.sections[0].tables[1].rows}
    assert errors["imagination"] < 0.5 * errors["best keyframe"]
    areas = result.sections[1].tables[0].rows
    assert all(row[2] > 5.0 for row in areas)
    assert (out / "episodes.png").stat().st_size > 10_000
    assert "Planning with imagined views" in (out / "report.html").read_text()
    with av.open(str(out / "episodes_3.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) > 20
    assert "imagination" in capsys.readouterr().out
    assert json.loads((out / "plan_episodes.json").read_text())["inputs"]["episodes"] == 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--apartments", "x"], "apartments are seeds"),
        (["--methods", "magic"], "methods must be out of"),
        (["--episodes", "2"], "expected an episode"),
        (["--workers", "-2"], "workers must be at least 1"),
    ],
)
def test_bad_options_are_told(
    extra: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["plan-episodes", *extra, "--out", str(tmp_path / "none")]) == cli.USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "none").exists()

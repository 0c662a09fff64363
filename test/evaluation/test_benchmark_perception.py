"""``mirage benchmark perception``: its counts on hand-made cases, and the command itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mirage_ros.cli import main
from mirage_ros.evaluation.benchmark_perception_cells import bounded
from mirage_ros.evaluation.benchmark_perception_depth import DepthRuns
from mirage_ros.evaluation.benchmark_perception_depth import section as depth_section
from mirage_ros.evaluation.benchmark_perception_static import StaticRun
from mirage_ros.evaluation.benchmark_perception_static import section as static_section
from mirage_ros.evaluation.depth_quality import (
    ALIGNED,
    AS_MEASURED,
    HALF,
    NOT_ALIGNED,
    SENSOR,
    DepthFigures,
)
from mirage_ros.evaluation.perception_runs import AskedView
from mirage_ros.evaluation.result_file import read_result

QUICK = ["benchmark", "perception", "--quick", "--threads", "1"]


def view(level: int, share: float) -> AskedView:
    covered = np.zeros((10, 10), dtype=np.bool_)
    covered.ravel()[: round(100 * share)] = True
    image = np.full((10, 10, 3), level, dtype=np.uint8)
    return AskedView(image, covered, np.zeros_like(image))


@pytest.mark.parametrize(
    ("level", "share", "met"), [(51, 1.0, (True, True)), (53, 1.0, (False, True)),
                                (51, 0.98, (True, False))]
)  # fmt: skip
def test_a_static_scene_is_held_against_the_filter_off(
    level: int, share: float, met: tuple[bool, bool]
) -> None:
    runs = [StaticRun(100, [view(*asked)], 0.0, 1.0, 0) for asked in ((51, 1.0), (level, share))]
    section = static_section({"a room": (runs[0], runs[1])})
    assert tuple(target.met for target in section.targets) == met
    lost = 20.0 * math.log10(level / 51)
    assert section.targets[0].measured == pytest.approx(lost, abs=0.006)


def depth_figures(source: str, strength: float, psnr_db: float) -> DepthFigures:
    return DepthFigures("any", source, strength, 1.0, psnr_db + 1.0, psnr_db, 100)


@pytest.mark.parametrize(("wrong_db", "met"), [(19.6, True), (19.4, False)])
def test_a_wrong_scale_is_held_against_the_right_one(wrong_db: float, met: bool) -> None:
    model = [depth_figures(SENSOR, 1.0, 21.0), depth_figures(HALF, 1.0, 15.0)]
    for scale in (1.0, 1.2):
        model.append(depth_figures(ALIGNED, scale, 20.0 if scale == 1.0 else wrong_db))
        model.append(depth_figures(NOT_ALIGNED, scale, 16.0))
    section = depth_section(DepthRuns([depth_figures(AS_MEASURED, 0.0, 21.0)], model), "x", "y")
    assert section.targets[0].met is met
    assert section.targets[0].measured == pytest.approx(20.0 - wrong_db)


def test_what_is_not_finite_is_not_measured() -> None:
    assert bounded("dB", math.nan, "at most 1", False).met is None
    assert bounded("dB", 0.5, "at most 1", None).measured is None
    assert bounded("dB", 0.504, "at most 1", True).measured == 0.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--parts", "ghosts"], "parts are some of figure, chair, static, depth, drift, cost"),
        (["--parts", ","], "Got none"),
        (["--seeds", "3,x"], "seeds must be whole numbers with commas. Got '3,x'"),
        (["--size", "320"], "size must be WIDTHxHEIGHT. Got '320'"),
        (["--size", "320x250"], "size must be positive multiples of 32. Got '320x250'"),
        (["--threads", "0"], "threads must be at least 1. Got 0"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", "perception", *arguments]) == 2
    assert told in capsys.readouterr().err


class TestChair:
    """Where a chair is seen, and what counts as its token."""

    @pytest.fixture(autouse=True)
    def _simulator(self) -> None:
        pytest.importorskip("mujoco")

    def test_points_in_a_turned_chair(self) -> None:
        from mirage_ros.evaluation.benchmark_perception_chair import in_box

        place = (1.0, 2.0, math.radians(45.0))
        # The box is 0.54 m square: its corner lies 0.38 m from the middle, its side 0.27 m.
        points = [[1.37, 2.0, 0.5], [1.25, 2.25, 0.5], [1.0, 2.0, 0.99], [1.0, 2.0, 1.01],
                  [1.0, 2.0, -0.1], [1.15, 2.15, 0.0]]  # fmt: skip
        found = in_box(np.array(points, dtype=np.float32), place)
        assert found.tolist() == [True, False, True, False, False, True]

    @pytest.mark.parametrize(
        ("metres", "depth", "empty"),
        [
            (3.0, 5.0, True),
            (3.0, 0.0, True),
            (3.0, 2.0, False),
            (3.0, 3.0, False),
            (4.5, 6.0, False),
            (0.5, 6.0, False),
        ],
    )
    def test_a_place_is_empty_if_all_of_it_is_seen_through(
        self, metres: float, depth: float, empty: bool
    ) -> None:
        from mirage_ros.evaluation.benchmark_perception_chair import sees_empty
        from mirage_ros.frames import RgbdFrame
        from mirage_ros.sources.simulator.robot import RobotCamera

        mount = RobotCamera(160, 128, pitch=0.0)
        frame = RgbdFrame(
            0,
            np.zeros((128, 160, 3), dtype=np.uint8),
            np.full((128, 160), depth, dtype=np.float32),
            mount.intrinsics,
            mount.T_base_camera,
        )
        assert sees_empty(frame, (metres, 0.0, 0.3)) is empty
        assert not sees_empty(frame, (-metres, 0.0, 0.3)), "it is behind"

    def test_nothing_is_left_after_the_first_count_of_none(self) -> None:
        from mirage_ros.evaluation.benchmark_perception_chair import ChairRun

        assert ChairRun([12, 3, 0, 0]).gone_after == 2
        assert ChairRun([0, 0]).gone_after == 1
        assert ChairRun([12, 3, 1]).gone_after is None


def section_rows(folder: Path, number: int) -> list[tuple[object, ...]]:
    result = read_result(folder / "benchmark.json")
    return [row[:-1] for row in result.sections[number].tables[0].rows]


@pytest.mark.slow
def test_the_command_writes_results_page_and_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mujoco")
    parts = ["--parts", "figure,static,drift,cost", "--seeds", "4"]
    assert main([*QUICK, *parts, "--out", str(tmp_path)]) == 0
    result = read_result(tmp_path / "benchmark.json")
    assert [section.title for section in result.sections] == [
        "Somebody walks through the view",
        "Static scenes",
        "Odometry that drifts",
        "Cost",
    ]
    assert "<html" in (tmp_path / "report.html").read_text()
    pictures = [picture.file for section in result.sections for picture in section.pictures]
    assert pictures
    assert all((tmp_path / name).is_file() for name in pictures)
    assert "ghosts gone" in capsys.readouterr().out
    ghosts = {row[0]: row[2] for row in result.sections[0].tables[0].rows}
    assert ghosts["figure, filter off"] > 10 * ghosts["figure, true mask given"]  # type: ignore[operator]
    assert ghosts["nobody, filter off"] == 0
    drift = {row[0]: row for row in result.sections[2].tables[0].rows}
    assert drift["true poses, registration off"][2] == 0.0
    assert drift["drift, registration off"][2] > 0.03  # type: ignore[operator]


@pytest.mark.slow
def test_the_same_is_measured_again(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        assert main([*QUICK, "--parts", "static", "--seeds", "4", "--out", str(folder)]) == 0
        # The last column is time.
        found.append(section_rows(folder, 0))
    assert found[0] == found[1]

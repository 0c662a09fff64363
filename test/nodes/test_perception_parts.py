"""Parts of the node that prepare keyframes: what is told, which frame is before, covariances."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy")

from mirage_ros.geometry import exp_twist, log_motion
from mirage_ros.nodes.pairing import PairedFrame
from mirage_ros.nodes.perception_reports import PerceptionReports
from mirage_ros.nodes.pose_conversion import pose_with_covariance_elsewhere
from mirage_ros.nodes.preceding_frames import PrecedingFrames

MS = 1_000_000


class Warner:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def warn(self, topic: str, reason: str, kind: str = "") -> None:
        self.told.append((topic, reason))


def perceived(*, through: int = 0, **reasons: str) -> Any:
    return SimpleNamespace(reasons=reasons, carving=SimpleNamespace(through=through))


def test_depth_is_told_at_once() -> None:
    warner = Warner()
    PerceptionReports(warner).report(perceived(depth="not aligned"))
    assert warner.told == [("depth", "not aligned")]


@pytest.mark.parametrize(
    ("about", "topic"), [("registration", "registration"), ("dynamics", "dynamic filter")]
)
def test_what_is_now_and_then_impossible_is_told_when_it_lasts(about: str, topic: str) -> None:
    warner = Warner()
    reports = PerceptionReports(warner)
    for reasons in ({about: "no overlap"}, {about: "no overlap"}, {}, {about: "no overlap"}):
        reports.report(perceived(**reasons))
    reports.report(perceived(**{about: "no overlap"}))
    assert warner.told == []
    reports.report(perceived(**{about: "no overlap"}))
    assert warner.told == [(topic, "of no help for 3 keyframes in a row: no overlap")]


def test_a_view_that_contradicts_much_is_told_at_once() -> None:
    warner = Warner()
    reports = PerceptionReports(warner)
    reports.report(perceived(carving="sees through all", through=5))
    assert warner.told == []
    reports.report(perceived(carving="sees through all", through=200))
    assert warner.told == [("memory", "nothing is forgotten: sees through all")]


def paired(milliseconds: int) -> PairedFrame:
    return PairedFrame(milliseconds * MS, "image", "info", "depth", np.eye(4), "mask")


def before(frames: PrecedingFrames, milliseconds: int) -> int | None:
    found = frames.before(paired(milliseconds))
    return None if found is None else found.stamp_ns // MS


def test_the_frame_before_is_a_tenth_of_a_second_older() -> None:
    frames = PrecedingFrames()
    assert before(frames, 0) is None
    for stamp in range(1000, 1310, 30):
        frames.add(paired(stamp))
    assert before(frames, 1330) == 1240
    assert before(frames, 1360) == 1270
    kept = frames.before(paired(1330))
    assert kept is not None
    assert (kept.depth, kept.mask) == (None, None)


def test_frames_too_old_or_from_the_future_are_not_before() -> None:
    frames = PrecedingFrames()
    frames.add(paired(1000))
    assert before(frames, 1250) == 1000
    assert before(frames, 1251) is None
    assert before(frames, 1000) is None
    assert before(frames, 900) is None
    # Time that jumped back leaves nothing of the future.
    frames.add(paired(500))
    assert before(frames, 1100) is None
    frames.clear()
    assert before(frames, 510) is None


def test_covariance_is_carried_as_samples_are() -> None:
    """Against the poses that many small errors of the camera's pose lead to."""
    rng = np.random.default_rng(0)
    camera = exp_twist([1.0, -2.0, 0.5], [0.3, 0.8, -0.4], 1.0)
    T_camera_base = exp_twist([0.4, -0.7, 0.9], [-0.2, 0.5, 1.0], 1.0)
    root = rng.normal(size=(6, 6)) * 1e-3
    covariance = root @ root.T
    base, carried = pose_with_covariance_elsewhere(camera, covariance, T_camera_base)
    np.testing.assert_allclose(base, camera @ T_camera_base, atol=1e-12)
    samples = []
    for shift_turn in rng.normal(size=(20_000, 6)) @ root.T:
        turned = exp_twist([0.0, 0.0, 0.0], shift_turn[3:], 1.0)[:3, :3]
        wrong = camera.copy()
        wrong[:3, :3] = turned @ camera[:3, :3]
        wrong[:3, 3] += shift_turn[:3]
        there = wrong @ T_camera_base
        rotation = np.eye(4)
        rotation[:3, :3] = there[:3, :3] @ base[:3, :3].T
        samples.append([*(there[:3, 3] - base[:3, 3]), *log_motion(rotation, 1.0)[1]])
    measured = np.cov(np.array(samples).T)
    scale = np.sqrt(np.outer(np.diag(carried), np.diag(carried)))
    np.testing.assert_allclose(measured / scale, carried / scale, atol=0.05)

"""The robot's tour with people in it, with drifting odometry, and with a late clock."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import ConfigurationError, SequenceError
from mirage_ros.geometry import inverse, rotation_angle, translation_distance
from mirage_ros.sources.simulator import (
    ApartmentScene,
    OdometryDrift,
    RenderedSequence,
    RobotCamera,
    Simulator,
    Tour,
    WalkingFigure,
    build_apartment,
    robot_tour,
)
from mirage_ros.sources.simulator.headless import OffscreenContext
from mirage_ros.sources.simulator.robot import heading_of

needs_gl = pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with")

OPTIONS = {"camera": RobotCamera(64, 48), "rate_hz": 4.0, "duration_s": 3.0}


@cache
def plain() -> RenderedSequence:
    return robot_tour(0, **OPTIONS)


def walker(scene: ApartmentScene) -> list[WalkingFigure]:
    """Somebody who goes along the tour a little ahead of the robot."""
    return [WalkingFigure(Tour(scene).path[20:200], speed=0.6)]


@needs_gl
def test_every_frame_shows_movers_at_its_own_time_in_any_order():
    with robot_tour(0, movers=walker, **OPTIONS) as sequence, robot_tour(0, **OPTIONS) as empty:
        np.testing.assert_array_equal(sequence.poses, empty.poses)
        np.testing.assert_array_equal(sequence.stamps_ns, empty.stamps_ns)
        (figure,) = walker(build_apartment(0))
        frames = {index: sequence[index] for index in (7, 0, 11, 3)}
        for index, frame in frames.items():
            np.testing.assert_array_equal(sequence[index].image, frame.image)
            still, expected = sequence.still(index), empty[index]
            np.testing.assert_array_equal(still.image, expected.image)
            np.testing.assert_array_equal(still.depth, expected.depth)
            assert frame.depth is not None
            nearer = frame.depth < expected.depth - 0.1
            assert nearer.sum() > 30
            x, y, _ = figure.position(frame.stamp_ns / 1e9)
            z = (inverse(frame.T_world_camera) @ [x, y, 0.9, 1.0])[2]
            assert np.median(frame.depth[nearer]) == pytest.approx(z, abs=0.25)


def test_odometry_comes_beside_the_truth():
    drift = OdometryDrift(heading_error=math.radians(5.0), roll_length=math.inf)
    true, drifting = plain(), robot_tour(0, drift=drift, **OPTIONS)
    np.testing.assert_array_equal(true.poses, drifting.poses)
    np.testing.assert_allclose(true.odometry_poses, true.poses, atol=0.02)
    way = np.linalg.norm(np.diff(true.poses[:, :2, 3], axis=0), axis=1).sum()
    T_odom = drifting.odometry_poses[-1] @ inverse(true.odometry_poses[-1])
    # The base drives a little less than the camera ahead of it, which swings out in bends.
    assert abs(heading_of(T_odom)) == pytest.approx(math.radians(5.0) * way, rel=0.15)
    again, other = (robot_tour(seed, drift=drift, **OPTIONS) for seed in (0, 1))
    np.testing.assert_array_equal(drifting.odometry_poses, again.odometry_poses)
    assert np.abs(drifting.odometry_poses[-1] - other.odometry_poses[-1]).max() > 0.1


@pytest.mark.parametrize("late", [0.13, -0.1])
def test_late_stamps_find_the_odometry_of_their_own_time(late):
    sharp, sequence = plain(), robot_tour(0, camera_time_offset=late, **OPTIONS)
    np.testing.assert_array_equal(sequence.poses, sharp.poses)
    np.testing.assert_allclose(sequence.stamps_ns - sharp.stamps_ns, late * 1e9, atol=1)
    dense = robot_tour(0, rate_hz=100.0, duration_s=3.5)
    seconds = np.clip(sharp.stamps_ns / 1e9 + late, 0.0, None)
    nearest = np.rint(seconds * 100.0).astype(int)
    for found, index in zip(sequence.odometry_poses, nearest, strict=True):
        assert translation_distance(found, dense.odometry_poses[index]) < 2e-3
        assert rotation_angle(found, dense.odometry_poses[index]) < 5e-3
    # At half a metre a second the late clock is seen.
    off = sequence.odometry_poses[-1, :3, 3] - sharp.odometry_poses[-1, :3, 3]
    assert np.linalg.norm(off) > 0.3 * abs(late)


@needs_gl
def test_late_stamps_leave_the_exposure_alone():
    with (
        robot_tour(0, movers=walker, **OPTIONS) as sharp,
        robot_tour(0, movers=walker, camera_time_offset=0.2, **OPTIONS) as late,
    ):
        assert late[5].stamp_ns - sharp[5].stamp_ns == 200_000_000
        np.testing.assert_array_equal(late[5].image, sharp[5].image)
        np.testing.assert_array_equal(late[5].depth, sharp[5].depth)


def test_what_makes_no_sequence_is_refused():
    with pytest.raises(ConfigurationError, match="camera_time_offset"):
        robot_tour(0, camera_time_offset=2.0)
    poses, stamps = np.tile(np.eye(4), (3, 1, 1)), np.arange(3)
    with pytest.raises(SequenceError, match=r"\(3, 4, 4\).*Got \(2, 4, 4\)"):
        RenderedSequence(Simulator(build_apartment(0)), poses, stamps, odometry_poses=poses[:2])

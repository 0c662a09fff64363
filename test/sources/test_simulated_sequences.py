"""Sequences of the simulated apartment: the robot's tour, and closed tours of a free camera."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry import inverse, rotation_angle, translation_distance
from mirage_ros.sources.simulator import (
    ClosedTour,
    RobotCamera,
    build_apartment,
    closed_loop_tour,
    robot_tour,
)
from mirage_ros.sources.simulator.headless import OffscreenContext

needs_gl = pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with")


CLOSED = [(0, 33), (1, 97), (2, 193), (0, 401)]


def steps(poses: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1)


def turns(poses: np.ndarray) -> np.ndarray:
    return np.array([rotation_angle(a, b) for a, b in itertools.pairwise(poses)])


@cache
def closed(seed: int, frames: int) -> ClosedTour:
    return closed_loop_tour(seed, frames)


# --- the robot's tour


def test_the_tour_is_sampled_at_its_rate_and_within_the_drive_s_limits():
    with robot_tour(0, rate_hz=4.0, duration_s=5.0) as sequence:
        assert len(sequence) == 21
        assert sequence.rate_hz == pytest.approx(4.0)
        np.testing.assert_allclose(sequence.stamps_ns, np.arange(21) * 250_000_000, atol=1_500_000)
        poses = sequence.poses
    assert (steps(poses) <= 0.8 * 0.25 + 0.02).all()
    assert steps(poses).sum() > 0.5
    np.testing.assert_allclose(poses[:, 2, 3], RobotCamera().mount_height, atol=5e-3)


def test_one_seed_makes_one_tour():
    first, again, other = (robot_tour(seed, rate_hz=2.0, duration_s=2.0) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.poses, again.poses)
    assert np.abs(first.poses - other.poses).max() > 0.1


def test_a_higher_rate_sees_the_same_tour_at_more_times():
    slow, fast = (robot_tour(0, rate_hz=rate_hz, duration_s=3.0) for rate_hz in (2.0, 6.0))
    np.testing.assert_allclose(fast.poses[::3], slow.poses, atol=1e-9)


@pytest.mark.slow
def test_the_tour_ends_by_itself():
    sequence = robot_tour(0, rate_hz=1.0)
    assert 120 <= len(sequence) <= 240


@pytest.mark.parametrize("options", [{"rate_hz": 0.0}, {"rate_hz": math.inf}, {"duration_s": 0.0}])
def test_rates_and_durations_must_be_positive(options):
    with pytest.raises(ConfigurationError, match="must be positive"):
        robot_tour(0, **options)


@needs_gl
def test_frames_are_rendered_from_their_poses():
    """Points of one frame, seen from another, lie where that one has them."""
    with robot_tour(1, camera=RobotCamera(64, 48), rate_hz=4.0, duration_s=1.0) as sequence:
        first, last = sequence[0], sequence[-1]
        assert (first.camera.width, first.camera.height) == (64, 48)
        assert (first.stamp_ns, last.stamp_ns) == tuple(sequence.stamps_ns[[0, -1]])
        with pytest.raises(IndexError):
            _ = sequence[len(sequence)]
    camera = sequence.camera
    points = camera.unproject(camera.pixel_centres(), first.depth)[first.depth > 0]
    T_last_first = inverse(last.T_world_camera) @ first.T_world_camera
    pixels, z = camera.project(points @ T_last_first[:3, :3].T + T_last_first[:3, 3])
    columns, rows = np.floor(np.nan_to_num(pixels, nan=-1.0)).astype(int).T
    inside = (columns >= 0) & (columns < 64) & (rows >= 0) & (rows < 48)
    assert inside.mean() > 0.5
    seen = last.depth[rows[inside], columns[inside]]
    assert (np.abs(seen - z[inside]) < 0.05 * z[inside]).mean() > 0.8


# --- closed tours


@pytest.mark.parametrize(("seed", "frames"), CLOSED)
def test_closed_tours_come_back_with_about_the_motion_asked_for(seed, frames):
    tour = closed(seed, frames)
    poses, chunks = tour.frames.poses, (frames - 1) / 8
    assert len(tour.frames) == frames
    np.testing.assert_array_equal(poses[0], poses[-1])
    assert tour.metres_per_chunk == pytest.approx(steps(poses).sum() / chunks)
    assert tour.degrees_per_chunk == pytest.approx(math.degrees(turns(poses).sum()) / chunks)
    assert 0.8 <= tour.metres_per_chunk <= 1.25
    assert 12.0 <= tour.degrees_per_chunk <= 18.5
    # It really leaves.
    assert max(translation_distance(poses[0], pose) for pose in poses) > min(1.5, chunks / 4.0)


@pytest.mark.parametrize(("seed", "frames"), CLOSED)
def test_closed_tours_are_smooth_and_keep_off_walls_and_furniture(seed, frames):
    poses = closed(seed, frames).frames.poses
    assert build_apartment(seed).free_space.clearance_at(poses[:, :2, 3]).min() > 0.2
    assert np.ptp(poses[:, 2, 3]) < 1e-12
    # Around the seam as well: the frame before the last one comes before the first.
    around = np.concatenate([poses[-2:-1], poses])
    velocity = np.diff(around[:, :3, 3], axis=0)
    assert np.linalg.norm(velocity, axis=-1).max() < 0.2
    assert np.linalg.norm(np.diff(velocity, axis=0), axis=-1).max() < 0.08
    assert np.abs(np.diff(turns(around))).max() < math.radians(1.0)


def test_a_longer_tour_sees_more_rooms():
    assert [len(set(closed(*each).rooms)) for each in CLOSED] == [1, 3, 4, 5]


def test_motion_can_be_asked_for():
    tour = closed_loop_tour(
        0, 129, frames_per_chunk=4, metres_per_chunk=0.5, degrees_per_chunk=10.0, rate_hz=4.0
    )
    assert tour.frames_per_chunk == 4
    assert tour.metres_per_chunk == pytest.approx(0.5, rel=0.25)
    assert tour.degrees_per_chunk == pytest.approx(10.0, rel=0.25)
    assert tour.frames.rate_hz == pytest.approx(4.0)


@needs_gl
def test_the_view_at_the_end_is_the_one_at_the_beginning():
    with closed_loop_tour(2, 97, width=80, height=48).frames as frames:
        first, middle, last = frames[0], frames[48], frames[-1]
    np.testing.assert_array_equal(first.image, last.image)
    np.testing.assert_array_equal(first.depth, last.depth)
    assert np.abs(first.image.astype(int) - middle.image).mean() > 10.0
    assert min(frame.depth[frame.depth > 0].min() for frame in (first, middle)) > 0.15


@pytest.mark.parametrize(
    ("frames", "options"),
    [(16, {}), (97, {"metres_per_chunk": 0.0}), (97, {"rate_hz": -1.0}), (97, {"width": 4})],
)
def test_closed_tours_refuse_what_makes_none(frames, options):
    with pytest.raises(ConfigurationError, match="Got"):
        closed_loop_tour(0, frames, **options)

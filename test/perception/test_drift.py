"""Drift corrections against closed forms."""

import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, PoseError
from mirage_ros.geometry import exp_twist, inverse
from mirage_ros.perception.drift import (
    DriftCorrection,
    MoveLimits,
    moves_along_trajectory,
    moves_by_distance,
)
from mirage_ros.perception.registration import Registration

LIMITS = MoveLimits(distance=5.0, angle=1.0)
SECOND = 1_000_000_000


def planar(x: float, y: float, heading: float = 0.0) -> np.ndarray:
    return exp_twist([0.0, 0.0, 0.0], [0.0, 0.0, heading], 1.0) + np.array(
        [[0, 0, 0, x], [0, 0, 0, y], [0, 0, 0, 0], [0, 0, 0, 0]]
    )


def registration(pose: np.ndarray, *, accepted: bool = True) -> Registration:
    return Registration(pose, np.eye(6), accepted, "" if accepted else "no overlap", 1.0, 0.0)


def test_a_correction_goes_on_from_keyframe_to_keyframe() -> None:
    drift = DriftCorrection()
    odometry, true = planar(2.0, 0.0, 0.1), planar(1.9, 0.2, 0.0)
    np.testing.assert_array_equal(drift.apply(odometry), odometry)
    drift.update(odometry, registration(true))
    np.testing.assert_allclose(drift.apply(odometry), true, atol=1e-12)
    step = exp_twist([0.3, 0.0, 0.0], [0.0, 0.0, 0.2], 1.0)
    np.testing.assert_allclose(drift.apply(odometry @ step), true @ step, atol=1e-12)


def test_a_refused_registration_changes_nothing() -> None:
    drift = DriftCorrection()
    drift.update(planar(0.0, 0.0), registration(planar(0.1, 0.0)))
    before = drift.T_memory_world.copy()
    drift.update(planar(1.0, 0.0), registration(planar(9.0, 0.0), accepted=False))
    np.testing.assert_array_equal(drift.T_memory_world, before)
    drift.reset()
    np.testing.assert_array_equal(drift.T_memory_world, np.eye(4))


def test_corrections_stay_rigid_over_thousands_of_keyframes() -> None:
    drift = DriftCorrection()
    pose = planar(3.0, -2.0, 0.4)
    turn = exp_twist([0.001, 0.0, 0.0], [0.0, 0.0, 0.001], 1.0)
    for _ in range(3000):
        drift.update(pose, registration(drift.apply(pose) @ turn))
    rotation = drift.T_memory_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-14)


def test_a_pose_that_is_not_rigid_is_refused() -> None:
    with pytest.raises(PoseError, match="T_world_camera"):
        DriftCorrection().apply(np.full((4, 4), np.nan))


def test_a_corrected_trajectory_moves_keyframes_by_the_correction_between_its_nodes() -> None:
    # Keyframes on a curved way; the correction at the ends is known, nodes are there only.
    stamps = np.arange(5) * SECOND
    old = np.stack([planar(float(k), 0.2 * math.sin(k), 0.1 * k) for k in range(5)])
    nodes = np.stack([old[0], planar(0.4, 0.8) @ old[4]])
    moves = moves_along_trajectory(stamps, old, stamps[[0, 4]], nodes, LIMITS)
    assert moves.accepted
    for k in range(5):
        expected = planar(0.1 * k, 0.2 * k) @ old[k]
        np.testing.assert_allclose(moves.T_world_camera[k], expected, atol=1e-12)
    assert moves.distance == pytest.approx(math.hypot(0.4, 0.8))


def test_one_correction_for_all_is_exact_far_from_the_origin() -> None:
    stamps = np.arange(4) * SECOND
    old = np.stack([planar(1000.0 + k, -500.0, 0.3 * k) for k in range(4)])
    shift = old[0] @ exp_twist([0.0, 0.1, 0.0], [0.0, 0.0, 0.02], 1.0) @ inverse(old[0])
    moves = moves_along_trajectory(stamps, old, stamps, shift @ old, LIMITS)
    np.testing.assert_allclose(moves.T_world_camera, shift @ old, atol=1e-9)


def test_nodes_between_keyframes_and_keyframes_beyond_the_nodes() -> None:
    stamps = np.array([0, 2, 4, 6]) * SECOND
    old = np.stack([planar(float(x), 0.0) for x in (0, 2, 4, 6)])
    # At 3 s the old way was at x = 3, between two keyframes; it moves by 0.3 m to the left.
    node_stamps = np.array([3, 5]) * SECOND
    nodes = np.stack([planar(3.0, 0.3), planar(5.0, 0.5)])
    moves = moves_along_trajectory(stamps, old, node_stamps, nodes, LIMITS)
    np.testing.assert_allclose(moves.T_world_camera[:, 1, 3], [0.3, 0.3, 0.4, 0.5], atol=1e-12)
    np.testing.assert_allclose(moves.T_world_camera[:, 0, 3], [0, 2, 4, 6], atol=1e-12)


def test_a_trajectory_of_another_time_is_refused() -> None:
    stamps = np.arange(3) * SECOND
    old = np.stack([planar(float(k), 0.0) for k in range(3)])
    moves = moves_along_trajectory(stamps, old, stamps + 10 * SECOND, old, LIMITS)
    assert not moves.accepted
    assert "no pose of the trajectory" in moves.reason
    np.testing.assert_array_equal(moves.T_world_camera, old)


def test_a_localisers_change_is_shared_by_the_way() -> None:
    poses = np.stack([planar(x, 0.0) for x in (1.0, 2.0, 3.0, 5.0)])
    driven = np.array([0.0, 1.0, 2.0, 4.0])
    before, after = planar(1.0, 0.0), planar(1.4, -0.8)
    moves = moves_by_distance(poses, driven, 4.0, before, after, LIMITS)
    shares = driven / 4.0
    np.testing.assert_allclose(moves.T_world_camera[:, 0, 3], poses[:, 0, 3] + 0.4 * shares)
    np.testing.assert_allclose(moves.T_world_camera[:, 1, 3], -0.8 * shares)


def test_the_latest_keyframe_takes_the_whole_change_with_its_rotation() -> None:
    pose = planar(2.0, 1.0, 0.7)
    before, after = planar(0.3, 0.1, 0.05), planar(0.1, 0.4, 0.25)
    moves = moves_by_distance(pose[None], np.array([3.0]), 3.0, before, after, LIMITS)
    expected = after @ inverse(before) @ pose
    np.testing.assert_allclose(moves.T_world_camera[0], expected, atol=1e-12)
    half = moves_by_distance(pose[None], np.array([1.5]), 3.0, before, after, LIMITS)
    assert half.angle == pytest.approx(0.1)


def test_a_robot_that_stands_takes_the_whole_change() -> None:
    moves = moves_by_distance(np.eye(4)[None], np.zeros(1), 0.0, np.eye(4), planar(0.2, 0), LIMITS)
    np.testing.assert_allclose(moves.T_world_camera[0], planar(0.2, 0.0))


@pytest.mark.parametrize("change", [planar(1.5, 0.0), planar(0.0, 0.0, 0.5)])
def test_too_far_a_move_is_refused_as_a_whole(change: np.ndarray) -> None:
    poses = np.stack([np.eye(4), np.eye(4)])
    moves = moves_by_distance(
        poses, np.array([0.1, 2.0]), 2.0, np.eye(4), change, MoveLimits(distance=1.0, angle=0.3)
    )
    assert not moves.accepted
    assert "would move" in moves.reason
    np.testing.assert_array_equal(moves.T_world_camera, poses)
    assert moves.distance > 1.0 or moves.angle > 0.3


def test_no_keyframes_is_nothing_to_move() -> None:
    none = np.zeros((0, 4, 4))
    assert moves_by_distance(none, np.zeros(0), 1.0, np.eye(4), np.eye(4), LIMITS).accepted
    stamps = np.zeros(0, dtype=np.int64)
    later = np.array([1], dtype=np.int64)
    assert not moves_along_trajectory(stamps, none, later, np.eye(4)[None], LIMITS).accepted


def test_inputs_that_do_not_fit_are_refused() -> None:
    two = np.stack([np.eye(4), np.eye(4)])
    stamps = np.array([0, 1], dtype=np.int64)
    with pytest.raises(PoseError, match="one stamp for each"):
        moves_along_trajectory(stamps[:1], two, stamps, two, LIMITS)
    with pytest.raises(PoseError, match="ascend"):
        moves_along_trajectory(stamps, two, stamps[::-1], two, LIMITS)
    with pytest.raises(PoseError, match="as many ways"):
        moves_by_distance(two, np.zeros(1), 1.0, np.eye(4), np.eye(4), LIMITS)
    with pytest.raises(PoseError, match="finite metres"):
        moves_by_distance(two, np.array([0.0, np.nan]), 1.0, np.eye(4), np.eye(4), LIMITS)
    with pytest.raises(ConfigurationError, match="distance"):
        MoveLimits(distance=0.0)

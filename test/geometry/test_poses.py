import math

import numpy as np
import pytest

from mirage_ros.errors import PoseError
from mirage_ros.geometry.poses import (
    T_BODY_OPTICAL,
    exp_twist,
    inverse,
    log_motion,
    pose_from_quaternion,
    poses_from_quaternions,
    quaternion_from_pose,
    rotation_angle,
    translation_distance,
    validate_pose,
)


def random_pose(rng: np.random.Generator) -> np.ndarray:
    q = rng.normal(size=4)
    return pose_from_quaternion(rng.normal(size=3) * 5, q / np.linalg.norm(q))


def test_quaternion_is_ros_ordered() -> None:
    half = math.sqrt(0.5)
    pose = pose_from_quaternion([1, 2, 3], [0, 0, half, half])  # 90 degrees about z
    np.testing.assert_allclose(pose @ [1, 0, 0, 1], [1, 3, 3, 1], atol=1e-15)
    np.testing.assert_allclose(quaternion_from_pose(pose), [0, 0, half, half], atol=1e-15)


def test_quaternion_round_trip_up_to_sign() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        q = rng.normal(size=4)
        q /= np.linalg.norm(q)
        back = quaternion_from_pose(pose_from_quaternion([0, 0, 0], q))
        assert back[3] >= 0.0
        np.testing.assert_allclose(back, q if q[3] >= 0 else -q, atol=1e-12)


def test_slightly_off_norm_is_normalised_and_more_is_refused() -> None:
    pose = pose_from_quaternion([0, 0, 0], [0, 0, 0, 1.009])
    np.testing.assert_array_equal(pose, np.eye(4))
    with pytest.raises(PoseError, match=r"unit norm. Got norm 1.02"):
        pose_from_quaternion([0, 0, 0], [0, 0, 0, 1.02])


@pytest.mark.parametrize(
    ("t", "q", "message"),
    [
        ([0, 0, 0], [0, 0, 0, 0], "unit norm"),
        ([0, 0, math.nan], [0, 0, 0, 1], "finite"),
        ([0, 0, 0], [0, math.inf, 0, 1], "finite"),
        ([0, 0], [0, 0, 0, 1], "shapes"),
        ([0, 0, 0], [0, 0, 1], "shapes"),
    ],
)
def test_bad_quaternions_are_refused(t: list[float], q: list[float], message: str) -> None:
    with pytest.raises(PoseError, match=message):
        pose_from_quaternion(t, q)


def mirrored() -> np.ndarray:
    return np.diag([1.0, 1.0, -1.0, 1.0])


def sheared() -> np.ndarray:
    pose = np.eye(4)
    pose[0, 1] = 0.01
    return pose


def projective() -> np.ndarray:
    pose = np.eye(4)
    pose[3, 0] = 0.1
    return pose


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.eye(3), r"shape \(4, 4\). Got \(3, 3\)"),
        (np.full((4, 4), np.nan), "finite"),
        (mirrored(), "det = -1"),
        (sheared(), "right-handed rotation"),
        (projective(), "row"),
    ],
)
def test_what_is_not_rigid_is_refused(pose: np.ndarray, message: str) -> None:
    with pytest.raises(PoseError, match=f"T_a_b.*{message}"):
        validate_pose(pose, "T_a_b")


def test_inverse_of_many_poses() -> None:
    rng = np.random.default_rng(1)
    poses = np.stack([random_pose(rng) for _ in range(6)]).reshape(2, 3, 4, 4)
    identities = np.broadcast_to(np.eye(4), poses.shape)
    np.testing.assert_allclose(inverse(poses) @ poses, identities, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 1.0, 3.0, math.pi - 1e-6])
def test_distances(angle: float) -> None:
    rng = np.random.default_rng(2)
    a = random_pose(rng)
    axis = np.array([2.0, -1.0, 2.0]) / 3.0
    b = a @ exp_twist([0, 0, 0], axis, angle)
    assert abs(rotation_angle(a, b) - angle) < 1e-9 + 1e-12
    b[:3, 3] += [1.0, 2.0, 2.0]
    assert abs(translation_distance(a, b) - 3.0) < 1e-12


def test_optical_axes_in_the_body_frame() -> None:
    right, down, forward = T_BODY_OPTICAL[:3, :3].T
    np.testing.assert_array_equal(right, [0, -1, 0])
    np.testing.assert_array_equal(down, [0, 0, -1])
    np.testing.assert_array_equal(forward, [1, 0, 0])
    validate_pose(T_BODY_OPTICAL)


def test_twist_integrates_like_many_small_steps() -> None:
    v, w = np.array([0.7, -0.2, 0.4]), np.array([0.3, 1.1, -0.6])
    steps = 20_000
    small = np.eye(4)
    small[:3, 3] = v * 2.0 / steps
    small = small @ exp_twist([0, 0, 0], w, 2.0 / steps)
    stepped = np.linalg.matrix_power(small, steps)
    np.testing.assert_allclose(exp_twist(v, w, 2.0), stepped, atol=2e-4)
    np.testing.assert_allclose(
        exp_twist(v, w, 2.0), exp_twist(v, w, 0.5) @ exp_twist(v, w, 1.5), atol=1e-12
    )


@pytest.mark.parametrize("angle", [0.0, 1e-10, 1e-7, 1e-4, 1e-2, 1.0, 3.0])
def test_log_is_the_inverse_of_exp_at_any_angle(angle: float) -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        v, axis = rng.normal(size=3), rng.normal(size=3)
        w = axis / np.linalg.norm(axis) * angle / 0.5
        linear, angular = log_motion(exp_twist(v, w, 0.5), 0.5)
        np.testing.assert_allclose(linear, v, atol=1e-7)
        np.testing.assert_allclose(angular, w, atol=1e-9)


def test_many_poses_at_once_equal_one_by_one() -> None:
    rng = np.random.default_rng(5)
    translations = rng.normal(size=(20, 3))
    rotations = rng.normal(size=(20, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    rotations *= rng.uniform(0.995, 1.005, (20, 1))
    expected = [pose_from_quaternion(t, q) for t, q in zip(translations, rotations, strict=True)]
    np.testing.assert_allclose(
        poses_from_quaternions(translations, rotations), expected, atol=1e-12
    )
    rotations[7, 2] = np.nan
    with pytest.raises(PoseError, match=r"pose 7 of 20: .*finite"):
        poses_from_quaternions(translations, rotations)
    rotations[7] = [0.0, 0.0, 0.0, 0.5]
    with pytest.raises(PoseError, match=r"pose 7 of 20: .*unit norm"):
        poses_from_quaternions(translations, rotations)

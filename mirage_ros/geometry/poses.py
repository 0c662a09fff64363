"""Rigid poses as 4x4 float64 matrices named ``T_target_source``, and distances between them.

Quaternions are ROS-ordered (x, y, z, w) at the interface; transforms3d, which does the algebra,
orders them (w, x, y, z).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from transforms3d import axangles, quaternions

from mirage_ros.errors import PoseError

#: Largest deviation from unit norm that a quaternion off the wire may have before it is refused.
QUATERNION_NORM_TOLERANCE = 1e-2

#: Rotation from a camera's optical frame (x right, y down, z forward) to its body frame (x forward,
#: y left, z up), REP-103: the columns are the optical axes in the body frame.
T_BODY_OPTICAL: NDArray[np.float64] = np.array(
    [
        [0.0, 0.0, 1.0, 0.0],
        [-1.0, 0.0, 0.0, 0.0],
        [0.0, -1.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def pose_from_quaternion(
    translation: ArrayLike,  # (3,) metres
    quaternion_xyzw: ArrayLike,  # (4,)
) -> NDArray[np.float64]:  # (4, 4)
    """Rigid transform from a translation and a ROS-ordered quaternion.

    Raises:
        PoseError: a value is not finite, or the quaternion's norm is off by more than
            :data:`QUATERNION_NORM_TOLERANCE`.
    """
    t = np.asarray(translation, dtype=np.float64)
    q = np.asarray(quaternion_xyzw, dtype=np.float64)
    if t.shape != (3,) or q.shape != (4,):
        raise PoseError(f"expected shapes (3,) and (4,). Got {t.shape} and {q.shape}")
    if not (np.isfinite(t).all() and np.isfinite(q).all()):
        raise PoseError(f"pose must be finite. Got translation {t}, quaternion {q} (x y z w)")
    norm = float(np.linalg.norm(q))
    if abs(norm - 1.0) > QUATERNION_NORM_TOLERANCE:
        raise PoseError(f"quaternion must have unit norm. Got norm {norm:.6g} from {q} (x y z w)")
    pose = np.eye(4)
    pose[:3, :3] = quaternions.quat2mat(q[[3, 0, 1, 2]] / norm)
    pose[:3, 3] = t
    return pose


def poses_from_quaternions(
    translations: NDArray[np.float64],  # (N, 3) metres
    quaternions_xyzw: NDArray[np.float64],  # (N, 4)
) -> NDArray[np.float64]:  # (N, 4, 4)
    """Many rigid transforms at once, as :func:`pose_from_quaternion` makes them.

    Raises:
        PoseError: names the first pose that is not finite or whose quaternion is not of unit norm.
    """
    values = np.hstack([translations, quaternions_xyzw])
    norms = np.linalg.norm(quaternions_xyzw, axis=1)
    good = np.isfinite(values).all(axis=1) & (np.abs(norms - 1.0) <= QUATERNION_NORM_TOLERANCE)
    if not good.all():
        index = int(np.argmin(good))
        try:
            pose_from_quaternion(translations[index], quaternions_xyzw[index])
        except PoseError as error:
            raise PoseError(f"pose {index} of {len(values)}: {error}") from error
    x, y, z, w = (quaternions_xyzw / norms[:, None]).T
    poses = np.zeros((len(values), 4, 4))
    poses[:, 0, :3] = np.stack(
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1
    )
    poses[:, 1, :3] = np.stack(
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1
    )
    poses[:, 2, :3] = np.stack(
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1
    )
    poses[:, :3, 3] = translations
    poses[:, 3, 3] = 1.0
    return poses


def quaternion_from_pose(pose: NDArray[np.float64]) -> NDArray[np.float64]:  # (4,) x y z w
    """ROS-ordered unit quaternion of a pose's rotation, with w >= 0."""
    q = quaternions.mat2quat(pose[:3, :3])
    w, x, y, z = q if q[0] >= 0.0 else -q
    return np.array([x, y, z, w], dtype=np.float64)


def validate_pose(pose: ArrayLike, name: str = "pose") -> NDArray[np.float64]:  # (4, 4)
    """The pose as float64, checked to be rigid.

    Raises:
        PoseError: wrong shape, not finite, not a right-handed rotation to 1e-3, or a last row other
            than (0, 0, 0, 1).
    """
    checked = np.asarray(pose, dtype=np.float64)
    if checked.shape != (4, 4):
        raise PoseError(f"{name} must have shape (4, 4). Got {checked.shape}")
    if not np.isfinite(checked).all():
        raise PoseError(f"{name} must be finite. Got\n{checked}")
    rotation = checked[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if error > 1e-3 or np.linalg.det(rotation) < 0.0:
        raise PoseError(
            f"{name} must hold a right-handed rotation. Got |R R^T - I| = {error:.3g}, "
            f"det = {np.linalg.det(rotation):.3g}"
        )
    if not np.allclose(checked[3], [0.0, 0.0, 0.0, 1.0]):
        raise PoseError(f"{name} must end in the row (0, 0, 0, 1). Got {checked[3]}")
    return checked


def inverse(pose: NDArray[np.float64]) -> NDArray[np.float64]:  # (..., 4, 4) -> (..., 4, 4)
    """Inverse of rigid transforms, exact to rounding (transpose, no matrix inversion)."""
    rotation_t = np.swapaxes(pose[..., :3, :3], -1, -2)
    result = np.zeros_like(pose)
    result[..., :3, :3] = rotation_t
    result[..., :3, 3] = -(rotation_t @ pose[..., :3, 3:])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def translation_distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Distance between the origins of two poses, metres."""
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


def rotation_angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Angle of the rotation from ``a`` to ``b``, radians in [0, pi]."""
    relative = a[:3, :3].T @ b[:3, :3]
    # atan2 keeps its precision at small angles, where arccos of the trace loses half the digits.
    skew = np.array(
        [
            relative[2, 1] - relative[1, 2],
            relative[0, 2] - relative[2, 0],
            relative[1, 0] - relative[0, 1],
        ]
    )
    return math.atan2(float(np.linalg.norm(skew)) / 2.0, (float(np.trace(relative)) - 1.0) / 2.0)


def exp_twist(
    linear: ArrayLike,  # (3,) m/s in the body frame
    angular: ArrayLike,  # (3,) rad/s in the body frame
    duration: float,  # seconds
) -> NDArray[np.float64]:  # (4, 4) T_start_end
    """Motion of a body that keeps a constant body twist: the exponential map of SE(3)."""
    v = np.asarray(linear, dtype=np.float64) * duration
    w = np.asarray(angular, dtype=np.float64) * duration
    theta = float(np.linalg.norm(w))
    pose = np.eye(4)
    if theta < 1e-9:
        pose[:3, 3] = v
        return pose
    axis = w / theta
    pose[:3, :3] = axangles.axangle2mat(axis, theta, is_normalized=True)
    pose[:3, 3] = _left_jacobian(axis, theta) @ v
    return pose


def log_motion(
    T_start_end: NDArray[np.float64],  # (4, 4)
    duration: float,  # seconds
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (3,) m/s, (3,) rad/s
    """The constant body twist that makes a motion: the inverse of :func:`exp_twist`.

    Unique while the rotation stays below pi.
    """
    # By way of the quaternion: the axis as an eigenvector is lost in rounding at small angles.
    vector = quaternion_from_pose(T_start_end)
    sine = float(np.linalg.norm(vector[:3]))
    theta = 2.0 * math.atan2(sine, float(vector[3]))
    translation = T_start_end[:3, 3]
    if theta < 1e-9:
        return translation / duration, 2.0 * vector[:3] / duration
    axis = vector[:3] / sine
    left_jacobian = _left_jacobian(axis, theta)
    linear = np.asarray(np.linalg.solve(left_jacobian, translation) / duration, dtype=np.float64)
    return linear, np.asarray(axis * theta / duration, dtype=np.float64)


def _left_jacobian(axis: NDArray[np.float64], theta: float) -> NDArray[np.float64]:  # (3, 3)
    """Maps a constant body velocity times duration to the translation it ends in (SO(3))."""
    k = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    result: NDArray[np.float64] = (
        np.eye(3) + (1.0 - math.cos(theta)) / theta * k + (1.0 - math.sin(theta) / theta) * (k @ k)
    )
    return result

"""geometry_msgs poses and builtin times to matrices and nanoseconds, and back."""

from __future__ import annotations

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Pose, Transform, TransformStamped, Twist
from numpy.typing import NDArray

from mirage_ros.errors import PoseError
from mirage_ros.geometry import pose_from_quaternion, quaternion_from_pose
from mirage_ros.geometry.interpolation import NANOSECONDS


def stamp_to_ns(stamp: Time) -> int:
    """Nanoseconds since the epoch of the clock that made the stamp."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def ns_to_stamp(nanoseconds: int) -> Time:
    """The stamp of a non-negative time in nanoseconds."""
    seconds, rest = divmod(int(nanoseconds), NANOSECONDS)
    return Time(sec=seconds, nanosec=rest)


def duration_to_ns(duration: Duration) -> int:
    """Nanoseconds of a message's duration."""
    return int(duration.sec) * 10**9 + int(duration.nanosec)


def ns_to_duration(nanoseconds: int) -> Duration:
    """The duration of a time span in nanoseconds; may be negative."""
    seconds, rest = divmod(int(nanoseconds), NANOSECONDS)
    return Duration(sec=seconds, nanosec=rest)


def matrix_from_pose(pose: Pose) -> NDArray[np.float64]:  # (4, 4)
    """Rigid transform of a pose message.

    Raises:
        PoseError: not finite, or a quaternion that is not of unit norm.
    """
    p, q = pose.position, pose.orientation
    return pose_from_quaternion((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))


def matrix_from_transform(transform: Transform) -> NDArray[np.float64]:  # (4, 4)
    """Rigid transform of a transform message.

    Raises:
        PoseError: as :func:`matrix_from_pose`.
    """
    t, q = transform.translation, transform.rotation
    return pose_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def pose_from_matrix(matrix: NDArray[np.float64]) -> Pose:
    """Pose message of a rigid transform."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in matrix[:3, 3])
    x, y, z, w = (float(v) for v in quaternion_from_pose(matrix))
    pose.orientation.x, pose.orientation.y, pose.orientation.z, pose.orientation.w = x, y, z, w
    return pose


def transform_from_matrix(matrix: NDArray[np.float64]) -> Transform:
    """Transform message of a rigid transform."""
    pose = pose_from_matrix(matrix)
    transform = Transform()
    transform.translation.x = pose.position.x
    transform.translation.y = pose.position.y
    transform.translation.z = pose.position.z
    transform.rotation = pose.orientation
    return transform


def stamped_transform(
    parent: str,
    child: str,
    T_parent_child: NDArray[np.float64],  # (4, 4)
    stamp_ns: int,
) -> TransformStamped:
    """The transform of a child frame in its parent at a time, as TF takes it."""
    message = TransformStamped(child_frame_id=child)
    message.header.stamp = ns_to_stamp(stamp_ns)
    message.header.frame_id = parent
    message.transform = transform_from_matrix(T_parent_child)
    return message


def pose_with_covariance_elsewhere(
    T_world_a: NDArray[np.float64],  # (4, 4)
    covariance: NDArray[np.float64],  # (6, 6) x, y, z, then rotations, about the world's axes
    T_a_b: NDArray[np.float64],  # (4, 4) exact: b is fixed to a
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (4, 4), (6, 6)
    """Pose and covariance of another frame of the same rigid body, as ROS wants both.

    A small rotation w about a's origin moves b's by w x r, where r leads from a to b.
    """
    T_world_b: NDArray[np.float64] = T_world_a @ T_a_b
    x, y, z = T_world_b[:3, 3] - T_world_a[:3, 3]
    carry = np.eye(6)
    carry[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]
    moved: NDArray[np.float64] = carry @ covariance @ carry.T
    return T_world_b, (moved + moved.T) / 2.0


def twist_arrays(
    twist: Twist,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (3,) m/s, (3,) rad/s
    """Linear and angular velocity in the child frame.

    Raises:
        PoseError: a component is not finite.
    """
    linear = np.array([twist.linear.x, twist.linear.y, twist.linear.z])
    angular = np.array([twist.angular.x, twist.angular.y, twist.angular.z])
    if not (np.isfinite(linear).all() and np.isfinite(angular).all()):
        raise PoseError(f"twist must be finite. Got linear {linear}, angular {angular}")
    return linear, angular

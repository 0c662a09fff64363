"""Cameras and rigid poses: numpy and transforms3d only, no ROS and no torch."""

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import (
    T_BODY_OPTICAL,
    exp_twist,
    inverse,
    pose_from_quaternion,
    quaternion_from_pose,
    rotation_angle,
    translation_distance,
    validate_pose,
)

__all__ = [
    "T_BODY_OPTICAL",
    "PinholeCamera",
    "exp_twist",
    "inverse",
    "pose_from_quaternion",
    "quaternion_from_pose",
    "rotation_angle",
    "translation_distance",
    "validate_pose",
]

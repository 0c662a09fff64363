"""Cameras and rigid poses: numpy, OpenCV and transforms3d only, no ROS and no torch."""

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.camera_info import camera_from_info, fill_camera_info
from mirage_ros.geometry.interpolation import (
    AddResult,
    PoseBuffer,
    PoseUnavailableError,
    interpolate_pose,
    is_jump,
)
from mirage_ros.geometry.paths import extrapolate_twist, resample_path
from mirage_ros.geometry.poses import (
    T_BODY_OPTICAL,
    exp_twist,
    inverse,
    log_motion,
    pose_from_quaternion,
    quaternion_from_pose,
    rotation_angle,
    translation_distance,
    validate_pose,
)
from mirage_ros.geometry.rectify import Rectifier

__all__ = [
    "T_BODY_OPTICAL",
    "AddResult",
    "PinholeCamera",
    "PoseBuffer",
    "PoseUnavailableError",
    "Rectifier",
    "camera_from_info",
    "exp_twist",
    "extrapolate_twist",
    "fill_camera_info",
    "interpolate_pose",
    "inverse",
    "is_jump",
    "log_motion",
    "pose_from_quaternion",
    "quaternion_from_pose",
    "resample_path",
    "rotation_angle",
    "translation_distance",
    "validate_pose",
]

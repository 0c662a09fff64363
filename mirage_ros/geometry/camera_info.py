"""From ``sensor_msgs/CameraInfo`` to our camera and back: the one place to know both conventions.

ROS and OpenCV put the centre of the top-left pixel at (0, 0), we put it at (0.5, 0.5), so principal
points differ by half a pixel. Messages are taken by their fields (REP-104), so no ROS is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError
from mirage_ros.geometry.camera import PinholeCamera

#: What has to be added to a pixel-centre coordinate to make it a pixel-corner coordinate.
CENTRE_TO_CORNER = 0.5


class RegionLike(Protocol):
    """The fields of ``sensor_msgs/RegionOfInterest``, all 0 for the whole image."""

    x_offset: int
    y_offset: int
    height: int
    width: int
    do_rectify: bool


class CameraInfoLike(Protocol):
    """The fields of ``sensor_msgs/CameraInfo`` that this package reads and writes."""

    height: int
    width: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    r: Sequence[float]
    p: Sequence[float]
    binning_x: int
    binning_y: int
    roi: RegionLike


InfoT = TypeVar("InfoT", bound=CameraInfoLike)


def camera_from_info(info: CameraInfoLike, *, rectified: bool = False) -> PinholeCamera:
    """The pinhole camera of the image that ``info`` comes with; distortion is not looked at.

    ``info`` describes the full sensor. Its region of interest is cut out first, then the binning
    applied, which is the order the message defines, so the camera has the size of the image as
    sent. ``rectified`` takes the intrinsics from P, which describe an already rectified image
    (``image_rect``), instead of K, which describe the raw one.

    Raises:
        CameraError: not calibrated (zero or NaN intrinsics), a skewed matrix, sizes that are not
            positive, or a region of interest or binning that does not fit the image.
    """
    fx, fy, cx, cy = _intrinsics(info, rectified)
    width, height = int(info.width), int(info.height)
    camera = PinholeCamera(width, height, fx, fy, cx + CENTRE_TO_CORNER, cy + CENTRE_TO_CORNER)
    roi = info.roi
    if any((roi.x_offset, roi.y_offset, roi.width, roi.height)):
        roi_width = int(roi.width) or width - int(roi.x_offset)
        roi_height = int(roi.height) or height - int(roi.y_offset)
        camera = camera.cropped(int(roi.x_offset), int(roi.y_offset), roi_width, roi_height)
    binning_x, binning_y = max(1, int(info.binning_x)), max(1, int(info.binning_y))
    if binning_x == 1 and binning_y == 1:
        return camera
    if camera.width % binning_x or camera.height % binning_y:
        raise CameraError(
            f"binning must divide the image size {camera.width}x{camera.height}. "
            f"Got {binning_x}x{binning_y}"
        )
    return camera.resized(camera.width // binning_x, camera.height // binning_y)


def calibration_key(info: CameraInfoLike) -> tuple[object, ...]:
    """What tells one calibration from another; equal for messages that differ in stamp only."""
    roi = info.roi
    return (
        int(info.width),
        int(info.height),
        str(info.distortion_model),
        *(np.asarray(values, dtype=np.float64).tobytes() for values in (info.k, info.d, info.p)),
        int(info.binning_x),
        int(info.binning_y),
        (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
    )


def fill_camera_info(camera: PinholeCamera, msg: InfoT) -> InfoT:
    """Write an undistorted camera into ``msg`` (its header stays) and return it.

    :func:`camera_from_info` gives back the same camera, to the last bit where the principal point
    is at least half a pixel from the left and the top border.
    """
    cx, cy = camera.cx - CENTRE_TO_CORNER, camera.cy - CENTRE_TO_CORNER
    msg.width, msg.height = camera.width, camera.height
    msg.distortion_model = "plumb_bob"
    msg.d = [0.0] * 5
    msg.k = [camera.fx, 0.0, cx, 0.0, camera.fy, cy, 0.0, 0.0, 1.0]
    msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    msg.p = [camera.fx, 0.0, cx, 0.0, 0.0, camera.fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    msg.binning_x = msg.binning_y = 0
    msg.roi.x_offset = msg.roi.y_offset = msg.roi.width = msg.roi.height = 0
    msg.roi.do_rectify = False
    return msg


def _intrinsics(info: CameraInfoLike, rectified: bool) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) in the pixel-centre convention, from K or P."""
    name, columns, values = ("P", 4, info.p) if rectified else ("K", 3, info.k)
    numbers: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if numbers.shape != (3 * columns,):
        raise CameraError(f"{name} must have {3 * columns} values. Got {numbers.shape}")
    matrix = numbers.reshape(3, columns)[:, :3]
    if not np.isfinite(matrix).all() or matrix[0, 0] == 0.0 or matrix[1, 1] == 0.0:
        raise CameraError(
            f"camera is uncalibrated: {name} must hold finite, positive focal lengths. "
            f"Got {name} = {numbers.tolist()}"
        )
    if abs(matrix[0, 1]) > 1e-6 * abs(matrix[0, 0]):
        raise CameraError(f"{name} must have no skew. Got {name}[0, 1] = {matrix[0, 1]}")
    return float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])

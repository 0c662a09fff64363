"""Cameras and rectifiers of CameraInfo messages, built once per calibration."""

from __future__ import annotations

import threading

from sensor_msgs.msg import CameraInfo, Image

from mirage_ros.errors import FrameError
from mirage_ros.geometry import PinholeCamera, camera_from_info
from mirage_ros.geometry.camera_info import calibration_key
from mirage_ros.geometry.rectify import Rectifier
from mirage_ros.nodes.image_conversion import mask_from_image

_Key = tuple[object, ...]


def check_size(image: Image, topic: str, camera: PinholeCamera) -> None:
    """Check that an image or depth message has the size that camera_info says.

    Raises:
        FrameError: it has not.
    """
    if (image.width, image.height) != (camera.width, camera.height):
        raise FrameError(
            f"{topic} must have the size that camera_info says, {camera.width}x{camera.height}. "
            f"Got {image.width}x{image.height}"
        )


def check_mask(mask: Image, camera: PinholeCamera) -> None:
    """Check that a mask of what moves can be read and has the size that camera_info says.

    Raises:
        FrameError: it cannot, or has not.
    """
    check_size(mask, "dynamic_mask", camera)
    mask_from_image(mask)


class CalibrationCache:
    """Remembers the latest calibration; safe to use from two threads.

    Args:
        is_rectified: images are rectified already: take P, ignore the distortion.
    """

    def __init__(self, is_rectified: bool) -> None:
        self._is_rectified = is_rectified
        self._lock = threading.Lock()
        self._camera: tuple[_Key, PinholeCamera] | None = None
        self._rectifier: tuple[_Key, Rectifier] | None = None

    def camera(self, info: CameraInfo) -> PinholeCamera:
        """The undistorted camera of the image that comes with ``info``.

        Raises:
            CameraError: not calibrated, or a distortion model that is not supported.
        """
        key = calibration_key(info)
        with self._lock:
            if self._camera is not None and self._camera[0] == key:
                return self._camera[1]
        camera = camera_from_info(info, rectified=self._is_rectified)
        with self._lock:
            self._camera = (key, camera)
        return camera

    def rectifier(self, info: CameraInfo) -> Rectifier | None:
        """What takes the distortion out of images of ``info``; None if nothing is to be done.

        Raises:
            CameraError: as :meth:`camera`.
        """
        if self._is_rectified:
            return None
        key = calibration_key(info)
        with self._lock:
            cached = self._rectifier
        if cached is None or cached[0] != key:
            cached = (key, Rectifier.from_info(info))
            with self._lock:
                self._rectifier = cached
        return None if cached[1].is_identity else cached[1]

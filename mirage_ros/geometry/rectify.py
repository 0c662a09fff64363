"""Takes distortion out of images and depth maps; everything behind sees a pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError, FrameError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.camera_info import CENTRE_TO_CORNER, CameraInfoLike, camera_from_info

#: Distortion models of ``sensor_msgs/distortion_models.hpp`` and how many coefficients each takes:
#: k1 k2 p1 p2 [k3]; the same and k4 k5 k6 [s1 s2 s3 s4 [tx ty]] in OpenCV's order; k1 k2 k3 k4.
SUPPORTED_MODELS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),
    "equidistant": (4,),
}


@dataclass(frozen=True)
class _Maps:
    """Where each pixel of the rectified image lies in the raw one, pixel-centre convention."""

    x: NDArray[np.float32]  # (H, W)
    y: NDArray[np.float32]  # (H, W)


class Rectifier:
    """Resamples raw images to the pinhole camera of the same size and the same intrinsics.

    Keeping K means that the middle of the image keeps its scale. With barrel distortion every
    rectified pixel is then seen by the raw image, and a margin of the raw image is given up; with
    pincushion distortion pixels near the border may have no source: there ``valid`` is False,
    depth becomes 0 (unknown) and colour repeats the border, so that no dark frame leaks into what
    is encoded.

    Attributes:
        camera: the camera of the rectified image.
        is_identity: True where there is nothing to do.
        valid: (H, W) bool, whether the raw image saw the pixel.
    """

    def __init__(
        self, camera: PinholeCamera, model: str, coefficients: NDArray[np.float64]
    ) -> None:
        self.camera = camera
        shape = (camera.height, camera.width)
        self._maps: _Maps | None = None
        self.valid: NDArray[np.bool_] = np.ones(shape, dtype=bool)
        if coefficients.any():
            self._maps, self.valid = _build_maps(camera, model, coefficients)

    @classmethod
    def from_info(cls, info: CameraInfoLike) -> Rectifier:
        """The rectifier for raw images that come with ``info``; build it once per calibration.

        Coefficients that are all zero, or none, mean no distortion, whatever the model: that is
        how ``image_geometry`` reads the message, and what simulators send.

        Raises:
            CameraError: no calibration, an unsupported distortion model, or coefficients of the
                wrong number or not finite.
        """
        camera = camera_from_info(info)
        coefficients: NDArray[np.float64] = np.asarray(info.d, dtype=np.float64).reshape(-1)
        if not np.isfinite(coefficients).all():
            raise CameraError(f"distortion must be finite. Got D = {coefficients.tolist()}")
        model = str(info.distortion_model)
        if not coefficients.any() and (model in SUPPORTED_MODELS or not model):
            return cls(camera, "plumb_bob", np.zeros(5))
        if model not in SUPPORTED_MODELS:
            raise CameraError(
                f"distortion model must be one of {', '.join(SUPPORTED_MODELS)}. Got {model!r}"
            )
        if coefficients.size not in SUPPORTED_MODELS[model]:
            raise CameraError(
                f"{model} takes {' or '.join(map(str, SUPPORTED_MODELS[model]))} coefficients. "
                f"Got {coefficients.size}"
            )
        return cls(camera, model, coefficients)

    @property
    def is_identity(self) -> bool:
        """Whether images pass through unchanged."""
        return self._maps is None

    def rectify_image(
        self,
        image: NDArray[np.uint8],  # (H, W) or (H, W, 3)
    ) -> NDArray[np.uint8]:  # the same shape
        """The image as the pinhole camera sees it, interpolated linearly.

        Raises:
            FrameError: another size than the camera's.
        """
        self._check_size(image, "image")
        if self._maps is None:
            return image
        return _remapped(image, self._maps, cv2.INTER_LINEAR).astype(np.uint8, copy=False)

    def rectify_depth(
        self,
        depth: NDArray[np.float32],  # (H, W) metres
    ) -> NDArray[np.float32]:  # (H, W)
        """The z-depth as the pinhole camera sees it, from the nearest raw pixel; 0 where unseen.

        Raises:
            FrameError: another size than the camera's.
        """
        self._check_size(depth, "depth")
        if self._maps is None:
            return depth
        rectified = _remapped(depth, self._maps, cv2.INTER_NEAREST)
        return np.where(self.valid, rectified, np.float32(0.0)).astype(np.float32, copy=False)

    def rectify_mask(
        self,
        mask: NDArray[np.bool_],  # (H, W)
    ) -> NDArray[np.bool_]:  # (H, W)
        """The mask as the pinhole camera sees it: set where any raw pixel about the place is.

        Raises:
            FrameError: another size than the camera's.
        """
        self._check_size(mask, "mask")
        if self._maps is None:
            return mask
        share = _remapped(mask.astype(np.float32), self._maps, cv2.INTER_LINEAR)
        return np.asarray(share > 0.0)

    def _check_size(self, image: NDArray[np.generic], name: str) -> None:
        expected = (self.camera.height, self.camera.width)
        if image.shape[:2] != expected:
            raise FrameError(
                f"{name} must be of the calibrated size (height, width) {expected}. "
                f"Got shape {image.shape}"
            )


def _remapped(pixels: NDArray[Any], maps: _Maps, interpolation: int) -> NDArray[Any]:
    """Raw pixels fetched for every rectified one; beyond the border the nearest is repeated."""
    return cv2.remap(
        pixels, maps.x, maps.y, interpolation=interpolation, borderMode=cv2.BORDER_REPLICATE
    )


def _build_maps(
    camera: PinholeCamera, model: str, coefficients: NDArray[np.float64]
) -> tuple[_Maps, NDArray[np.bool_]]:  # maps, (H, W) valid
    matrix = camera.matrix
    matrix[:2, 2] -= CENTRE_TO_CORNER
    size = (camera.width, camera.height)
    build = (
        cv2.fisheye.initUndistortRectifyMap
        if model == "equidistant"
        else cv2.initUndistortRectifyMap
    )
    x, y = build(matrix, coefficients, np.eye(3), matrix, size, cv2.CV_32FC1)
    inside = (
        (x >= -CENTRE_TO_CORNER)
        & (x <= camera.width - CENTRE_TO_CORNER)
        & (y >= -CENTRE_TO_CORNER)
        & (y <= camera.height - CENTRE_TO_CORNER)
    )
    rays = camera.unproject(camera.pixel_centres(), np.ones((camera.height, camera.width)))
    radius = np.hypot(rays[..., 0], rays[..., 1])
    inside &= radius < _fold_radius(model, coefficients, float(radius.max()))
    maps = _Maps(x.astype(np.float32, copy=False), y.astype(np.float32, copy=False))
    return maps, inside


def _fold_radius(model: str, coefficients: NDArray[np.float64], largest: float) -> float:
    """The radius on the plane z = 1 up to which the distorted radius grows; inf if up to largest.

    Beyond it the fitted polynomial folds back and would show the raw image a second time.
    """
    radii = np.linspace(0.0, largest, 2048)
    on_axis = np.stack([radii, np.zeros_like(radii), np.ones_like(radii)], axis=-1)[:, None]
    radial = coefficients.copy()
    if model == "equidistant":
        distorted, _ = cv2.fisheye.projectPoints(
            on_axis, np.zeros(3), np.zeros(3), np.eye(3), radial
        )
    else:
        radial[2:4] = 0.0
        radial[8:] = 0.0
        distorted, _ = cv2.projectPoints(on_axis, np.zeros(3), np.zeros(3), np.eye(3), radial)
    falls = np.diff(distorted[:, 0, 0]) <= 0.0
    return float(radii[int(np.argmax(falls))]) if falls.any() else np.inf

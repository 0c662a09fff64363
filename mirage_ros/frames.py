"""One camera frame with its depth, intrinsics and pose, and the rule that fits it to a size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError, FrameError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose


@dataclass(frozen=True)
class RgbdFrame:
    """What a camera saw from a known pose.

    Attributes:
        stamp_ns: time of exposure, nanoseconds.
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 z-depth in metres, 0 or NaN where unknown; None without a sensor.
        camera: intrinsics of ``image`` (and of ``depth``).
        T_world_camera: (4, 4) float64, optical frame to world.
        confidence: (H, W) float32 in [0, 1], how far the depth of each pixel is believed; None = 1
            wherever there is depth.
        dynamic: (H, W) bool, True where something moves and nothing is to be remembered; None =
            nowhere.

    Raises:
        FrameError: image, depth, confidence or mask of another shape or type than stated.
        PoseError: ``T_world_camera`` is not rigid.
    """

    stamp_ns: int
    image: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    confidence: NDArray[np.float32] | None = None
    dynamic: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        expected = (self.camera.height, self.camera.width)
        if self.image.shape != (*expected, 3) or self.image.dtype != np.uint8:
            raise FrameError(
                f"image must be uint8 of shape {(*expected, 3)}. "
                f"Got {self.image.dtype} of shape {self.image.shape}"
            )
        layers = {
            "depth": (self.depth, np.float32, "float32 metres"),
            "confidence": (self.confidence, np.float32, "float32"),
            "dynamic": (self.dynamic, np.bool_, "bool"),
        }
        for name, (layer, dtype, what) in layers.items():
            if layer is not None and (layer.shape != expected or layer.dtype != dtype):
                raise FrameError(
                    f"{name} must be {what} of shape {expected}. "
                    f"Got {layer.dtype} of shape {layer.shape}"
                )
        validate_pose(self.T_world_camera, "T_world_camera")


def fit_camera(camera: PinholeCamera, width: int, height: int) -> PinholeCamera:
    """Intrinsics after :func:`fit_frame` to ``width`` x ``height``."""
    scaled = _covering_camera(camera, width, height)
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.cropped(left, top, width, height)


def fit_frame(frame: RgbdFrame, width: int, height: int) -> RgbdFrame:
    """The frame resized to cover ``width`` x ``height``, then cropped to it about the centre.

    The aspect ratio is kept to within the rounding of the resized image to whole pixels, and the
    intrinsics follow exactly. Colour is averaged over pixels (area) when shrinking and
    interpolated linearly when growing. Depth takes the nearest pixel, because an average across
    an edge is a surface that does not exist; its confidence takes the same pixel. A pixel is
    dynamic if any of those that it covers is.
    """
    fitted = fit_camera(frame.camera, width, height)
    if fitted == frame.camera:
        return frame
    size = _covering_size(frame.camera.width, frame.camera.height, width, height)
    middle = _middle(size, width, height)

    def nearest(layer: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if layer is None:
            return None
        resized = cv2.resize(layer, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return np.ascontiguousarray(resized[middle], dtype=np.float32)

    dynamic = frame.dynamic
    if dynamic is not None:
        # Area when shrinking, linear when growing: zero only where no covered pixel is set.
        way = cv2.INTER_AREA if size[0] < frame.camera.width else cv2.INTER_LINEAR
        dynamic = cv2.resize(dynamic.astype(np.float32), size, interpolation=way)[middle] > 0.0
    return replace(
        frame,
        image=fit_image(frame.image, width, height),
        depth=nearest(frame.depth),
        camera=fitted,
        confidence=nearest(frame.confidence),
        dynamic=dynamic,
    )


def fit_image(
    image: NDArray[np.uint8],  # (H, W, 3)
    width: int,
    height: int,
) -> NDArray[np.uint8]:  # (height, width, 3)
    """An image as :func:`fit_frame` fits a frame's.

    Raises:
        CameraError: the size is not positive.
    """
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    size = _covering_size(columns, rows, width, height)
    way = cv2.INTER_AREA if size[0] < columns else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, size, interpolation=way), dtype=np.uint8)
    return np.ascontiguousarray(resized[_middle(size, width, height)])


def _covering_camera(camera: PinholeCamera, width: int, height: int) -> PinholeCamera:
    """The camera resized by one factor so that it just covers ``width`` x ``height``."""
    return camera.resized(*_covering_size(camera.width, camera.height, width, height))


def _covering_size(own_width: int, own_height: int, width: int, height: int) -> tuple[int, int]:
    """A size changed by one factor so that it just covers another."""
    if width < 1 or height < 1:
        raise CameraError(f"a size to fit must be positive. Got {width}x{height}")
    scale = max(width / own_width, height / own_height)
    return max(width, round(own_width * scale)), max(height, round(own_height * scale))


def _middle(size: tuple[int, int], width: int, height: int) -> tuple[slice, slice]:
    """Rows and columns of the window about the centre of a picture of ``size``."""
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return slice(top, top + height), slice(left, left + width)

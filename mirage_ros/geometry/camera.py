"""Pinhole camera in the pixel-corner convention.

The centre of the top-left pixel lies at (0.5, 0.5) and the image spans [0, width] x [0, height], so
resizing by a factor multiplies focal lengths and principal point alike, without the half-pixel
shift that the pixel-centre convention (ROS, OpenCV) needs. Conversion to and from that convention
happens only in :mod:`mirage_ros.geometry.camera_info`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError


@dataclass(frozen=True)
class PinholeCamera:
    """Intrinsics of an undistorted camera, optical frame (x right, y down, z forward).

    Attributes:
        width: image width, pixels.
        height: image height, pixels.
        fx: horizontal focal length, pixels.
        fy: vertical focal length, pixels.
        cx: principal point x, pixels from the left image border (corner convention).
        cy: principal point y, pixels from the top image border (corner convention).

    Raises:
        CameraError: a size is not positive, or an intrinsic is not finite or not positive (focal).
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise CameraError(
                f"camera size must be positive. Got {self.width}x{self.height} (width x height)"
            )
        intrinsics = (self.fx, self.fy, self.cx, self.cy)
        if not all(math.isfinite(value) for value in intrinsics):
            raise CameraError(f"intrinsics must be finite. Got fx, fy, cx, cy = {intrinsics}")
        if self.fx <= 0.0 or self.fy <= 0.0:
            raise CameraError(f"focal lengths must be positive. Got fx={self.fx}, fy={self.fy}")

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Camera matrix K, (3, 3), corner convention."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> PinholeCamera:
        """The same view sampled at ``width`` x ``height``; exact in this convention."""
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(width, height, self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy)

    def cropped(self, left: int, top: int, width: int, height: int) -> PinholeCamera:
        """The window of ``width`` x ``height`` whose top-left pixel is (``left``, ``top``).

        Raises:
            CameraError: the window reaches outside the image.
        """
        inside = 0 <= left <= self.width - width and 0 <= top <= self.height - height
        if not inside:
            raise CameraError(
                f"crop must lie inside the {self.width}x{self.height} image. "
                f"Got {width}x{height} at ({left}, {top})"
            )
        return PinholeCamera(width, height, self.fx, self.fy, self.cx - left, self.cy - top)

    def latent(self, stride: int) -> PinholeCamera:
        """The camera whose pixels are the latent cells of a codec of spatial ``stride``.

        Raises:
            CameraError: the image size is not a multiple of ``stride``.
        """
        if self.width % stride or self.height % stride:
            raise CameraError(
                f"image size must be a multiple of the stride {stride}. "
                f"Got {self.width}x{self.height}"
            )
        return self.resized(self.width // stride, self.height // stride)

    def project(
        self,
        points: NDArray[np.floating],  # (..., 3) camera frame, metres
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (..., 2) pixels, (...) z-depth
        """Pixel coordinates and z-depth of points; NaN pixels where z <= 0 (behind)."""
        xyz: NDArray[np.float64] = np.asarray(points, dtype=np.float64)
        z = xyz[..., 2]
        safe = np.where(z > 0.0, z, np.nan)
        u = self.fx * xyz[..., 0] / safe + self.cx
        v = self.fy * xyz[..., 1] / safe + self.cy
        return np.stack([u, v], axis=-1), z

    def unproject(
        self,
        pixels: NDArray[np.floating],  # (..., 2), corner convention
        depth: NDArray[np.floating],  # (...) z-depth, metres
    ) -> NDArray[np.float64]:  # (..., 3) camera frame, metres
        """Points in the camera frame that project to ``pixels`` at z-depth ``depth``."""
        pixels = np.asarray(pixels, dtype=np.float64)
        depth = np.asarray(depth, dtype=np.float64)
        x = (pixels[..., 0] - self.cx) / self.fx * depth
        y = (pixels[..., 1] - self.cy) / self.fy * depth
        return np.stack([x, y, depth], axis=-1)

    def pixel_centres(self) -> NDArray[np.float64]:  # (H, W, 2)
        """Coordinates (u, v) of every pixel centre."""
        u, v = np.meshgrid(np.arange(self.width) + 0.5, np.arange(self.height) + 0.5)
        return np.stack([u, v], axis=-1)

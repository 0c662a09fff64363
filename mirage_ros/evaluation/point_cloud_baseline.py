"""The older way as a baseline: a coloured point per pixel, rasterised for every view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera


class PointCloudBaseline:
    """Every valid pixel of every frame as a coloured point; the nearest one colours a pixel.

    Attributes:
        min_depth: nearest depth believed, metres.
        max_depth: farthest depth believed, metres.
    """

    def __init__(self, min_depth: float = 0.1, max_depth: float = 10.0) -> None:
        self.min_depth = min_depth
        self.max_depth = max_depth
        self._points: list[NDArray[np.float32]] = []
        self._colours: list[NDArray[np.uint8]] = []

    @property
    def point_count(self) -> int:
        """Number of points held."""
        return sum(len(points) for points in self._points)

    @property
    def nbytes(self) -> int:
        """Bytes of positions (float32) and colours (uint8)."""
        return sum(a.nbytes for a in self._points) + sum(a.nbytes for a in self._colours)

    def observe(self, frame: RgbdFrame) -> None:
        """Append every pixel of valid depth; a frame without depth adds nothing."""
        if frame.depth is None:
            return
        valid = (frame.depth >= self.min_depth) & (frame.depth <= self.max_depth)
        centres = frame.camera.pixel_centres()[valid]
        points = frame.camera.unproject(centres, frame.depth[valid])
        pose = frame.T_world_camera
        self._points.append((points @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32))
        self._colours.append(frame.image[valid])

    def render(
        self,
        camera: PinholeCamera,
        T_world_camera: NDArray[np.float64],  # (4, 4)
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Picture (H, W, 3) in [0, 1], black where unknown, and the mask (H, W) of known pixels."""
        pixels = camera.height * camera.width
        nearest = np.full(pixels, np.inf, dtype=np.float32)
        picture = np.zeros((pixels, 3), dtype=np.float32)
        pose = T_world_camera.astype(np.float32)
        for points, colours in zip(self._points, self._colours, strict=True):
            uv, depth = camera.project((points - pose[:3, 3]) @ pose[:3, :3])
            with np.errstate(invalid="ignore"):
                column, row = np.floor(uv[:, 0]), np.floor(uv[:, 1])
                seen = (column >= 0) & (column < camera.width)
                seen &= (row >= 0) & (row < camera.height)
            flat = (row[seen] * camera.width + column[seen]).astype(np.int64)
            z = depth[seen].astype(np.float32)
            closer = z < nearest[flat]
            flat, z, colour = flat[closer], z[closer], colours[seen][closer]
            np.minimum.at(nearest, flat, z)
            front = z == nearest[flat]
            picture[flat[front]] = colour[front] / np.float32(255.0)
        shape = (camera.height, camera.width)
        return picture.reshape(*shape, 3), np.isfinite(nearest).reshape(shape)

"""Coloured points and their rasteriser: which point every pixel of a view shows.

A point colours the one pixel that it falls into, and the nearest point wins; of equally near ones
the first, which is the oldest where points are appended. The minimum of a packed key, depth before
number, says so whatever order the points come in, so a picture is the same on every run and for any
number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled_parallel, threads
from mirage_ros.geometry.camera import PinholeCamera

#: Bytes of a point: three float32 and three uint8.
POINT_BYTES = 15

_EMPTY = np.iinfo(np.int64).max
#: Points projected in one go.
_BLOCK = 512
_ZERO = np.float32(0.0)


@dataclass(frozen=True)
class Points:
    """N coloured points; the arrays are never written to, so copies may share them.

    Attributes:
        positions: (N, 3) float32, world, metres.
        colours: (N, 3) uint8 RGB.
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.positions)

    def select(
        self,
        rows: NDArray[np.bool_] | NDArray[np.int64] | slice,
    ) -> Points:
        """Some of the points."""
        return Points(self.positions[rows], self.colours[rows])


class PointList:
    """Points in the order in which they came, batch by batch.

    Attributes:
        parts: the batches, oldest first.
        stamps_ns: when each batch was seen.
    """

    def __init__(self) -> None:
        self.parts: list[Points] = []
        self.stamps_ns: list[int] = []

    @property
    def count(self) -> int:
        """Number of points held."""
        return sum(len(part) for part in self.parts)

    @property
    def index_nbytes(self) -> int:
        """Bytes held beside the points: a stamp and a length for every batch."""
        return 16 * len(self.parts)

    def add(self, points: Points, stamp_ns: int) -> None:
        """Append a batch; an empty one leaves no trace."""
        if len(points):
            self.parts.append(points)
            self.stamps_ns.append(stamp_ns)

    def keep(
        self,
        kept: NDArray[np.bool_],  # (count,)
    ) -> None:
        """Forget all other points."""
        parts, stamps = self.parts, self.stamps_ns
        self.clear()
        start = 0
        for part, stamp in zip(parts, stamps, strict=True):
            mine = kept[start : start + len(part)]
            self.add(part if mine.all() else part.select(mine), stamp)
            start += len(part)

    def forget_oldest(self, count: int) -> int:
        """Forget so many points, or all; how many went."""
        gone = min(count, self.count)
        if gone > 0:
            self.keep(np.arange(self.count) >= gone)
        return max(gone, 0)

    def clear(self) -> None:
        """Forget everything."""
        self.parts, self.stamps_ns = [], []

    def point_stamps(self) -> NDArray[np.int64]:  # (count,)
        """When each point was seen."""
        sizes = [len(part) for part in self.parts]
        return np.repeat(np.array(self.stamps_ns, dtype=np.int64), sizes)


def joined(parts: Sequence[Points]) -> Points:
    """All points in one batch."""
    return Points(
        np.concatenate([np.empty((0, 3), dtype=np.float32), *(part.positions for part in parts)]),
        np.concatenate([np.empty((0, 3), dtype=np.uint8), *(part.colours for part in parts)]),
    )


@dataclass(frozen=True)
class Raster:
    """Pictures of T views.

    Attributes:
        images: (T, H, W, 3) uint8 RGB, black where nothing was hit.
        hit: (T, H, W) bool.
        depth: (T, H, W) float32 z-depth in metres, 0 where nothing was hit.
    """

    images: NDArray[np.uint8]
    hit: NDArray[np.bool_]
    depth: NDArray[np.float32]

    def over(self, behind: Raster) -> Raster:
        """These pictures, and the others' where nothing was hit."""
        return Raster(
            np.where(self.hit[..., None], self.images, behind.images),
            self.hit | behind.hit,
            np.where(self.hit, self.depth, behind.depth),
        )


def rasterise(
    parts: Sequence[Points],
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    near_plane: float,  # points nearer to the image plane than this are not seen, metres
) -> Raster:
    """The nearest point in every pixel of T views."""
    poses = np.ascontiguousarray(T_world_camera[:, :3, :], dtype=np.float32)
    views, pixels = len(poses), camera.height * camera.width
    with threads() as count:
        # Enough pictures for the threads to share one view.
        split = max(1, -(-count // max(1, views)))
        keys = np.full((views * split, pixels), _EMPTY, dtype=np.int64)
        colours = np.zeros((views * split, pixels, 3), dtype=np.uint8)
        first = 0
        for part in parts:
            if views and len(part):
                _splat(
                    part.positions,
                    part.colours,
                    first,
                    poses,
                    _scalars(camera, near_plane),
                    camera.width,
                    camera.height,
                    split,
                    keys,
                    colours,
                )
            first += len(part)
        bits = np.zeros((views, pixels), dtype=np.int32)
        if views:
            _merge(keys, colours, split, bits)
    shape = (views, camera.height, camera.width)
    depth = bits.view(np.float32).reshape(shape)
    return Raster(colours[::split].reshape(*shape, 3), depth > 0.0, depth)


def project(
    points: Points,
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (4, 4)
    near_plane: float,  # metres
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Flat number of the pixel that each point falls into (N,), -1 = none, and its z-depth (N,)."""
    pixel = np.empty(len(points), dtype=np.int64)
    depth = np.empty(len(points), dtype=np.float32)
    pose = np.ascontiguousarray(T_world_camera[:3, :], dtype=np.float32)
    with threads():
        _project(
            points.positions,
            pose,
            _scalars(camera, near_plane),
            camera.width,
            camera.height,
            pixel,
            depth,
        )
    return pixel, depth


def _scalars(camera: PinholeCamera, near_plane: float) -> NDArray[np.float32]:
    return np.array([camera.fx, camera.fy, camera.cx, camera.cy, near_plane], dtype=np.float32)


@compiled_parallel
def _splat(  # type: ignore[no-untyped-def]
    positions, colours, first, poses, scalars, width, height, split, keys, pictures
):
    count = len(positions)
    fx, fy, cx, cy, near = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4]
    right, bottom = np.float32(width), np.float32(height)
    for task in numba.prange(len(poses) * split):
        pose, part = poses[task // split], task % split
        nearest, picture = keys[task], pictures[task]
        u = np.empty(_BLOCK, dtype=np.float32)
        v = np.empty(_BLOCK, dtype=np.float32)
        z = np.empty(_BLOCK, dtype=np.float32)
        # Positive floats are ordered as their bits are.
        bits = z.view(np.int32)
        end = count * (part + 1) // split
        for start in range(count * part // split, end, _BLOCK):
            block = min(_BLOCK, end - start)
            for i in range(block):
                dx = positions[start + i, 0] - pose[0, 3]
                dy = positions[start + i, 1] - pose[1, 3]
                dz = positions[start + i, 2] - pose[2, 3]
                ahead = dx * pose[0, 2] + dy * pose[1, 2] + dz * pose[2, 2]
                u[i] = fx * (dx * pose[0, 0] + dy * pose[1, 0] + dz * pose[2, 0]) / ahead + cx
                v[i] = fy * (dx * pose[0, 1] + dy * pose[1, 1] + dz * pose[2, 1]) / ahead + cy
                z[i] = ahead
            for i in range(block):
                inside = (z[i] >= near) & (u[i] >= _ZERO) & (u[i] < right)
                if inside & (v[i] >= _ZERO) & (v[i] < bottom):
                    pixel = np.int64(v[i]) * width + np.int64(u[i])
                    key = (np.int64(bits[i]) << 32) | (first + start + i)
                    if key < nearest[pixel]:
                        nearest[pixel] = key
                        for channel in range(3):
                            picture[pixel, channel] = colours[start + i, channel]


@compiled_parallel
def _merge(keys, pictures, split, bits):  # type: ignore[no-untyped-def]
    """Into the first of each view's pictures; and the bits of its depth, 0 where nothing is."""
    views, pixels = bits.shape
    for row in numba.prange(views * split):
        view, part = row // split, row % split
        first = view * split
        for pixel in range(pixels * part // split, pixels * (part + 1) // split):
            best = first
            for other in range(first + 1, first + split):
                if keys[other, pixel] < keys[best, pixel]:
                    best = other
            if keys[best, pixel] != _EMPTY:
                bits[view, pixel] = keys[best, pixel] >> 32
                for channel in range(3):
                    pictures[first, pixel, channel] = pictures[best, pixel, channel]


@compiled_parallel
def _project(positions, pose, scalars, width, height, pixel, depth):  # type: ignore[no-untyped-def]
    fx, fy, cx, cy, near = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4]
    right, bottom = np.float32(width), np.float32(height)
    for i in numba.prange(len(positions)):
        dx = positions[i, 0] - pose[0, 3]
        dy = positions[i, 1] - pose[1, 3]
        dz = positions[i, 2] - pose[2, 3]
        ahead = dx * pose[0, 2] + dy * pose[1, 2] + dz * pose[2, 2]
        u = fx * (dx * pose[0, 0] + dy * pose[1, 0] + dz * pose[2, 0]) / ahead + cx
        v = fy * (dx * pose[0, 1] + dy * pose[1, 1] + dz * pose[2, 1]) / ahead + cy
        inside = (ahead >= near) & (u >= _ZERO) & (u < right) & (v >= _ZERO) & (v < bottom)
        pixel[i] = np.int64(v) * width + np.int64(u) if inside else -1
        depth[i] = ahead

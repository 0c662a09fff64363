"""What earlier keyframes saw of a place: nothing there, a surface there, or neither."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled_parallel, threads
from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import rotation_angle, translation_distance

#: Blocks along the width of a view; one depth is kept of each.
_COLUMNS = 40
#: Smallest block, pixels.
_LEAST_BLOCK = 4

#: A view from as near to an earlier one takes its place, metres and radians.
_SAME_PLACE, _SAME_ANGLE = 0.05, 0.05

UNKNOWN, FREE, SURFACE = 0, 1, 2


@dataclass(frozen=True)
class FreeSpaceConfig:
    """How much is kept, and how far depths may differ.

    A point at depth z of an earlier view was free if everything measured about it there lies
    farther than z + max(margin, relative z, 3 noise z^2), and a surface if something lies within
    that of z.

    Attributes:
        capacity: views kept; about 5 KiB each.
        margin: metres.
        relative: share of the depth.
        noise: standard deviation of measured depth at 1 m, metres; it grows with the square.
        max_depth: points farther than this in a view are not judged by it, metres: there, a small
            error of the pose's angle looks like metres of free space along the floor.

    Raises:
        ConfigurationError: a value is out of range.
    """

    capacity: int = 128
    margin: float = 0.10
    relative: float = 0.05
    noise: float = 0.0015
    max_depth: float = 6.0

    def __post_init__(self) -> None:
        if self.capacity < 1:
            raise ConfigurationError(f"free-space capacity must be at least 1. Got {self.capacity}")
        for name in ("margin", "relative", "noise", "max_depth"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(f"free-space {name} must be finite and >= 0. Got {value}")


@dataclass
class _View:
    """A view as it is kept: nearest and farthest depth of each block, 0 where unknown."""

    stamp_ns: int
    T_world_camera: NDArray[np.float64]
    scalars: NDArray[np.float64]  # fx, fy, cx, cy in blocks
    nearest: NDArray[np.float32]
    farthest: NDArray[np.float32]


class FreeSpace:
    """Depths of the latest keyframes, coarsely, to tell what is new from what was not in view.

    A thing that is nearer than what is remembered behind it may have been out of view before. Only
    if a view saw through the place where it is now, it has come since.

    Args:
        config: how much is kept, and how far depths may differ.
    """

    def __init__(self, config: FreeSpaceConfig | None = None) -> None:
        self.config = config or FreeSpaceConfig()
        self._views: list[_View] = []

    def __len__(self) -> int:
        return len(self._views)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(view.nearest.nbytes + view.farthest.nbytes for view in self._views)

    def clear(self) -> None:
        """Forget everything."""
        self._views.clear()

    def add(
        self,
        frame: RgbdFrame,  # with depth
    ) -> None:
        """Keep what a view measured; where something moves it says nothing."""
        assert frame.depth is not None
        depth = np.where(np.isfinite(frame.depth), frame.depth, np.float32(0.0))
        if frame.dynamic is not None:
            depth = np.where(frame.dynamic, np.float32(0.0), depth)
        camera = frame.camera
        block = max(_LEAST_BLOCK, round(camera.width / _COLUMNS))
        nearest, farthest = _blocks(depth.astype(np.float32, copy=False), block)
        view = _View(
            frame.stamp_ns,
            frame.T_world_camera.copy(),
            np.array([camera.fx, camera.fy, camera.cx, camera.cy]) / block,
            nearest,
            farthest,
        )
        if frame.dynamic is None or not frame.dynamic.any():
            # One with a mask does not know all that the earlier one knew.
            self._views = [old for old in self._views if not _same_place(old, view)]
        self._views = [*self._views, view][-self.config.capacity :]

    def judge(
        self,
        points: NDArray[np.float64],  # (N, 3) world, metres
    ) -> NDArray[np.uint8]:  # (N,) UNKNOWN, FREE or SURFACE
        """What the latest view that can tell saw at each point."""
        views = [view for view in self._views if view.nearest.size]
        verdict = np.zeros(len(points), dtype=np.uint8)
        if not views or not len(points):
            return verdict
        rows = max(view.nearest.shape[0] for view in views)
        columns = max(view.nearest.shape[1] for view in views)
        depths = np.zeros((len(views), 2, rows, columns), dtype=np.float32)
        sizes = np.zeros((len(views), 2), dtype=np.int64)
        # Newest first: a later view knows better.
        for number, view in enumerate(reversed(views)):
            height, width = view.nearest.shape
            depths[number, 0, :height, :width] = view.nearest
            depths[number, 1, :height, :width] = view.farthest
            sizes[number] = height, width
        config = self.config
        with threads():
            _judge(
                np.ascontiguousarray(points, dtype=np.float64),
                np.stack([view.T_world_camera[:3] for view in reversed(views)]),
                np.stack([view.scalars for view in reversed(views)]),
                depths,
                sizes,
                np.array([config.margin, config.relative, 3.0 * config.noise, config.max_depth]),
                verdict,
            )
        return verdict

    def move(
        self,
        stamps_ns: NDArray[np.int64],  # (K,)
        T_world_camera: NDArray[np.float64],  # (K, 4, 4)
    ) -> None:
        """Let the views of these stamps stand elsewhere."""
        place = {int(stamp): pose for stamp, pose in zip(stamps_ns, T_world_camera, strict=True)}
        for view in self._views:
            view.T_world_camera = place.get(view.stamp_ns, view.T_world_camera)


def camera_points(
    depth: NDArray[np.float32],  # (h, w) at some pixels
    pixels: NDArray[np.float64],  # (h, w, 2) where those pixels' centres are
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (4, 4)
) -> NDArray[np.float64]:  # (h, w, 3)
    """World points of pixels with their depth."""
    local = camera.unproject(pixels, depth)
    points: NDArray[np.float64] = local @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
    return points


def _same_place(one: _View, other: _View) -> bool:
    return (
        translation_distance(one.T_world_camera, other.T_world_camera) <= _SAME_PLACE
        and rotation_angle(one.T_world_camera, other.T_world_camera) <= _SAME_ANGLE
    )


def _blocks(
    depth: NDArray[np.float32],  # (H, W), 0 = unknown
    block: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Nearest and farthest depth of each whole block, 0 where less than half of it is known."""
    rows, columns = depth.shape[0] // block, depth.shape[1] // block
    cells = depth[: rows * block, : columns * block].reshape(rows, block, columns, block)
    known = cells > 0.0
    enough = known.sum(axis=(1, 3)) * 2 >= block * block
    nearest = np.where(known, cells, np.float32(np.inf)).min(axis=(1, 3))
    farthest = cells.max(axis=(1, 3))
    zero = np.float32(0.0)
    return np.where(enough, nearest, zero), np.where(enough, farthest, zero)


@compiled_parallel
def _judge(points, poses, scalars, depths, sizes, limits, verdict):  # type: ignore[no-untyped-def]
    for point in numba.prange(len(points)):
        for view in range(len(poses)):
            pose = poses[view]
            x = points[point, 0] - pose[0, 3]
            y = points[point, 1] - pose[1, 3]
            z = points[point, 2] - pose[2, 3]
            ahead = pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z
            if ahead <= 0.1 or ahead > limits[3]:
                continue
            right = pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z
            down = pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z
            # The four blocks about the point: pose errors shift it by less than that.
            column = math.floor(right / ahead * scalars[view, 0] + scalars[view, 2] - 0.5)
            row = math.floor(down / ahead * scalars[view, 1] + scalars[view, 3] - 0.5)
            height, width = sizes[view]
            if column < 0 or row < 0 or column + 1 >= width or row + 1 >= height:
                continue
            tolerance = max(limits[0], max(limits[1] * ahead, limits[2] * ahead * ahead))
            free, surface = True, False
            for i in range(2):
                for j in range(2):
                    nearest = depths[view, 0, row + i, column + j]
                    farthest = depths[view, 1, row + i, column + j]
                    if nearest <= ahead + tolerance:
                        free = False
                        if farthest >= ahead - tolerance and nearest > 0.0:
                            surface = True
            if surface:
                verdict[point] = 2
                break
            if free:
                verdict[point] = 1
                break

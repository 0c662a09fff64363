"""Where a depth map breaks: edges, pixels that stand off both sides of one, loose specks.

Two neighbouring pixels lie on one surface if their depths differ little, or as much as the
surface's slope has it: along a line of pixels a plane's inverse depth is linear, so its steps go on
beyond the pair. A floor far away therefore has no edges, however steep it is. What hangs between
two surfaces (a flying pixel: the sensor mixed both) goes on with neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled


@dataclass(frozen=True)
class SurfacePixels:
    """What a depth map's pixels are part of.

    Attributes:
        kept: (H, W) bool, part of a surface.
        beside_edge: (H, W) bool, of those kept: near a pixel that belongs to another surface.
    """

    kept: NDArray[np.bool_]
    beside_edge: NDArray[np.bool_]


def surface_pixels(
    depth: NDArray[np.float32],  # (H, W) z-depth in metres, 0 = unknown
    tolerance: NDArray[np.float32],  # (H, W) metres
    *,
    min_patch: int,
    edge_radius: int,
) -> SurfacePixels:
    """Split a depth map into surfaces.

    Args:
        depth: to look through.
        tolerance: neighbours on a surface differ by no more, apart from the surface's slope.
        min_patch: surfaces of fewer pixels are specks, and not kept.
        edge_radius: how near a pixel of another surface is near, pixels.
    """
    across, down = _steps(depth, tolerance)
    standing_off, edge = _breaks(depth, across, down)
    sizes = _patch_sizes(depth, across, down, standing_off)
    kept = (depth > 0.0) & ~standing_off & (sizes >= min_patch)
    side = 2 * edge_radius + 1
    near = cv2.dilate(edge.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return SurfacePixels(kept, kept & near)


def _steps(
    depth: NDArray[np.float32],  # (H, W)
    tolerance: NDArray[np.float32],  # (H, W)
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:  # (H, W) each
    """Whether each pixel goes on to the one on its right, and to the one below."""
    found = []
    for axis in (1, 0):
        first = (slice(None), slice(None, -1)) if axis else (slice(None, -1), slice(None))
        second = (slice(None), slice(1, None)) if axis else (slice(1, None), slice(None))
        near, far = depth[first], depth[second]
        both = (near > 0.0) & (far > 0.0)
        alike = np.abs(far - near) <= np.minimum(tolerance[first], tolerance[second])
        goes_on = np.zeros(depth.shape, dtype=np.bool_)
        goes_on[first] = both & alike
        # Few are left to be looked at one by one.
        rows, columns = np.nonzero(both & ~alike)
        _follow_slopes(depth, tolerance, rows, columns, axis == 0, goes_on)
        found.append(goes_on)
    return found[0], found[1]


@compiled
def _follow_slopes(
    depth: NDArray[np.float32],  # (H, W)
    tolerance: NDArray[np.float32],  # (H, W)
    rows: NDArray[np.int64],  # (N,) of pairs that differ, their first pixels
    columns: NDArray[np.int64],  # (N,)
    downwards: bool,  # to the pixel below; else to the one on the right
    goes_on: NDArray[np.bool_],  # (H, W) set where the slope has it
) -> None:
    """Find pairs that differ as the surface's slope beyond them, on either side, has it."""
    height, width = depth.shape
    down, right = (1, 0) if downwards else (0, 1)
    for pair in range(len(rows)):
        row, column = rows[pair], columns[pair]
        one, other = depth[row, column], depth[row + down, column + right]
        step = 1.0 / other - 1.0 / one
        near = min(one, other)
        allowed = min(tolerance[row, column], tolerance[row + down, column + right])
        # The tolerance as one of the inverse depth, and never so wide that no step matters.
        band = min(2.0 * allowed / (near * near), 0.5 * abs(step))
        for side in (-1, 1):
            alike = 0
            for number in range(2):
                start = side * number + (side > 0)
                r1, c1 = row + start * down, column + start * right
                r2, c2 = r1 + side * down, c1 + side * right
                if r2 < 0 or c2 < 0 or r2 >= height or c2 >= width:
                    break
                if depth[r1, c1] <= 0.0 or depth[r2, c2] <= 0.0:
                    break
                beyond = (1.0 / depth[r2, c2] - 1.0 / depth[r1, c1]) * side
                if abs(beyond - step) > band:
                    break
                alike += 1
            if alike == 2:
                goes_on[row, column] = True


@compiled
def _breaks(
    depth: NDArray[np.float32],  # (H, W)
    across: NDArray[np.bool_],  # (H, W)
    down: NDArray[np.bool_],  # (H, W)
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:  # (H, W) each
    """Pixels with an edge on both sides along a row or column, and all pixels with an edge."""
    height, width = depth.shape
    standing_off = np.zeros((height, width), np.bool_)
    edge = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            if depth[row, column] <= 0.0:
                continue
            left = column > 0 and depth[row, column - 1] > 0.0 and not across[row, column - 1]
            right = column + 1 < width and depth[row, column + 1] > 0.0 and not across[row, column]
            above = row > 0 and depth[row - 1, column] > 0.0 and not down[row - 1, column]
            below = row + 1 < height and depth[row + 1, column] > 0.0 and not down[row, column]
            edge[row, column] = left or right or above or below
            standing_off[row, column] = (left and right) or (above and below)
    return standing_off, edge


@compiled
def _root(parent: NDArray[np.int32], number: int) -> int:
    while parent[number] != number:
        parent[number] = parent[parent[number]]
        number = parent[number]
    return number


@compiled
def _patch_sizes(
    depth: NDArray[np.float32],  # (H, W)
    across: NDArray[np.bool_],  # (H, W)
    down: NDArray[np.bool_],  # (H, W)
    left_out: NDArray[np.bool_],  # (H, W)
) -> NDArray[np.int32]:  # (H, W)
    """Pixels of the connected surface that each pixel is part of."""
    height, width = depth.shape
    parent = np.arange(height * width).astype(np.int32)
    for row in range(height):
        for column in range(width):
            if left_out[row, column]:
                continue
            number = row * width + column
            if across[row, column] and not left_out[row, column + 1]:
                one, other = _root(parent, number), _root(parent, number + 1)
                parent[max(one, other)] = min(one, other)
            if down[row, column] and not left_out[row + 1, column]:
                one, other = _root(parent, number), _root(parent, number + width)
                parent[max(one, other)] = min(one, other)
    count = np.zeros(height * width, np.int32)
    for number in range(height * width):
        count[_root(parent, number)] += 1
    sizes = np.zeros((height, width), np.int32)
    for row in range(height):
        for column in range(width):
            sizes[row, column] = count[_root(parent, row * width + column)]
    return sizes

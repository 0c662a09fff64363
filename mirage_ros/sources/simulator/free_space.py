"""Where a robot can drive: a grid of clearances, and smooth paths through it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.grid_search import Cell, astar
from mirage_ros.sources.simulator.floorplan import FloorPlan, Rectangle

#: Size of a grid cell, metres.
RESOLUTION = 0.05

#: Distance that the middle of a path keeps from everything, metres. The robot's radius is 0.18.
PATH_CLEARANCE = 0.28

#: Clearance beyond which a path gains nothing by keeping away farther, metres.
_COMFORT = 0.6


@dataclass(frozen=True)
class FreeSpace:
    """Distance to the nearest obstacle over the floor of an apartment.

    Attributes:
        clearance: (rows along y, columns along x) float32 metres, 0 in walls and furniture.
        origin: world (x, y) of the corner of cell (0, 0), metres.
    """

    clearance: NDArray[np.float32]
    origin: tuple[float, float]

    @classmethod
    def of(cls, plan: FloorPlan, obstacles: list[Rectangle]) -> FreeSpace:
        """Free space of a floor plan with obstacles on the floor."""
        bounds = plan.bounds.inflated(0.2)
        origin = (bounds.x_min, bounds.y_min)
        shape = (math.ceil(bounds.depth / RESOLUTION), math.ceil(bounds.width / RESOLUTION))
        free = np.zeros(shape, np.uint8)
        for area in [room.rectangle for room in plan.rooms] + [d.zone(0.1) for d in plan.doors]:
            free[_inner_cells(origin, area)] = 1
        for obstacle in obstacles:
            free[_outer_cells(origin, obstacle)] = 0
        distance = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # Distances are between cell centres; the obstacle begins half a cell earlier.
        clearance = np.maximum(distance.astype(np.float32) - 0.5, 0.0) * np.float32(RESOLUTION)
        return cls(clearance, origin)

    def clearance_at(
        self,
        points: NDArray[np.float64],  # (N, 2) world, metres
    ) -> NDArray[np.float32]:  # (N,) metres
        """Distance from points to the nearest obstacle, 0 outside the apartment."""
        cells = self._cell(points)
        rows, columns = self.clearance.shape
        inside = np.logical_and(cells >= 0, cells < [rows, columns]).all(axis=-1)
        safe = np.clip(cells, 0, [rows - 1, columns - 1])
        return np.where(inside, self.clearance[safe[:, 0], safe[:, 1]], np.float32(0.0))

    def _cell(self, points: NDArray[np.float64]) -> NDArray[np.int64]:  # (N, 2) row, column
        cells = np.floor((points - np.array(self.origin)) / RESOLUTION).astype(np.int64)
        swapped: NDArray[np.int64] = cells[:, ::-1]
        return swapped

    def _centre(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:  # (N, 2) x, y
        points: NDArray[np.float64] = (cells[:, ::-1] + 0.5) * RESOLUTION + np.array(self.origin)
        return points

    def viewpoint(self, area: Rectangle) -> tuple[float, float]:
        """A place in an area with much clearance and near its middle."""
        window = _inner_cells(self.origin, area)
        clearance = np.minimum(self.clearance[window], np.float32(0.75))
        rows, columns = np.indices(clearance.shape)
        middle = (np.array(clearance.shape) - 1) / 2.0
        off = np.hypot(rows - middle[0], columns - middle[1]) * RESOLUTION
        best = np.unravel_index(int(np.argmax(clearance - 0.08 * off)), clearance.shape)
        cell = np.array([[best[0] + window[0].start, best[1] + window[1].start]])
        x, y = self._centre(cell)[0]
        return float(x), float(y)

    def reachable(
        self,
        points: NDArray[np.float64],  # (N, 2) world, metres
    ) -> NDArray[np.bool_]:  # (N,)
        """Whether points lie in the largest area whose places paths can join."""
        passable = (self.clearance >= PATH_CLEARANCE).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(passable, connectivity=4)
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        cells = self._cell(points)
        inside = np.logical_and(cells >= 0, cells < labels.shape).all(axis=-1)
        safe = np.where(inside[:, None], cells, 0)
        found: NDArray[np.bool_] = inside & (labels[safe[:, 0], safe[:, 1]] == largest)
        return found

    def path(
        self, start: tuple[float, float], goal: tuple[float, float]
    ) -> NDArray[np.float64]:  # (N, 2)
        """A smooth path with points about 5 cm apart that keeps clear of everything.

        Raises:
            ConfigurationError: start or goal is not free, or nothing joins them.
        """
        ends = np.array([start, goal], dtype=np.float64)
        if (self.clearance_at(ends) < PATH_CLEARANCE).any():
            raise ConfigurationError(
                f"a path needs {PATH_CLEARANCE} m of clearance at its ends. Got "
                f"{self.clearance_at(ends).tolist()} at {start} and {goal}"
            )
        (r0, c0), (r1, c1) = self._cell(ends).tolist()
        cells = self._search((r0, c0), (r1, c1))
        if cells is None:
            raise ConfigurationError(
                f"expected a free way from {start} to {goal}. Got none with clearance "
                f"{PATH_CLEARANCE} m"
            )
        points = self._centre(np.array(cells))
        points[0], points[-1] = ends
        return self._smoothed(points)

    def _search(self, start: Cell, goal: Cell) -> list[Cell] | None:
        """A* over cells, where tight places cost more than open ones."""
        passable = self.clearance >= PATH_CLEARANCE
        tightness = np.clip((_COMFORT - self.clearance) / _COMFORT, 0.0, 1.0)
        return astar(passable, 1.0 + 4.0 * tightness**2, start, goal, cuts_corners=True)

    def smooth_circuit(
        self,
        points: NDArray[np.float64],  # (N, 2) along a free way that ends where it begins
    ) -> NDArray[np.float64]:  # (M, 2)
        """A closed path as smooth as clearance allows; the last point's successor is the first.

        Points are about 5 cm apart, less in bends and much less where the way turns back on
        itself: passed at so many points a second, it is slowed down there.
        """
        steps = np.hypot(*np.diff(points, axis=0, append=points[:1]).T)
        along = np.concatenate([[0.0], np.cumsum(steps)])
        count = max(3, round(float(along[-1]) / RESOLUTION))
        even = np.linspace(0.0, along[-1], count, endpoint=False)
        closed = np.concatenate([points, points[:1]])
        spaced = np.stack([np.interp(even, along, closed[:, axis]) for axis in (0, 1)], axis=-1)
        return self._smoothed(spaced, closed=True)

    def view_distances(
        self,
        points: NDArray[np.float64],  # (N, 2) world, metres
        headings: NDArray[np.float64],  # (M,) radians
        limit: float,
    ) -> NDArray[np.float64]:  # (N, M) metres
        """How far the floor is free from points into directions, up to ``limit`` metres."""
        reaches = np.arange(RESOLUTION, limit + RESOLUTION, RESOLUTION)
        rays = np.stack([np.cos(headings), np.sin(headings)], axis=-1)
        distances = np.empty((len(points), len(headings)))
        for row, point in zip(distances, points, strict=True):
            along = point + reaches[:, None, None] * rays  # (R, M, 2)
            blocked = self.clearance_at(along.reshape(-1, 2)).reshape(along.shape[:2]) == 0.0
            row[:] = np.where(blocked.any(axis=0), reaches[blocked.argmax(axis=0)], limit)
        return distances

    def _smoothed(
        self, points: NDArray[np.float64], *, closed: bool = False
    ) -> NDArray[np.float64]:  # (N, 2)
        """Corners rounded by averaging neighbours, as far as clearance lets them move."""
        points = points.copy()
        for _ in range(120):
            between = 0.5 * (np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0))
            if not closed:
                between[[0, -1]] = points[[0, -1]]
            moved = points + 0.5 * (between - points)
            clear = self.clearance_at(moved)
            keeps = (clear >= PATH_CLEARANCE) & (
                (clear >= _COMFORT / 2.0) | (clear >= self.clearance_at(points))
            )
            points[keeps] = moved[keeps]
        return points


def _inner_cells(origin: tuple[float, float], area: Rectangle) -> tuple[slice, slice]:
    """Cells that lie wholly inside an area."""
    low_x, high_x = _span(origin[0], area.x_min, area.x_max, inner=True)
    low_y, high_y = _span(origin[1], area.y_min, area.y_max, inner=True)
    return slice(low_y, high_y), slice(low_x, high_x)


def _outer_cells(origin: tuple[float, float], area: Rectangle) -> tuple[slice, slice]:
    """Cells that an area touches."""
    low_x, high_x = _span(origin[0], area.x_min, area.x_max, inner=False)
    low_y, high_y = _span(origin[1], area.y_min, area.y_max, inner=False)
    return slice(low_y, high_y), slice(low_x, high_x)


def _span(origin: float, low: float, high: float, *, inner: bool) -> tuple[int, int]:
    a, b = (low - origin) / RESOLUTION, (high - origin) / RESOLUTION
    if inner:
        return max(0, math.ceil(a - 1e-9)), max(0, math.floor(b + 1e-9))
    return max(0, math.floor(a)), max(0, math.ceil(b))

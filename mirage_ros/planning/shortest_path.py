"""Shortest paths over a grid of clearances, as metres and as cells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.grid_search import Cell, astar
from mirage_ros.planning.occupancy import OccupancyGrid


@dataclass(frozen=True)
class FloorMap:
    """Where a round robot can go: clearances of a grid at one moment.

    Attributes:
        grid: places the cells.
        clearance: (rows, columns) metres to the nearest obstacle or unknown floor.
        radius: that the robot's middle has to keep, metres.
        comfort: clearance beyond which a path gains nothing by keeping away farther, metres.
    """

    grid: OccupancyGrid
    clearance: NDArray[np.float32]
    radius: float
    comfort: float = 0.6

    @classmethod
    def of(cls, grid: OccupancyGrid, radius: float, comfort: float = 0.6) -> FloorMap:
        """The map of what a grid knows now; unknown floor is no floor.

        Raises:
            ConfigurationError: the radius is not positive.
        """
        if not radius > 0.0:
            raise ConfigurationError(f"radius must be positive, metres. Got {radius}")
        return cls(grid, grid.clearance(), radius, comfort)

    def clearance_at(self, points: NDArray[np.float64]) -> NDArray[np.float32]:  # (N, 2) -> (N,)
        """Clearance at world points, 0 outside the grid."""
        cells = self.grid.cells_of(points)
        rows, columns = self.clearance.shape
        inside = ((cells >= 0) & (cells < (rows, columns))).all(axis=-1)
        safe = np.clip(cells, 0, (rows - 1, columns - 1))
        values = self.clearance[safe[..., 0], safe[..., 1]]
        return np.where(inside, values, np.float32(0.0))

    def reachable(self, x: float, y: float) -> NDArray[np.bool_]:  # (rows, columns)
        """The cells that the robot's middle can get to from a place, or from the nearest free one.

        No cell is where nothing is free.
        """
        passable = self.clearance >= self.radius
        cell = self._nearest_cell(passable, x, y)
        if cell is None:
            return passable
        _, labels = cv2.connectedComponents(passable.astype(np.uint8), connectivity=4)
        return np.asarray(labels == labels[cell], dtype=np.bool_)

    def nearest_reachable(
        self, start: tuple[float, float], goal: tuple[float, float]
    ) -> tuple[float, float] | None:
        """The place nearest to ``goal`` that can be got to from ``start``; None: nothing is."""
        cells = self.reachable(*start)
        at = self.grid.cells_of(np.array([goal]))[0]
        if (at >= 0).all() and (at < cells.shape).all() and cells[at[0], at[1]]:
            return goal
        cell = self._nearest_cell(cells, *goal)
        if cell is None:
            return None
        x, y = self.grid.centres_of(np.array([cell]))[0]
        return float(x), float(y)

    def path(
        self, start: tuple[float, float], goal: tuple[float, float]
    ) -> NDArray[np.float64] | None:  # (N, 2) corners, the first at start, the last at goal
        """A short way that keeps away from things, as few corners; None if there is none.

        A start too near to something is left by the nearest free cell. Clearance below ``comfort``
        costs up to five times the way.
        """
        passable = self.clearance >= self.radius
        price = 1.0 + 4.0 * np.clip(1.0 - self.clearance / self.comfort, 0.0, 1.0) ** 2
        first = self._nearest_cell(passable, *start)
        last = self.grid.cells_of(np.array([goal]))[0]
        if first is None or not ((last >= 0).all() and (last < passable.shape).all()):
            return None
        cells = astar(passable, price, first, (int(last[0]), int(last[1])))
        if cells is None:
            return None
        points = self.grid.centres_of(np.array(cells))
        points = np.concatenate([[start], points[1:-1], [goal]])
        return self._pulled(points, price)

    def _nearest_cell(self, cells: NDArray[np.bool_], x: float, y: float) -> Cell | None:
        if not cells.any():
            return None
        places = np.argwhere(cells)
        centres = self.grid.centres_of(places)
        row, column = places[int(np.argmin(np.hypot(centres[:, 0] - x, centres[:, 1] - y)))]
        return int(row), int(column)

    def _pulled(
        self, points: NDArray[np.float64], price: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Only the corners that a straight line cannot replace without getting dearer."""
        steps = np.hypot(*np.diff(points, axis=0).T)
        cells = np.clip(self.grid.cells_of(points), 0, np.array(price.shape) - 1)
        along = np.concatenate([[0.0], np.cumsum(steps * price[cells[1:, 0], cells[1:, 1]])])
        kept = [0]
        while kept[-1] < len(points) - 1:
            here = kept[-1]
            reach = here + 1
            for there in range(len(points) - 1, here + 1, -1):
                if self._line_cost(points[here], points[there], price) <= (
                    1.02 * (along[there] - along[here])
                ):
                    reach = there
                    break
            kept.append(reach)
        return points[kept]

    def _line_cost(
        self, a: NDArray[np.float64], b: NDArray[np.float64], price: NDArray[np.float64]
    ) -> float:
        """Cost of a straight line, infinite where it is too narrow."""
        length = float(np.hypot(*(b - a)))
        count = max(2, math.ceil(length / (0.5 * self.grid.config.resolution)))
        line = a + np.linspace(0.0, 1.0, count)[:, None] * (b - a)
        if (self.clearance_at(line[1:]) < self.radius).any():
            return math.inf
        cells = self.grid.cells_of(line)
        return length * float(price[cells[:, 0], cells[:, 1]].mean())

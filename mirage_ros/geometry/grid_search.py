"""Cheapest ways over a grid of cells."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

_MOVES = tuple((i, j, math.hypot(i, j)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)

Cell = tuple[int, int]


def astar(
    passable: NDArray[np.bool_],  # (rows, columns)
    price: NDArray[np.float64],  # (rows, columns) >= 1, of a step into a cell, per cell length
    start: Cell,
    goal: Cell,
    *,
    cuts_corners: bool = False,
) -> list[Cell] | None:
    """The cheapest way over eight neighbours, ends included; None if there is none.

    Unless it ``cuts_corners``, a diagonal step needs both cells beside it.
    """
    rows, columns = passable.shape
    if not (passable[start] and passable[goal]):
        return None
    open_cells, prices = passable.tolist(), price.tolist()
    cost = {start: 0.0}
    parent: dict[Cell, Cell] = {}
    queue = [(0.0, start)]
    closed: set[Cell] = set()
    while queue:
        _, cell = heapq.heappop(queue)
        if cell == goal:
            path = [cell]
            while path[-1] in parent:
                path.append(parent[path[-1]])
            return path[::-1]
        if cell in closed:
            continue
        closed.add(cell)
        row, column = cell
        for i, j, length in _MOVES:
            r, c = row + i, column + j
            if not (0 <= r < rows and 0 <= c < columns and open_cells[r][c]):
                continue
            squeezes = i and j and not (open_cells[row][c] and open_cells[r][column])
            if squeezes and not cuts_corners:
                continue
            new = cost[cell] + length * prices[r][c]
            if new < cost.get((r, c), math.inf):
                cost[r, c] = new
                parent[r, c] = cell
                heapq.heappush(queue, (new + math.hypot(goal[0] - r, goal[1] - c), (r, c)))
    return None

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.grid_search import astar
from mirage_ros.planning.occupancy import OccupancyConfig, OccupancyGrid
from mirage_ros.planning.shortest_path import FloorMap


def brute_force(passable: np.ndarray, price: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """Costs to every cell by relaxing until nothing changes."""
    cost = np.full(passable.shape, math.inf)
    cost[start] = 0.0
    rows, columns = passable.shape
    changed = True
    while changed:
        changed = False
        for r, c in itertools.product(range(rows), range(columns)):
            for i, j in itertools.product((-1, 0, 1), repeat=2):
                a, b = r + i, c + j
                if not (i or j) or not (0 <= a < rows and 0 <= b < columns):
                    continue
                if not (passable[r, c] and passable[a, b]):
                    continue
                if i and j and not (passable[r, b] and passable[a, c]):
                    continue
                new = cost[r, c] + math.hypot(i, j) * price[a, b]
                if new < cost[a, b] - 1e-12:
                    cost[a, b] = new
                    changed = True
    return cost


@pytest.mark.parametrize("seed", range(6))
def test_astar_is_as_cheap_as_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    passable = rng.random((9, 11)) > 0.2
    price = 1.0 + 3.0 * rng.random(passable.shape)
    passable[3:6, 4:7] = True
    costs = brute_force(passable, price, (4, 5))
    reached = 0
    for goal in itertools.product(range(9), range(11)):
        path = astar(passable, price, (4, 5), goal)
        if path is None:
            assert math.isinf(costs[goal])
            continue
        reached += 1
        assert path[0] == (4, 5)
        assert path[-1] == goal
        cost = sum(math.dist(a, b) * price[b] for a, b in itertools.pairwise(path))
        assert cost == pytest.approx(costs[goal])
    assert reached > 40


def room_with_a_wall() -> FloorMap:
    """4 x 4 m with a wall at x = 2 that leaves the way free above y = 3."""
    grid = OccupancyGrid(0.0, 0.0, 4.0, 4.0, OccupancyConfig(resolution=0.1))
    for x, y in itertools.product(np.arange(0.05, 4.0, 0.1), repeat=2):
        if not (1.9 < x < 2.1 and y < 3.0):
            grid.stand(float(x), float(y), 0.01)
    return FloorMap.of(grid, 0.2, comfort=0.21)


def test_the_way_around_a_wall_is_short_and_keeps_its_distance() -> None:
    floor = room_with_a_wall()
    path = floor.path((1.0, 1.0), (3.0, 1.0))
    assert path is not None
    assert path[0].tolist() == [1.0, 1.0]
    assert path[-1].tolist() == [3.0, 1.0]
    length = float(np.hypot(*np.diff(path, axis=0).T).sum())
    # Around corners at (1.9 - 0.2, 3 + 0.2) and (2.1 + 0.2, 3.2).
    shortest = 2 * math.hypot(0.7, 2.2) + 0.6
    assert 0.95 * shortest < length < 1.12 * shortest
    dense = np.concatenate(
        [a + np.linspace(0, 1, 50)[:, None] * (b - a) for a, b in itertools.pairwise(path)]
    )
    assert (floor.clearance_at(dense) >= 0.2).all()


def test_straight_where_nothing_is_in_the_way() -> None:
    path = room_with_a_wall().path((0.5, 0.5), (1.3, 3.3))
    assert path is not None
    assert len(path) == 2


def test_what_cannot_be_reached() -> None:
    grid = OccupancyGrid(0.0, 0.0, 4.0, 1.0, OccupancyConfig(resolution=0.1))
    grid.stand(0.5, 0.5, 0.45)
    grid.stand(3.5, 0.5, 0.45)
    floor = FloorMap.of(grid, 0.1)
    assert floor.path((0.5, 0.5), (3.5, 0.5)) is None
    assert floor.path((0.5, 0.5), (9.0, 0.5)) is None
    place = floor.nearest_reachable((0.5, 0.5), (3.5, 0.5))
    assert place is not None
    assert 0.6 < place[0] < 0.95
    assert floor.nearest_reachable((0.5, 0.5), (0.52, 0.5)) == (0.52, 0.5)
    with pytest.raises(ConfigurationError, match="radius"):
        FloorMap.of(grid, 0.0)


def test_nothing_known_leads_nowhere() -> None:
    floor = FloorMap.of(OccupancyGrid(0.0, 0.0, 1.0, 1.0), 0.1)
    assert floor.path((0.5, 0.5), (0.6, 0.5)) is None
    assert floor.nearest_reachable((0.5, 0.5), (0.6, 0.5)) is None

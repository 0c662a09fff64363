from __future__ import annotations

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.geometry import T_BODY_OPTICAL, PinholeCamera
from mirage_ros.planning.occupancy import FREE, OCCUPIED, UNKNOWN, OccupancyConfig, OccupancyGrid

CAMERA = PinholeCamera(80, 60, 40.0, 40.0, 40.0, 30.0)
HEIGHT = 0.8


def camera_pose(x: float = 0.0, y: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, 3] = x, y, HEIGHT
    return pose @ T_BODY_OPTICAL


def wall_and_floor(distance: float) -> np.ndarray:
    """z-depth of a floor at z = 0 and a wall across the view at ``distance``."""
    v = (np.arange(60) + 0.5 - 30.0) / 40.0
    floor = np.where(v > 0.0, HEIGHT / np.maximum(v, 1e-9), np.inf)
    return np.repeat(np.minimum(floor, distance)[:, None], 80, axis=1).astype(np.float32)


def seen_grid() -> OccupancyGrid:
    config = OccupancyConfig(resolution=0.1, stride=1, hits=1, robot_height=1.0)
    grid = OccupancyGrid(-1.0, -4.0, 5.0, 4.0, config)
    grid.add(wall_and_floor(3.05), CAMERA, camera_pose())
    return grid


def state_at(grid: OccupancyGrid, x: float, y: float) -> int:
    row, column = grid.cells_of(np.array([[x, y]]))[0]
    return int(grid.state[row, column])


def test_floor_is_free_the_wall_occupied_and_what_is_behind_unknown() -> None:
    grid = seen_grid()
    assert [state_at(grid, x, 0.05) for x in (1.5, 2.0, 2.85)] == [FREE] * 3
    assert state_at(grid, 3.05, 0.05) == OCCUPIED
    assert state_at(grid, 3.25, 0.05) == UNKNOWN
    # The lowest ray meets the floor at 0.8 / (29.5 / 40) = 1.08 m, below 0.35 m from 0.61 m on.
    assert state_at(grid, 0.5, 0.05) == UNKNOWN
    assert state_at(grid, 0.75, 0.05) == FREE


def test_lintels_are_passed_beneath_and_unknown_depth_says_nothing() -> None:
    grid = OccupancyGrid(-1.0, -1.0, 5.0, 1.0, OccupancyConfig(stride=1))
    high = np.zeros((60, 80), dtype=np.float32)
    high[:10] = 3.0  # at least 0.8 + 3 * 20 / 40 m high
    grid.add(high, CAMERA, camera_pose())
    grid.add(np.full((60, 80), np.nan, dtype=np.float32), CAMERA, camera_pose())
    assert (grid.state == UNKNOWN).all()


def test_occupied_wins_over_free() -> None:
    grid = seen_grid()
    grid.stand(3.05, 0.05, 0.2)
    assert state_at(grid, 3.05, 0.05) == OCCUPIED
    assert state_at(grid, 3.2, 0.05) == FREE


def test_clearance_is_the_distance_to_the_wall() -> None:
    grid = seen_grid()
    row, column = grid.cells_of(np.array([[2.55, 0.05]]))[0]
    # Occupied from 3.0 m on; the cell's centre is at 2.55.
    assert grid.clearance()[row, column] == pytest.approx(0.45, abs=0.02)


def test_frontiers_border_on_the_unknown() -> None:
    grid = seen_grid()
    cells = np.argwhere(grid.frontiers())
    assert len(cells)
    for row, column in cells:
        neighbours = [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        states = [
            grid.state[r, c]
            for r, c in neighbours
            if 0 <= r < grid.shape[0] and 0 <= c < grid.shape[1]
        ]
        assert grid.state[row, column] == FREE
        assert UNKNOWN in states


def test_cells_and_centres_are_inverse() -> None:
    grid = seen_grid()
    cells = np.array([[0, 0], [3, 17], [79, 59]])
    assert (grid.cells_of(grid.centres_of(cells)) == cells).all()


def test_bad_input_is_told() -> None:
    with pytest.raises(ConfigurationError, match="needs an area"):
        OccupancyGrid(1.0, 0.0, 1.0, 2.0)
    with pytest.raises(ConfigurationError, match="must be positive"):
        OccupancyConfig(resolution=0.0)
    with pytest.raises(ConfigurationError, match="floor_height < clear_height"):
        OccupancyConfig(floor_height=0.5)
    with pytest.raises(FrameError, match="camera's shape"):
        seen_grid().add(np.zeros((3, 4), dtype=np.float32), CAMERA, camera_pose())

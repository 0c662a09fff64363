"""Paths worth imagining: arcs, a lattice of them, and viewpoints on the free floor."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.planar import planar_matrices
from mirage_ros.planning.shortest_path import FloorMap


def arc(
    start: NDArray[np.float64],  # (3,) x, y, heading
    speed: float,  # m/s
    turn_rate: float,  # rad/s
    times: NDArray[np.float64],  # (T,) seconds
) -> NDArray[np.float64]:  # (T, 3)
    """Where a differential drive is that keeps speed and turn rate: a circle, or a line.

    The chord over a turn of a points along the heading at its middle and is speed * t *
    sin(a / 2) / (a / 2) long.
    """
    turn = turn_rate * times
    chord = speed * times * np.sinc(turn / 2.0 / np.pi)
    middle = start[2] + turn / 2.0
    return np.stack(
        [
            start[0] + chord * np.cos(middle),
            start[1] + chord * np.sin(middle),
            start[2] + turn,
        ],
        axis=-1,
    )


def arcs(
    start: NDArray[np.float64],  # (3,) x, y, heading
    *,
    speed: float,
    turn_rates: Sequence[float],
    horizon: float,
    period: float,
) -> list[NDArray[np.float64]]:  # each (T, 3)
    """One arc for every turn rate, with poses every ``period`` seconds up to ``horizon``.

    Raises:
        ConfigurationError: the period is not positive or longer than the horizon, or no turn rate.
    """
    if not 0.0 < period <= horizon or not len(turn_rates):
        raise ConfigurationError(
            "arcs need 0 < period <= horizon and a turn rate. "
            f"Got {period} s, {horizon} s and {len(turn_rates)} turn rates"
        )
    count = math.floor(horizon / period + 1e-9)
    times: NDArray[np.float64] = period * np.arange(1, count + 1, dtype=np.float64)
    return [arc(start, speed, rate, times) for rate in turn_rates]


def lattice(
    start: NDArray[np.float64],  # (3,) x, y, heading
    *,
    speed: float,
    turn_rates: Sequence[float],
    horizon: float,
    period: float,
    headings: int,
) -> list[NDArray[np.float64]]:  # each (T + 1, 3)
    """Arcs, each ending with a turn on the spot to one of ``headings`` headings spread evenly.

    Raises:
        ConfigurationError: as for :func:`arcs`, or no heading.
    """
    if headings < 1:
        raise ConfigurationError(f"a lattice needs at least one heading. Got {headings}")
    paths = []
    spread = 2.0 * math.pi / headings * np.arange(headings)
    options = {"speed": speed, "turn_rates": turn_rates, "horizon": horizon, "period": period}
    for path in arcs(start, **options):  # type: ignore[arg-type]
        for turn in spread:
            end = path[-1] + np.array([0.0, 0.0, turn])
            paths.append(np.concatenate([path, end[None]]))
    return paths


def clear_paths(
    paths: Sequence[NDArray[np.float64]],  # each (T, 3)
    floor: FloorMap,
) -> list[int]:
    """Indices of the paths along which the robot has room at every pose."""
    return [
        number
        for number, path in enumerate(paths)
        if bool((floor.clearance_at(path[:, :2]) >= floor.radius).all())
    ]


def viewpoints(
    floor: FloorMap,
    start: tuple[float, float],
    *,
    spacing: float,
    headings: int,
    rng: np.random.Generator | None = None,
) -> NDArray[np.float64]:  # (N, 3)
    """Poses on the floor that can be reached from a place, on a square grid of ``spacing`` metres.

    Every place gets ``headings`` headings spread evenly. Places are the cells of most clearance of
    every square, so none is lost because a grid point falls on a chair. With ``rng`` the places
    come in random order, else row by row; headings of a place stay together.

    Raises:
        ConfigurationError: spacing or headings is not positive.
    """
    if not spacing > 0.0 or headings < 1:
        raise ConfigurationError(
            f"spacing and headings must be positive. Got {spacing} m and {headings}"
        )
    cells = np.argwhere(floor.reachable(*start))
    if not len(cells):
        return np.empty((0, 3))
    centres = floor.grid.centres_of(cells)
    square = np.floor((centres - np.array(floor.grid.origin)) / spacing).astype(np.int64)
    middle = (square + 0.5) * spacing + np.array(floor.grid.origin)
    off = np.hypot(*(centres - middle).T) / spacing
    room = np.minimum(floor.clearance[cells[:, 0], cells[:, 1]], floor.comfort)
    order = np.lexsort((off - room, square[:, 0], square[:, 1]))
    _, first = np.unique(square[order][:, ::-1], axis=0, return_index=True)
    places = centres[order[first]]
    if rng is not None:
        places = rng.permutation(places)
    angles = 2.0 * math.pi / headings * np.arange(headings) - math.pi
    return np.concatenate(
        [np.repeat(places, headings, axis=0), np.tile(angles, len(places))[:, None]], axis=1
    )


def camera_path(
    poses: NDArray[np.float64],  # (T, 3)
    T_base_camera: NDArray[np.float64],  # (4, 4)
) -> NDArray[np.float64]:  # (T, 4, 4)
    """T_world_camera along a path of the base."""
    cameras: NDArray[np.float64] = planar_matrices(poses) @ T_base_camera
    return cameras

"""How much of an unknown apartment is seen in a minute: next best views, and random driving."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.episode_apartment import GOAL_CLEARANCE, KEEP, Apartment
from mirage_ros.evaluation.episode_imaginers import ModelImaginer
from mirage_ros.evaluation.episode_robot import SPEED, TURN_RATE, EpisodeRobot
from mirage_ros.frames import RgbdFrame
from mirage_ros.planning.candidates import arcs, clear_paths, viewpoints
from mirage_ros.planning.explorer import Explorer, ExplorerConfig
from mirage_ros.planning.follow import Leg
from mirage_ros.planning.occupancy import UNKNOWN, OccupancyGrid
from mirage_ros.planning.shortest_path import FloorMap

NEXT_BEST, RANDOM_DRIVING, RANDOM_VIEWPOINTS = (
    "next best view",
    "random driving",
    "random viewpoints",
)
EXPLORERS = (NEXT_BEST, RANDOM_DRIVING, RANDOM_VIEWPOINTS)

#: Simulated seconds of exploration.
EXPLORE_SECONDS = 60.0

#: The robot was set down where there is room; the camera does not see the floor at its feet.
_ROOM = 0.6

#: Arcs of random driving: metres a second, radians a second, seconds.
_ARC_TURNS, _ARC_SECONDS, _ARC_PERIOD = (-0.6, -0.3, 0.0, 0.3, 0.6), 3.0, 0.25

_MOST_LEGS = 400


@dataclass(frozen=True)
class ExploredArea:
    """What one exploration came to.

    Attributes:
        apartment: seed.
        number: of the start.
        method: one of :data:`EXPLORERS`.
        seconds: (N,) simulated times.
        square_metres: (N,) of floor and obstacles seen by then.
        collided: the robot touched something.
        trace: (M, 3) poses.
    """

    apartment: int
    number: int
    method: str
    seconds: NDArray[np.float64]
    square_metres: NDArray[np.float64]
    collided: bool
    trace: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Square metres seen at the end."""
        return float(self.square_metres[-1])


def explore(
    method: str, apartment: Apartment, number: int, limit: float = EXPLORE_SECONDS
) -> ExploredArea:
    """Explore from a random start, the same for every method, with an empty memory and map.

    The area is that of the map's cells that are not unknown: depth of the keyframes on the way,
    the same rule for all methods.
    """
    rng = np.random.default_rng([number, apartment.seed])
    grid = apartment.new_grid()
    start = _start(apartment, rng)
    grid.stand(float(start[0]), float(start[1]), _ROOM)
    model = apartment.new_model()
    times, areas = [0.0], [0.0]
    cell = grid.config.resolution**2

    def seen(frame: RgbdFrame) -> None:
        assert frame.depth is not None
        grid.add(frame.depth, frame.camera, frame.T_world_camera)
        if method == NEXT_BEST:
            model.observe(frame)
        times.append(frame.stamp_ns * 1e-9)
        areas.append(float((grid.state != UNKNOWN).sum()) * cell)

    robot = EpisodeRobot(apartment.simulator, start, limit, observe=seen)
    if method == NEXT_BEST:
        explorer = Explorer(
            ModelImaginer(model, apartment.simulator.camera),
            apartment.simulator.T_base_camera,
            ExplorerConfig(speed=SPEED, turn_rate=TURN_RATE),
            seed=number,
        )
        next_leg = _best_views(explorer, robot, grid)
    else:
        next_leg = _at_random(method, robot, grid, rng)
    for _ in range(_MOST_LEGS):
        if robot.stopped:
            break
        robot.drive(next_leg())
    times.append(limit)
    areas.append(areas[-1])
    return ExploredArea(
        apartment.seed,
        number,
        method,
        np.array(times),
        np.array(areas),
        robot.collided,
        np.array(robot.trace),
    )


def _start(apartment: Apartment, rng: np.random.Generator) -> NDArray[np.float64]:  # (3,)
    floor = apartment.floor
    x, y = apartment.tour_poses[0, :2].tolist()
    cells = np.argwhere(floor.reachable(x, y) & (floor.clearance >= _ROOM))
    if not len(cells):
        cells = np.argwhere(floor.reachable(x, y) & (floor.clearance >= GOAL_CLEARANCE))
    place = floor.grid.centres_of(cells[rng.integers(len(cells), size=1)])[0]
    return np.array([*place, rng.uniform(-math.pi, math.pi)])


def _best_views(explorer: Explorer, robot: EpisodeRobot, grid: OccupancyGrid) -> Callable[[], Leg]:
    def next_leg() -> Leg:
        choice = explorer.plan(robot.pose, FloorMap.of(grid, KEEP))
        if choice is None:
            return Leg(robot.pose[None, :2], float(robot.pose[2]) + 1.0)
        return choice.leg

    return next_leg


def _at_random(
    method: str, robot: EpisodeRobot, grid: OccupancyGrid, rng: np.random.Generator
) -> Callable[[], Leg]:
    """Random arcs as long as there is room, else a random turn; or random known viewpoints."""

    def next_arc() -> Leg:
        floor = FloorMap.of(grid, KEEP)
        paths = arcs(
            robot.pose,
            speed=SPEED,
            turn_rates=_ARC_TURNS,
            horizon=_ARC_SECONDS,
            period=_ARC_PERIOD,
        )
        clear = clear_paths(paths, floor)
        if not clear:
            return Leg(robot.pose[None, :2], float(rng.uniform(-math.pi, math.pi)))
        path = paths[int(rng.choice(clear))]
        return Leg(np.concatenate([robot.pose[None, :2], path[:, :2]]))

    def next_viewpoint() -> Leg:
        floor = FloorMap.of(grid, KEEP)
        here = (float(robot.pose[0]), float(robot.pose[1]))
        places = viewpoints(floor, here, spacing=0.6, headings=1)
        heading = float(rng.uniform(-math.pi, math.pi))
        if not len(places):
            return Leg(robot.pose[None, :2], heading)
        x, y = places[int(rng.integers(len(places))), :2].tolist()
        corners = floor.path(here, (x, y))
        return Leg(robot.pose[None, :2] if corners is None else corners, heading)

    return next_arc if method == RANDOM_DRIVING else next_viewpoint

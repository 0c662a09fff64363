"""Ways to find where a goal image was taken, compared in the same episodes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.episode_apartment import Apartment, Task
from mirage_ros.evaluation.episode_imaginers import ModelImaginer, TrueImaginer
from mirage_ros.evaluation.episode_robot import EpisodeRobot
from mirage_ros.planning.candidates import viewpoints
from mirage_ros.planning.follow import Leg
from mirage_ros.planning.image_goal import ImageGoalPlanner
from mirage_ros.planning.pose_search import SearchResult
from mirage_ros.planning.scores import LatentGoal
from mirage_ros.planning.shortest_path import FloorMap

IMAGINATION, ORACLE, LOOKING, KEYFRAME, RANDOM = (
    "imagination",
    "oracle",
    "no imagination",
    "best keyframe",
    "random",
)

#: In the order of the tables. What each of them does is said in its class.
METHODS = (IMAGINATION, LOOKING, KEYFRAME, RANDOM, ORACLE)


#: Simulated seconds of an episode.
TIME_LIMIT = 120.0

#: Shares of it after which a search without imagination climbs from the best view so far, and
#: settles for it.
_CLIMB, _SETTLE = 0.6, 0.9


class Method(Protocol):
    """Drives the robot, one leg at a time."""

    def next_leg(self, robot: EpisodeRobot) -> Leg | None:
        """What to drive next; None: it says that it is there."""
        ...

    @property
    def searches(self) -> list[SearchResult]:
        """What it imagined, for displays."""
        ...


def method_of(
    name: str, apartment: Apartment, task: Task, seed: int
) -> tuple[Method, EpisodeRobot]:
    """A method and a robot at the task's start.

    Raises:
        ConfigurationError: an unknown name.
    """
    if name in (IMAGINATION, ORACLE):
        return _imagining(name == ORACLE, apartment, task, seed)
    robot = EpisodeRobot(apartment.simulator, task.start, TIME_LIMIT)
    if name == LOOKING:
        return Looking(apartment, task, seed), robot
    if name == KEYFRAME:
        return BestKeyframe(apartment, task), robot
    if name == RANDOM:
        return Wandering(apartment, seed), robot
    raise ConfigurationError(f"a method must be one of {', '.join(METHODS)}. Got '{name}'")


def _imagining(
    oracle: bool, apartment: Apartment, task: Task, seed: int
) -> tuple[Method, EpisodeRobot]:
    """The image-goal planner, with the world model or with the true renderer.

    The world model remembers the tour and goes on remembering keyframes on the way.
    """
    simulator = apartment.simulator
    if oracle:
        robot = EpisodeRobot(simulator, task.start, TIME_LIMIT)
        imaginer: ModelImaginer | TrueImaginer = TrueImaginer(simulator)
    else:
        model = apartment.model_of_tour()
        robot = EpisodeRobot(simulator, task.start, TIME_LIMIT, observe=model.observe)
        imaginer = ModelImaginer(model, simulator.camera)
    planner = ImageGoalPlanner(
        imaginer,
        apartment.encode,
        apartment.cost,
        apartment.floor,
        simulator.T_base_camera,
        apartment.gallery("true" if oracle else "imagined"),
        seed=seed,
    )
    planner.set_goal(task.image)
    return Imagining(planner), robot


class Imagining:
    """The image-goal planner of ``planning/``.

    Args:
        planner: with its goal.
    """

    def __init__(self, planner: ImageGoalPlanner) -> None:
        self.planner = planner

    def next_leg(self, robot: EpisodeRobot) -> Leg | None:
        """What the planner says."""
        return self.planner.plan(robot.pose, robot.frame().image)

    @property
    def searches(self) -> list[SearchResult]:
        """Those of the planner."""
        return self.planner.searches


@dataclass(frozen=True)
class _Seen:
    pose: NDArray[np.float64]
    cost: float


class Looking:
    """The same planner's parts without imagination: a pose can be scored only by standing there.

    It drives to viewpoints over the floor in random order, nearer ones sooner, turns around at each
    of them and scores what the camera really sees. Once a view costs less than ``good``, or when
    six tenths of the time are gone, it goes to the best pose so far and climbs: it tries poses
    about the best one, with smaller and smaller steps, and says that it is there when no step
    helps.

    Args:
        apartment: its map, encoder and costs.
        task: the goal image.
        seed: of the order.
        good: cost below which a view is worth climbing from.
    """

    searches: list[SearchResult]

    def __init__(self, apartment: Apartment, task: Task, seed: int, good: float = 0.35) -> None:
        self.searches = []
        self._apartment = apartment
        self._goal = LatentGoal(apartment.encode(task.image[None])[0], apartment.cost)
        self._rng = np.random.default_rng(seed)
        places = viewpoints(
            apartment.floor, (task.start[0], task.start[1]), spacing=1.2, headings=1
        )
        self._places = [place[:2] for place in places]
        self._good = good
        self._best: _Seen | None = None
        self._turns: list[float] = []
        self._step: tuple[float, float] | None = None
        self._tries: list[NDArray[np.float64]] = []
        self._settling = False

    def next_leg(self, robot: EpisodeRobot) -> Leg | None:
        """The next pose to look from."""
        cost = self._look(robot)
        if self._best is None or cost < self._best.cost:
            self._best = _Seen(robot.pose.copy(), cost)
            if self._step is not None:
                self._tries = self._about(self._best.pose)
        if self._step is None:
            late = robot.time > _CLIMB * TIME_LIMIT
            if self._best.cost > self._good and not late:
                return self._explore(robot)
            self._step = (0.3, math.radians(12.0))
            self._tries = self._about(self._best.pose)
        if robot.time > _SETTLE * TIME_LIMIT:
            return self._settle(robot, self._best.pose)
        while not self._tries:
            metres, radians = self._step
            if metres < 0.08:
                return self._settle(robot, self._best.pose)
            self._step = (metres / 2.0, radians / 2.0)
            self._tries = self._about(self._best.pose)
        return _leg_to(self._apartment.floor, robot, self._tries.pop(0))

    def _settle(self, robot: EpisodeRobot, pose: NDArray[np.float64]) -> Leg | None:
        """Back to the best pose, and there it is."""
        if self._settling:
            return None
        self._settling = True
        return _leg_to(self._apartment.floor, robot, pose)

    def _look(self, robot: EpisodeRobot) -> float:
        latents = self._apartment.encode(robot.frame().image[None])
        return float(self._goal.costs(latents, np.ones((1, *latents.shape[2:])))[0])

    def _explore(self, robot: EpisodeRobot) -> Leg:
        if self._turns:
            return Leg(robot.pose[None, :2], self._turns.pop(0))
        if not self._places:
            return Leg(robot.pose[None, :2], float(robot.pose[2]) + 1.0)
        off = np.array([np.hypot(*(place - robot.pose[:2])) for place in self._places])
        weights = np.exp(-off / 2.0)
        chosen = int(self._rng.choice(len(off), p=weights / weights.sum()))
        place = self._places.pop(chosen)
        heading = float(robot.pose[2])
        self._turns = [heading + turn * math.pi / 4.0 for turn in range(1, 8)]
        return _leg_to(self._apartment.floor, robot, np.array([*place, heading]))

    def _about(self, pose: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        assert self._step is not None
        metres, radians = self._step
        forward = np.array([math.cos(pose[2]), math.sin(pose[2]), 0.0])
        left = np.array([-math.sin(pose[2]), math.cos(pose[2]), 0.0])
        turn = np.array([0.0, 0.0, radians])
        moves = [turn, -turn, metres * forward, -metres * forward, metres * left, -metres * left]
        return [pose + move for move in moves]


class BestKeyframe:
    """Drives to the pose of the tour's keyframe that matches the goal image best, and stops there.

    Args:
        apartment: its keyframes.
        task: the goal image.
    """

    searches: list[SearchResult]

    def __init__(self, apartment: Apartment, task: Task) -> None:
        self.searches = []
        self._floor = apartment.floor
        goal = apartment.encode(task.image[None])[0]
        self._pose = apartment.gallery("keyframes").rank(goal, 1)[0].pose
        self._driven = False

    def next_leg(self, robot: EpisodeRobot) -> Leg | None:
        """The way there."""
        if self._driven:
            return None
        self._driven = True
        return _leg_to(self._floor, robot, self._pose)


class Wandering:
    """Drives to random poses on the floor, and says at each with even odds that it is there.

    Args:
        apartment: its map.
        seed: of the poses.
    """

    searches: list[SearchResult]

    def __init__(self, apartment: Apartment, seed: int) -> None:
        self.searches = []
        self._floor = apartment.floor
        self._rng = np.random.default_rng(seed)
        self._begun = False

    def next_leg(self, robot: EpisodeRobot) -> Leg | None:
        """The way to the next one."""
        if self._begun and self._rng.random() < 0.5:
            return None
        self._begun = True
        here = (float(robot.pose[0]), float(robot.pose[1]))
        cells = np.argwhere(self._floor.reachable(*here))
        x, y = self._floor.grid.centres_of(cells[self._rng.integers(len(cells), size=1)])[0]
        corners = self._floor.path(here, (float(x), float(y)))
        heading = float(self._rng.uniform(-math.pi, math.pi))
        return Leg(robot.pose[None, :2] if corners is None else corners, heading)


def _leg_to(floor: FloorMap, robot: EpisodeRobot, pose: NDArray[np.float64]) -> Leg:
    """The way to a pose, or to the nearest place to it that can be reached."""
    here = (float(robot.pose[0]), float(robot.pose[1]))
    place = floor.nearest_reachable(here, (float(pose[0]), float(pose[1])))
    corners = None if place is None else floor.path(here, place)
    return Leg(robot.pose[None, :2] if corners is None else corners, float(pose[2]))

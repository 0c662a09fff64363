"""Drives to where most would be newly seen, by imagining views of candidate poses."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.candidates import camera_path, viewpoints
from mirage_ros.planning.follow import Leg
from mirage_ros.planning.planar import turn_between
from mirage_ros.planning.scores import information_gain
from mirage_ros.planning.shortest_path import FloorMap
from mirage_ros.planning.views import Imaginer, PlannedView, views_apart


@dataclass(frozen=True)
class ExplorerConfig:
    """How the explorer works.

    Attributes:
        spacing: of candidate viewpoints, metres.
        headings: at every viewpoint.
        candidates: places that are imagined, at most; the nearest and others at random.
        speed: of the robot, m/s, for the time that a candidate takes.
        turn_rate: likewise, rad/s.
        overhead: seconds that every leg takes beside: what is near is not worth any turn.
        least_gain: views that would show less are not worth going for, in whole views.

    Raises:
        ConfigurationError: a value is not positive.
    """

    spacing: float = 0.6
    headings: int = 8
    candidates: int = 24
    speed: float = 0.6
    turn_rate: float = 1.2
    overhead: float = 2.0
    least_gain: float = 0.01

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigurationError(f"explorer {name} must be positive. Got {value}")


@dataclass(frozen=True)
class Choice:
    """What the explorer chose from.

    Attributes:
        leg: to drive.
        pose: (3,) at its end.
        gain: of the view from there, in whole views.
        rate: gain a second.
        view: imagined there.
    """

    leg: Leg
    pose: NDArray[np.float64]
    gain: float
    rate: float
    view: PlannedView


class Explorer:
    """A next-best-view explorer: the most new sight per second.

    Args:
        imaginer: predicts views; asked before every leg, so it should know what was seen last.
        T_base_camera: (4, 4) of the camera on the robot.
        config: of the explorer.
        seed: of the choice of candidates.
    """

    def __init__(
        self,
        imaginer: Imaginer,
        T_base_camera: NDArray[np.float64],
        config: ExplorerConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.config = config or ExplorerConfig()
        self._imaginer = imaginer
        self._T_base_camera = T_base_camera
        self._rng = np.random.default_rng(seed)

    def plan(
        self,
        pose: NDArray[np.float64],  # (3,) x, y, heading of the base
        floor: FloorMap,
    ) -> Choice | None:
        """The best leg from a pose over the floor known now; None: nothing new is in reach."""
        poses = self._candidates(pose, floor)
        if not len(poses):
            return None
        views = views_apart(self._imaginer, camera_path(poses, self._T_base_camera))
        gains = np.array([information_gain([view]) for view in views])
        # Ways are found for the promising only: straight lines are no longer than any way.
        straight = np.hypot(*(poses[:, :2] - pose[:2]).T)
        bound = gains / (self.config.overhead + straight / self.config.speed)
        best: Choice | None = None
        for number in np.argsort(-bound, kind="stable"):
            if gains[number] < self.config.least_gain:
                continue
            if best is not None and bound[number] <= best.rate:
                break
            target = poses[number]
            corners = floor.path((pose[0], pose[1]), (target[0], target[1]))
            if corners is None:
                continue
            leg = Leg(corners, float(target[2]))
            rate = float(gains[number]) / self._seconds(pose, leg)
            if best is None or rate > best.rate:
                best = Choice(leg, target, float(gains[number]), rate, views[number])
        return best

    def _candidates(
        self, pose: NDArray[np.float64], floor: FloorMap
    ) -> NDArray[np.float64]:  # (N, 3)
        """Turns on the spot, the nearest viewpoints, and as many others at random."""
        config = self.config
        here = np.repeat(pose[None], config.headings, axis=0)
        here[:, 2] += 2.0 * math.pi / config.headings * np.arange(config.headings)
        options = viewpoints(
            floor,
            (float(pose[0]), float(pose[1])),
            spacing=config.spacing,
            headings=config.headings,
            rng=self._rng,
        )
        places = options.reshape(-1, config.headings, 3)
        near = np.argsort(np.hypot(*(places[:, 0, :2] - pose[:2]).T), kind="stable")
        half = config.candidates // 2
        chosen = np.concatenate([near[:half], self._rng.permutation(near[half:])[:half]])
        return np.concatenate([here, places[chosen].reshape(-1, 3)])

    def _seconds(self, pose: NDArray[np.float64], leg: Leg) -> float:
        """About how long a leg takes, turns on the spot included."""
        headings = [float(pose[2])]
        headings += [math.atan2(step[1], step[0]) for step in np.diff(leg.corners, axis=0)]
        headings += [] if leg.heading is None else [leg.heading]
        turns = sum(abs(turn_between(a, b)) for a, b in itertools.pairwise(headings))
        config = self.config
        return config.overhead + leg.length / config.speed + turns / config.turn_rate

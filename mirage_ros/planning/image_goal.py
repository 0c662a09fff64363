"""Drives to where a goal image was taken, by imagining views at poses it never stood at."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.follow import Leg
from mirage_ros.planning.gallery import Gallery, Hypothesis
from mirage_ros.planning.planar import turn_between
from mirage_ros.planning.pose_search import SearchConfig, SearchResult, search
from mirage_ros.planning.scores import Encoder, ImageCostConfig, LatentGoal
from mirage_ros.planning.shortest_path import FloorMap
from mirage_ros.planning.views import Imaginer

#: From one place, headings that differ by more than this show something else, radians.
_OTHER_VIEW = math.radians(45.0)


@dataclass(frozen=True)
class ImageGoalConfig:
    """How the planner works.

    Attributes:
        hypotheses: poses of the gallery that are looked at closely.
        first: the search about those.
        again: the search about the estimate, from nearer.
        horizon: metres driven between two plans, while the goal is farther than ``near``.
        near: from here on the estimate is corrected, metres.
        corrections: how often, at most.
        tolerance: a correction that moves the estimate less than this ends it, metres.
        turn_tolerance: likewise, radians.
        accepted: cost of the real view at the end above which the place is given up for another.
        attempts: places, at most.

    Raises:
        ConfigurationError: a value is out of range.
    """

    hypotheses: int = 6
    first: SearchConfig = field(default_factory=SearchConfig)
    again: SearchConfig = field(
        default_factory=lambda: SearchConfig(0.2, math.radians(6.0), keep=(1, 1, 1, 1))
    )
    horizon: float = 1.5
    near: float = 1.0
    corrections: int = 3
    tolerance: float = 0.08
    turn_tolerance: float = math.radians(3.0)
    accepted: float = 0.3
    attempts: int = 3

    def __post_init__(self) -> None:
        if min(self.hypotheses, self.corrections, self.attempts) < 1:
            raise ConfigurationError(
                "hypotheses, corrections and attempts must be at least 1. "
                f"Got {self.hypotheses}, {self.corrections} and {self.attempts}"
            )
        values = (self.horizon, self.near, self.tolerance, self.turn_tolerance, self.accepted)
        if not all(math.isfinite(value) and value > 0.0 for value in values):
            raise ConfigurationError(f"horizon, near and tolerances must be positive. Got {values}")


class ImageGoalPlanner:
    """A receding-horizon planner for an image goal.

    The goal's pose is looked up in a gallery of imagined views, then found by a search that
    imagines views about the best. The robot drives there over the free floor, a horizon at a time.
    Near the goal it searches again, because what its camera saw on the way is remembered by then,
    and stops once a search agrees with where it stands. If what the camera really sees there is not
    like the goal, the place was another that looks alike from memory, and the next one is tried.

    Args:
        imaginer: predicts views; asked again and again, so it should know what the robot saw last.
        encode: maps images to latents; whose channels ``cost`` weighs.
        cost: how views are compared with the goal.
        floor: where the robot can go.
        T_base_camera: (4, 4) of the camera on the robot.
        gallery: of views over the floor; does not depend on the goal, so one serves many.
        config: of the planner.
        seed: of all that is drawn.

    Attributes:
        estimate: (3,) where the goal image was taken, as far as is known; None before the first
            :meth:`plan`.
        searches: what every search came to, the newest last.
    """

    def __init__(
        self,
        imaginer: Imaginer,
        encode: Encoder,
        cost: ImageCostConfig,
        floor: FloorMap,
        T_base_camera: NDArray[np.float64],
        gallery: Gallery,
        config: ImageGoalConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.floor = floor
        self.config = config or ImageGoalConfig()
        self._imaginer, self._encode, self._cost = imaginer, encode, cost
        self._T_base_camera = T_base_camera
        self._gallery = gallery
        self._rng = np.random.default_rng(seed)
        self._goal: NDArray[np.float32] | None = None
        self._corrections = 0
        self._given_up: list[NDArray[np.float64]] = []
        self.estimate: NDArray[np.float64] | None = None
        self.searches: list[SearchResult] = []

    def set_goal(
        self,
        image: NDArray[np.uint8],  # (H, W, 3) RGB, of the imagined views' camera
    ) -> None:
        """Begin with a new goal."""
        self._goal = self._encode(image[None])[0]
        self._corrections = 0
        self._given_up = []
        self.estimate = None
        self.searches = []

    def plan(
        self,
        pose: NDArray[np.float64],  # (3,) x, y, heading of the base
        image: NDArray[np.uint8] | None = None,  # (H, W, 3) what the camera sees there
    ) -> Leg | None:
        """What to drive next from a pose; None: the robot stands where the image was taken.

        Without ``image`` the place is believed as it was imagined.

        Raises:
            ConfigurationError: there is no goal.
        """
        if self._goal is None:
            raise ConfigurationError("expected a goal image before the first plan. Got none")
        leg = self._next(pose)
        if leg is None and image is not None and self._to_be_given_up(image):
            assert self.estimate is not None
            self._given_up.append(self.estimate)
            self.estimate, self._corrections = None, 0
            return self._next(pose)
        return leg

    def _to_be_given_up(self, image: NDArray[np.uint8]) -> bool:
        """Whether a real view is not like the goal, and there is another place to try."""
        assert self._goal is not None
        latents = self._encode(image[None])
        known = np.ones((1, *latents.shape[2:]), dtype=np.bool_)
        cost = LatentGoal(self._goal, self._cost).costs(latents, known)[0]
        return bool(cost > self.config.accepted) and (
            len(self._given_up) + 1 < self.config.attempts
        )

    def _next(self, pose: NDArray[np.float64]) -> Leg | None:
        """The next leg; None: the searches agree with where the robot stands."""
        assert self._goal is not None
        if self.estimate is None:
            ranked = self._gallery.rank(self._goal, 4 * self.config.hypotheses)
            fresh = [one for one in ranked if self._is_fresh(one)] or ranked
            self.estimate = self._search(fresh[: self.config.hypotheses], self.config.first)
        at = self._standing_place(pose)
        if float(np.hypot(*(at - pose[:2]))) <= self.config.near:
            if self._corrections >= self.config.corrections:
                return None
            self._corrections += 1
            start = [Hypothesis(self.estimate, self.searches[-1].best.cost)]
            self.estimate = self._search(start, self.config.again)
            at = self._standing_place(pose)
            turn = abs(turn_between(float(pose[2]), float(self.estimate[2])))
            off = float(np.hypot(*(at - pose[:2])))
            if off <= self.config.tolerance and turn <= self.config.turn_tolerance:
                return None
        corners = self.floor.path((pose[0], pose[1]), (float(at[0]), float(at[1])))
        if corners is None:
            corners = pose[None, :2]
        leg = Leg(corners, float(self.estimate[2]))
        if leg.length <= self.config.near + self.config.horizon:
            # All the way but for the last stretch, or all of it once that is behind.
            rest = leg.length - 0.5 * self.config.near
            return leg if self._corrections else leg.shortened(max(rest, 0.05))
        return leg.shortened(self.config.horizon)

    def _is_fresh(self, hypothesis: Hypothesis) -> bool:
        """Whether a hypothesis is away from every place given up."""
        return all(
            float(np.hypot(*(hypothesis.pose - place)[:2])) > self.config.near
            or abs(turn_between(float(place[2]), float(hypothesis.pose[2]))) > _OTHER_VIEW
            for place in self._given_up
        )

    def _search(
        self, hypotheses: list[Hypothesis], config: SearchConfig
    ) -> NDArray[np.float64]:  # (3,)
        assert self._goal is not None
        result = search(
            LatentGoal(self._goal, self._cost),
            hypotheses,
            self._imaginer,
            self._encode,
            self._T_base_camera,
            config,
            self._rng,
        )
        self.searches.append(result)
        return result.pose

    def _standing_place(self, pose: NDArray[np.float64]) -> NDArray[np.float64]:  # (2,)
        """The estimate, or the nearest place to it that the robot can get to."""
        assert self.estimate is not None
        start, goal = (
            (float(pose[0]), float(pose[1])),
            (float(self.estimate[0]), float(self.estimate[1])),
        )
        place = self.floor.nearest_reachable(start, goal)
        return np.array(start if place is None else place)

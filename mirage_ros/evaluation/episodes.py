"""Closed-loop episodes: how often a method finds where an image was taken, and what it sees."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.episode_apartment import Apartment, Task
from mirage_ros.evaluation.episode_methods import method_of
from mirage_ros.planning.planar import turn_between
from mirage_ros.planning.pose_search import SearchResult

#: What counts as found.
FOUND_DISTANCE, FOUND_TURN = 0.3, math.radians(15.0)
#: A looser bar, to tell near misses from wrong rooms.
NEAR_DISTANCE, NEAR_TURN = 1.0, math.radians(45.0)

#: Legs of an episode at most: a method that never moves would never run out of time.
_MOST_LEGS = 400


@dataclass(frozen=True)
class Outcome:
    """How an episode ended.

    Attributes:
        apartment: seed.
        number: of the task in its apartment.
        method: who drove.
        said: it said that it was there, in time.
        collided: it touched something.
        distance: to the goal at the end, metres.
        turn: likewise, radians.
        seconds: simulated.
        way: metres driven.
        shortest: metres of the shortest way.
        known: share of the goal's view that the tour's memory remembers.
        thought: seconds of real time that it took to plan.
        views: imagined altogether.
        trace: (N, 3) poses.
        searches: what was imagined.
        searched_at: index into ``trace`` at each of them.
    """

    apartment: int
    number: int
    method: str
    said: bool
    collided: bool
    distance: float
    turn: float
    seconds: float
    way: float
    shortest: float
    known: float
    thought: float
    views: int
    trace: NDArray[np.float64]
    searches: tuple[SearchResult, ...]
    searched_at: tuple[int, ...] = ()

    @property
    def success(self) -> bool:
        """It said that it was there, and was."""
        there = self.distance <= FOUND_DISTANCE and self.turn <= FOUND_TURN
        return self.said and not self.collided and there

    @property
    def nearly(self) -> bool:
        """Success by the looser bar."""
        near = self.distance <= NEAR_DISTANCE and self.turn <= NEAR_TURN
        return self.said and not self.collided and near


def run_episode(
    method_name: str, apartment: Apartment, task: Task, number: int, seed: int
) -> Outcome:
    """One method's answer to one task.

    Raises:
        ConfigurationError: an unknown method.
    """
    method, robot = method_of(method_name, apartment, task, seed)
    said, thought = False, 0.0
    searched_at: list[int] = []
    for _ in range(_MOST_LEGS):
        if robot.stopped:
            break
        begin = time.perf_counter()
        leg = method.next_leg(robot)
        thought += time.perf_counter() - begin
        searched_at += [len(robot.trace) - 1] * (len(method.searches) - len(searched_at))
        if leg is None:
            said = True
            break
        robot.drive(leg)
    return Outcome(
        apartment=apartment.seed,
        number=number,
        method=method_name,
        said=said,
        collided=robot.collided,
        distance=float(np.hypot(*(robot.pose - task.goal)[:2])),
        turn=abs(turn_between(float(robot.pose[2]), float(task.goal[2]))),
        seconds=robot.time,
        way=robot.way,
        shortest=task.shortest,
        known=task.known,
        thought=thought,
        views=sum(search.views for search in method.searches),
        trace=np.array(robot.trace),
        searches=tuple(method.searches),
        searched_at=tuple(searched_at),
    )


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a rate, both ends in [0, 1] (Wilson 1927, J. Am. Stat. Assoc. 22).

    Without trials nothing is known: 0 to 1.
    """
    if trials == 0:
        return 0.0, 1.0
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half = z * math.sqrt(rate * (1.0 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1.0 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def rate_of(outcomes: Sequence[Outcome]) -> tuple[float, float, float]:
    """Success rate and its 95 % interval."""
    successes = sum(outcome.success for outcome in outcomes)
    low, high = wilson_interval(successes, len(outcomes))
    return successes / len(outcomes) if outcomes else math.nan, low, high

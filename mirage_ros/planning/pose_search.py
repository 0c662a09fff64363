"""Where an image was taken, by imagining views around hypotheses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.candidates import camera_path
from mirage_ros.planning.gallery import Hypothesis
from mirage_ros.planning.planar import wrapped
from mirage_ros.planning.scores import Encoder, LatentGoal, encoded
from mirage_ros.planning.views import Imaginer, PlannedView, views_apart

#: A distribution never gets narrower than this: metres, metres, radians.
_LEAST_SPREAD = (0.015, 0.015, math.radians(0.3))

#: Poses of a round whose views are kept for displays, one for every hypothesis at least.
_KEPT = 6

#: Elites lie inside the distribution that they were drawn from, so theirs is made wider again.
_WIDER = 1.3


@dataclass(frozen=True)
class SearchConfig:
    """How a pose is searched for.

    Attributes:
        spread: standard deviation of the first poses about a hypothesis, metres.
        turn: likewise, radians.
        samples: poses imagined about every hypothesis in a round.
        keep: hypotheses that go on after each round; as many rounds as there are numbers.
        elites: poses that the next distribution is made of.

    Raises:
        ConfigurationError: a value is out of range.
    """

    spread: float = 0.25
    turn: float = math.radians(8.0)
    samples: int = 24
    keep: tuple[int, ...] = (3, 2, 1, 1, 1)
    elites: int = 8

    def __post_init__(self) -> None:
        if not (self.spread > 0.0 and self.turn > 0.0 and self.keep and min(self.keep) > 0):
            raise ConfigurationError(
                "spread, turn and the numbers to keep must be positive. "
                f"Got {self.spread}, {self.turn} and {self.keep}"
            )
        if not 4 <= self.elites < self.samples:
            raise ConfigurationError(
                "4 <= elites < samples must hold, so that a spread can be told in three "
                f"dimensions. Got {self.elites} and {self.samples}"
            )


@dataclass(frozen=True)
class Imagined:
    """A pose that was tried.

    Attributes:
        pose: (3,) x, y, heading of the base.
        cost: of its view.
        view: what was imagined there.
    """

    pose: NDArray[np.float64]
    cost: float
    view: PlannedView


@dataclass(frozen=True)
class SearchResult:
    """What a search came to.

    Attributes:
        pose: (3,) the estimate: the mean of the best poses, weighted by rank.
        spread: (3,) their standard deviations.
        best: the pose of least cost.
        tried: the best poses about every hypothesis in the first round, the best first.
        views: how many were imagined.
    """

    pose: NDArray[np.float64]
    spread: NDArray[np.float64]
    best: Imagined
    tried: tuple[Imagined, ...]
    views: int


class _Cloud:
    """The distribution about one hypothesis, over (x, y, heading), and all that was tried."""

    def __init__(self, start: NDArray[np.float64], config: SearchConfig) -> None:
        self.mean = start.copy()
        self.covariance = np.diag(np.square([config.spread, config.spread, config.turn]))
        self._elites = config.elites
        self.poses = np.empty((0, 3))
        self.costs = np.empty(0)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:  # (count, 3)
        """New poses; the first is the mean."""
        others = rng.multivariate_normal(self.mean, self.covariance, count - 1)
        return np.concatenate([self.mean[None], others])

    def learn(self, poses: NDArray[np.float64], costs: NDArray[np.float64]) -> None:
        """Move to the best poses so far; the best of them weighs five times the last."""
        self.poses, self.costs = (
            np.concatenate([self.poses, poses]),
            np.concatenate([self.costs, costs]),
        )
        best = self.poses[np.argsort(self.costs, kind="stable")[: self._elites]]
        weights = np.linspace(1.0, 0.2, len(best))
        weights /= weights.sum()
        self.mean = weights @ best
        off = best - self.mean
        self.covariance = _WIDER * (off * weights[:, None]).T @ off
        self.covariance += np.diag(np.square(_LEAST_SPREAD))


def search(
    goal: LatentGoal,
    hypotheses: Sequence[Hypothesis],
    imaginer: Imaginer,
    encode: Encoder,
    T_base_camera: NDArray[np.float64],  # (4, 4)
    config: SearchConfig,
    rng: np.random.Generator,
) -> SearchResult:
    """The pose whose imagined view is most like the goal.

    The cross-entropy method (Rubinstein 1999) about every hypothesis: draw poses, imagine their
    views, make the next distribution of the best. The full covariance matters: a turn and a
    sidestep look much alike, so the costs' valley is long and askew. After every round only the
    hypotheses with the best views go on. One call of the imaginer a round.

    Raises:
        ConfigurationError: no hypothesis.
    """
    if not hypotheses:
        raise ConfigurationError("a search needs at least one hypothesis. Got none")
    clouds = [_Cloud(hypothesis.pose, config) for hypothesis in hypotheses]
    rounds: list[list[Imagined]] = []
    count = 0
    for keep in config.keep:
        tried: list[Imagined] = []
        drawn = [cloud.draw(config.samples, rng) for cloud in clouds]
        everything = views_apart(imaginer, camera_path(np.concatenate(drawn), T_base_camera))
        for number, (cloud, poses) in enumerate(zip(clouds, drawn, strict=True)):
            views = everything[number * config.samples : (number + 1) * config.samples]
            costs = goal.costs(*encoded(views, encode))
            cloud.learn(poses, costs)
            count += len(poses)
            tried += [
                Imagined(poses[one], float(costs[one]), views[one])
                for one in np.argsort(costs, kind="stable")[: max(1, _KEPT // len(clouds))]
            ]
        rounds.append(sorted(tried, key=lambda one: one.cost))
        clouds = sorted(clouds, key=lambda cloud: float(cloud.costs.min()))[:keep]
    best_of_all = min((one for tried in rounds for one in tried), key=lambda one: one.cost)
    pose = clouds[0].mean.copy()
    pose[2] = float(wrapped(pose[2]))
    spread = np.sqrt(np.diag(clouds[0].covariance))
    return SearchResult(pose, spread, best_of_all, tuple(rounds[0]), count)

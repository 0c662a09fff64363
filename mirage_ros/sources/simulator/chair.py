"""A chair that somebody puts elsewhere from time to time."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.furniture import FABRICS, WOODS, pick
from mirage_ros.sources.simulator.materials import Material
from mirage_ros.sources.simulator.meshes import MeshSet
from mirage_ros.sources.simulator.movers import ABSENT, MovingBody
from mirage_ros.sources.simulator.robot import planar_pose

#: Floor that it takes, metres square.
CHAIR_SIZE = 0.46


class MovedChair:
    """A chair that stands at one place after the other.

    Args:
        places: (time in seconds, (x, y, heading)) with times ascending: from that time on it stands
            there, in metres and radians. Before the first time it is not there.
        seed: of its looks.

    Raises:
        ConfigurationError: no places, times not ascending, or a place that is not finite.
    """

    def __init__(
        self,
        places: Sequence[tuple[float, tuple[float, float, float]]],
        *,
        seed: int = 0,
    ) -> None:
        self._times = [time_s for time_s, _ in places]
        self._places = [place for _, place in places]
        if not places or any(b <= a for a, b in itertools.pairwise(self._times)):
            raise ConfigurationError(f"a chair needs places at ascending times. Got {self._times}")
        if not all(math.isfinite(value) for place in self._places for value in place):
            raise ConfigurationError(f"a chair's places must be finite. Got {self._places}")
        self._seed = seed

    def place(self, time_s: float) -> tuple[float, float, float] | None:
        """Where it stands at a simulated time: x, y and heading; None = not there yet."""
        number = bisect_right(self._times, time_s)
        return self._places[number - 1] if number else None

    def bodies(self, materials: Mapping[str, Material]) -> Sequence[MovingBody]:
        """The chair, its origin on the floor in its middle, x to where a sitter looks."""
        body = MovingBody(MeshSet())
        build = body.builder(np.random.default_rng(self._seed), materials)
        cloth, timber = pick(build, FABRICS), pick(build, WOODS)
        build.box(cloth, (0.0, 0.0, 0.46), (0.44, 0.44, 0.06))
        build.box(timber, (0.0, 0.0, 0.41), (0.40, 0.40, 0.05))
        for x in (-0.18, 0.18):
            for y in (-0.18, 0.18):
                build.box(timber, (x, y, 0.205), (0.045, 0.045, 0.41))
        for y in (-0.18, 0.18):
            build.box(timber, (-0.20, y, 0.70), (0.04, 0.045, 0.46))
            build.box(timber, (0.0, y, 0.16), (0.36, 0.025, 0.03))
        build.box(cloth, (-0.195, 0.0, 0.76), (0.045, 0.34, 0.26))
        build.box(timber, (-0.20, 0.0, 0.92), (0.042, 0.40, 0.06))
        return (body,)

    def poses(self, time_s: float) -> NDArray[np.float64]:  # (1, 4, 4)
        """T_world_body of the chair at a simulated time."""
        place = self.place(time_s)
        return (ABSENT if place is None else planar_pose(*place))[None]

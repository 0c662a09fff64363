"""New things wait until enough views agree that they stay where they are."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError

_NEIGHBOURS = tuple(itertools.product((-1, 0, 1), repeat=3))


@dataclass(frozen=True)
class QuarantineConfig:
    """When new things are believed.

    Attributes:
        views: views that have to see a surface in one place, the one that releases it included.
        seconds: least time between the first of them and the last.
        voxel: size of a place, metres.
        forget_views: a place that this many views did not see anything in is forgotten.

    Raises:
        ConfigurationError: a value is out of range.
    """

    views: int = 3
    seconds: float = 0.8
    voxel: float = 0.15
    forget_views: int = 60

    def __post_init__(self) -> None:
        if self.views < 1 or self.forget_views < 1:
            raise ConfigurationError(
                f"quarantine views and forget_views must be at least 1. "
                f"Got {self.views} and {self.forget_views}"
            )
        if not (math.isfinite(self.seconds) and self.seconds >= 0.0):
            raise ConfigurationError(f"quarantine seconds must be >= 0. Got {self.seconds}")
        if not (math.isfinite(self.voxel) and self.voxel > 0.0):
            raise ConfigurationError(f"quarantine voxel must be positive. Got {self.voxel}")


@dataclass
class _Place:
    views: int
    first_ns: int
    seen: int


class Quarantine:
    """Places where something new was seen, and how many views agreed.

    Args:
        config: when new things are believed.
    """

    def __init__(self, config: QuarantineConfig | None = None) -> None:
        self.config = config or QuarantineConfig()
        self._places: dict[tuple[int, int, int], _Place] = {}
        self._now = 0

    def __len__(self) -> int:
        return len(self._places)

    def clear(self) -> None:
        """Forget everything."""
        self._places.clear()

    def waits(
        self,
        points: NDArray[np.float64],  # (N, 3) world, metres: what is new in one view
        stamp_ns: int,
    ) -> NDArray[np.bool_]:  # (N,)
        """Which points are not yet believed; the view is counted."""
        config = self.config
        self._now += 1
        oldest = self._now - config.forget_views
        self._places = {key: at for key, at in self._places.items() if at.seen >= oldest}
        voxels, inverse = np.unique(
            np.floor(points / config.voxel).astype(np.int64), axis=0, return_inverse=True
        )
        places = {}
        believed = np.zeros(len(voxels), dtype=np.bool_)
        for number, voxel in enumerate(map(tuple, voxels.tolist())):
            before = self._before(voxel)
            if before is None or stamp_ns < before.first_ns:
                place = _Place(1, stamp_ns, self._now)
            else:
                place = _Place(before.views + 1, before.first_ns, self._now)
            places[voxel] = place
            believed[number] = (
                place.views >= config.views and (stamp_ns - place.first_ns) * 1e-9 >= config.seconds
            )
        self._places.update(places)
        waiting: NDArray[np.bool_] = ~believed[inverse.reshape(-1)]
        return waiting

    def _before(self, voxel: tuple[int, ...]) -> _Place | None:
        """The place about a voxel that most views agreed on; noise moves surfaces by a voxel."""
        x, y, z = voxel
        found = [
            place
            for i, j, k in _NEIGHBOURS
            if (place := self._places.get((x + i, y + j, z + k))) is not None
        ]
        return max(found, key=lambda place: place.views, default=None)

"""Follows a line of corners with a differential drive, and turns to a heading at its end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.planar import turn_between

_ARRIVED, _ALIGNED = 0.03, math.radians(1.5)
#: Turns on the spot before it drives on, radians.
_TURN_FIRST = math.radians(20.0)


@dataclass(frozen=True)
class Leg:
    """Where to go next.

    Attributes:
        corners: (N, 2) of the way, straight in between; the first is where the robot is.
        heading: to turn to at the end, radians; None = as it comes.

    Raises:
        ConfigurationError: no corner, or values that are not finite.
    """

    corners: NDArray[np.float64]
    heading: float | None = None

    def __post_init__(self) -> None:
        fits = self.corners.ndim == 2 and self.corners.shape[1:] == (2,) and len(self.corners) > 0
        if not fits or not np.isfinite(self.corners).all():
            raise ConfigurationError(
                f"corners must be finite, of shape (N, 2), N >= 1. Got shape {self.corners.shape}"
            )

    @property
    def length(self) -> float:
        """Metres along the corners."""
        return float(np.hypot(*np.diff(self.corners, axis=0).T).sum())

    def shortened(self, length: float) -> Leg:
        """The leg's first metres; the heading is left out unless all of it fits."""
        if self.length <= length:
            return self
        steps = np.diff(self.corners, axis=0)
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*steps.T))])
        last = int(np.searchsorted(along, length, side="right"))
        share = (length - along[last - 1]) / (along[last] - along[last - 1])
        end = self.corners[last - 1] + share * steps[last - 1]
        return Leg(np.concatenate([self.corners[:last], end[None]]))


class Follower:
    """Commands for a leg: turn towards the next corner, drive there, turn to the heading.

    Args:
        leg: where to go.
        speed: at most, m/s.
        turn_rate: at most, rad/s.
        braking: deceleration that the drive is capable of, m/s^2.
        turn_braking: likewise, rad/s^2.

    Raises:
        ConfigurationError: a value is not positive.
    """

    def __init__(
        self, leg: Leg, speed: float, turn_rate: float, braking: float, turn_braking: float
    ) -> None:
        if not min(speed, turn_rate, braking, turn_braking) > 0.0:
            raise ConfigurationError(
                "speed, turn_rate and braking must be positive. "
                f"Got {speed}, {turn_rate}, {braking} and {turn_braking}"
            )
        self._leg = leg
        self._speed, self._turn_rate = speed, turn_rate
        self._braking, self._turn_braking = braking, turn_braking
        self._next = 0
        self._turning = True
        self.finished = False

    def command(self, pose: NDArray[np.float64]) -> tuple[float, float]:  # (3,) -> m/s, rad/s
        """Speed and turn rate at a pose; zero once finished. Call it every 0.05 to 0.1 s."""
        corners = self._leg.corners
        while self._next < len(corners):
            to = corners[self._next] - pose[:2]
            distance = float(np.hypot(*to))
            if distance <= _ARRIVED or self._passed(pose):
                self._next += 1
                self._turning = True
                continue
            error = turn_between(float(pose[2]), math.atan2(to[1], to[0]))
            if self._turning and abs(error) > 2.0 * _ALIGNED:
                return 0.0, self._turn(error)
            self._turning = abs(error) > _TURN_FIRST
            speed = min(self._speed, math.sqrt(2.0 * 0.7 * self._braking * distance))
            return max(speed, 0.03) * max(0.0, math.cos(2.0 * error)), self._turn(error)
        if self._leg.heading is not None:
            error = turn_between(float(pose[2]), self._leg.heading)
            if abs(error) > _ALIGNED:
                return 0.0, self._turn(error)
        self.finished = True
        return 0.0, 0.0

    def _passed(self, pose: NDArray[np.float64]) -> bool:
        """Whether the corner lies behind, at the end of the line that leads to it."""
        if self._next == 0:
            return True
        before, corner = self._leg.corners[self._next - 1 : self._next + 1]
        return bool((corner - before) @ (corner - pose[:2]) <= 0.0)

    def _turn(self, error: float) -> float:
        fastest = math.sqrt(2.0 * 0.7 * self._turn_braking * abs(error))
        return math.copysign(min(self._turn_rate, fastest, 4.0 * abs(error) + 0.02), error)

"""Wheel odometry, and how it departs from the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.robot import TRACK, WHEEL_RADIUS, planar_pose


@dataclass(frozen=True)
class OdometryDrift:
    """How wheel odometry departs from the truth; the default does not.

    Attributes:
        scale_error: standard deviation of each wheel's constant relative error in radius.
        noise: standard deviation of each wheel's travel after one metre, metres; it grows with the
            square root of the way.
        distance_error: share of the way that is added or lost, at most.
        heading_error: radians a metre driven that the heading goes wrong by, at most.
        roll_length: metres after which the signs of ``distance_error`` and ``heading_error`` are
            drawn anew, one rolling smoothly into the next; inf = they stay as first drawn.

    Raises:
        ConfigurationError: a value is negative, or so large that it is a mistake.
    """

    scale_error: float = 0.0
    noise: float = 0.0
    distance_error: float = 0.0
    heading_error: float = 0.0
    roll_length: float = 10.0

    def __post_init__(self) -> None:
        if not self.roll_length > 0.0:
            raise ConfigurationError(
                f"odometry drift roll_length must be positive metres. Got {self.roll_length}"
            )
        for name in ("scale_error", "noise", "distance_error", "heading_error"):
            value = getattr(self, name)
            if not 0.0 <= value <= 0.5:
                raise ConfigurationError(
                    f"odometry drift {name} must be between 0 and 0.5. Got {value}"
                )


@dataclass(frozen=True)
class OdometryReading:
    """Where the wheels say that the robot is.

    Attributes:
        T_odom_base: (4, 4) planar pose.
        speed: along the robot's x, m/s.
        turn_rate: about its z, rad/s.
    """

    T_odom_base: NDArray[np.float64]
    speed: float
    turn_rate: float


class RollingSign:
    """A sign that changes smoothly along a way: at every multiple of a length it is drawn anew.

    Between two of them it goes over as half a cosine does. The longer the length, the longer it
    stays what it was at the start.

    Args:
        length: metres between draws; may be inf.
        rng: draws the signs, as many as the way asks for.
    """

    def __init__(self, length: float, rng: np.random.Generator) -> None:
        self._length = length
        self._rng = rng
        self._signs = [self._draw(), self._draw()]

    def _draw(self) -> float:
        return 1.0 if self._rng.random() < 0.5 else -1.0

    def at(self, way: float) -> float:
        """The sign, in [-1, 1], after so many metres, not negative."""
        whole = math.floor(way / self._length)
        while len(self._signs) < whole + 2:
            self._signs.append(self._draw())
        before, after = self._signs[whole : whole + 2]
        share = 0.5 - 0.5 * math.cos(math.pi * (way / self._length - whole))
        return before + share * (after - before)


class WheelOdometry:
    """Integrates wheel angles into a planar pose.

    Args:
        x: start, metres.
        y: start, metres.
        heading: start, radians.
        drift: errors to add.
        rng: draws the errors.
    """

    def __init__(
        self, x: float, y: float, heading: float, drift: OdometryDrift, rng: np.random.Generator
    ) -> None:
        self._x, self._y, self._heading = x, y, heading
        self._scale = 1.0 + drift.scale_error * rng.standard_normal(2)
        self._drift = drift
        self._rng = rng
        # Generators of their own: what else is drawn does not depend on them.
        self._rolling = [RollingSign(drift.roll_length, each) for each in rng.spawn(2)]
        self._way = 0.0
        self._angles: NDArray[np.float64] | None = None
        self._velocity = (0.0, 0.0)

    def update(
        self,
        angles: NDArray[np.float64],  # (2,) left and right wheel, radians
        duration: float,  # since the last update, seconds
    ) -> None:
        """Advance by what the wheels turned since the last update."""
        if self._angles is not None:
            travel = WHEEL_RADIUS * (angles - self._angles) * self._scale
            if self._drift.noise > 0.0:
                travel += self._drift.noise * np.sqrt(np.abs(travel)) * self._rng.standard_normal(2)
            forward = float(travel[0] + travel[1]) / 2.0
            turn = float(travel[1] - travel[0]) / TRACK
            distance_sign, heading_sign = (sign.at(self._way) for sign in self._rolling)
            step = abs(forward)
            self._way += step
            forward *= 1.0 + self._drift.distance_error * distance_sign
            turn += self._drift.heading_error * heading_sign * step
            # On an arc, the chord points along the heading at its middle.
            chord = forward * float(np.sinc(turn / 2.0 / np.pi))
            self._x += chord * math.cos(self._heading + turn / 2.0)
            self._y += chord * math.sin(self._heading + turn / 2.0)
            self._heading += turn
            self._velocity = forward / duration, turn / duration
        self._angles = angles.copy()

    @property
    def reading(self) -> OdometryReading:
        """The pose and velocity now."""
        return OdometryReading(planar_pose(self._x, self._y, self._heading), *self._velocity)

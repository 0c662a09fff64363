"""A scripted tour of the apartment: where to go, and the controller that drives there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.sources.simulator.apartment import ApartmentScene
from mirage_ros.sources.simulator.robot import DriveLimits, heading_of, planar_pose

#: Rooms in order of the default tour. It comes back to rooms it has seen, the living room thrice
#: and the hall between all others, because remembering pays off on the second visit.
DEFAULT_ROOMS = (
    "living",
    "kitchen",
    "living",
    "hall",
    "study",
    "hall",
    "bedroom",
    "bathroom",
    "kitchen",
    "living",
)

#: Period of the control loop that a preview assumes, seconds.
CONTROL_PERIOD = 0.05

_LOOKAHEAD = 0.35
_TURN_RATE = 0.7
#: Beyond this heading error the robot turns on the spot before it drives on, radians.
_TURN_FIRST = math.radians(50.0)
_ARRIVED = 0.06
_ALIGNED = math.radians(2.5)


@dataclass(frozen=True)
class _Leg:
    """Follow a path, then turn on the spot through relative angles."""

    path: NDArray[np.float64]  # (N, 2) metres
    looks: tuple[float, ...]  # radians, each relative to the heading before it


@dataclass(frozen=True)
class _State:
    """Where in the script the robot is; immutable, so that a preview cannot disturb the tour."""

    leg: int = 0
    point: int = 0
    look: int = -1  # -1 while following the path
    look_goal: float = 0.0
    turning: bool = False


class Tour:
    """Drives the robot through rooms without touching anything.

    Args:
        scene: the apartment.
        rooms: kinds of rooms to visit, in order; the tour starts at the first one's viewpoint.
        speed: cruising speed, m/s.
        look: degrees that the robot looks to either side in each room on its first visit.
        limits: of the drive, for previews.

    Raises:
        ConfigurationError: an unknown room, fewer than two rooms, or no free way between two.
    """

    def __init__(
        self,
        scene: ApartmentScene,
        rooms: Sequence[str] = DEFAULT_ROOMS,
        *,
        speed: float = 0.5,
        look: float = 75.0,
        limits: DriveLimits | None = None,
    ) -> None:
        kinds = [room.kind for room in scene.rooms]
        unknown = [room for room in rooms if room not in kinds]
        if unknown or len(rooms) < 2:
            raise ConfigurationError(
                f"a tour needs at least two rooms out of {', '.join(kinds)}. Got {list(rooms)}"
            )
        if not 0.05 <= speed <= 1.5:
            raise ConfigurationError(f"speed must be between 0.05 and 1.5 m/s. Got {speed}")
        self._limits = DriveLimits() if limits is None else limits
        self._speed = min(speed, self._limits.speed)
        self._rooms = tuple(rooms)
        stops = [scene.free_space.viewpoint(scene.plan.room(room).rectangle) for room in rooms]
        angle = math.radians(look)
        self._legs = []
        seen = {rooms[0]}
        for room, start, goal in zip(rooms[1:], stops[:-1], stops[1:], strict=True):
            first_visit = room not in seen and room != "hall" and look > 0.0
            seen.add(room)
            looks = (angle, -2.0 * angle, angle) if first_visit else ()
            self._legs.append(_Leg(scene.free_space.path(start, goal), looks))
        self._work = [_effort(leg, self._speed) for leg in self._legs]
        self._state = _State()
        first = self._legs[0].path
        ahead = first[min(8, len(first) - 1)] - first[0]
        self._start = planar_pose(
            float(first[0, 0]), float(first[0, 1]), math.atan2(float(ahead[1]), float(ahead[0]))
        )
        self._pose = self._start
        self._velocity = (0.0, 0.0)

    @property
    def start(self) -> NDArray[np.float64]:
        """(4, 4) T_world_base at which the tour begins, facing along its path."""
        return self._start.copy()

    @property
    def rooms(self) -> tuple[str, ...]:
        """Kinds of rooms that it visits, in order."""
        return self._rooms

    @property
    def path(self) -> NDArray[np.float64]:
        """(N, 2) world positions that the tour passes, metres."""
        return np.concatenate([leg.path for leg in self._legs])

    @property
    def duration(self) -> float:
        """About how long the tour takes, seconds."""
        return sum(drive + look for drive, look in self._work)

    @property
    def finished(self) -> bool:
        """Whether the last stop is reached."""
        return self._state.leg >= len(self._legs)

    @property
    def progress(self) -> float:
        """Part of the tour that is done, 0 to 1."""
        if self.finished:
            return 1.0
        leg, state = self._legs[self._state.leg], self._state
        done = sum(drive + look for drive, look in self._work[: state.leg])
        drive, look = self._work[state.leg]
        if state.look < 0:
            done += drive * state.point / max(1, len(leg.path) - 1)
        else:
            done += drive + look * state.look / max(1, len(leg.looks))
        return min(1.0, done / self.duration)

    def command(self, T_world_base: NDArray[np.float64]) -> tuple[float, float]:
        """Speed (m/s) and turn rate (rad/s) for the pose now; zero once finished.

        Call it at about :data:`CONTROL_PERIOD`.
        """
        self._pose = T_world_base
        command, self._state = self._control(T_world_base, self._state)
        self._velocity = self._limits.approach(self._velocity, command, CONTROL_PERIOD)
        return command

    def preview(
        self, horizon: float, period: float
    ) -> list[tuple[float, NDArray[np.float64]]]:  # seconds, (4, 4) T_world_base
        """Where the tour takes the robot from the pose of the last :meth:`command`.

        The controller is run on a kinematic model of the drive; entries come every ``period``
        seconds up to ``horizon``, beginning with now.

        Raises:
            ConfigurationError: horizon or period is not positive.
        """
        if not (horizon > 0.0 and period > 0.0):
            raise ConfigurationError(
                f"horizon and period must be positive. Got {horizon} s and {period} s"
            )
        pose, velocity, state = self._pose.copy(), self._velocity, self._state
        plan = [(0.0, pose)]
        elapsed = 0.0
        for index in range(1, math.floor(horizon / period + 1e-9) + 1):
            while elapsed < index * period - 1e-9:
                duration = min(CONTROL_PERIOD, index * period - elapsed)
                command, state = self._control(pose, state)
                before = velocity
                velocity = self._limits.approach(velocity, command, duration)
                v, w = (before[0] + velocity[0]) / 2.0, (before[1] + velocity[1]) / 2.0
                pose = pose @ exp_twist([v, 0.0, 0.0], [0.0, 0.0, w], duration)
                elapsed += duration
            plan.append((index * period, pose))
        return plan

    def _control(
        self, pose: NDArray[np.float64], state: _State
    ) -> tuple[tuple[float, float], _State]:
        """The command at a pose, and the script's state after it."""
        while state.leg < len(self._legs):
            leg = self._legs[state.leg]
            if state.look < 0:
                state = replace(state, point=_nearest(leg.path, state.point, pose))
                near = math.hypot(*(leg.path[-1] - pose[:2, 3])) <= _ARRIVED
                last = len(leg.path) - 1
                if state.point < last - 2 or (state.point < last and not near):
                    return self._follow(leg, pose, state)
                state = replace(state, look=0, look_goal=self._look_goal(leg, 0, pose))
            if state.look < len(leg.looks):
                error = _wrapped(state.look_goal - heading_of(pose))
                if abs(error) > _ALIGNED:
                    return (0.0, _turn(error)), state
                upcoming = state.look + 1
                state = replace(
                    state, look=upcoming, look_goal=self._look_goal(leg, upcoming, pose)
                )
                continue
            state = _State(leg=state.leg + 1)
        return (0.0, 0.0), state

    @staticmethod
    def _look_goal(leg: _Leg, look: int, pose: NDArray[np.float64]) -> float:
        return heading_of(pose) + (leg.looks[look] if look < len(leg.looks) else 0.0)

    def _follow(
        self, leg: _Leg, pose: NDArray[np.float64], state: _State
    ) -> tuple[tuple[float, float], _State]:
        """Pure pursuit of the point a lookahead down the path."""
        to_points = leg.path[state.point :] - pose[:2, 3]
        distances = np.hypot(to_points[:, 0], to_points[:, 1])
        beyond = np.flatnonzero(distances >= _LOOKAHEAD)
        target = to_points[int(beyond[0]) if beyond.size else -1]
        distance = max(0.05, math.hypot(*target))
        error = _wrapped(math.atan2(target[1], target[0]) - heading_of(pose))
        limit = _TURN_FIRST / 4.0 if state.turning else _TURN_FIRST
        if abs(error) > limit:
            return (0.0, _turn(error)), replace(state, turning=True)
        curvature = 2.0 * math.sin(error) / distance
        left = 0.05 * (len(leg.path) - 1 - state.point)
        # Slow down in bends so that the turn rate stays gentle, and towards the end of the leg.
        speed = min(
            self._speed,
            _TURN_RATE / max(abs(curvature), 1e-6),
            max(0.08, math.sqrt(0.8 * self._limits.acceleration * left)),
        )
        return (speed, speed * curvature), replace(state, turning=False)


def _effort(leg: _Leg, speed: float) -> tuple[float, float]:
    """About how long driving and looking around take on a leg, seconds."""
    steps = np.diff(leg.path, axis=0)
    drive = float(np.hypot(steps[:, 0], steps[:, 1]).sum()) / speed + 2.0
    return drive, sum(abs(angle) / _TURN_RATE + 0.5 for angle in leg.looks)


def _nearest(path: NDArray[np.float64], point: int, pose: NDArray[np.float64]) -> int:
    """The nearest point of a path a little ahead of the last one, never back."""
    window = path[point : point + 12] - pose[:2, 3]
    return point + int(np.argmin(np.hypot(window[:, 0], window[:, 1])))


def _turn(error: float) -> float:
    """Turn rate that ends on the spot aimed at."""
    rate = min(_TURN_RATE, max(0.12, 2.0 * abs(error)))
    return math.copysign(rate, error)


def _wrapped(angle: float) -> float:
    """The same angle in [-pi, pi)."""
    return (angle + math.pi) % (2.0 * math.pi) - math.pi

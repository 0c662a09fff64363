"""A person who walks through the apartment."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator import figure_shape as shape
from mirage_ros.sources.simulator.free_space import FreeSpace
from mirage_ros.sources.simulator.materials import Material
from mirage_ros.sources.simulator.movers import ABSENT, MovingBody
from mirage_ros.sources.simulator.robot import planar_pose

#: Speed at which legs swing by :data:`_HIP_SWING` to either side, m/s, and how far, radians.
_USUAL_SPEED, _HIP_SWING = 1.2, math.radians(24.0)

#: Within this way of a place where it stands, a figure's limbs come to rest, metres.
_SETTLING = 0.3

#: A heading is the mean over this much of the way, metres.
_LOOK_AHEAD = 0.6
_SPACING = 0.05


class WalkingFigure:
    """A person walking along a path at a steady speed, with swinging arms and legs.

    The feet stay on the floor and in step with the way, so that a foot on the floor hardly slides.

    Args:
        path: (N, 2) points on the floor, metres; at least two, not all in one place.
        speed: m/s.
        start_s: simulated time at which it sets out.
        waits: (metres along the path, seconds) where it stands still, and how long.
        endless: the path's last point joins its first, and the figure goes around for ever.
        only_while_walking: it is not there before it sets out and after it has arrived.
        height: metres.
        seed: of its looks.

    Raises:
        ConfigurationError: a value is out of range, or the path has no length.
    """

    def __init__(
        self,
        path: ArrayLike,  # (N, 2)
        *,
        speed: float = 1.0,
        start_s: float = 0.0,
        waits: Sequence[tuple[float, float]] = (),
        endless: bool = False,
        only_while_walking: bool = False,
        height: float = 1.75,
        seed: int = 0,
    ) -> None:
        points = np.asarray(path, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise ConfigurationError(
                f"a figure's path must be finite points of shape (N, 2). Got shape {points.shape}"
            )
        if not (0.05 <= speed <= 3.0 and 1.0 <= height <= 2.2 and math.isfinite(start_s)):
            raise ConfigurationError(
                f"a figure's speed must be between 0.05 and 3 m/s, its height between 1 and 2.2 m "
                f"and its start finite. Got {speed} m/s, {height} m and {start_s} s"
            )
        if endless:
            points = np.concatenate([points, points[:1]])
        along = _along(points)
        if len(along) < 2 or along[-1] < _SPACING:
            raise ConfigurationError(
                f"a figure's path must be at least {_SPACING} m long. Got {len(points)} points"
            )
        self._length = float(along[-1])
        for at, seconds in waits:
            if not (0.0 <= at <= self._length and 0.0 <= seconds < math.inf):
                raise ConfigurationError(
                    f"a figure waits finite seconds within the {self._length:.2f} m of its path. "
                    f"Got {seconds} s at {at} m"
                )
        count = max(2, round(self._length / _SPACING) + 1)
        self._way = np.linspace(0.0, self._length, count)
        self._points = np.stack([np.interp(self._way, along, axis) for axis in points.T], axis=-1)
        self._headings = _headings(self._points, closed=endless)
        self._times, self._distances = _timetable(self._length, speed, sorted(waits))
        self._start_s = start_s
        self._endless = endless
        self._only_while_walking = only_while_walking
        stops = [at for at, _ in waits]
        self._stops = np.array(stops if endless else [0.0, *stops, self._length])
        self._scale = height / shape.REFERENCE_HEIGHT
        self._height = height
        self._seed = seed
        self._swing = _HIP_SWING * min(1.3, math.sqrt(speed / _USUAL_SPEED))
        #: Metres of two steps, after which the limbs are where they were.
        leg = (shape.THIGH + shape.SHANK + shape.ANKLE) * self._scale
        self._stride = 4.0 * leg * math.sin(self._swing)

    @classmethod
    def through(
        cls,
        free_space: FreeSpace,
        points: Sequence[tuple[float, float]],
        *,
        speed: float = 1.0,
        start_s: float = 0.0,
        wait_s: float = 0.0,
        endless: bool = False,
        only_while_walking: bool = False,
        height: float = 1.75,
        seed: int = 0,
    ) -> WalkingFigure:
        """A figure that walks over free floor from point to point and waits at those on its way.

        Raises:
            ConfigurationError: fewer than two points, or no free way between two of them.
        """
        if len(points) < 2:
            raise ConfigurationError(f"a walk needs at least two points. Got {len(points)}")
        stops = [*points, points[0]] if endless else list(points)
        legs = [free_space.path(a, b) for a, b in itertools.pairwise(stops)]
        way = np.concatenate([legs[0], *(leg[1:] for leg in legs[1:])])
        arrivals = np.cumsum([_along(leg)[-1] for leg in legs])[:-1]
        return cls(
            way[:-1] if endless else way,
            speed=speed,
            start_s=start_s,
            waits=[(float(at), wait_s) for at in arrivals if wait_s > 0.0],
            endless=endless,
            only_while_walking=only_while_walking,
            height=height,
            seed=seed,
        )

    @property
    def end_s(self) -> float:
        """Simulated time at which it arrives; infinite where it goes around for ever."""
        return math.inf if self._endless else self._start_s + float(self._times[-1])

    def is_there(self, time_s: float) -> bool:
        """Whether it is in the apartment at a simulated time."""
        return not self._only_while_walking or self._start_s <= time_s <= self.end_s

    def position(self, time_s: float) -> tuple[float, float, float]:
        """Where it is, or would be, on the floor: x, y in metres and its heading in radians."""
        x, y, heading = (
            float(np.interp(self._distance(time_s)[0], self._way, values))
            for values in (*self._points.T, self._headings)
        )
        return x, y, heading

    def bodies(self, materials: Mapping[str, Material]) -> Sequence[MovingBody]:
        """Trunk, then thighs, shanks, feet, upper arms and forearms, left before right."""
        return shape.figure_bodies(self._seed, self._height, materials)

    def poses(self, time_s: float) -> NDArray[np.float64]:  # (11, 4, 4)
        """T_world_body of every part at a simulated time."""
        if not self.is_there(time_s):
            return np.tile(ABSENT, (11, 1, 1))
        on_path, walked = self._distance(time_s)
        off = float(np.abs(self._stops - on_path).min()) if len(self._stops) else math.inf
        liveliness = min(1.0, off / _SETTLING)
        phase = 2.0 * math.pi * walked / self._stride
        legs = [self._leg(side, phase, liveliness) for side in (1.0, -1.0)]
        arms = [self._arm(side, phase, liveliness) for side in (1.0, -1.0)]
        # As high as the lower foot needs it.
        height = -min(_lowest(foot, self._scale) for _, _, foot in legs)
        x, y, heading = self.position(time_s)
        floor = planar_pose(x, y, heading)
        floor[2, 3] = height
        trunk = _about_y(math.radians(3.0) * liveliness)
        parts = [trunk, *(limb[joint] for joint in range(3) for limb in legs)]
        parts += [trunk @ limb[joint] for joint in range(2) for limb in arms]
        placed: NDArray[np.float64] = floor @ np.stack(parts)
        return placed

    def _distance(self, time_s: float) -> tuple[float, float]:
        """Metres along the path, and metres walked since it set out."""
        since = max(0.0, time_s - self._start_s)
        rounds = math.floor(since / self._times[-1]) if self._endless else 0
        rest = since - rounds * float(self._times[-1])
        on_path = float(np.interp(rest, self._times, self._distances))
        return on_path, rounds * self._length + on_path

    def _leg(
        self, side: float, phase: float, liveliness: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Thigh, shank and foot in the trunk's frame, standing upright."""
        own = phase if side > 0.0 else phase + math.pi
        # Nearly a triangle: a foot on the floor goes back as steadily as the trunk goes on.
        hip = self._swing * math.asin(0.95 * math.sin(own)) / math.asin(0.95) * liveliness
        # The knee bends while the leg swings forwards.
        swinging = max(0.0, math.cos(own)) * liveliness
        knee = math.radians(4.0) + math.radians(52.0) * swinging
        thigh = _moved(shape.HIP, side, self._scale) @ _about_y(-hip)
        shank = thigh @ _down(shape.THIGH, self._scale) @ _about_y(knee)
        # The toes hang while it swings and point up a little where it lands.
        pitch = 0.5 * math.radians(52.0) * swinging - 0.35 * max(0.0, hip)
        foot = shank @ _down(shape.SHANK, self._scale) @ _about_y(pitch + hip - knee)
        return thigh, shank, foot

    def _arm(
        self, side: float, phase: float, liveliness: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Upper arm and forearm in the trunk's frame; an arm swings against its side's leg."""
        swing = 0.8 * self._swing * liveliness * math.sin(phase if side < 0.0 else phase + math.pi)
        elbow = math.radians(14.0) + 0.5 * max(0.0, swing)
        upper = _moved(shape.SHOULDER, side, self._scale) @ _about_x(side * math.radians(7.0))
        upper = upper @ _about_y(-swing)
        forearm = upper @ _down(shape.UPPER_ARM, self._scale) @ _about_y(-elbow)
        return upper, forearm


def _along(points: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 2) -> (N,)
    """Metres from the first point to each."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _headings(
    points: NDArray[np.float64],  # (N, 2) evenly along the path
    *,
    closed: bool,
) -> NDArray[np.float64]:  # (N,) radians, without jumps of a whole turn
    """Smooth directions of a path; where it turns back, the figure turns on its way."""
    steps = np.diff(points, axis=0)
    raw = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    window = max(1, round(_LOOK_AHEAD / _SPACING) // 2)
    if closed:
        turn = 2.0 * math.pi * round(float(raw[-1] - raw[0]) / (2.0 * math.pi))
        padded = np.concatenate([raw[-window:] - turn, raw, raw[:window] + turn])
    else:
        padded = np.pad(raw, window, mode="edge")
    # A point's heading is the mean of the steps on either side of it.
    sums = np.concatenate([[0.0], np.cumsum(padded)])
    width = 2 * window
    return np.asarray((sums[width:] - sums[:-width]) / width, dtype=np.float64)


def _timetable(
    length: float, speed: float, waits: Sequence[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (K,) seconds, (K,) metres
    """When how much of the path is done; between the entries it is linear."""
    times, distances = [0.0], [0.0]
    for at, seconds in [*waits, (length, 0.0)]:
        times += [times[-1] + (at - distances[-1]) / speed]
        times += [times[-1] + seconds]
        distances += [at, at]
    return np.array(times), np.array(distances)


def _lowest(foot: NDArray[np.float64], scale: float) -> float:
    """Height of the lower end of a sole."""
    ends = (np.array([forward, 0.0, up]) * scale for forward, up in (shape.HEEL, shape.TOE))
    return min(float(foot[2, :3] @ end + foot[2, 3]) for end in ends)


def _about_x(angle: float) -> NDArray[np.float64]:  # (4, 4)
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0, 0.0], [0.0, c, -s, 0.0], [0.0, s, c, 0.0], [0, 0, 0, 1.0]])


def _about_y(angle: float) -> NDArray[np.float64]:  # (4, 4)
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s, 0.0], [0.0, 1.0, 0.0, 0.0], [-s, 0.0, c, 0.0], [0, 0, 0, 1.0]])


def _moved(
    joint: tuple[float, float, float], side: float, scale: float
) -> NDArray[np.float64]:  # (4, 4)
    pose = np.eye(4)
    pose[:3, 3] = joint[0] * scale, side * joint[1] * scale, joint[2] * scale
    return pose


def _down(metres: float, scale: float) -> NDArray[np.float64]:  # (4, 4)
    return _moved((0.0, 0.0, -metres), 1.0, scale)

"""Poses between and shortly after the stamped poses that odometry or a localiser sends."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from transforms3d import quaternions

from mirage_ros.errors import ConfigurationError, InterpolationError
from mirage_ros.geometry.poses import rotation_angle, translation_distance, validate_pose

NANOSECONDS = 1_000_000_000


class PoseUnavailableError(InterpolationError):
    """No pose for a stamp; tells whether waiting can help.

    Attributes:
        retriable: True where a pose that is still to come may answer the same question ("not
            yet"), False where none ever will ("never").
    """

    def __init__(self, message: str, *, retriable: bool) -> None:
        super().__init__(message)
        self.retriable = retriable


class AddResult(Enum):
    """What :meth:`PoseBuffer.add` did with a pose."""

    #: Newer than all others; now in the buffer.
    ADDED = "added"
    #: Not newer than the newest (a repeat or a late one); left out.
    STALE = "stale"
    #: So far back that time itself must have jumped (a looping bag); left out. ``clear()`` first.
    JUMPED_BACK = "jumped_back"


def interpolate_pose(
    a: NDArray[np.float64],  # (4, 4)
    b: NDArray[np.float64],  # (4, 4)
    alpha: float,
) -> NDArray[np.float64]:  # (4, 4)
    """The pose at ``alpha`` on the way from ``a`` (0) to ``b`` (1); beyond 1 it goes on the same.

    Translation is linear, rotation is slerp along the shorter way (Shoemake, "Animating rotation
    with quaternion curves", 1985).
    """
    q_a = quaternions.mat2quat(a[:3, :3])
    q_b = quaternions.mat2quat(b[:3, :3])
    if float(q_a @ q_b) < 0.0:
        q_b = -q_b
    # Half chord and half sum give the angle without the loss of arccos at small angles.
    theta = 2.0 * math.atan2(float(np.linalg.norm(q_b - q_a)), float(np.linalg.norm(q_b + q_a)))
    if theta < 1e-8:
        q = (1.0 - alpha) * q_a + alpha * q_b
    else:
        q = (math.sin((1.0 - alpha) * theta) * q_a + math.sin(alpha * theta) * q_b) / math.sin(
            theta
        )
    pose = np.eye(4)
    pose[:3, :3] = quaternions.quat2mat(q / np.linalg.norm(q))
    pose[:3, 3] = (1.0 - alpha) * a[:3, 3] + alpha * b[:3, 3]
    return pose


def is_jump(
    T_a: NDArray[np.float64],  # (4, 4)
    T_b: NDArray[np.float64],  # (4, 4)
    dt: float,  # seconds from a to b
    max_linear_speed: float,  # m/s
    max_angular_speed: float,  # rad/s
) -> bool:
    """Whether going from ``T_a`` to ``T_b`` within ``dt`` is faster than the body can move."""
    dt = abs(dt)
    return (
        translation_distance(T_a, T_b) > max_linear_speed * dt
        or rotation_angle(T_a, T_b) > max_angular_speed * dt
    )


class PoseBuffer:
    """The poses of the last seconds, in order of time; poses for any stamp among them.

    Not thread-safe: fill and ask it from callbacks that exclude each other.

    Args:
        capacity: most poses kept, at least 2.
        max_age_s: poses that are older than the newest by more are dropped, seconds.
        max_gap_s: neighbours further apart in time are not interpolated between, seconds.
        max_extrapolation_s: how far past the newest pose an answer is given, seconds.
        jump_back_s: a stamp older than the newest by more is a jump of time, seconds.

    Raises:
        ConfigurationError: a limit is out of range.
    """

    def __init__(
        self,
        *,
        capacity: int = 4096,
        max_age_s: float = 10.0,
        max_gap_s: float = 0.5,
        max_extrapolation_s: float = 0.05,
        jump_back_s: float = 1.0,
    ) -> None:
        if capacity < 2:
            raise ConfigurationError(f"capacity must be at least 2 poses. Got {capacity}")
        if not (max_age_s > 0.0 and max_gap_s > 0.0):
            raise ConfigurationError(
                f"max_age_s and max_gap_s must be positive seconds. Got {max_age_s} and {max_gap_s}"
            )
        if not (max_extrapolation_s >= 0.0 and jump_back_s >= 0.0):
            raise ConfigurationError(
                "max_extrapolation_s and jump_back_s must not be negative. "
                f"Got {max_extrapolation_s} and {jump_back_s}"
            )
        self._capacity = capacity
        self._max_age_ns = round(max_age_s * NANOSECONDS)
        self._max_gap_ns = round(max_gap_s * NANOSECONDS)
        self._max_extrapolation_ns = round(max_extrapolation_s * NANOSECONDS)
        self._jump_back_ns = round(jump_back_s * NANOSECONDS)
        self._stamps: list[int] = []
        self._poses: list[NDArray[np.float64]] = []

    def __len__(self) -> int:
        return len(self._stamps)

    @property
    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest pose, None while empty."""
        return self._stamps[-1] if self._stamps else None

    @property
    def newest_pose(self) -> NDArray[np.float64] | None:  # (4, 4)
        """The newest pose, None while empty."""
        return self._poses[-1].copy() if self._poses else None

    def jumped_back(self, stamp_ns: int) -> bool:
        """Whether ``stamp_ns`` is so much older than the newest pose that time jumped back."""
        return bool(self._stamps) and stamp_ns < self._stamps[-1] - self._jump_back_ns

    def add(
        self,
        stamp_ns: int,
        pose: NDArray[np.float64],  # (4, 4)
    ) -> AddResult:
        """Append a pose that is newer than all others; anything else is left out.

        Raises:
            PoseError: ``pose`` is not a rigid transform.
        """
        checked = validate_pose(pose).copy()
        if self.jumped_back(stamp_ns):
            return AddResult.JUMPED_BACK
        if self._stamps and stamp_ns <= self._stamps[-1]:
            return AddResult.STALE
        self._stamps.append(int(stamp_ns))
        self._poses.append(checked)
        expired = bisect_left(self._stamps, self._stamps[-1] - self._max_age_ns)
        surplus = max(expired, len(self._stamps) - self._capacity)
        del self._stamps[:surplus], self._poses[:surplus]
        return AddResult.ADDED

    def clear(self) -> None:
        """Forget all poses (after a jump of time)."""
        self._stamps.clear()
        self._poses.clear()

    def interpolate(
        self, stamp_ns: int, *, extrapolate: bool = True
    ) -> NDArray[np.float64]:  # (4, 4)
        """The pose at ``stamp_ns``.

        Between two poses it is interpolated; up to ``max_extrapolation_s`` past the newest it goes
        on at the latest velocity, unless ``extrapolate`` is False (a caller that can still wait
        for a measured pose says so).

        Raises:
            PoseUnavailableError: the buffer is empty, the stamp is too late or too early, or it
                lies in a gap; ``retriable`` tells whether a newer pose may help.
        """
        if not self._stamps:
            raise PoseUnavailableError(
                f"no pose for stamp {_seconds(stamp_ns)} s: none has arrived yet", retriable=True
            )
        index = bisect_left(self._stamps, stamp_ns)
        if index == len(self._stamps):
            return self._extrapolated(stamp_ns, extrapolate)
        if self._stamps[index] == stamp_ns:
            return self._poses[index].copy()
        if index == 0:
            raise PoseUnavailableError(
                f"stamp {_seconds(stamp_ns)} s is too early: "
                f"{_seconds(self._stamps[0] - stamp_ns)} s before the oldest pose kept "
                f"({_seconds(self._stamps[0])} s)",
                retriable=False,
            )
        before, after = self._stamps[index - 1], self._stamps[index]
        self._check_gap(stamp_ns, before, after, retriable=False)
        alpha = (stamp_ns - before) / (after - before)
        return interpolate_pose(self._poses[index - 1], self._poses[index], alpha)

    def _extrapolated(self, stamp_ns: int, extrapolate: bool) -> NDArray[np.float64]:  # (4, 4)
        newest = self._stamps[-1]
        late = stamp_ns - newest
        if not extrapolate or late > self._max_extrapolation_ns:
            limit = self._max_extrapolation_ns if extrapolate else 0
            raise PoseUnavailableError(
                f"stamp {_seconds(stamp_ns)} s is too late: {_seconds(late)} s after the newest "
                f"pose ({_seconds(newest)} s), at most {_seconds(limit)} s allowed",
                retriable=True,
            )
        if len(self._stamps) == 1:
            raise PoseUnavailableError(
                f"stamp {_seconds(stamp_ns)} s is too late: extrapolation needs two poses. Got one",
                retriable=True,
            )
        # A velocity taken over at least as long as it is carried on amplifies noise by two at most,
        # however densely the poses arrive.
        index = max(0, bisect_right(self._stamps, newest - late) - 1)
        before = self._stamps[index]
        self._check_gap(stamp_ns, before, newest, retriable=True)
        alpha = (stamp_ns - before) / (newest - before)
        return interpolate_pose(self._poses[index], self._poses[-1], alpha)

    def _check_gap(self, stamp_ns: int, before: int, after: int, *, retriable: bool) -> None:
        if after - before > self._max_gap_ns:
            raise PoseUnavailableError(
                f"stamp {_seconds(stamp_ns)} s needs the poses at {_seconds(before)} s and "
                f"{_seconds(after)} s, a gap of {_seconds(after - before)} s, "
                f"at most {_seconds(self._max_gap_ns)} s allowed",
                retriable=retriable,
            )


def _seconds(nanoseconds: int) -> str:
    """Exact decimal seconds; a float would blur stamps of the present day to 0.2 microseconds."""
    sign = "-" if nanoseconds < 0 else ""
    whole, rest = divmod(abs(nanoseconds), NANOSECONDS)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".")

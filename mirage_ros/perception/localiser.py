"""Keyframes that follow a localiser, which now and then moves odometry's frame in the world."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.geometry import inverse, rotation_angle, translation_distance, validate_pose
from mirage_ros.memory import Keyframes
from mirage_ros.perception.drift import KeyframeMoves, MoveLimits, moves_by_distance

#: Smaller changes are left to add up: metres, radians.
_LEAST_DISTANCE, _LEAST_ANGLE = 0.005, math.radians(0.1)


@dataclass(frozen=True)
class LocaliserMoves:
    """What a localiser's move asks of the keyframes since the one before.

    Attributes:
        keyframes: those, where they stand.
        moves: where they are to stand, or why they are not to be moved.
    """

    keyframes: Keyframes
    moves: KeyframeMoves


class LocaliserTrace:
    """Remembers where keyframes were stored since the localiser last moved odometry's frame.

    Args:
        limits: how far keyframes may be moved at once.
    """

    def __init__(self, limits: MoveLimits) -> None:
        self._limits = limits
        self._T_world_odom: NDArray[np.float64] | None = None
        self._last: NDArray[np.float64] | None = None
        self._way = 0.0
        self._stamps: list[int] = []
        self._poses: list[NDArray[np.float64]] = []
        self._ways: list[float] = []

    def clear(self) -> None:
        """Forget all keyframes."""
        self._T_world_odom = self._last = None
        self._forget_keyframes()

    def add(
        self,
        stamp_ns: int,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        T_world_odom: NDArray[np.float64],  # (4, 4) at the same time
    ) -> LocaliserMoves | None:
        """A keyframe is to be stored; what becomes of those before it, None if nothing does.

        Whether moves are accepted or refused, the next one counts from here. A stamp that goes
        back begins anew.

        Raises:
            PoseError: a pose is not rigid.
        """
        camera = validate_pose(T_world_camera, "T_world_camera")
        odom = validate_pose(T_world_odom, "T_world_odom")
        if self._stamps and stamp_ns <= self._stamps[-1]:
            self.clear()
        # Odometry's own way does not jump when its frame does.
        T_odom_camera = inverse(odom) @ camera
        if self._last is not None:
            self._way += translation_distance(self._last, T_odom_camera)
        self._last = T_odom_camera
        result = None
        if self._T_world_odom is None:
            self._T_world_odom = odom
        elif _differ(self._T_world_odom, odom):
            result = self._moved(self._T_world_odom, odom)
            self._T_world_odom = odom
            self._forget_keyframes()
        self._stamps.append(stamp_ns)
        self._poses.append(camera)
        self._ways.append(self._way)
        return result

    def _moved(
        self,
        T_before: NDArray[np.float64],  # (4, 4)
        T_after: NDArray[np.float64],  # (4, 4)
    ) -> LocaliserMoves:
        poses = np.stack(self._poses)
        moves = moves_by_distance(
            poses, np.array(self._ways), self._way, T_before, T_after, self._limits
        )
        return LocaliserMoves(Keyframes(np.array(self._stamps, dtype=np.int64), poses), moves)

    def _forget_keyframes(self) -> None:
        self._way = 0.0
        self._stamps, self._poses, self._ways = [], [], []


def _differ(
    a: NDArray[np.float64],  # (4, 4)
    b: NDArray[np.float64],  # (4, 4)
) -> bool:
    return translation_distance(a, b) > _LEAST_DISTANCE or rotation_angle(a, b) > _LEAST_ANGLE

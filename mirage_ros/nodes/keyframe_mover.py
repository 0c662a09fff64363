"""Keyframes that follow what others know better later, on the engine's thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import MirageError
from mirage_ros.geometry import rotation_angle, translation_distance
from mirage_ros.nodes.engine import Engine
from mirage_ros.nodes.status import Counters
from mirage_ros.nodes.trajectory_input import CORRECTED_TRAJECTORY, Trajectory
from mirage_ros.nodes.warner import ThrottledWarner

if TYPE_CHECKING:
    from mirage_ros.memory import Keyframes
    from mirage_ros.perception.drift import KeyframeMoves

#: A moved keyframe loses its whole frame as a reference, and a path is sent again and again: those
#: that hardly move stay, metres and radians.
_LEAST_DISTANCE, _LEAST_ANGLE = 0.005, math.radians(0.1)


class KeyframeMover:
    """Moves keyframes with all they saw, within limits; beyond these it says so and moves nothing.

    Args:
        engine: the world model.
        counters: counts moves.
        warner: takes the warnings.
        distance: how far keyframes may be moved at once, metres.
        angle: likewise, radians.
        changed: told that the memory has changed.

    Raises:
        ConfigurationError: a limit is not positive.
    """

    def __init__(
        self,
        engine: Engine,
        counters: Counters,
        warner: ThrottledWarner,
        distance: float,
        angle: float,
        changed: Callable[[], None],
    ) -> None:
        # Needs torch, which a node that is never configured does not load.
        from mirage_ros.perception.drift import MoveLimits
        from mirage_ros.perception.localiser import LocaliserTrace

        self._engine = engine
        self._counters = counters
        self._warner = warner
        self._changed = changed
        self._limits = MoveLimits(distance, angle)
        self._trace = LocaliserTrace(self._limits)

    def forget(self) -> None:
        """Something else is remembered now."""
        self._trace.clear()

    def follow_localiser(
        self,
        stamp_ns: int,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        T_world_odom: NDArray[np.float64],  # (4, 4)
    ) -> None:
        """A keyframe is to be stored there; those before it follow odometry's frame."""
        found = self._trace.add(stamp_ns, T_world_camera, T_world_odom)
        if found is not None:
            self._apply("odom_frame", found.keyframes, found.moves)

    def follow(self, trajectory: Trajectory) -> None:
        """Let keyframes stand where a corrected trajectory has them."""
        from mirage_ros.memory import CorrectableMemory, Keyframes
        from mirage_ros.perception.drift import moves_along_trajectory

        memory = self._engine.model.memory
        if not isinstance(memory, CorrectableMemory):
            return
        held = memory.keyframes()
        # One that was encoded on several grids is there several times.
        own, first = np.unique(held.stamps_ns, return_index=True)
        if not len(own):
            return
        keyframes = Keyframes(own, held.T_world_camera[first])
        try:
            moves = moves_along_trajectory(
                keyframes.stamps_ns,
                keyframes.T_world_camera,
                trajectory.stamps_ns,
                trajectory.T_world_camera,
                self._limits,
            )
        except MirageError as error:
            self._refuse(CORRECTED_TRAJECTORY, str(error))
            return
        self._apply(CORRECTED_TRAJECTORY, keyframes, moves)

    def _apply(self, topic: str, keyframes: Keyframes, moves: KeyframeMoves) -> None:
        from mirage_ros.memory import Keyframes

        if not moves.accepted:
            self._refuse(topic, moves.reason)
            return
        chosen = [
            number
            for number, (old, new) in enumerate(
                zip(keyframes.T_world_camera, moves.T_world_camera, strict=True)
            )
            if translation_distance(old, new) > _LEAST_DISTANCE
            or rotation_angle(old, new) > _LEAST_ANGLE
        ]
        if not chosen:
            return
        moved = Keyframes(keyframes.stamps_ns[chosen], moves.T_world_camera[chosen])
        self._counters.keyframes_moved += self._engine.model.move_keyframes(moved)
        self._changed()

    def _refuse(self, topic: str, reason: str) -> None:
        self._counters.moves_refused += 1
        self._warner.warn(topic, f"no keyframe is moved: {reason}", "moves")

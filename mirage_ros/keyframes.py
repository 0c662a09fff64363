"""Which frames are worth remembering: the camera moved, turned, or enough time went by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry import rotation_angle, translation_distance


@dataclass(frozen=True)
class KeyframePolicy:
    """A frame is a keyframe if it differs enough from the last one.

    Attributes:
        distance: camera motion that makes a keyframe, metres.
        angle: camera rotation that makes a keyframe, radians.
        interval: time after which any frame is a keyframe, seconds; 0 = never by time alone.
        min_interval: least time between two keyframes, seconds.

    Raises:
        ConfigurationError: a value is negative or not finite.
    """

    distance: float = 0.20
    angle: float = 0.20
    interval: float = 0.0
    min_interval: float = 0.0

    def __post_init__(self) -> None:
        for name in ("distance", "angle", "interval", "min_interval"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(f"keyframe {name} must be finite and >= 0. Got {value}")

    def wants(
        self,
        stamp_ns: int,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        last_stamp_ns: int | None,
        last_T_world_camera: NDArray[np.float64] | None,  # (4, 4)
    ) -> bool:
        """Whether the frame is a keyframe, given the last one (None = there was none)."""
        if last_stamp_ns is None or last_T_world_camera is None:
            return True
        elapsed = (stamp_ns - last_stamp_ns) * 1e-9
        if 0.0 <= elapsed < self.min_interval:
            return False
        return (
            translation_distance(last_T_world_camera, T_world_camera) >= self.distance
            or rotation_angle(last_T_world_camera, T_world_camera) >= self.angle
            or (self.interval > 0.0 and elapsed >= self.interval)
        )


def chosen_keyframes(
    poses: NDArray[np.float64],  # (N, 4, 4)
    stamps_ns: NDArray[np.int64],  # (N,)
    policy: KeyframePolicy | None = None,
) -> list[int]:
    """Numbers of the frames that the node would remember."""
    rule, chosen = policy or KeyframePolicy(), list[int]()
    for number, (stamp, pose) in enumerate(zip(stamps_ns.tolist(), poses, strict=True)):
        last = chosen[-1] if chosen else None
        before = None if last is None else int(stamps_ns[last])
        if rule.wants(stamp, pose, before, None if last is None else poses[last]):
            chosen.append(number)
    return chosen

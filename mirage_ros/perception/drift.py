"""The correction of odometry that goes on from keyframe to keyframe, and corrections afterwards.

Two worlds are told apart: W, in which odometry says where the camera is and which drifts, and M,
that of the memory, in which keyframes stand. ``T_memory_world`` takes poses from W to M.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, PoseError
from mirage_ros.geometry import (
    interpolate_pose,
    inverse,
    rotation_angle,
    translation_distance,
    validate_pose,
)
from mirage_ros.perception.registration import Registration


class DriftCorrection:
    """Where the memory's frame lies in odometry's, as far as registrations have told.

    Attributes:
        T_memory_world: (4, 4), the identity before the first registration.
    """

    def __init__(self) -> None:
        self.T_memory_world: NDArray[np.float64] = np.eye(4)

    def apply(
        self,
        T_world_camera: NDArray[np.float64],  # (4, 4) as odometry says
    ) -> NDArray[np.float64]:  # (4, 4) T_memory_camera
        """The camera's pose in the memory's frame, also that of paths to imagine.

        Raises:
            PoseError: the pose is not rigid.
        """
        pose: NDArray[np.float64] = self.T_memory_world @ validate_pose(
            T_world_camera, "T_world_camera"
        )
        return pose

    def update(
        self,
        T_world_camera: NDArray[np.float64],  # (4, 4) as odometry says
        registration: Registration,  # of the frame taken there
    ) -> None:
        """Take over what a registration found; a refused one changes nothing.

        Raises:
            PoseError: the pose is not rigid.
        """
        pose = validate_pose(T_world_camera, "T_world_camera")
        if registration.accepted:
            self.T_memory_world = _rigid(registration.T_world_camera @ inverse(pose))

    def reset(self) -> None:
        """Back to the identity, for a memory that begins anew."""
        self.T_memory_world = np.eye(4)


@dataclass(frozen=True)
class MoveLimits:
    """How far keyframes may be moved at once.

    Attributes:
        distance: metres.
        angle: radians.

    Raises:
        ConfigurationError: a limit is not positive.
    """

    distance: float = 1.0
    angle: float = math.radians(20.0)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigurationError(f"move limit {name} must be positive. Got {value}")


@dataclass(frozen=True)
class KeyframeMoves:
    """Where keyframes are to stand.

    Attributes:
        T_world_camera: (K, 4, 4), in the order asked for; the old poses where refused.
        accepted: whether they may be moved.
        reason: why not, empty if accepted.
        distance: the farthest move, metres, also of a refused one.
        angle: the largest turn, radians, likewise.
    """

    T_world_camera: NDArray[np.float64]
    accepted: bool
    reason: str
    distance: float
    angle: float


def moves_along_trajectory(
    stamps_ns: NDArray[np.int64],  # (K,) of the keyframes, ascending
    T_world_camera: NDArray[np.float64],  # (K, 4, 4) where they stand
    trajectory_ns: NDArray[np.int64],  # (M,) of the corrected poses, ascending
    trajectory: NDArray[np.float64],  # (M, 4, 4) T_world_camera after the correction
    limits: MoveLimits,
) -> KeyframeMoves:
    """Where a corrected trajectory of the same camera puts keyframes.

    What is interpolated is the correction, not the pose: between two nodes of a pose graph the
    robot went a way that only the keyframes know. At a node the correction is its pose over the
    old one, which is interpolated between the keyframes about it. Before the first node and after
    the last one the nearest correction holds.

    Raises:
        PoseError: numbers of stamps and poses differ, stamps do not ascend, or a pose is not rigid.
    """
    old = _checked(stamps_ns, T_world_camera, "keyframes")
    nodes = _checked(trajectory_ns, trajectory, "trajectory")
    usable = [
        number
        for number, stamp in enumerate(trajectory_ns)
        if len(old) and stamps_ns[0] <= stamp <= stamps_ns[-1]
    ]
    if not usable:
        return KeyframeMoves(
            old,
            False,
            f"no pose of the trajectory ({len(nodes)} poses) was taken while the keyframes were "
            f"({len(old)} keyframes)",
            0.0,
            0.0,
        )
    times = trajectory_ns[usable]
    corrections = np.stack(
        [
            nodes[number] @ inverse(_between(stamps_ns, old, trajectory_ns[number]))
            for number in usable
        ]
    )
    new = []
    for stamp, pose in zip(stamps_ns, old, strict=True):
        after = int(np.searchsorted(times, stamp))
        about = slice(max(after - 1, 0), after + 1)
        # Applied to the keyframe before it is interpolated: a share of a rotation about an origin
        # far away is another motion.
        new.append(_between(times[about], corrections[about] @ pose, stamp))
    return _within(old, np.stack(new), limits)


def moves_by_distance(
    T_world_camera: NDArray[np.float64],  # (K, 4, 4) keyframes since the last change
    driven_m: NDArray[np.float64],  # (K,) way since the last change at each, metres
    driven_now_m: float,  # the same now
    T_before: NDArray[np.float64],  # (4, 4) T_map_odom under which they were stored
    T_after: NDArray[np.float64],  # (4, 4) T_map_odom now
    limits: MoveLimits,
) -> KeyframeMoves:
    """Where a localiser's new T_map_odom puts the keyframes since its last one.

    A localiser tells where the robot is, not where it was. Odometry drifts with the way, so each
    keyframe takes the share of the change that its way has of the whole: nothing at the last
    change, all of it now.

    Raises:
        PoseError: numbers differ, a way is negative or not finite, or a pose is not rigid.
    """
    old = _checked(np.arange(len(T_world_camera)), T_world_camera, "keyframes")
    before, after = validate_pose(T_before, "T_before"), validate_pose(T_after, "T_after")
    ways = np.asarray(driven_m, dtype=np.float64)
    if ways.shape != (len(old),):
        raise PoseError(f"{len(old)} keyframes need as many ways. Got shape {ways.shape}")
    if not (math.isfinite(driven_now_m) and ((ways >= 0.0) & np.isfinite(ways)).all()):
        raise PoseError(f"ways must be finite metres >= 0. Got {ways} and {driven_now_m} now")
    if len(old) == 0:
        return KeyframeMoves(old, True, "", 0.0, 0.0)
    change = after @ inverse(before)
    # A robot that stands has no way to share the change by: all of it is its own.
    shares = np.minimum(ways / driven_now_m, 1.0) if driven_now_m > 0.0 else np.ones(len(old))
    new = [
        interpolate_pose(pose, change @ pose, float(share))
        for pose, share in zip(old, shares, strict=True)
    ]
    return _within(old, np.stack(new), limits)


def _checked(
    stamps_ns: NDArray[np.int64],
    poses: NDArray[np.float64],
    name: str,
) -> NDArray[np.float64]:  # (N, 4, 4)
    if np.shape(stamps_ns) != (len(poses),):
        raise PoseError(
            f"{name} need one stamp for each pose. Got stamps of shape {np.shape(stamps_ns)} and "
            f"{len(poses)} poses"
        )
    if (np.diff(stamps_ns) <= 0).any():
        raise PoseError(f"stamps of {name} must ascend. Got {np.asarray(stamps_ns)}")
    checked = [validate_pose(pose, f"{name}[{number}]") for number, pose in enumerate(poses)]
    return np.array(checked).reshape(-1, 4, 4)


def _between(
    stamps_ns: NDArray[np.int64],  # (N,) ascending
    poses: NDArray[np.float64],  # (N, 4, 4)
    stamp_ns: int,
) -> NDArray[np.float64]:  # (4, 4)
    """The pose at a stamp; beyond the ends, that at the end."""
    after = int(np.searchsorted(stamps_ns, stamp_ns))
    if after == 0 or after == len(stamps_ns):
        end: NDArray[np.float64] = poses[min(after, len(stamps_ns) - 1)]
        return end
    first, second = int(stamps_ns[after - 1]), int(stamps_ns[after])
    return interpolate_pose(
        poses[after - 1], poses[after], (int(stamp_ns) - first) / (second - first)
    )


def _within(
    old: NDArray[np.float64],  # (K, 4, 4)
    new: NDArray[np.float64],  # (K, 4, 4)
    limits: MoveLimits,
) -> KeyframeMoves:
    distance = max(translation_distance(a, b) for a, b in zip(old, new, strict=True))
    angle = max(rotation_angle(a, b) for a, b in zip(old, new, strict=True))
    if distance > limits.distance or angle > limits.angle:
        return KeyframeMoves(
            old,
            False,
            f"keyframes would move by up to {distance:.2f} m and {math.degrees(angle):.1f} degrees "
            f"(at most {limits.distance:.2f} m and {math.degrees(limits.angle):.1f} allowed)",
            distance,
            angle,
        )
    return KeyframeMoves(new, True, "", distance, angle)


def _rigid(pose: NDArray[np.float64]) -> NDArray[np.float64]:  # (4, 4)
    """The rigid pose nearest to a product of many, which rounding bends a little each time."""
    left, _, right = np.linalg.svd(pose[:3, :3])
    result = pose.copy()
    result[:3, :3] = left @ right
    return result

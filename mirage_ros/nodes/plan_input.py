"""Where the camera is to be imagined: along the newest plan, or on along the current twist."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from nav_msgs.msg import Path
from numpy.typing import NDArray

from mirage_ros.errors import PoseError
from mirage_ros.geometry import PinholeCamera
from mirage_ros.geometry.paths import extrapolate_twist, resample_path
from mirage_ros.geometry.poses import poses_from_quaternions
from mirage_ros.nodes.pairing import PairedFrame
from mirage_ros.nodes.pose_conversion import stamp_to_ns


@dataclass(frozen=True)
class CameraState:
    """Where the camera was at the newest observation, and how it moved.

    Attributes:
        stamp_ns: of that observation.
        T_world_camera: (4, 4) its pose.
        linear: (3,) velocity in the optical frame, m/s.
        angular: (3,) likewise, rad/s.
        camera: intrinsics of the robot's (rectified) camera.
        camera_frame: frame id of its images.
        frame: the messages of that observation, for generators that start from it.
    """

    stamp_ns: int
    T_world_camera: NDArray[np.float64]
    linear: NDArray[np.float64]
    angular: NDArray[np.float64]
    camera: PinholeCamera
    camera_frame: str
    frame: PairedFrame


@dataclass(frozen=True)
class Plan:
    """A path as a planner sent it, in the world frame.

    Attributes:
        poses: (N, 4, 4), of the base or of the camera.
        stamps_ns: (N,) int64.
        arrival: when it came, seconds of a monotonic clock.
        serial: counts plans, so that each one's first frame can be timed.
    """

    poses: NDArray[np.float64]
    stamps_ns: NDArray[np.int64]
    arrival: float
    serial: int


@dataclass(frozen=True)
class PathSettings:
    """How far, how often and how fast paths are sampled: the node's parameters of these names."""

    horizon: float
    frame_period: float
    nominal_speed: float

    @property
    def frame_count(self) -> int:
        """Frames that the horizon holds."""
        return int(self.horizon / self.frame_period + 1e-9)


def plan_arrays(msg: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Poses (N, 4, 4) and stamps (N,) of a path message.

    Raises:
        PoseError: empty, or a pose that is not finite or not a rotation; it is named.
    """
    if not msg.poses:
        raise PoseError("a path must hold at least one pose. Got none")
    positions = [(p.x, p.y, p.z) for p in (stamped.pose.position for stamped in msg.poses)]
    rotations = [(q.x, q.y, q.z, q.w) for q in (stamped.pose.orientation for stamped in msg.poses)]
    stamps = np.array([stamp_to_ns(p.header.stamp) for p in msg.poses], dtype=np.int64)
    return poses_from_quaternions(np.array(positions), np.array(rotations)), stamps


def target_poses(
    state: CameraState,
    plan: Plan | None,
    T_pose_camera: NDArray[np.float64],  # (4, 4) from the camera to what the plan's poses are of
    settings: PathSettings,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # (T,) ns after the state, (T, 4, 4)
    """Camera poses to imagine after ``state``: along ``plan``, else on along the twist.

    Raises:
        PoseError: the plan cannot be followed.
        ConfigurationError: a setting is out of range.
    """
    if plan is None:
        offsets, poses = extrapolate_twist(
            state.T_world_camera,
            state.linear,
            state.angular,
            settings.horizon,
            settings.frame_period,
        )
    else:
        ahead = _within_horizon(plan, T_pose_camera, state, settings)
        offsets, poses = resample_path(
            ahead.poses,
            ahead.stamps_ns,
            state.stamp_ns,
            settings.frame_period,
            settings.horizon,
            settings.nominal_speed,
        )
        poses = poses @ T_pose_camera
    return np.round(offsets * 1e9).astype(np.int64), poses


def has_times(plan: Plan, now_ns: int) -> bool:
    """Whether the plan's stamps say when to be where, later than ``now_ns``."""
    stamps = plan.stamps_ns
    return bool(len(stamps) > 1 and (np.diff(stamps) > 0).all() and stamps[-1] > now_ns)


def _within_horizon(
    plan: Plan,
    T_pose_camera: NDArray[np.float64],  # (4, 4)
    state: CameraState,
    settings: PathSettings,
) -> Plan:
    """The part of the plan that a rollout can reach.

    A plan without times begins at its pose nearest to the camera: the rest is behind.
    """
    if has_times(plan, state.stamp_ns):
        end_ns = state.stamp_ns + round(settings.horizon * 1e9)
        first = max(int(np.searchsorted(plan.stamps_ns, state.stamp_ns)) - 1, 0)
        last = int(np.searchsorted(plan.stamps_ns, end_ns)) + 1
    else:
        positions = (plan.poses @ T_pose_camera)[:, :3, 3]
        first = int(np.linalg.norm(positions - state.T_world_camera[:3, 3], axis=1).argmin())
        steps = np.linalg.norm(np.diff(plan.poses[first:, :3, 3], axis=0), axis=1)
        reach = settings.horizon * settings.nominal_speed
        last = first + int(np.searchsorted(np.cumsum(steps), reach)) + 2
    # Two poses at least, where there are two: one alone has neither times nor a tangent.
    window = slice(min(first, max(len(plan.poses) - 2, 0)), max(last, first + 2))
    return replace(plan, poses=plan.poses[window], stamps_ns=plan.stamps_ns[window])

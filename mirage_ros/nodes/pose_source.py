"""Where the camera is at a stamp: from odometry, a pose topic or TF, and the extrinsics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, PoseError
from mirage_ros.geometry import T_BODY_OPTICAL, inverse, log_motion, pose_from_quaternion
from mirage_ros.geometry.interpolation import AddResult, PoseBuffer, PoseUnavailableError, is_jump
from mirage_ros.nodes.pose_conversion import (
    matrix_from_pose,
    stamp_to_ns,
    twist_arrays,
)
from mirage_ros.nodes.transforms import Transforms

PoseKind = Literal["odometry", "pose", "pose_with_covariance", "tf"]
POSE_KINDS: tuple[PoseKind, ...] = ("odometry", "pose", "pose_with_covariance", "tf")

#: Poses closer together than this give no usable velocity, seconds.
_VELOCITY_SPAN_S = 0.1


@dataclass(frozen=True)
class PoseSourceConfig:
    """How poses come in.

    Attributes:
        kind: type of the pose topic, or TF.
        pose_of: what the poses are of: the robot's base, or the camera's optical frame.
        world_frame: the frame the memory lives in.
        base_frame: the robot's base, for TF; may be empty with ``kind`` odometry (child_frame_id).
        T_base_camera: (4, 4) extrinsics, or None to take them from TF.
        max_linear_speed: faster motion between two poses is a jump, m/s.
        max_angular_speed: likewise, rad/s.
    """

    kind: PoseKind
    pose_of: Literal["base", "camera"]
    world_frame: str
    base_frame: str
    T_base_camera: NDArray[np.float64] | None
    max_linear_speed: float
    max_angular_speed: float


def extrinsics_from_parameter(values: list[float]) -> NDArray[np.float64] | None:
    """(4, 4) T_base_camera from [x, y, z, qx, qy, qz, qw]; None for an empty list.

    Raises:
        PoseError: not seven numbers, not finite, or not a unit quaternion.
    """
    if not values:
        return None
    if len(values) != 7:
        raise PoseError(
            f"T_base_camera must be [x, y, z, qx, qy, qz, qw]. Got {len(values)} numbers"
        )
    return pose_from_quaternion(values[:3], values[3:])


def pose_source_config(get: Callable[[str], Any], tf_available: bool) -> PoseSourceConfig:
    """The configuration that the node's parameters ask for.

    Args:
        get: the value of a parameter by name.
        tf_available: whether tf2_ros is installed.

    Raises:
        ConfigurationError: parameters contradict each other or need what is not installed.
    """
    source = get("pose_source")
    if source == "tf" and not tf_available:
        raise ConfigurationError(
            "pose_source 'tf' needs tf2_ros, which is not installed: "
            "use odometry, pose or pose_with_covariance"
        )
    if get("odom_frame") and not tf_available:
        raise ConfigurationError(
            f"odom_frame '{get('odom_frame')}' needs tf2_ros, which is not installed: leave it "
            "empty, or set use_corrected_trajectory"
        )
    of_base = source != "tf" or get("plan_pose_of") == "base"
    knows_base = source == "odometry" or get("base_frame") or get("T_base_camera")
    if get("pose_of") == "base" and of_base and not knows_base:
        raise ConfigurationError(
            "base_frame or T_base_camera must be set: only odometry messages name the base"
        )
    return PoseSourceConfig(
        kind=source,
        pose_of=get("pose_of"),
        world_frame=get("world_frame"),
        base_frame=get("base_frame"),
        T_base_camera=extrinsics_from_parameter(get("T_base_camera")),
        max_linear_speed=get("max_linear_speed"),
        max_angular_speed=get("max_angular_speed"),
    )


class PoseSource:
    """Buffers poses of the robot and answers where its camera is.

    Not thread-safe: called from one executor thread.

    Args:
        config: how poses come in.
        buffer: holds the poses (unused with TF).
        transforms: TF, where available.
        on_problem: told (topic, reason) of bad messages and jumps.
        on_time_jump: called after the buffer was cleared because time jumped back.
        on_pose_jump: called after the robot's pose jumped.
    """

    def __init__(
        self,
        config: PoseSourceConfig,
        buffer: PoseBuffer,
        transforms: Transforms,
        *,
        on_problem: Callable[[str, str], None],
        on_time_jump: Callable[[], None],
        on_pose_jump: Callable[[], None],
    ) -> None:
        self.config = config
        self._buffer = buffer
        self._transforms = transforms
        self._on_problem = on_problem
        self._on_time_jump = on_time_jump
        self._on_pose_jump = on_pose_jump
        self._twist: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._child_frame = config.base_frame

    @property
    def newest_stamp_ns(self) -> int | None:
        """Stamp of the newest pose, None while there is none (always with TF)."""
        return self._buffer.newest_stamp_ns

    def on_odometry(self, msg: Odometry) -> None:
        """An odometry message arrived."""
        try:
            twist = twist_arrays(msg.twist.twist)
        except PoseError as error:
            self._on_problem("odom", str(error))
            return
        expected = self.config.base_frame
        if self.config.pose_of == "base" and expected and msg.child_frame_id != expected:
            self._on_problem(
                "odom",
                f"child_frame_id must be the base_frame '{expected}'. Got '{msg.child_frame_id}'",
            )
            return
        self._child_frame = msg.child_frame_id
        if self._take("odom", msg.header, msg.pose.pose):
            self._twist = twist

    def on_pose(self, msg: PoseStamped) -> None:
        """A pose message arrived."""
        self._take("pose", msg.header, msg.pose)

    def on_pose_with_covariance(self, msg: PoseWithCovarianceStamped) -> None:
        """A pose message with covariance arrived."""
        self._take("pose", msg.header, msg.pose.pose)

    def camera_pose(
        self, stamp_ns: int, camera_frame: str, last_chance: bool
    ) -> NDArray[np.float64]:  # (4, 4) T_world_camera
        """Where the camera was at a stamp.

        Args:
            stamp_ns: when.
            camera_frame: frame id of the image.
            last_chance: extrapolate (a little) rather than wait for a newer pose.

        Raises:
            PoseUnavailableError: not known (yet, or ever: see ``retriable``).
        """
        if self.config.kind == "tf":
            pose = self._transforms.lookup(self.config.world_frame, camera_frame, stamp_ns)
            # Kept for the velocity, which TF does not tell.
            if self._buffer.jumped_back(stamp_ns):
                self._buffer.clear()
            self._buffer.add(stamp_ns, pose)
            return pose
        T_world_source = self._buffer.interpolate(stamp_ns, extrapolate=last_chance)
        return T_world_source @ self.source_extrinsics(camera_frame)

    def source_extrinsics(self, camera_frame: str) -> NDArray[np.float64]:  # (4, 4)
        """From the camera's optical frame to the frame that the poses are of.

        Raises:
            PoseUnavailableError: extrinsics neither given as a parameter nor known to TF.
        """
        if self.config.pose_of == "camera" or self.config.kind == "tf":
            return np.eye(4)
        return self.base_extrinsics(camera_frame)

    def base_extrinsics(self, camera_frame: str) -> NDArray[np.float64]:  # (4, 4)
        """The camera's extrinsics: by parameter, else from TF.

        With ``pose_of: camera`` and neither, the base is the camera's body frame (x forward).

        Raises:
            PoseUnavailableError: extrinsics neither given as a parameter nor known to TF.
        """
        if self.config.T_base_camera is not None:
            return self.config.T_base_camera
        try:
            return self._transforms.lookup(self._child_frame, camera_frame)
        except PoseUnavailableError as error:
            if self.config.pose_of == "camera":
                return T_BODY_OPTICAL
            raise PoseUnavailableError(
                f"extrinsics are missing: set the parameter T_base_camera, or provide TF from "
                f"'{self._child_frame}' to '{camera_frame}' ({error})",
                retriable=error.retriable,
            ) from error

    def extrinsics_of(
        self, pose_of: str, camera_frame: str
    ) -> NDArray[np.float64]:  # (4, 4) from the camera
        """To what a path's poses are of: the base, or the camera itself.

        Raises:
            PoseUnavailableError: as :meth:`base_extrinsics`.
        """
        return np.eye(4) if pose_of == "camera" else self.base_extrinsics(camera_frame)

    def twist(
        self, T_source_camera: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (3,) m/s, (3,) rad/s
        """Newest body twist of the camera's optical frame: linear and angular velocity.

        Odometry says it; otherwise it is the difference of the latest poses. Zero while unknown.
        """
        if self._twist is not None:
            v, w = self._twist
        else:
            v, w = self._difference()
        # The adjoint of T_camera_source: the same motion, seen from the camera's frame.
        T_camera_source = inverse(T_source_camera)
        rotation, offset = T_camera_source[:3, :3], T_camera_source[:3, 3]
        angular = rotation @ w
        return rotation @ v + np.cross(offset, angular), angular

    def world_from(self, frame_id: str, stamp_ns: int | None) -> NDArray[np.float64]:  # (4, 4)
        """The transform from a frame to the world frame, at a stamp (None = the latest).

        Raises:
            PoseUnavailableError: the frame is neither the world frame nor known to TF.
        """
        if frame_id == self.config.world_frame:
            return np.eye(4)
        try:
            try:
                return self._transforms.lookup(self.config.world_frame, frame_id, stamp_ns)
            except PoseUnavailableError as error:
                if not error.retriable or stamp_ns is None:
                    raise
                # A localiser sends its slowly changing transform later than odometry comes.
                return self._transforms.lookup(self.config.world_frame, frame_id)
        except PoseUnavailableError as error:
            raise PoseUnavailableError(
                f"frame_id must be the world_frame '{self.config.world_frame}' or known to TF. "
                f"Got '{frame_id}' ({error})",
                retriable=error.retriable,
            ) from error

    def clear(self) -> None:
        """Forget all poses."""
        self._buffer.clear()
        self._twist = None

    def _difference(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        newest = self._buffer.newest_stamp_ns
        if newest is None:
            return np.zeros(3), np.zeros(3)
        try:
            before = self._buffer.interpolate(newest - round(_VELOCITY_SPAN_S * 1e9))
        except PoseUnavailableError:
            return np.zeros(3), np.zeros(3)
        after = self._buffer.interpolate(newest)
        return log_motion(inverse(before) @ after, _VELOCITY_SPAN_S)

    def _take(self, topic: str, header: Any, pose: Any) -> bool:
        """Put a pose into the buffer; False (and told) if it cannot be used."""
        stamp_ns = stamp_to_ns(header.stamp)
        try:
            T_frame_source = matrix_from_pose(pose)
            T_world_source = self.world_from(header.frame_id, stamp_ns) @ T_frame_source
        except (PoseError, PoseUnavailableError) as error:
            self._on_problem(topic, str(error))
            return False
        if self._buffer.jumped_back(stamp_ns):
            newest = self._buffer.newest_stamp_ns or 0
            self._on_problem(
                topic,
                f"time jumped back by {(newest - stamp_ns) * 1e-9:.2f} s (a bag that loops?): "
                f"buffers are cleared, the memory is kept",
            )
            self.clear()
            self._on_time_jump()
        previous_ns, previous = self._buffer.newest_stamp_ns, self._buffer.newest_pose
        if self._buffer.add(stamp_ns, T_world_source) is not AddResult.ADDED:
            self._on_problem(topic, "a message is not newer than the one before; it is left out")
            return False
        if previous_ns is not None and previous is not None:
            self._check_jump(topic, previous, T_world_source, (stamp_ns - previous_ns) * 1e-9)
        return True

    def _check_jump(
        self,
        topic: str,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
        elapsed_s: float,
    ) -> None:
        limits = (self.config.max_linear_speed, self.config.max_angular_speed)
        # Two poses within a millisecond say nothing about speed: stamps are not that exact.
        if not is_jump(before, after, max(elapsed_s, 1e-3), *limits):
            return
        distance = float(np.linalg.norm(after[:3, 3] - before[:3, 3]))
        self._on_problem(
            topic,
            f"the pose jumped by {distance:.2f} m within {elapsed_s:.3f} s: poses before the jump "
            f"are dropped; what is remembered may no longer fit (see ~/reset_memory)",
        )
        stamp_ns = self._buffer.newest_stamp_ns
        self._buffer.clear()
        if stamp_ns is not None:
            self._buffer.add(stamp_ns, after)
        self._on_pose_jump()

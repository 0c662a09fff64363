"""The path that a SLAM system has optimised, which keyframes follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from mirage_ros.errors import PoseError
from mirage_ros.geometry.interpolation import PoseUnavailableError
from mirage_ros.nodes.plan_input import CameraState, plan_arrays
from mirage_ros.nodes.pose_source import PoseSource
from mirage_ros.nodes.warner import ThrottledWarner

#: The topic, relative.
CORRECTED_TRAJECTORY = "corrected_trajectory"


@dataclass(frozen=True)
class Trajectory:
    """Where the camera was, as is known now.

    Attributes:
        stamps_ns: (M,) int64.
        T_world_camera: (M, 4, 4).
    """

    stamps_ns: NDArray[np.int64]
    T_world_camera: NDArray[np.float64]


class TrajectoryInput:
    """Subscribes to ``corrected_trajectory``, whose poses are of what those of the pose input are.

    Args:
        node: the node to subscribe with.
        warner: takes the warnings.
        poses: knows frames and extrinsics.
        state: the newest observation; while there is none, nothing is there to be moved either.
        taken: given each trajectory.
    """

    def __init__(
        self,
        node: Node,
        warner: ThrottledWarner,
        poses: PoseSource,
        state: Callable[[], CameraState | None],
        taken: Callable[[Trajectory], object],
    ) -> None:
        self._node = node
        self._warner = warner
        self._poses = poses
        self._state = state
        self._taken = taken
        self._subscription = node.create_subscription(
            Path,
            CORRECTED_TRAJECTORY,
            warner.guard(CORRECTED_TRAJECTORY, self._on_path),
            QoSProfile(depth=1),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def destroy(self) -> None:
        """Take the subscription off the node."""
        self._node.destroy_subscription(self._subscription)

    def _on_path(self, msg: Path) -> None:
        state = self._state()
        if state is None:
            return
        try:
            T_source_camera = self._poses.extrinsics_of(
                self._poses.config.pose_of, state.camera_frame
            )
            poses, stamps = plan_arrays(msg)
            T_world_frame = self._poses.world_from(msg.header.frame_id, None)
        except (PoseError, PoseUnavailableError) as error:
            self._warner.warn(CORRECTED_TRAJECTORY, str(error))
            return
        self._taken(Trajectory(stamps, T_world_frame @ poses @ T_source_camera))

"""A robot's transforms where a ROS installation has TF: odom to base, and base to camera."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from mirage_ros.nodes.pose_conversion import stamped_transform
from mirage_ros.nodes.source_publisher import BASE_FRAME, CAMERA_FRAME, ODOM_FRAME


class RobotTransforms:
    """Broadcasts on ``/tf`` and ``/tf_static``; does nothing where tf2_ros is missing.

    Args:
        node: the node that broadcasts.
        T_base_camera: (4, 4) optical frame in the base, which does not change.
    """

    def __init__(self, node: Node, T_base_camera: NDArray[np.float64]) -> None:
        self._broadcaster: Any = None
        try:
            from tf2_ros import StaticTransformBroadcaster, TransformBroadcaster
        except ImportError:
            node.get_logger().debug("tf2_ros is not installed: no transforms are broadcast")
            return
        self._broadcaster = TransformBroadcaster(node)
        # Latched only as long as its broadcaster lives.
        self._static = StaticTransformBroadcaster(node)
        stamp_ns = node.get_clock().now().nanoseconds
        self._static.sendTransform(
            stamped_transform(BASE_FRAME, CAMERA_FRAME, T_base_camera, stamp_ns)
        )

    def send(
        self,
        T_odom_base: NDArray[np.float64],  # (4, 4)
        stamp_ns: int,
    ) -> None:
        """Broadcast where the base is."""
        if self._broadcaster is not None:
            self._broadcaster.sendTransform(
                stamped_transform(ODOM_FRAME, BASE_FRAME, T_odom_base, stamp_ns)
            )

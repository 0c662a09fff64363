"""TF where a ROS installation has it: look up and broadcast; without tf2_ros, a clear refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.time import Time

from mirage_ros.geometry.interpolation import PoseUnavailableError
from mirage_ros.nodes.pose_conversion import matrix_from_transform, stamped_transform


class Transforms:
    """A TF buffer, listener and broadcaster of one node, none of them where tf2_ros is missing.

    Args:
        node: the node that listens and broadcasts.

    Attributes:
        available: whether tf2_ros could be imported.
    """

    def __init__(self, node: Node) -> None:
        self.available = False
        self._node = node
        self._buffer: Any = None
        self._listener: Any = None
        self._broadcaster: Any = None
        try:
            import tf2_ros
        except ImportError:
            return
        self.available = True
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        self._broadcaster = tf2_ros.TransformBroadcaster(node)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None

    def lookup(
        self,
        target: str,
        source: str,
        stamp_ns: int | None = None,
    ) -> NDArray[np.float64]:  # (4, 4) T_target_source
        """The transform at a stamp (None = the latest known), without waiting.

        Raises:
            PoseUnavailableError: TF does not know it (retriable, it may still come), or there is
                no tf2_ros (not retriable).
            PoseError: TF holds a transform that is not rigid.
        """
        if self._buffer is None:
            raise PoseUnavailableError(
                f"'{source}' in '{target}' needs TF, and tf2_ros is not installed", retriable=False
            )
        from tf2_ros import TransformException

        time = (
            Time()
            if stamp_ns is None
            else Time(nanoseconds=stamp_ns, clock_type=ClockType.ROS_TIME)
        )
        try:
            stamped = self._buffer.lookup_transform(target, source, time)
        except TransformException as error:
            raise PoseUnavailableError(f"TF: {error}", retriable=True) from error
        return matrix_from_transform(stamped.transform)

    def broadcast(
        self,
        parent: str,
        child: str,
        T_parent_child: NDArray[np.float64],  # (4, 4)
        stamp_ns: int,
    ) -> None:
        """Send a transform, where TF is there to take it."""
        if self._broadcaster is None:
            return
        message = stamped_transform(parent, child, T_parent_child, stamp_ns)
        self._broadcaster.sendTransform(message)

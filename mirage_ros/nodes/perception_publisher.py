"""Publishes how a keyframe was taken: what of it moves, how far its depth is believed, its pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mirage_ros.geometry import inverse
from mirage_ros.nodes.image_conversion import image_from_array
from mirage_ros.nodes.pose_conversion import (
    ns_to_stamp,
    pose_from_matrix,
    pose_with_covariance_elsewhere,
)
from mirage_ros.nodes.transforms import Transforms

if TYPE_CHECKING:
    from mirage_ros.perception.pipeline import Perceived


class PerceptionPublisher:
    """The topics ``~/dynamic_mask``, ``~/depth_confidence`` and ``~/corrected_pose``.

    Args:
        node: the lifecycle node to publish from.
        transforms: broadcasts the memory's frame, where TF is available.
        world_frame: frame of poses that come in.
        memory_frame: frame in which the memory does not drift.
    """

    def __init__(
        self, node: LifecycleNode, transforms: Transforms, world_frame: str, memory_frame: str
    ) -> None:
        self._node = node
        self._transforms = transforms
        self._world_frame = world_frame
        self._memory_frame = memory_frame
        types = {
            "dynamic_mask": Image,
            "depth_confidence": Image,
            "corrected_pose": PoseWithCovarianceStamped,
        }
        self._publishers: dict[str, Any] = {
            name: node.create_lifecycle_publisher(
                message_type,
                f"~/{name}",
                QoSProfile(depth=5),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for name, message_type in types.items()
        }

    def publish(
        self,
        perceived: Perceived,
        camera_frame: str,
        T_source_camera: NDArray[np.float64],  # (4, 4) from the camera to what poses are of
        T_memory_world: NDArray[np.float64],  # (4, 4)
    ) -> None:
        """Publish a keyframe's, as far as somebody listens; runs on the engine's thread."""
        frame = perceived.frame
        stamp = ns_to_stamp(frame.stamp_ns)
        header = Header(stamp=stamp, frame_id=camera_frame)
        shape = frame.image.shape[:2]
        if self._is_wanted("dynamic_mask"):
            moves = np.zeros(shape, np.bool_) if frame.dynamic is None else frame.dynamic
            pixels = np.where(moves, np.uint8(255), np.uint8(0))
            self._publishers["dynamic_mask"].publish(image_from_array(pixels, "mono8", header))
        if self._is_wanted("depth_confidence"):
            belief = frame.confidence
            if belief is None:
                depth = np.zeros(shape, np.float32) if frame.depth is None else frame.depth
                belief = (depth > 0.0).astype(np.float32)
            self._publishers["depth_confidence"].publish(image_from_array(belief, "32FC1", header))
        registration = perceived.registration
        if registration is None:
            return
        self._transforms.broadcast(
            self._world_frame, self._memory_frame, inverse(T_memory_world), frame.stamp_ns
        )
        if self._is_wanted("corrected_pose"):
            pose, covariance = pose_with_covariance_elsewhere(
                frame.T_world_camera, registration.covariance, inverse(T_source_camera)
            )
            msg = PoseWithCovarianceStamped()
            msg.header = Header(stamp=stamp, frame_id=self._memory_frame)
            msg.pose.pose = pose_from_matrix(pose)
            msg.pose.covariance = covariance.ravel()
            self._publishers["corrected_pose"].publish(msg)

    def destroy(self) -> None:
        """Take the publishers off the node."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def _is_wanted(self, name: str) -> bool:
        return bool(self._publishers[name].get_subscription_count() > 0)

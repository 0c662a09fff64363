"""Publishes the latent cloud, and its features for who asks for them."""

from __future__ import annotations

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from mirage_ros.nodes.engine import Engine
from mirage_ros.nodes.point_cloud import feature_cloud, thinned, token_cloud
from mirage_ros.nodes.pose_conversion import ns_to_stamp
from mirage_ros.nodes.warner import ThrottledWarner


class CloudPublisher:
    """The topics ``~/latent_cloud`` and ``~/latent_cloud/features``.

    Args:
        node: the node.
        warner: takes the warnings.

    Attributes:
        is_stale: whether another cloud than the last would be published now.
    """

    def __init__(self, node: LifecycleNode, warner: ThrottledWarner) -> None:
        self._node = node
        self._warner = warner
        self.is_stale = True
        self._max_points = 0
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._cloud = node.create_lifecycle_publisher(PointCloud2, "~/latent_cloud", latched)
        self._features = node.create_lifecycle_publisher(
            PointCloud2, "~/latent_cloud/features", QoSProfile(depth=1)
        )

    @property
    def is_wanted(self) -> bool:
        """Whether there is something to publish, and somebody to listen."""
        return self._features.get_subscription_count() > 0 or (
            self.is_stale and self._cloud.get_subscription_count() > 0
        )

    def set_limit(self, max_points: int) -> None:
        """Publish at most so many points in a message from now on."""
        if max_points != self._max_points:
            self._max_points = max_points
            self.is_stale = True

    def publish(self, engine: Engine, frame_id: str, now_ns: int) -> None:
        """Publish what the engine remembers; runs on the engine's thread."""
        header = Header(stamp=ns_to_stamp(now_ns), frame_id=frame_id)
        wants_features = self._features.get_subscription_count() > 0
        snapshot = thinned(engine.cloud(with_features=wants_features), self._max_points)
        self.is_stale = False
        self._cloud.publish(token_cloud(snapshot, header, now_ns))
        if not wants_features:
            return
        if snapshot.features is None:
            self._warner.warn("latent_cloud/features", "this kind of memory holds no latents")
            return
        self._features.publish(feature_cloud(snapshot, header))

    def destroy(self) -> None:
        """Take the publishers off the node."""
        for publisher in (self._cloud, self._features):
            self._node.destroy_lifecycle_publisher(publisher)

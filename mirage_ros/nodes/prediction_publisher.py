"""Publishes predicted views: PredictedFrame for planners, plain sensor_msgs for everything else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from mirage_ros.geometry import fill_camera_info
from mirage_ros.msg import PredictedFrame
from mirage_ros.nodes.image_conversion import image_from_array
from mirage_ros.nodes.pose_conversion import ns_to_duration, ns_to_stamp, pose_from_matrix
from mirage_ros.nodes.transforms import Transforms

if TYPE_CHECKING:
    from mirage_ros.world_model import PredictedView

#: Frame of predicted cameras; broadcast on TF at each frame's stamp, where TF is available.
PREDICTED_FRAME_ID = "predicted_camera_optical"


@dataclass(frozen=True)
class RolloutHeader:
    """What all frames of a rollout share.

    Attributes:
        rollout_id: unique.
        candidate: which candidate path.
        frame_count: frames of the whole rollout.
        conditioned_on_ns: stamp of the newest observation.
        world_frame: frame of the camera poses.
    """

    rollout_id: str
    candidate: int
    frame_count: int
    conditioned_on_ns: int
    world_frame: str


@dataclass(frozen=True)
class _ViewMessages:
    """The plain messages of one view, and when they are due on the monotonic clock."""

    due: float
    messages: dict[str, Any]


class PredictionPublisher:
    """Publishers of predicted views.

    :meth:`publish` is called from the worker thread, :meth:`publish_due` from the executor.

    Args:
        node: the lifecycle node to publish from.
        transforms: broadcasts the predicted camera's frame, where TF is available.
        paced: whether ``~/predicted/*`` waits until a frame's offset has passed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        node: LifecycleNode,
        transforms: Transforms,
        *,
        paced: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._transforms = transforms
        self._paced = paced
        self._clock = clock
        self._lock = threading.Lock()
        self._due: deque[_ViewMessages] = deque()
        self._rollout_id = ""
        self._rollout_start = 0.0
        overrides = QoSOverridingOptions.with_default_policies()
        # A rollout's frames come in a burst; a reader must be able to fall behind by that much.
        qos = QoSProfile(depth=10)
        self._frames = node.create_lifecycle_publisher(
            PredictedFrame, "~/predictions", QoSProfile(depth=20), qos_overriding_options=overrides
        )
        types = {"image": Image, "camera_info": CameraInfo, "depth": Image, "coverage": Image}
        self._plain = {
            name: node.create_lifecycle_publisher(
                message_type, f"~/predicted/{name}", qos, qos_overriding_options=overrides
            )
            for name, message_type in types.items()
        }

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody listens to predictions at all."""
        publishers = (self._frames, *self._plain.values())
        return any(publisher.get_subscription_count() > 0 for publisher in publishers)

    @property
    def is_playing(self) -> bool:
        """Whether paced views still wait for their time."""
        with self._lock:
            return bool(self._due)

    def clear(self) -> None:
        """Forget the paced views that wait."""
        with self._lock:
            self._due.clear()
            self._rollout_id = ""

    def publish(self, rollout: RolloutHeader, view: PredictedView, offset_ns: int) -> None:
        """Publish a view that lies ``offset_ns`` after the rollout's newest observation."""
        stamp_ns = rollout.conditioned_on_ns + offset_ns
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=PREDICTED_FRAME_ID)
        messages = {
            "image": image_from_array(view.image, "rgb8", header),
            "camera_info": fill_camera_info(view.camera, CameraInfo(header=header)),
            "depth": image_from_array(view.depth, "32FC1", header),
            "coverage": image_from_array(view.coverage, "mono8", header),
        }
        if self._frames.get_subscription_count() > 0:
            self._frames.publish(_predicted_frame(rollout, view, offset_ns, header, messages))
        self._transforms.broadcast(
            rollout.world_frame, PREDICTED_FRAME_ID, view.T_world_camera, stamp_ns
        )
        if not self._paced:
            self._publish_plain(messages)
            return
        now = self._clock()
        with self._lock:
            if rollout.rollout_id != self._rollout_id:
                self._rollout_id, self._rollout_start = rollout.rollout_id, now
                self._due.clear()
            self._due.append(_ViewMessages(self._rollout_start + offset_ns * 1e-9, messages))

    def wait_until_taken(self, timeout_s: float = 2.0) -> None:
        """Wait until readers of ``~/predictions`` have taken what was published.

        Candidates make more frames at once than a publisher keeps for a reader that falls behind. A
        reader that takes nothing at all is not waited for any longer than this.
        """
        if self._frames.get_subscription_count() > 0:
            self._frames.wait_for_all_acked(Duration(seconds=timeout_s))

    def publish_due(self) -> None:
        """Publish the paced views whose time has come."""
        now = self._clock()
        while True:
            with self._lock:
                if not self._due or self._due[0].due > now:
                    return
                view = self._due.popleft()
            self._publish_plain(view.messages)

    def destroy(self) -> None:
        """Take the publishers off the node."""
        for publisher in (self._frames, *self._plain.values()):
            self._node.destroy_lifecycle_publisher(publisher)

    def _publish_plain(self, messages: dict[str, Any]) -> None:
        for name, message in messages.items():
            if self._plain[name].get_subscription_count() > 0:
                self._plain[name].publish(message)


def _predicted_frame(
    rollout: RolloutHeader,
    view: PredictedView,
    offset_ns: int,
    header: Header,
    messages: dict[str, Any],
) -> PredictedFrame:
    pose = PoseStamped()
    pose.header = Header(stamp=header.stamp, frame_id=rollout.world_frame)
    pose.pose = pose_from_matrix(view.T_world_camera)
    frame = PredictedFrame()
    frame.header = header
    frame.rollout_id = rollout.rollout_id
    frame.candidate = rollout.candidate
    frame.index = view.index
    frame.frame_count = rollout.frame_count
    frame.conditioned_on = ns_to_stamp(rollout.conditioned_on_ns)
    frame.horizon = ns_to_duration(offset_ns)
    frame.camera_pose = pose
    frame.camera_info = messages["camera_info"]
    frame.image = messages["image"]
    frame.coverage = messages["coverage"]
    frame.known_fraction = float(view.known_fraction)
    cells = view.depth[:: view.cell, :: view.cell]
    frame.depth = image_from_array(np.ascontiguousarray(cells), "32FC1", header)
    return frame

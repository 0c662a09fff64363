"""Subscriptions of the world model node, paired into frames; bad messages end here, with a warning.

Callbacks only check what is cheap and put messages into bounded buffers: converting and storing is
the worker's part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mirage_ros.errors import CameraError, FrameError
from mirage_ros.geometry import PinholeCamera
from mirage_ros.nodes.calibration import CalibrationCache, check_mask, check_size
from mirage_ros.nodes.image_conversion import COLOUR_ENCODINGS, DEPTH_ENCODINGS, readable
from mirage_ros.nodes.pairing import FrameAssembler, PairedFrame
from mirage_ros.nodes.pose_conversion import stamp_to_ns
from mirage_ros.nodes.pose_source import PoseSource
from mirage_ros.nodes.statistics import StageTimer
from mirage_ros.nodes.status import Counters
from mirage_ros.nodes.warner import ThrottledWarner

#: Images whose stamp goes back by more are not merely out of order.
JUMP_BACK_NS = 1_000_000_000

#: Topics of images that go with the camera's.
_PARTNERS = ("depth", "dynamic_mask")

_POSE_TOPICS: dict[str, tuple[str, Any]] = {
    "odometry": ("odom", Odometry),
    "pose": ("pose", PoseStamped),
    "pose_with_covariance": ("pose", PoseWithCovarianceStamped),
}


@dataclass(frozen=True)
class InputConfig:
    """The node's parameters of these names."""

    image_transport: str
    use_depth: bool
    depth_source: str
    use_dynamic_mask: bool
    sync_slop: float
    sync_wait: float
    sync_buffer: int
    input_timeout: float


class SensorInputs:
    """Subscribes to image, camera_info, depth, mask and pose, and hands on the frames they make.

    All methods run on the executor's thread.

    Args:
        node: the node to subscribe with.
        config: what to subscribe to.
        pose_source: takes the poses.
        calibration: cameras of camera_info messages.
        counters: counts messages and frames.
        timer: callbacks' times go here, as stage ``callback``.
        warner: takes the warnings.
        on_frame: called with each complete frame and its (rectified) camera.
        on_time_jump: called when the stamps of images jump back.
    """

    def __init__(
        self,
        node: Node,
        config: InputConfig,
        pose_source: PoseSource,
        calibration: CalibrationCache,
        counters: Counters,
        timer: StageTimer,
        warner: ThrottledWarner,
        on_frame: Callable[[PairedFrame, PinholeCamera], None],
        on_time_jump: Callable[[], None],
    ) -> None:
        self.enabled = False
        self._node = node
        self._config = config
        self._pose_source = pose_source
        self._calibration = calibration
        self._counters = counters
        self._timer = timer
        self._warner = warner
        self._on_frame = on_frame
        self._on_time_jump = on_time_jump
        self._newest_image_ns: int | None = None
        self._assembler = FrameAssembler(
            pose_source.camera_pose,
            use_depth=config.use_depth,
            needs_depth=config.depth_source == "sensor",
            use_mask=config.use_dynamic_mask,
            slop_s=config.sync_slop,
            wait_s=config.sync_wait,
            capacity=config.sync_buffer,
            on_drop=self._dropped,
            on_without=self._without,
        )
        self._last_message: dict[str, float] = {}
        self._subscriptions: list[Subscription[Any]] = []
        try:
            self._subscribe_all()
        except BaseException:
            self.destroy()
            raise

    def start(self) -> None:
        """Begin to use what arrives; silence is counted from now."""
        self._last_message = dict.fromkeys(self._last_message, time.monotonic())
        self.enabled = True

    def stop(self) -> None:
        """Ignore what arrives, and forget what waits."""
        self.enabled = False
        self.clear()
        self._pose_source.clear()

    def clear(self) -> None:
        """Forget the messages that wait (time jumped)."""
        self._assembler.clear()
        self._newest_image_ns = None

    def destroy(self) -> None:
        """Take the subscriptions off the node."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def poll(self) -> None:
        """Hand on the frames that are complete by now."""
        if not self.enabled:
            return
        for frame in self._assembler.poll():
            try:
                camera = self._calibration.camera(frame.info)
                for topic, image in (("image", frame.image), ("depth", frame.depth)):
                    if isinstance(image, Image):
                        check_size(image, topic, camera)
            except CameraError as error:
                self._dropped("camera_info", str(error))
                continue
            except FrameError as error:
                self._dropped(topic, str(error))
                continue
            self._counters.frames_paired += 1
            self._on_frame(self._with_good_mask(frame, camera), camera)

    def missing(self) -> list[str]:
        """Topics that have been silent for longer than ``input_timeout``."""
        now = time.monotonic()
        return [
            topic
            for topic, last in self._last_message.items()
            if now - last > self._config.input_timeout
        ]

    def _subscribe_all(self) -> None:
        if self._config.image_transport == "compressed":
            # As image_transport does: the remapped base topic, then the transport's name.
            topic = f"{self._node.resolve_topic_name('image')}/compressed"
            self._subscribe(CompressedImage, topic, self._on_image)
        else:
            self._subscribe(Image, "image", self._on_raw_image)
        self._subscribe(CameraInfo, "camera_info", self._on_info)
        if self._config.use_depth:
            self._subscribe(Image, "depth", self._on_depth)
        if self._config.use_dynamic_mask:
            self._subscribe(Image, "dynamic_mask", self._on_mask)
        kind = self._pose_source.config.kind
        if kind in _POSE_TOPICS:
            topic, message_type = _POSE_TOPICS[kind]
            handler = {
                Odometry: self._pose_source.on_odometry,
                PoseStamped: self._pose_source.on_pose,
                PoseWithCovarianceStamped: self._pose_source.on_pose_with_covariance,
            }[message_type]
            self._subscribe(message_type, topic, handler, depth=50)

    def _subscribe(
        self, message_type: Any, topic: str, handler: Callable[[Any], None], depth: int = 5
    ) -> None:
        self._last_message[topic] = time.monotonic()

        def callback(message: Any) -> None:
            self._last_message[topic] = time.monotonic()
            if self.enabled:
                with self._timer.measure("callback"):
                    handler(message)
                    self.poll()

        def lost(event: Any) -> None:
            if message_type in (Image, CompressedImage) and topic not in _PARTNERS:
                self._counters.images_lost += event.total_count_change
            self._warner.warn(
                topic,
                f"{event.total_count_change} messages were lost on the way ({event.total_count} in "
                f"all): give the processes that publish images more shared memory "
                f"(config/fastdds.xml), or subscribe reliably (qos_overrides)",
                "lost",
            )

        qos = QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._subscriptions.append(
            self._node.create_subscription(
                message_type,
                topic,
                self._warner.guard(topic, callback),
                qos,
                event_callbacks=SubscriptionEventCallbacks(message_lost=lost),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        )

    def _on_raw_image(self, msg: Image) -> None:
        if readable(msg.encoding):
            self._on_image(msg)
            return
        self._counters.images.tick()
        self._dropped(
            "image", f"encoding must be one of {', '.join(COLOUR_ENCODINGS)}. Got '{msg.encoding}'"
        )

    def _on_image(self, msg: Image | CompressedImage) -> None:
        self._counters.images.tick()
        stamp_ns = stamp_to_ns(msg.header.stamp)
        newest_ns = self._newest_image_ns
        if newest_ns is not None and stamp_ns < newest_ns - JUMP_BACK_NS:
            self._warner.warn(
                "image",
                f"time jumped back by {(newest_ns - stamp_ns) * 1e-9:.2f} s (a bag that loops?): "
                f"buffers are cleared, the memory is kept",
                "jump",
            )
            self._on_time_jump()
            newest_ns = None
        self._newest_image_ns = stamp_ns if newest_ns is None else max(newest_ns, stamp_ns)
        self._assembler.add_image(stamp_ns, msg)

    def _on_info(self, msg: CameraInfo) -> None:
        self._assembler.add_info(stamp_to_ns(msg.header.stamp), msg)

    def _on_depth(self, msg: Image) -> None:
        if msg.encoding not in DEPTH_ENCODINGS:
            self._warner.warn(
                "depth",
                f"encoding must be one of {', '.join(DEPTH_ENCODINGS)}. Got '{msg.encoding}'",
            )
            return
        self._assembler.add_depth(stamp_to_ns(msg.header.stamp), msg)

    def _on_mask(self, msg: Image) -> None:
        # Looked at when it is paired: an image need not wait for a mask that is of no use.
        self._assembler.add_mask(stamp_to_ns(msg.header.stamp), msg)

    def _with_good_mask(self, frame: PairedFrame, camera: PinholeCamera) -> PairedFrame:
        """The frame, without its mask if that cannot be used."""
        if frame.mask is None:
            return frame
        try:
            check_mask(frame.mask, camera)
        except FrameError as error:
            self._without("dynamic_mask", str(error))
            return replace(frame, mask=None)
        return frame

    def _without(self, topic: str, reason: str) -> None:
        self._warner.warn(topic, f"a frame is used without it: {reason}")

    def _dropped(self, topic: str, reason: str) -> None:
        self._counters.frames_dropped += 1
        self._warner.warn(topic, reason)

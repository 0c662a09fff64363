"""What a source of sensor data publishes: a robot's camera, odometry and plan, and its progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool, Float32, Header, UInt32

from mirage_ros.geometry import PinholeCamera, fill_camera_info
from mirage_ros.nodes.image_conversion import image_from_array
from mirage_ros.nodes.parameters import Spec
from mirage_ros.nodes.pose_conversion import ns_to_stamp, pose_from_matrix

ODOM_FRAME, BASE_FRAME, CAMERA_FRAME = "odom", "base_link", "camera_optical_frame"

DepthEncoding = Literal["16UC1", "32FC1"]
DEPTH_ENCODINGS: tuple[DepthEncoding, ...] = ("16UC1", "32FC1")


def source_parameters(depth_encoding: DepthEncoding) -> tuple[Spec, ...]:
    """The parameters that all sources have.

    Args:
        depth_encoding: the default of the parameter of that name.
    """
    return (
        Spec("depth_encoding", depth_encoding, "How depth is sent.", choices=DEPTH_ENCODINGS),
        Spec("compressed", False, "Publish image/compressed (JPEG) as well."),
        Spec("publish_plan", True, "Publish the poses ahead as plan, where they are known."),
        Spec("plan_horizon", 2.0, "How far the plan reaches, s.", 0.1, 60.0),
        Spec("plan_period", 0.25, "Time between the plan's poses, s.", 0.05, 10.0),
        Spec("plan_rate", 2.0, "Plans a second.", 0.1, 50.0),
        Spec(
            "wait_for_subscribers",
            0,
            "Subscriptions that image must have before the first frame goes out.",
            0,
            100,
        ),
    )


class SourcePublisher:
    """Publishers of ``image``, ``camera_info``, ``depth``, ``odom``, ``plan`` and of progress.

    Args:
        node: the node to publish from.
        depth_encoding: 32FC1 metres or 16UC1 millimetres.
        compressed: publish ``image/compressed`` (JPEG) as well.
    """

    def __init__(self, node: Node, *, depth_encoding: DepthEncoding, compressed: bool) -> None:
        self._node = node
        self._depth_encoding = depth_encoding
        self._image = self._create(Image, "image")
        self._info = self._create(CameraInfo, "camera_info")
        self._depth = self._create(Image, "depth")
        self._compressed = self._create(CompressedImage, "image/compressed") if compressed else None
        self._odom = self._create(Odometry, "odom", depth=50)
        self._plan = self._create(Path, "plan", depth=1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._progress = node.create_publisher(Float32, "~/progress", 1)
        self._finished = node.create_publisher(Bool, "~/finished", latched)
        self._frames_sent = node.create_publisher(UInt32, "~/frames_sent", latched)
        self.frames_sent = 0

    @property
    def image_subscribers(self) -> int:
        """How many subscriptions the raw image has."""
        return int(self._image.get_subscription_count())

    def publish_frame(
        self,
        stamp_ns: int,
        image: NDArray[np.uint8],  # (H, W, 3) RGB
        depth: NDArray[np.float32],  # (H, W) metres, 0 = unknown
        camera: PinholeCamera,
    ) -> None:
        """Publish one frame; its odometry should have gone out before."""
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=CAMERA_FRAME)
        self._info.publish(fill_camera_info(camera, CameraInfo(header=header)))
        pixels: NDArray[Any] = depth
        if self._depth_encoding == "16UC1":
            pixels = np.round(depth * 1000.0).clip(0, 65534).astype(np.uint16)
        self._depth.publish(image_from_array(pixels, self._depth_encoding, header))
        self._image.publish(image_from_array(image, "rgb8", header))
        if self._compressed is not None and self._compressed.get_subscription_count() > 0:
            self._compressed.publish(_jpeg(image, header))
        self.frames_sent += 1
        self._frames_sent.publish(UInt32(data=self.frames_sent))

    def publish_odometry(
        self,
        stamp_ns: int,
        T_odom_base: NDArray[np.float64],  # (4, 4)
        linear: NDArray[np.float64],  # (3,) m/s in the base frame
        angular: NDArray[np.float64],  # (3,) rad/s in the base frame
    ) -> None:
        """Publish the base's pose and twist."""
        self._odom.publish(odometry_message(stamp_ns, ODOM_FRAME, T_odom_base, linear, angular))

    def publish_plan(
        self,
        stamp_ns: int,
        stamps_ns: Sequence[int],
        poses: Sequence[NDArray[np.float64]],  # (4, 4) each, base in odom
    ) -> None:
        """Publish where the base will be, and when."""
        plan = Path(header=Header(stamp=ns_to_stamp(stamp_ns), frame_id=ODOM_FRAME))
        plan.poses = [
            PoseStamped(
                header=Header(stamp=ns_to_stamp(stamp), frame_id=ODOM_FRAME),
                pose=pose_from_matrix(pose),
            )
            for stamp, pose in zip(stamps_ns, poses, strict=True)
        ]
        self._plan.publish(plan)

    def publish_progress(self, share: float, *, finished: bool) -> None:
        """Publish how much of the whole has been sent, 0 to 1, and whether that was all."""
        self._progress.publish(Float32(data=float(share)))
        self._finished.publish(Bool(data=finished))

    def _create(self, message_type: Any, topic: str, depth: int = 5) -> Publisher[Any]:
        return self._node.create_publisher(
            message_type,
            topic,
            QoSProfile(depth=depth),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )


def odometry_message(
    stamp_ns: int,
    frame_id: str,
    T_frame_base: NDArray[np.float64],  # (4, 4)
    linear: NDArray[np.float64],  # (3,)
    angular: NDArray[np.float64],  # (3,)
) -> Odometry:
    """Odometry of the base in a frame, twist in the base frame."""
    msg = Odometry(header=Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id))
    msg.child_frame_id = BASE_FRAME
    msg.pose.pose = pose_from_matrix(T_frame_base)
    twist = msg.twist.twist
    twist.linear.x, twist.linear.y, twist.linear.z = (float(v) for v in linear)
    twist.angular.x, twist.angular.y, twist.angular.z = (float(v) for v in angular)
    return msg


def _jpeg(image: NDArray[np.uint8], header: Header) -> CompressedImage:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    msg = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    msg.data.frombytes(encoded.tobytes())
    return msg

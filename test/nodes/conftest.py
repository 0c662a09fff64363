"""Fixtures for nodes over the real rclpy and DDS: every test in a domain of its own."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from geometry_msgs.msg import PoseStamped  # noqa: E402
from nav_msgs.msg import Odometry, Path  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.qos import DurabilityPolicy, QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

_domains = itertools.count(os.getpid())


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Iterator[SingleThreadedExecutor]:
    """An executor in a fresh context, alone in its domain."""
    # Domain ids above 101 can collide with the ephemeral ports of Linux.
    domain = 1 + next(_domains) % 100
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    rclpy.init(domain_id=domain)
    executor = SingleThreadedExecutor()
    yield executor
    for node in list(executor.get_nodes()):
        executor.remove_node(node)
        node.destroy_node()
    executor.shutdown()
    rclpy.try_shutdown()


class Robot(Node):
    """A robot in front of a textured wall 3 m ahead: its sensors, and ears for the world model.

    Warnings are read from what the nodes print, not from /rosout: publishers there are kept by
    logger name, so a node that was destroyed can take the next one's along.
    """

    def __init__(self, read_log: Callable[[], str], width: int = 320, height: int = 256) -> None:
        super().__init__("robot")
        self.width, self.height = width, height
        self.stamp_ns = self.get_clock().now().nanoseconds
        self.texture = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        reliable = QoSProfile(depth=10)
        self.out = {
            "image": self.create_publisher(Image, "image", reliable),
            "camera_info": self.create_publisher(CameraInfo, "camera_info", reliable),
            "depth": self.create_publisher(Image, "depth", reliable),
            "dynamic_mask": self.create_publisher(Image, "dynamic_mask", reliable),
            "odom": self.create_publisher(Odometry, "odom", reliable),
            "pose": self.create_publisher(PoseStamped, "pose", reliable),
            "plan": self.create_publisher(Path, "plan", reliable),
        }
        self.read_log = read_log
        self._log = ""

    def listen(self, message_type: Any, topic: str, *, latched: bool = False) -> list[Any]:
        """Collect what comes on a topic."""
        messages: list[Any] = []
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=100, durability=durability)
        self.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def tick(self, seconds: float = 0.1) -> None:
        """Let the robot's sensor clock go on."""
        self.stamp_ns += round(seconds * 1e9)

    def header(self, frame_id: str) -> Any:
        """A header of the current stamp."""
        from std_msgs.msg import Header

        stamp = rclpy.time.Time(nanoseconds=self.stamp_ns).to_msg()
        return Header(stamp=stamp, frame_id=frame_id)

    def image(self) -> Image:
        """The current image, rgb8."""
        msg = Image(header=self.header("camera_optical_frame"))
        msg.height, msg.width, msg.encoding = self.height, self.width, "rgb8"
        msg.step = 3 * self.width
        msg.data.frombytes(self.texture.tobytes())
        return msg

    def depth(self, metres: float = 3.0) -> Image:
        """The current depth, 32FC1."""
        msg = Image(header=self.header("camera_optical_frame"))
        msg.height, msg.width, msg.encoding = self.height, self.width, "32FC1"
        msg.step = 4 * self.width
        msg.data.frombytes(np.full((self.height, self.width), metres, np.float32).tobytes())
        return msg

    def mask(self, left: int = 0, right: int = 0) -> Image:
        """The current mask, mono8: these columns move."""
        pixels = np.zeros((self.height, self.width), np.uint8)
        pixels[:, left:right] = 255
        msg = Image(header=self.header("camera_optical_frame"))
        msg.height, msg.width, msg.encoding = self.height, self.width, "mono8"
        msg.step = self.width
        msg.data.frombytes(pixels.tobytes())
        return msg

    def info(self) -> CameraInfo:
        """Intrinsics: 90 degrees wide."""
        msg = CameraInfo(header=self.header("camera_optical_frame"))
        msg.width, msg.height, msg.distortion_model = self.width, self.height, "plumb_bob"
        f, cx, cy = self.width / 2.0, (self.width - 1) / 2.0, (self.height - 1) / 2.0
        msg.d = [0.0] * 5
        msg.k = [f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0]
        msg.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        msg.p = [f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return msg

    def odometry(self, x: float = 0.0, y: float = 0.0, speed: float = 0.0) -> Odometry:
        """The base at (x, y), heading along x."""
        msg = Odometry(header=self.header("odom"), child_frame_id="base_link")
        msg.pose.pose.position.x, msg.pose.pose.position.y = x, y
        msg.pose.pose.orientation.w = 1.0
        msg.twist.twist.linear.x = speed
        return msg

    def send(self, x: float = 0.0, y: float = 0.0, speed: float = 0.0, **replaced: Any) -> None:
        """Send one instant; ``replaced`` gives other messages for topics, None to leave one out."""
        messages = {
            "odom": self.odometry(x, y, speed),
            "camera_info": self.info(),
            "depth": self.depth(),
            "image": self.image(),
            **replaced,
        }
        for topic, message in messages.items():
            if message is not None:
                self.out[topic].publish(message)

    @property
    def warnings(self) -> list[str]:
        """Warnings and errors so far."""
        self._log += self.read_log()
        return [line for line in self._log.splitlines() if "[WARN]" in line or "[ERROR]" in line]

    def warned(self, *words: str) -> bool:
        """Whether a warning holds all the words."""
        return any(all(word in line for word in words) for line in self.warnings)


#: The camera looks along the base's x axis, half a metre up.
FORWARD_CAMERA = [0.1, 0.0, 0.5, -0.5, 0.5, -0.5, 0.5]


SENSORS = ("image", "camera_info", "depth", "odom")


class World:
    """A world model node and a robot, spun together."""

    def __init__(
        self,
        executor: SingleThreadedExecutor,
        parameters: dict[str, Any],
        read_log: Callable[[], str],
    ) -> None:
        from mirage_ros.nodes.world_model_node import WorldModelNode

        # The robot's clock is set by the tests and may drift from the machine's.
        defaults: dict[str, Any] = {
            "autostart": True,
            # No weights, and nothing that takes its time.
            "backend": "readout",
            "T_base_camera": FORWARD_CAMERA,
            "max_frame_age": 60.0,
        }
        merged = {**defaults, **parameters}
        overrides = [Parameter(k, value=v) for k, v in merged.items() if v is not None]
        self.executor = executor
        self.node = WorldModelNode(parameter_overrides=overrides)
        self.robot = Robot(read_log)
        executor.add_node(self.node)
        executor.add_node(self.robot)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Spin until the condition holds; whether it did."""
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        return condition()

    def spin_for(self, seconds: float) -> None:
        """Spin for a while."""
        self.spin_until(lambda: False, seconds)

    def connect(self, *topics: str) -> None:
        """Wait until the robot's topics have found their subscriber."""
        assert self.spin_until(
            lambda: all(self.robot.out[t].get_subscription_count() > 0 for t in topics)
        ), "the world model did not subscribe"

    @property
    def counters(self) -> Any:
        """The node's counters."""
        return self.node._session.counters

    @property
    def state(self) -> str:
        """Label of the lifecycle state."""
        return str(self.node._state_machine.current_state[1])

    def send_stored(self, x: float, **kwargs: Any) -> None:
        """Send a good frame a keyframe's distance away and wait until it is in memory."""
        before = self.counters.keyframes_stored
        self.robot.tick()
        self.robot.send(x, **kwargs)
        assert self.spin_until(lambda: self.counters.keyframes_stored > before), (
            f"the frame was not stored; warnings: {self.robot.warnings}"
        )

    def mend(self, parameter: Parameter) -> None:
        """Configure a node that could not be, with this; it works, and can be cleaned up."""
        assert self.node.set_parameters([parameter])[0].successful
        self.node.trigger_configure()
        self.node.trigger_activate()
        self.connect(*SENSORS)
        self.robot.stamp_ns = self.node.get_clock().now().nanoseconds
        self.send_stored(0.0)
        self.node.trigger_deactivate()
        self.node.trigger_cleanup()
        # Nothing of the model is left.
        assert self.node._session is None


@pytest.fixture
def world(ros: SingleThreadedExecutor, capfd: pytest.CaptureFixture[str]) -> Callable[..., World]:
    """Makes a world with the given parameters, connected unless told otherwise."""

    def make(*, connect: tuple[str, ...] = SENSORS, **parameters: Any) -> World:
        made = World(ros, parameters, lambda: capfd.readouterr().err)
        if connect:
            made.connect(*connect)
        made.robot.stamp_ns = made.node.get_clock().now().nanoseconds
        return made

    return make

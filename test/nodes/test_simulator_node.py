"""The simulator node over the real rclpy and DDS."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry, Path
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool, Float32, UInt32

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry import camera_from_info, pose_from_quaternion
from mirage_ros.nodes.image_conversion import depth_from_image, rgb_from_image
from mirage_ros.nodes.pose_conversion import matrix_from_pose, stamp_to_ns
from mirage_ros.nodes.simulator_node import SimulatorNode
from mirage_ros.sources.simulator import RobotCamera, Tour, draw_movers
from mirage_ros.sources.simulator.headless import OffscreenContext

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with"),
]

ROOT = FilePath(__file__).resolve().parents[2]

TYPES: dict[str, Any] = {
    "image": Image,
    "image/compressed": CompressedImage,
    "camera_info": CameraInfo,
    "depth": Image,
    "odom": Odometry,
    "ground_truth": Odometry,
    "plan": Path,
    "/clock": Clock,
    "simulator/progress": Float32,
    "simulator/finished": Bool,
    "simulator/frames_sent": UInt32,
}


class Listener(Node):
    """Collects all that the simulator sends, in order of arrival, and can steer."""

    def __init__(self, command_type: Any) -> None:
        super().__init__("listener")
        self.received: dict[str, list[Any]] = {topic: [] for topic in TYPES}
        for topic, message_type in TYPES.items():
            latched = topic in ("simulator/finished", "simulator/frames_sent")
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=1000, durability=durability)
            self.create_subscription(message_type, topic, self.received[topic].append, qos)
        self.cmd_vel = self.create_publisher(command_type, "cmd_vel", 1)

    def stamps(self, topic: str) -> list[int]:
        """Stamps of what came on a topic, nanoseconds."""
        return [stamp_to_ns(message.header.stamp) for message in self.received[topic]]

    @property
    def finished(self) -> bool:
        """Whether the simulator said that it has sent everything."""
        return any(message.data for message in self.received["simulator/finished"])


class Stage:
    """A simulator and its listener, spun together."""

    def __init__(self, executor: SingleThreadedExecutor, parameters: dict[str, Any]) -> None:
        defaults = {"wait_for_subscribers": 1, "width": 96, "height": 80}
        merged = {**defaults, **parameters}
        stamped = bool(merged.get("stamped_cmd_vel", False))
        self.executor = executor
        self.listener = Listener(TwistStamped if stamped else Twist)
        self.node = SimulatorNode(
            parameter_overrides=[Parameter(k, value=v) for k, v in merged.items()]
        )
        executor.add_node(self.listener)
        executor.add_node(self.node)

    def spin_until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Spin until the condition holds; whether it did."""
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)
        return condition()

    def count(self, topic: str, least: int) -> bool:
        """Spin until that many messages have come on a topic."""
        return self.spin_until(lambda: len(self.listener.received[topic]) >= least)


@pytest.fixture
def stage(ros: SingleThreadedExecutor) -> Callable[..., Stage]:
    """Makes a stage with the given parameters."""
    return lambda **parameters: Stage(ros, parameters)


def test_a_tour_as_the_topics_of_a_robot(stage):
    made = stage(duration=1.6, compressed=True)
    assert made.spin_until(lambda: made.listener.finished)
    made.spin_until(lambda: False, 0.3)
    received = made.listener.received
    images, depths = received["image"], received["depth"]
    # 15 Hz over 1.6 s, the one at 0 s included.
    assert len(images) == len(depths) == received["simulator/frames_sent"][-1].data
    assert len(images) == 25
    assert received["image/compressed"]
    assert images[0].encoding == "rgb8"
    assert depths[0].encoding == "32FC1"
    assert images[0].header.frame_id == depths[0].header.frame_id == "camera_optical_frame"
    assert made.listener.stamps("image") == made.listener.stamps("depth")
    assert made.listener.stamps("image") == made.listener.stamps("camera_info")
    camera = camera_from_info(received["camera_info"][0])
    assert camera == made.node.simulator.camera
    rgb, depth = rgb_from_image(images[-1]), depth_from_image(depths[-1])
    assert rgb.shape == (80, 96, 3)
    assert depth.shape == (80, 96)
    assert 30 < rgb.mean() < 220
    assert 0.3 < np.median(depth) < 10.0
    progress = [message.data for message in received["simulator/progress"]]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    # Nothing goes out after the end.
    time.sleep(0.2)
    made.spin_until(lambda: False, 0.1)
    assert len(received["image"]) == 25


def test_stamps_pair_images_with_odometry_that_came_first(stage):
    made = stage()
    before_ns = made.listener.get_clock().now().nanoseconds
    assert made.count("image", 12)
    after_ns = made.listener.get_clock().now().nanoseconds
    images = made.listener.stamps("image")
    # Topics overtake one another on the way, so wait for odometry that was sent before.
    assert made.spin_until(lambda: made.listener.stamps("odom")[-1] >= images[-1])
    odometry = made.listener.stamps("odom")
    assert set(images) <= set(odometry)
    assert (np.diff(odometry) > 0).all()
    # 50 Hz: at most the period and a physics step apart.
    assert np.diff(odometry).max() <= 25_000_000
    assert before_ns <= images[0]
    assert images[-1] <= after_ns
    message = made.listener.received["odom"][-1]
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    truth = made.listener.received["ground_truth"][-1]
    assert truth.header.frame_id == "world"


def test_odometry_is_the_ground_truth_without_drift_and_departs_with_it(stage):
    def gap(**parameters: Any) -> float:
        made = stage(**parameters)
        assert made.spin_until(lambda: made.node.simulator.time > 2.0)
        pairs = zip(
            made.listener.received["odom"], made.listener.received["ground_truth"], strict=False
        )
        odom, truth = list(pairs)[-1]
        assert odom.header.stamp == truth.header.stamp
        made.executor.remove_node(made.node)
        made.node.destroy_node()
        difference = matrix_from_pose(odom.pose.pose) - matrix_from_pose(truth.pose.pose)
        return float(np.abs(difference).max())

    assert gap() < 0.01
    assert gap(odometry_scale_error=0.1) > 0.01
    assert gap(odometry_distance_error=0.4) > 0.1
    assert gap(odometry_heading_error=0.4) > 0.1


def test_the_plan_is_where_the_robot_will_be(stage):
    made = stage()
    assert made.count("plan", 2)
    plan = made.listener.received["plan"][1]
    assert plan.header.frame_id == "odom"
    stamps = [stamp_to_ns(pose.header.stamp) for pose in plan.poses]
    start_ns = stamp_to_ns(plan.header.stamp)
    assert [round((stamp - start_ns) * 1e-9, 3) for stamp in stamps] == [
        0.25 * k for k in range(1, 9)
    ]
    assert made.spin_until(lambda: made.listener.stamps("odom")[-1] > stamps[-1])
    arrived = dict(zip(made.listener.stamps("odom"), made.listener.received["odom"], strict=True))
    for stamp, planned in zip(stamps, plan.poses, strict=True):
        nearest = min(arrived, key=lambda other: abs(other - stamp))
        actual = matrix_from_pose(arrived[nearest].pose.pose)
        assert np.linalg.norm(actual[:2, 3] - matrix_from_pose(planned.pose)[:2, 3]) < 0.05


@pytest.mark.parametrize("stamped", [False, True])
def test_cmd_vel_drives_and_silence_stops(stage, stamped):
    made = stage(tour=False, stamped_cmd_vel=stamped, cmd_vel_timeout=0.3)
    assert made.spin_until(lambda: made.listener.cmd_vel.get_subscription_count() > 0)
    command = TwistStamped() if stamped else Twist()
    twist = command.twist if stamped else command
    twist.linear.x, twist.angular.z = 0.3, 0.5

    def turning() -> bool:
        made.listener.cmd_vel.publish(command)
        odometry = made.listener.received["odom"]
        if not odometry:
            return False
        velocity = odometry[-1].twist.twist
        return bool(abs(velocity.linear.x - 0.3) < 0.02 and abs(velocity.angular.z - 0.5) < 0.02)

    assert made.spin_until(turning)
    assert made.spin_until(
        lambda: abs(made.listener.received["odom"][-1].twist.twist.angular.z) < 0.01
    )
    assert not made.listener.received["plan"]


def test_bad_commands_are_ignored_with_a_warning(stage, capfd):
    made = stage(tour=False)
    assert made.spin_until(lambda: made.listener.cmd_vel.get_subscription_count() > 0)
    command = Twist()
    command.linear.x = float("nan")
    logged = ""

    def warned() -> bool:
        nonlocal logged
        made.listener.cmd_vel.publish(command)
        logged += capfd.readouterr().err
        return "cmd_vel" in logged and "finite" in logged

    assert made.spin_until(warned)
    images = len(made.listener.received["image"])
    assert made.count("image", images + 2)  # it goes on


def test_simulated_clock(stage):
    made = stage(clock=True, real_time_factor=3.0, duration=1.5)
    start = time.monotonic()
    assert made.spin_until(lambda: made.listener.finished)
    assert time.monotonic() - start < 10.0
    clock = [stamp_to_ns(message.clock) for message in made.listener.received["/clock"]]
    assert (np.diff(clock) >= 0).all()
    assert clock[-1] - clock[0] > 1_000_000_000
    images = made.listener.stamps("image")
    assert images[0] == 1_000_000_000
    steps = np.diff(images) * 1e-9
    assert np.abs(steps - 1 / 15).max() <= 0.0051  # to a physics step


def test_depth_in_millimetres(stage):
    made = stage(depth_encoding="16UC1")
    assert made.count("depth", 1)
    message = made.listener.received["depth"][0]
    assert message.encoding == "16UC1"
    assert 0.3 < np.median(depth_from_image(message)) < 10.0


def test_depth_errs_anew_in_every_image(stage):
    made = stage(tour=False, depth_noise=0.005, depth_holes=0.2)
    assert made.count("depth", 3)
    first, second = (depth_from_image(each) for each in made.listener.received["depth"][1:3])
    for depth in (first, second):
        assert (depth == 0.0).mean() == pytest.approx(0.2, abs=0.01)
    both = (first > 0.0) & (second > 0.0)
    assert 0.5 < both.mean() < 0.79  # other holes each time
    # The robot stands: what changes is noise, which grows with the square of depth.
    change = (first - second)[both] / (0.5 * (first + second)[both]) ** 2
    assert change.std() == pytest.approx(0.005 * np.sqrt(2.0), rel=0.05)


def test_images_can_be_stamped_late(stage):
    made = stage(clock=True, camera_time_offset=0.25, duration=0.8)
    assert made.spin_until(lambda: made.listener.finished)
    images, odometry = made.listener.stamps("image"), made.listener.stamps("odom")
    assert images[0] == 1_250_000_000
    assert odometry[0] == 1_000_000_000
    # Every one was exposed when odometry of a quarter of a second before went out.
    assert {stamp - 250_000_000 for stamp in images} <= set(odometry)


def test_people_chair_and_door_are_where_they_are_drawn(stage):
    made = stage(people=1, moving_chair=True, moving_door=True, seed=2)
    assert made.count("image", 2)
    simulator = made.node.simulator
    figure, chair, _ = draw_movers(
        simulator.scene,
        Tour(simulator.scene),
        seed=2,
        people=1,
        moving_chair=True,
        moving_door=True,
    )
    for x, y, _ in (figure.position(20.0), chair.place(20.0)):
        above = np.eye(4)
        above[:3, :3] = np.diag([1.0, -1.0, -1.0])  # looks straight down
        above[:3, 3] = x, y, 2.4
        _, depth = simulator.render_from(above, 20.0)
        _, still = simulator.render_from(above, 20.0, with_movers=False)
        middle = np.s_[30:50, 38:58]
        assert (still - depth)[middle].max() > 0.3


def test_a_bad_parameter_refuses_to_start(ros):
    with pytest.raises(ConfigurationError, match="depth_encoding must be one of 16UC1, 32FC1"):
        SimulatorNode(parameter_overrides=[Parameter("depth_encoding", value="8UC1")])


def test_parameter_file_holds_the_extrinsics_of_the_default_camera():
    text = (ROOT / "config" / "simulator_world_model.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]["T_base_camera"]
    pose = pose_from_quaternion(values[:3], values[3:])
    np.testing.assert_allclose(pose, RobotCamera().T_base_camera, atol=1e-6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_cleanly_on_signals(number):
    environment = {
        **os.environ,
        "ROS_DOMAIN_ID": str(1 + (os.getpid() + int(number)) % 100),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "mirage_ros.nodes.simulator_node"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    lines = []
    for line in itertools.takewhile(lambda _: True, process.stdout):
        lines.append(line)
        if "T_base_camera" in line:
            break
    time.sleep(0.5)
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20.0)
    output = "".join(lines) + rest
    assert "Traceback" not in output
    assert process.returncode == 0, output

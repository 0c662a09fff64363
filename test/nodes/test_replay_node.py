"""The replay node over the real rclpy and DDS."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry, Path
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool, UInt32

from mirage_ros.errors import MirageError
from mirage_ros.geometry import camera_from_info
from mirage_ros.nodes.image_conversion import depth_from_image, rgb_from_image
from mirage_ros.nodes.pose_conversion import matrix_from_pose, stamp_to_ns
from mirage_ros.nodes.replay_node import ReplayNode

pytestmark = pytest.mark.ros

TYPES = {
    "image": Image,
    "image/compressed": CompressedImage,
    "camera_info": CameraInfo,
    "depth": Image,
    "odom": Odometry,
    "plan": Path,
    "/clock": Clock,
    "replay/finished": Bool,
    "replay/frames_sent": UInt32,
}


class Listener(Node):
    """Collects all that the replay node sends."""

    def __init__(self) -> None:
        super().__init__("listener")
        self.received: dict[str, list[Any]] = {topic: [] for topic in TYPES}
        for topic, message_type in TYPES.items():
            latched = topic.startswith("replay/")
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=1000, durability=durability)
            self.create_subscription(message_type, topic, self.received[topic].append, qos)

    @property
    def sent(self) -> int:
        """Frames that were sent and have arrived."""
        sent = self.received["replay/frames_sent"]
        return min(sent[-1].data if sent else 0, len(self.received["image"]))

    @property
    def finished(self) -> bool:
        """Whether the node said that it has sent everything."""
        return any(message.data for message in self.received["replay/finished"])


@pytest.fixture
def play(
    ros: SingleThreadedExecutor, small_sequence: Callable[[int], FilePath]
) -> Callable[..., Listener]:
    """Plays a small sequence until the condition holds (default: to its end)."""

    def run(
        count: int = 12, until: Callable[[Listener], bool] | None = None, **parameters: Any
    ) -> Listener:
        values = {"sequence": str(small_sequence(count)), "wait_for_subscribers": 1, **parameters}
        listener = Listener()
        ros.add_node(listener)
        overrides = [Parameter(k, value=v) for k, v in values.items()]
        ros.add_node(ReplayNode(parameter_overrides=overrides))
        done = until or (lambda node: node.finished and node.sent >= count)
        deadline = time.monotonic() + 20.0
        while not done(listener) and time.monotonic() < deadline:
            ros.spin_once(timeout_sec=0.05)
        assert done(listener)
        return listener

    return run


def test_frames_come_whole_and_in_order(play: Callable[..., Listener]) -> None:
    received = play(rate_hz=60.0).received
    images = received["image"]
    assert [int(rgb_from_image(m)[0, 0, 0]) for m in images] == [5 * k for k in range(12)]
    stamps = [stamp_to_ns(m.header.stamp) for m in images]
    np.testing.assert_allclose(np.diff(stamps), 1e9 / 60.0, atol=2)
    for topic in ("camera_info", "depth", "odom"):
        assert [stamp_to_ns(m.header.stamp) for m in received[topic]] == stamps, topic
    assert received["replay/frames_sent"][-1].data == 12
    depth = depth_from_image(received["depth"][0])
    assert received["depth"][0].encoding == "16UC1"
    assert depth[0, 0] == 0.0
    np.testing.assert_allclose(depth[1:], 2.0)
    camera = camera_from_info(received["camera_info"][0])
    # The file is in the pixel-centre convention.
    assert (camera.fx, camera.cx, camera.cy) == (60.0, 32.5, 24.5)


def test_odometry_starts_at_the_origin_and_looks_along_x(play: Callable[..., Listener]) -> None:
    odometry = play(rate_hz=30.0).received["odom"]
    assert (odometry[0].header.frame_id, odometry[0].child_frame_id) == ("odom", "base_link")
    for k, message in enumerate(odometry):
        expected = np.eye(4)
        expected[0, 3] = 0.05 * k
        np.testing.assert_allclose(matrix_from_pose(message.pose.pose), expected, atol=1e-6)
    assert odometry[5].twist.twist.linear.x == pytest.approx(0.05 * 30.0)
    assert odometry[0].twist.twist.linear.x == 0.0


def test_the_plan_holds_the_recorded_poses_ahead(play: Callable[..., Listener]) -> None:
    received = play(rate_hz=20.0, plan_horizon=0.3, plan_period=0.1, plan_rate=10.0).received
    start_ns = stamp_to_ns(received["image"][0].header.stamp)
    plan = received["plan"][0]
    assert plan.header.frame_id == "odom"
    offsets = [stamp_to_ns(p.header.stamp) - start_ns for p in plan.poses]
    np.testing.assert_allclose(offsets, [1e8, 2e8, 3e8], atol=2)
    xs = [p.pose.position.x for p in plan.poses]
    np.testing.assert_allclose(xs, [0.1, 0.2, 0.3], atol=1e-6)
    # At the end of the recording the plan ends as well.
    assert len(received["plan"][-1].poses) < 3


def test_loops_go_on_in_time(play: Callable[..., Listener]) -> None:
    played = play(
        count=4, until=lambda node: len(node.received["image"]) >= 10, rate_hz=50.0, loop=True
    )
    images = played.received["image"][:10]
    assert [int(rgb_from_image(m)[0, 0, 0]) for m in images] == [5 * (k % 4) for k in range(10)]
    stamps = [stamp_to_ns(m.header.stamp) for m in images]
    np.testing.assert_allclose(np.diff(stamps), 1e9 / 50.0, atol=2)
    assert not played.finished


def test_recorded_time_comes_with_a_clock(play: Callable[..., Listener]) -> None:
    received = play(clock=True, start=3, stop=9, count=12, until=lambda n: n.finished).received
    first = stamp_to_ns(received["odom"][0].header.stamp)
    assert first == pytest.approx(3 * 1e9 / 30.0, abs=2)
    clock = [stamp_to_ns(m.clock) for m in received["/clock"]]
    assert clock == sorted(clock)
    assert len(clock) > 12, "finer than the frames"


def test_a_broken_frame_is_left_out(
    ros: SingleThreadedExecutor,
    small_sequence: Callable[[int], FilePath],
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = small_sequence(6)
    (folder / "frame-000002.color.png").write_bytes(b"not a picture")
    listener = Listener()
    ros.add_node(listener)
    values = {"sequence": str(folder), "wait_for_subscribers": 1}
    ros.add_node(ReplayNode(parameter_overrides=[Parameter(k, value=v) for k, v in values.items()]))
    deadline = time.monotonic() + 20.0
    while not (listener.finished and listener.sent >= 5) and time.monotonic() < deadline:
        ros.spin_once(timeout_sec=0.05)
    shown = [int(rgb_from_image(m)[0, 0, 0]) for m in listener.received["image"]]
    assert shown == [0, 5, 15, 20, 25]
    assert "frame-000002.color.png" in capfd.readouterr().err


def test_compressed_images_are_sent_where_wanted(play: Callable[..., Listener]) -> None:
    received = play(rate_hz=60.0, compressed=True).received
    message = received["image/compressed"][-1]
    assert "jpeg" in message.format
    assert bytes(message.data[:2]) == b"\xff\xd8"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"sequence": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"start": 12}, "start 12"),
        ({"depth_encoding": "8UC1"}, "16UC1, 32FC1"),
    ],
)
def test_what_cannot_be_played_is_refused(
    ros: SingleThreadedExecutor,
    small_sequence: Callable[[int], FilePath],
    parameters: dict[str, Any],
    words: str,
) -> None:
    values = {"sequence": str(small_sequence(3)), **parameters}
    with pytest.raises(MirageError, match=words):
        ReplayNode(parameter_overrides=[Parameter(k, value=v) for k, v in values.items()])


def test_a_refused_sequence_ends_the_process_with_a_message(ros: SingleThreadedExecutor) -> None:
    process = subprocess.run(
        [
            *(sys.executable, "-m", "mirage_ros.nodes.replay_node"),
            *("--ros-args", "-p", 'sequence:="/nowhere"'),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        cwd="/",
        check=False,
    )
    assert process.returncode == 2
    assert "/nowhere" in process.stderr
    assert "Traceback" not in process.stderr

"""The compiled interfaces and what is installed beside them."""

import importlib
import os
import time
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs rclpy (ROS 2, or the wheels of `make install`)")

from ament_index_python.packages import get_package_prefix, get_package_share_directory  # noqa: E402
from mirage_ros.msg import MemoryStatus, PredictedFrame, StageTiming  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.ros

#: Discovery takes a fraction of a second, now and then several.
DISCOVERY_LIMIT = 10.0


def predicted_frame() -> PredictedFrame:
    message = PredictedFrame()
    message.header.frame_id = "predicted_camera_optical"
    message.header.stamp.sec = 12
    message.rollout_id = "plan-7"
    message.candidate = 3
    message.index = 5
    message.frame_count = 9
    message.conditioned_on.sec = 11
    message.horizon.nanosec = 750_000_000
    message.camera_pose.header.frame_id = "odom"
    message.camera_pose.pose.orientation.w = 1.0
    message.camera_info.k[0] = 256.5
    message.image.height, message.image.width, message.image.step = 2, 4, 12
    message.image.encoding = "rgb8"
    message.image.data.frombytes(bytes(range(24)))
    message.coverage.height, message.coverage.width, message.coverage.step = 2, 4, 4
    message.coverage.encoding = "mono8"
    message.coverage.data.frombytes(b"\xff\xff\x00\x00" * 2)
    message.known_fraction = 0.5
    return message


def memory_status() -> MemoryStatus:
    message = MemoryStatus(backend="readout", token_count=2**40, missing_inputs=["depth", "odom"])
    message.timings = [
        StageTiming(stage="encode", count=3, p50=0.25, p99=0.5),
        StageTiming(stage="readout", count=4, p50=0.125, p99=1.0),
    ]
    return message


@pytest.fixture
def context():
    context = rclpy.Context()
    context.init(domain_id=10 + os.getpid() % 90)
    yield context
    context.shutdown()


@pytest.mark.parametrize("message", [predicted_frame(), memory_status()])
def test_message_crosses_dds_unchanged(context, message):
    writer = rclpy.create_node("writer", context=context)
    reader = rclpy.create_node("reader", context=context)
    received = []
    reader.create_subscription(type(message), "interfaces_test", received.append, 10)
    publisher = writer.create_publisher(type(message), "interfaces_test", 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(reader)
    deadline = time.monotonic() + DISCOVERY_LIMIT
    while not publisher.get_subscription_count() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    publisher.publish(message)
    while not received and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    reader.destroy_node()
    writer.destroy_node()
    assert received == [message]


def test_share_directory_holds_what_the_repository_has():
    share = Path(get_package_share_directory("mirage_ros"))
    assert (share / "package.xml").read_text() == (ROOT / "package.xml").read_text()
    for folder in ("launch", "config", "msg", "srv"):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        files = [path for path in files if "__pycache__" not in path.parts]
        assert files, f"{folder}/ is empty"
        for path in files:
            installed = share / path.relative_to(ROOT)
            assert installed.read_bytes() == path.read_bytes(), f"{installed} is not up to date"


@pytest.mark.parametrize("name", ["world_model", "replay", "simulator"])
def test_ros2_run_finds_an_executable_with_a_node_behind_it(name):
    executable = Path(get_package_prefix("mirage_ros")) / "lib" / "mirage_ros" / name
    assert os.access(executable, os.X_OK), f"{executable} is missing or not executable"
    module = f"mirage_ros.nodes.{name}_node"
    assert f"from {module} import main" in executable.read_text()
    assert callable(importlib.import_module(module).main)

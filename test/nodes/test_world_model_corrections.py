"""Keyframes that follow a SLAM system's path, or a localiser, over the real node."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mirage_ros.msg import MemoryStatus
from nav_msgs.msg import Path
from room_robot import PARAMETERS, RoomRobot, base_pose, path_of
from sensor_msgs.msg import PointCloud2

from mirage_ros.geometry import exp_twist, inverse
from mirage_ros.nodes.point_cloud import TOKEN_DTYPE

pytestmark = pytest.mark.ros


def slam(
    world: Callable[..., Any], **parameters: Any
) -> tuple[Any, RoomRobot, Callable[..., None]]:
    """A world, a robot that has looked about, and what publishes a corrected trajectory."""
    w = world(**PARAMETERS, use_corrected_trajectory=True, **parameters)
    publisher = w.robot.create_publisher(Path, "corrected_trajectory", 10)
    assert w.spin_until(lambda: publisher.get_subscription_count() > 0)
    robot = RoomRobot(w)
    robot.look_about()
    return w, robot, publisher.publish


def test_keyframes_follow_a_corrected_trajectory(world: Callable[..., Any]) -> None:
    w, robot, publish = slam(world, status_rate=20.0, cloud_rate=20.0)
    status = w.robot.listen(MemoryStatus, "world_model/status")
    clouds = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    before = robot.positions()
    assert w.spin_until(lambda: bool(clouds) and clouds[-1].width == len(before))
    move = exp_twist([0.3, 0.1, 0.0], [0.0, 0.0, 0.1], 1.0)
    held = len(w.node._session._engine.model.memory.keyframes())
    publish(path_of([(stamp, move @ pose) for stamp, pose in robot.stored]))
    assert w.spin_until(lambda: bool(status) and status[-1].keyframes_moved == held)
    expected = before @ move[:3, :3].T + move[:3, 3]
    np.testing.assert_allclose(robot.positions(), expected, atol=1e-3)

    def published() -> np.ndarray:
        points = np.frombuffer(clouds[-1].data, TOKEN_DTYPE)
        return np.stack([points["x"], points["y"], points["z"]], axis=1)

    assert w.spin_until(lambda: bool(np.abs(published() - expected).max() < 1e-3))
    # The same path again moves nothing.
    publish(path_of([(stamp, move @ pose) for stamp, pose in robot.stored]))
    w.spin_for(0.5)
    assert w.counters.keyframes_moved == held
    assert w.counters.moves_refused == 0


def test_a_path_in_an_unknown_frame_is_refused(world: Callable[..., Any]) -> None:
    w, robot, publish = slam(world)
    publish(path_of(robot.stored, "atlantis"))
    assert w.spin_until(lambda: w.robot.warned("corrected_trajectory", "atlantis", "odom"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: [(t, base_pose(1.5, 0.0, 0.0) @ p) for t, p in s], "1.50 m"),
        (lambda s: [(t, base_pose(0.0, 0.0, 0.6) @ p) for t, p in s], "34.4 degrees"),
        (lambda s: [(t + 10**12, p) for t, p in s], "no pose of the trajectory"),
        (lambda s: [(0, p) for _, p in s], "must ascend"),
    ],
)
def test_what_cannot_be_is_told_and_moves_nothing(
    world: Callable[..., Any], spoil: Callable[[Any], Any], words: str
) -> None:
    w, robot, publish = slam(world)
    before = robot.positions()
    publish(path_of(spoil(robot.stored)))
    assert w.spin_until(
        lambda: w.robot.warned("corrected_trajectory", "no keyframe is moved", words)
    )
    assert w.counters.moves_refused == 1
    assert w.counters.keyframes_moved == 0
    np.testing.assert_array_equal(robot.positions(), before)


def test_an_empty_path_and_one_before_all_frames_are_harmless(world: Callable[..., Any]) -> None:
    w = world(**PARAMETERS, use_corrected_trajectory=True)
    publisher = w.robot.create_publisher(Path, "corrected_trajectory", 10)
    assert w.spin_until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(path_of([(1, np.eye(4))]))
    w.spin_for(0.2)
    assert w.counters.moves_refused == 0
    robot = RoomRobot(w)
    robot.store((0.0, 0.0, 0.0))
    publisher.publish(path_of([]))
    assert w.spin_until(lambda: w.robot.warned("corrected_trajectory", "at least one pose"))


class Transforms:
    """TF of a robot whose localiser moves odometry's frame in the map."""

    available = True

    def __init__(self) -> None:
        self.T_map_odom = np.eye(4)
        self.sent: list[tuple[str, str, np.ndarray, int]] = []

    def lookup(self, target: str, source: str, stamp_ns: int | None = None) -> np.ndarray:
        assert (target, source) == ("map", "odom")
        return self.T_map_odom

    def broadcast(self, parent: str, child: str, T_parent_child: np.ndarray, stamp_ns: int) -> None:
        self.sent.append((parent, child, T_parent_child, stamp_ns))

    def close(self) -> None:
        pass


def localised(world: Callable[..., Any], **parameters: Any) -> tuple[Any, RoomRobot, Transforms]:
    w = world(connect=(), **PARAMETERS, autostart=False, **parameters)
    transforms = w.node._transforms = Transforms()
    w.node.trigger_configure()
    w.node.trigger_activate()
    w.connect("image", "camera_info", "depth", "odom")
    return w, RoomRobot(w), transforms


def test_keyframes_take_their_share_of_what_a_localiser_says(world: Callable[..., Any]) -> None:
    w, robot, transforms = localised(world, world_frame="map", odom_frame="odom")
    for number in range(4):
        robot.store((0.3 * number, 0.0, 0.0))
    memory = w.node._session._engine.model.memory
    transforms.T_map_odom = base_pose(0.0, 0.2, 0.0)
    robot.store((0.9, 0.0, 0.3))
    ys = memory.keyframes().T_world_camera[:, 1, 3]
    # Turning is no way: at 0.9 m all of the change holds, at the start nothing.
    np.testing.assert_allclose(ys, [0.0, 0.2 / 3.0, 0.4 / 3.0, 0.2, 0.2], atol=1e-6)
    assert w.counters.keyframes_moved == 3
    assert not w.robot.warned("odom_frame")


def test_a_localiser_that_jumps_is_told_and_moves_nothing(world: Callable[..., Any]) -> None:
    w, robot, transforms = localised(
        world, world_frame="map", odom_frame="odom", keyframe_move_distance=0.1
    )
    for number in range(3):
        robot.store((0.3 * number, 0.0, 0.0))
    transforms.T_map_odom = base_pose(0.0, 0.3, 0.0)
    robot.store((0.6, 0.0, 0.3))
    assert w.spin_until(lambda: w.robot.warned("odom_frame", "no keyframe is moved", "0.30 m")), (
        w.robot.warnings
    )
    assert (w.counters.moves_refused, w.counters.keyframes_moved) == (1, 0)
    poses = w.node._session._engine.model.memory.keyframes().T_world_camera
    np.testing.assert_allclose(poses[:, 1, 3], [0.0, 0.0, 0.0, 0.3], atol=1e-6)


def test_a_jump_faster_than_the_robot_is_told_as_ever(world: Callable[..., Any]) -> None:
    w, robot, transforms = localised(world, world_frame="map", odom_frame="odom")
    robot.store((0.0, 0.0, 0.0))
    transforms.T_map_odom = base_pose(0.0, 30.0, 0.0)
    robot.send((0.0, 0.0, 0.3))
    assert w.spin_until(lambda: w.robot.warned("odom", "jumped by 30.00 m")), w.robot.warnings


def test_the_memory_s_frame_is_a_child_of_the_world_s(world: Callable[..., Any]) -> None:
    w, robot, transforms = localised(world, registration=True, memory_frame="still")
    robot.look_about()
    slip = exp_twist([0.05, 0.03, 0.0], [0.0, 0.0, 0.035], 1.0)
    robot.store((-0.4, -0.3, 0.7), slip=slip)
    sent = [each for each in transforms.sent if each[1] == "still"]
    assert len(sent) == 22
    parent, _, pose, stamp_ns = sent[-1]
    assert (parent, stamp_ns) == ("odom", w.robot.stamp_ns)
    np.testing.assert_allclose(
        pose, inverse(w.node._session._engine.model.T_memory_world), atol=1e-12
    )
    np.testing.assert_allclose(pose, slip, atol=0.04)


@pytest.mark.skipif(importlib.util.find_spec("tf2_ros") is not None, reason="tf2_ros is installed")
def test_a_localiser_cannot_be_followed_without_tf(world: Callable[..., Any]) -> None:
    w = world(connect=(), odom_frame="odometry")
    assert w.spin_until(lambda: w.robot.warned("not configured", "tf2_ros", "odometry"))
    assert w.state == "unconfigured"

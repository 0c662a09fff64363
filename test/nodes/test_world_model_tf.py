"""The world model node with TF, where a ROS installation has it, and its refusal where not."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, TransformStamped
from mirage_ros.msg import PredictedFrame
from nav_msgs.msg import Path
from rclpy.time import Time

from mirage_ros.geometry import T_BODY_OPTICAL
from mirage_ros.nodes.pose_conversion import transform_from_matrix

pytestmark = pytest.mark.ros

HAS_TF = importlib.util.find_spec("tf2_ros") is not None
needs_tf = pytest.mark.skipif(not HAS_TF, reason="tf2_ros is not on PyPI; a ROS install has it")


@pytest.mark.skipif(HAS_TF, reason="tf2_ros is installed")
def test_poses_from_tf_are_refused_without_tf(world: Callable[..., Any]) -> None:
    w = world(connect=(), pose_source="tf")
    assert w.spin_until(lambda: w.robot.warned("not configured", "tf2_ros", "odometry"))
    assert w.state == "unconfigured"


def _transform(robot: Any, parent: str, child: str, matrix: np.ndarray) -> TransformStamped:
    message = TransformStamped(header=robot.header(parent), child_frame_id=child)
    message.transform = transform_from_matrix(matrix)
    return message


def _at(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = [x, y, z]
    return matrix


@needs_tf
def test_extrinsics_come_from_tf(world: Callable[..., Any]) -> None:
    from tf2_ros import StaticTransformBroadcaster

    w = world(T_base_camera=None, rollout_rate=10.0, horizon=0.25)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    broadcaster = StaticTransformBroadcaster(w.robot)
    mast = _at(0.2, 0.0, 0.7) @ T_BODY_OPTICAL
    broadcaster.sendTransform(_transform(w.robot, "base_link", "camera_optical_frame", mast))
    w.spin_for(1.0)
    w.send_stored(1.0)
    assert w.spin_until(lambda: bool(frames)), w.robot.warnings
    position = frames[-1].camera_pose.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], [1.2, 0.0, 0.7], atol=1e-6)


@needs_tf
def test_poses_come_from_tf(world: Callable[..., Any]) -> None:
    from tf2_ros import TransformBroadcaster

    w = world(
        connect=("image", "camera_info", "depth"),
        pose_source="tf",
        base_frame="base_link",
        T_base_camera=None,
        rollout_rate=10.0,
    )
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    broadcaster = TransformBroadcaster(w.robot)
    w.spin_for(1.0)
    before = w.robot.stamp_ns
    for offset_s, x in ((0.0, 0.0), (0.2, 0.4)):
        w.robot.stamp_ns = before + round(offset_s * 1e9)
        camera = _at(x, 0.0, 0.5) @ T_BODY_OPTICAL
        broadcaster.sendTransform(_transform(w.robot, "odom", "camera_optical_frame", camera))
    w.robot.stamp_ns = before + 100_000_000
    w.spin_for(0.2)
    w.robot.send(odom=None)
    assert w.spin_until(lambda: bool(frames)), w.robot.warnings
    position = frames[0].camera_pose.pose.position
    np.testing.assert_allclose([position.x, position.z], [0.2, 0.5], atol=1e-6)


@needs_tf
def test_a_plan_in_another_frame_is_transformed(world: Callable[..., Any]) -> None:
    from tf2_ros import StaticTransformBroadcaster

    w = world(connect=("image", "camera_info", "depth", "odom", "plan"), rollout_rate=0.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    broadcaster = StaticTransformBroadcaster(w.robot)
    broadcaster.sendTransform(_transform(w.robot, "odom", "map", _at(10.0, -2.0)))
    w.spin_for(1.0)
    w.send_stored(0.0)
    plan = Path(header=w.robot.header("map"))
    pose = PoseStamped(header=w.robot.header("map"))
    pose.pose.position.x, pose.pose.position.y, pose.pose.orientation.w = -9.0, 2.0, 1.0
    plan.poses.append(pose)
    w.robot.out["plan"].publish(plan)
    assert w.spin_until(lambda: bool(frames)), w.robot.warnings
    position = frames[0].camera_pose.pose.position
    np.testing.assert_allclose([position.x, position.y], [1.1, 0.0], atol=1e-6)


@needs_tf
def test_predicted_cameras_are_broadcast_at_their_stamps(world: Callable[..., Any]) -> None:
    from tf2_ros import Buffer, TransformListener

    w = world(rollout_rate=10.0, horizon=0.5)
    buffer = Buffer(node=w.robot)
    listener = TransformListener(buffer, w.robot, spin_thread=False)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(1.0)
    w.send_stored(0.0, speed=0.4)
    assert w.spin_until(lambda: len(frames) >= 2)
    stamp = Time.from_msg(frames[0].header.stamp)
    assert w.spin_until(lambda: buffer.can_transform("odom", "predicted_camera_optical", stamp)), (
        "no transform"
    )
    found = buffer.lookup_transform("odom", "predicted_camera_optical", stamp)
    assert found.transform.translation.x == pytest.approx(0.1 + 0.4 * 0.25, abs=1e-4)
    listener.unregister()

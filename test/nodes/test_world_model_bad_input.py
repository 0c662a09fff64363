"""Bad input over the real node: it stays active, warns with topic and reason, and goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.parameter import Parameter

pytestmark = pytest.mark.ros


def _wrong_encoding(robot: Any) -> dict[str, Any]:
    image = robot.image()
    image.encoding = "jpeg2000"
    return {"image": image}


def _short_data(robot: Any) -> dict[str, Any]:
    image = robot.image()
    image.data = image.data[:100]
    return {"image": image}


def _other_size_than_info(robot: Any) -> dict[str, Any]:
    info = robot.info()
    info.width, info.height = 640, 480
    return {"camera_info": info}


def _no_info(robot: Any) -> dict[str, Any]:
    return {"camera_info": None}


def _zero_intrinsics(robot: Any) -> dict[str, Any]:
    info = robot.info()
    info.k = [0.0] * 9
    return {"camera_info": info}


def _nan_intrinsics(robot: Any) -> dict[str, Any]:
    info = robot.info()
    info.k[0] = math.nan
    return {"camera_info": info}


def _unknown_distortion(robot: Any) -> dict[str, Any]:
    info = robot.info()
    info.distortion_model, info.d = "kaleidoscope", [0.1, 0.2]
    return {"camera_info": info}


def _non_unit_quaternion(robot: Any) -> dict[str, Any]:
    odometry = robot.odometry(1.0)
    odometry.pose.pose.orientation.w = 0.5
    return {"odom": odometry}


def _nan_quaternion(robot: Any) -> dict[str, Any]:
    odometry = robot.odometry(1.0)
    odometry.pose.pose.orientation.z = math.nan
    return {"odom": odometry}


def _nan_twist(robot: Any) -> dict[str, Any]:
    odometry = robot.odometry(1.0)
    odometry.twist.twist.linear.x = math.inf
    return {"odom": odometry}


def _unknown_odometry_frame(robot: Any) -> dict[str, Any]:
    odometry = robot.odometry(1.0)
    odometry.header.frame_id = "atlantis"
    return {"odom": odometry}


def _depth_of_other_size(robot: Any) -> dict[str, Any]:
    depth = robot.depth()
    depth.width, depth.step, depth.data = 160, 640, depth.data[: 640 * depth.height]
    return {"depth": depth}


def _depth_of_other_type(robot: Any) -> dict[str, Any]:
    depth = robot.depth()
    depth.encoding = "64FC1"
    return {"depth": depth}


def _no_depth(robot: Any) -> dict[str, Any]:
    return {"depth": None}


@pytest.mark.parametrize(
    ("spoil", "topic", "reason"),
    [
        (_wrong_encoding, "image", "jpeg2000"),
        (_short_data, "image", "bytes"),
        (_other_size_than_info, "image", "640x480"),
        (_no_info, "camera_info", "came without it"),
        (_zero_intrinsics, "camera_info", "uncalibrated"),
        (_nan_intrinsics, "camera_info", "uncalibrated"),
        (_unknown_distortion, "camera_info", "kaleidoscope"),
        (_non_unit_quaternion, "odom", "unit norm"),
        (_nan_quaternion, "odom", "finite"),
        (_nan_twist, "odom", "finite"),
        (_unknown_odometry_frame, "odom", "atlantis"),
        (_depth_of_other_size, "depth", "320x256"),
        (_depth_of_other_type, "depth", "64FC1"),
        (_no_depth, "depth", "came without it"),
    ],
)
def test_bad_message_is_named_and_the_next_good_one_is_used(
    world: Callable[..., Any],
    spoil: Callable[[Any], dict[str, Any]],
    topic: str,
    reason: str,
) -> None:
    w = world(sync_wait=0.1)
    w.send_stored(0.0)
    stored = w.counters.keyframes_stored
    w.robot.tick()
    w.robot.send(0.3, **spoil(w.robot))
    assert w.spin_until(lambda: w.robot.warned(topic, reason)), w.robot.warnings
    w.spin_for(0.3)
    assert w.counters.keyframes_stored == stored, "a bad frame went into memory"
    assert w.state == "active"
    w.send_stored(0.6)
    w.send_stored(0.9)


def test_warnings_are_throttled(world: Callable[..., Any]) -> None:
    w = world()
    for _ in range(10):
        w.robot.tick()
        w.robot.send(**_wrong_encoding(w.robot))
        w.spin_for(0.02)
    assert w.spin_until(lambda: w.counters.frames_dropped >= 10)
    w.spin_for(0.2)
    assert sum("jpeg2000" in line for line in w.robot.warnings) == 1


def test_pose_jump_is_reported_and_not_interpolated(world: Callable[..., Any]) -> None:
    w = world()
    w.send_stored(0.0)
    w.robot.tick()
    w.robot.send(50.0)
    assert w.spin_until(lambda: w.robot.warned("odom", "jumped by 50.00 m")), w.robot.warnings
    w.send_stored(50.2)
    assert w.state == "active"
    assert w.counters.token_count > 0


def test_pose_jump_resets_memory_where_wanted(world: Callable[..., Any]) -> None:
    w = world(reset_on_jump=True)
    w.send_stored(0.0)
    w.send_stored(0.3)
    tokens = w.counters.token_count
    w.robot.tick()
    w.robot.send(50.0, image=None)
    assert w.spin_until(lambda: w.counters.token_count == 0)
    w.send_stored(50.2)
    assert 0 < w.counters.token_count < tokens


def test_backwards_time_clears_buffers_and_goes_on(world: Callable[..., Any]) -> None:
    w = world()
    w.send_stored(0.0)
    w.send_stored(0.3)
    w.robot.tick(-20.0)
    w.send_stored(0.0)
    assert w.spin_until(lambda: w.robot.warned("time jumped back"))
    w.send_stored(0.3)
    assert w.state == "active"


def test_forward_gap_in_odometry_is_not_interpolated(world: Callable[..., Any]) -> None:
    w = world(sync_wait=0.1)
    w.send_stored(0.0)
    w.robot.tick(2.0)
    w.robot.out["odom"].publish(w.robot.odometry(0.4))
    w.robot.tick(-1.0)
    w.robot.send(odom=None)
    assert w.spin_until(lambda: w.robot.warned("pose", "gap")), w.robot.warnings
    w.robot.tick(1.2)
    w.send_stored(0.8)


def test_missing_extrinsics_are_named(world: Callable[..., Any]) -> None:
    w = world(T_base_camera=None, sync_wait=0.1)
    w.robot.send(0.0)
    assert w.spin_until(lambda: w.robot.warned("pose", "extrinsics are missing", "T_base_camera"))
    assert w.state == "active"
    assert w.counters.keyframes_stored == 0


@pytest.mark.parametrize("frame_id", ["atlantis", ""])
def test_plan_in_an_unknown_frame_is_refused(world: Callable[..., Any], frame_id: str) -> None:
    w = world(connect=("image", "camera_info", "depth", "odom", "plan"))
    w.send_stored(0.0)
    plan = Path(poses=[PoseStamped()])
    plan.header.frame_id = frame_id
    w.robot.out["plan"].publish(plan)
    assert w.spin_until(lambda: w.robot.warned("plan", f"Got '{frame_id}'", "odom"))
    w.send_stored(0.3)


def test_empty_and_nan_plans_are_refused(world: Callable[..., Any]) -> None:
    w = world(connect=("image", "camera_info", "depth", "odom", "plan"))
    w.robot.out["plan"].publish(Path(header=w.robot.header("odom")))
    assert w.spin_until(lambda: w.robot.warned("plan", "at least one pose"))
    broken = PoseStamped()
    broken.pose.orientation.x = math.nan
    w.node._warner._last.clear()
    w.robot.out["plan"].publish(Path(header=w.robot.header("odom"), poses=[PoseStamped(), broken]))
    assert w.spin_until(lambda: w.robot.warned("plan", "pose 1 of 2", "finite"))
    w.send_stored(0.0)
    assert w.state == "active"


@pytest.mark.parametrize("size", [(321, 243), (97, 400), (64, 48)])
def test_camera_of_any_odd_size_is_fitted(world: Callable[..., Any], size: tuple[int, int]) -> None:
    w = world(generation_width=160, generation_height=128)
    w.robot.width, w.robot.height = size
    w.robot.texture = w.robot.texture[:1, :1].repeat(size[1], axis=0).repeat(size[0], axis=1)
    w.send_stored(0.0)
    assert w.counters.token_count == 10 * 8


def test_stale_frames_are_not_worked_on(world: Callable[..., Any]) -> None:
    w = world(max_frame_age=0.5)
    w.robot.tick(-3.0)
    w.robot.send(0.0)
    assert w.spin_until(lambda: w.robot.warned("image", "s old when its turn came"))
    assert w.counters.keyframes_stored == 0
    w.robot.stamp_ns = w.node.get_clock().now().nanoseconds
    w.robot.send(0.3)
    assert w.spin_until(lambda: w.counters.keyframes_stored == 1)


@pytest.mark.parametrize(
    ("parameter", "value", "allowed"),
    [
        ("backend", "dream", "readout"),
        ("image_transport", "pigeon", "raw, compressed"),
        ("pose_source", "guess", "odometry, pose, pose_with_covariance, tf"),
        ("playback", "slow", "burst, realtime"),
        ("generation_width", 333, "multiple of 32"),
        ("T_base_camera", [1.0, 2.0], "[x, y, z, qx, qy, qz, qw]"),
        ("horizon", -1.0, "horizon"),
        ("device", "abacus", "abacus"),
        ("frame_period", 3.0, "horizon must be at least one frame_period"),
        ("memory", "photographic", "latent"),
        ("capacity", 0, "Allowed: 1 to "),
        ("capacity", -5, "Allowed: 1 to "),
        ("capacity", 319, "at least 320. Got 319"),
        ("memory_directory", "here", "absolute"),
        ("memory_file", "/nowhere/at/all.memory", "memory_file: /nowhere/at/all.memory does not"),
        ("memory_file", __file__, "expected a mirage_ros/memory file"),
        ("cloud_points", 0, "Allowed: 1000 to "),
        ("min_depth", 20.0, "min_depth must be below max_depth"),
        ("pose_source", "pose", "base_frame or T_base_camera must be set"),
        ("qos_overrides./odom.subscription.reliability", "bogus", "bogus"),
    ],
)
def test_bad_parameter_refuses_configuration(
    world: Callable[..., Any], parameter: str, value: Any, allowed: str
) -> None:
    extrinsics = {"T_base_camera": None} if value == "pose" else {}
    w = world(connect=(), **{parameter: value, **extrinsics})
    assert w.spin_until(lambda: w.robot.warned("not configured", allowed)), w.robot.warnings
    assert w.state == "unconfigured"
    w.spin_for(0.1)
    assert w.robot.count_subscribers("/image") == 0, "a refused configuration leaves nothing behind"
    assert w.robot.count_publishers("/world_model/predictions") == 0


def test_refused_parameter_can_be_mended(world: Callable[..., Any]) -> None:
    w = world(connect=(), backend="dream")
    assert w.spin_until(lambda: w.robot.warned("not configured"))
    result = w.node.set_parameters([Parameter("backend", value="readout")])[0]
    assert result.successful
    w.node.trigger_configure()
    w.node.trigger_activate()
    assert w.state == "active"

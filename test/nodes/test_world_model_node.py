"""What the world model node is for, over the real rclpy and DDS."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from mirage_ros.msg import PredictedFrame
from nav_msgs.msg import Path
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import Trigger

from mirage_ros.nodes.pose_conversion import stamp_to_ns

pytestmark = pytest.mark.ros

ALL = ("image", "camera_info", "depth", "odom", "plan")
TOKENS_A_FRAME = (320 // 16) * (256 // 16)


def _plan(robot: Any, points: list[tuple[float, float]], period_s: float = 0.0) -> Path:
    plan = Path(header=robot.header("odom"))
    for index, (x, y) in enumerate(points):
        pose = PoseStamped(header=robot.header("odom"))
        nanoseconds = robot.stamp_ns + round((index + 1) * period_s * 1e9) if period_s else 0
        pose.header.stamp.sec, pose.header.stamp.nanosec = divmod(nanoseconds, 10**9)
        pose.pose.position.x, pose.pose.position.y = x, y
        pose.pose.orientation.w = 1.0
        plan.poses.append(pose)
    return plan


def test_predicts_along_a_stamped_plan(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    start_ns = w.robot.stamp_ns
    w.robot.out["plan"].publish(_plan(w.robot, [(0.1 * k, 0.0) for k in range(1, 9)], 0.25))
    assert w.spin_until(lambda: len(frames) >= 8)
    assert [frame.index for frame in frames] == list(range(8))
    assert len({frame.rollout_id for frame in frames}) == 1
    for k, frame in enumerate(frames, start=1):
        assert frame.frame_count == 8
        assert stamp_to_ns(frame.conditioned_on) == start_ns
        assert stamp_to_ns(frame.header.stamp) == pytest.approx(
            start_ns + k * 250_000_000, abs=1000
        )
        horizon_ns = frame.horizon.sec * 10**9 + frame.horizon.nanosec
        assert stamp_to_ns(frame.header.stamp) == start_ns + horizon_ns
        assert frame.camera_pose.header.frame_id == "odom"
        # The camera rides 0.1 m before and 0.5 m above the base.
        position = frame.camera_pose.pose.position
        np.testing.assert_allclose(
            [position.x, position.y, position.z], [0.1 * k + 0.1, 0.0, 0.5], atol=1e-6
        )
        assert (frame.image.width, frame.image.height) == (320, 256)
        assert frame.image.encoding == "rgb8"
        assert frame.coverage.encoding == "mono8"
        coverage = np.frombuffer(frame.coverage.data, np.uint8)
        assert set(np.unique(coverage)) <= {0, 255}
        assert frame.known_fraction == pytest.approx(coverage.mean() / 255.0, abs=1e-6)
        # Moving towards a wall that was seen whole, nothing new comes into view.
        assert frame.known_fraction > 0.9


def test_prediction_where_the_robot_stands_is_what_it_saw(world: Callable[..., Any]) -> None:
    w = world(rollout_rate=10.0, horizon=0.25)
    y, x = np.mgrid[0:256, 0:320]
    smooth = np.stack([x * 0.7, y * 0.9, 128 + 60 * np.sin(x / 30.0)], axis=-1)
    w.robot.texture = smooth.astype(np.uint8)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(frames))
    image = np.frombuffer(frames[0].image.data, np.uint8).reshape(256, 320, 3)
    error = np.abs(image.astype(float) - w.robot.texture.astype(float)).mean()
    assert error < 3.0


def test_without_a_plan_the_twist_is_extrapolated(world: Callable[..., Any]) -> None:
    w = world(rollout_rate=10.0, horizon=1.0, frame_period=0.5)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(1.0, speed=0.4)
    assert w.spin_until(lambda: len(frames) >= 2)
    xs = [frame.camera_pose.pose.position.x for frame in frames[:2]]
    np.testing.assert_allclose(xs, [1.0 + 0.1 + 0.2, 1.0 + 0.1 + 0.4], atol=1e-6)


def test_plan_without_times_starts_at_the_robot_and_has_nominal_speed(
    world: Callable[..., Any],
) -> None:
    w = world(connect=ALL, rollout_rate=0.0, nominal_speed=0.8, horizon=1.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(2.0)
    w.robot.out["plan"].publish(_plan(w.robot, [(float(x), 0.0) for x in range(6)]))
    assert w.spin_until(lambda: len(frames) >= 4)
    xs = [frame.camera_pose.pose.position.x - 0.1 for frame in frames[:4]]
    np.testing.assert_allclose(xs, [2.2, 2.4, 2.6, 2.8], atol=1e-6)


def test_a_newer_plan_replaces_the_older(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    for y in (1.0, 2.0, 3.0):
        w.robot.out["plan"].publish(_plan(w.robot, [(0.5, y), (1.0, y)], 0.25))
    assert w.spin_until(lambda: any(f.camera_pose.pose.position.y == 3.0 for f in frames))
    ids = [frame.rollout_id for frame in frames]
    assert len(set(ids)) == sum(a != b for a, b in pairwise(ids)) + 1


def test_a_plan_before_the_first_frame_is_imagined_with_it(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.robot.out["plan"].publish(_plan(w.robot, [(0.3, 0.0), (0.6, 0.0)]))
    w.spin_for(0.5)
    assert frames == []
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(frames))


def test_an_empty_plan_ends_the_one_before(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=5.0, horizon=0.25)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    w.robot.out["plan"].publish(_plan(w.robot, [(0.0, 5.0), (0.0, 6.0)]))
    assert w.spin_until(lambda: any(f.camera_pose.pose.position.y > 4.9 for f in frames))
    w.robot.out["plan"].publish(Path(header=w.robot.header("odom")))
    assert w.spin_until(lambda: frames[-1].camera_pose.pose.position.y == 0.0)


def test_a_long_rollout_does_not_keep_from_remembering(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0, horizon=60.0, frame_period=0.02)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    w.robot.out["plan"].publish(_plan(w.robot, [(0.02 * k, 0.0) for k in range(2900)]))
    assert w.spin_until(lambda: len(frames) > 20)
    w.send_stored(0.5)
    assert w.node._session._worker.busy_with("rollout"), "the rollout went on"


def test_a_large_plan_is_cut_to_what_is_imagined(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0, horizon=1.0, nominal_speed=1.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(40.0)
    w.robot.out["plan"].publish(_plan(w.robot, [(0.05 * k, 0.0) for k in range(2000)]))
    assert w.spin_until(lambda: len(frames) >= 4)
    xs = [frame.camera_pose.pose.position.x - 0.1 for frame in frames[:4]]
    np.testing.assert_allclose(xs, [40.25, 40.5, 40.75, 41.0], atol=1e-6)


def test_plain_topics_agree_with_the_predicted_frame(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    images = w.robot.listen(Image, "world_model/predicted/image")
    infos = w.robot.listen(CameraInfo, "world_model/predicted/camera_info")
    depths = w.robot.listen(Image, "world_model/predicted/depth")
    coverages = w.robot.listen(Image, "world_model/predicted/coverage")
    w.spin_for(0.5)
    w.send_stored(0.0)
    w.robot.out["plan"].publish(_plan(w.robot, [(0.5, 0.0)], 0.25))
    every = (frames, images, infos, depths, coverages)
    assert w.spin_until(lambda: all(every))
    assert frames[0].image == images[0]
    assert frames[0].camera_info == infos[0]
    assert frames[0].coverage == coverages[0]
    assert depths[0].encoding == "32FC1"
    assert {m.header.frame_id for m in (images[0], infos[0], depths[0], coverages[0])} == {
        "predicted_camera_optical"
    }
    # The wall 3 m ahead of the camera is 2.5 m ahead of it half a metre on.
    depth = np.frombuffer(depths[0].data, np.float32).reshape(256, 320)
    assert float(np.median(depth)) == pytest.approx(2.5, abs=0.02)


def test_realtime_playback_paces_the_plain_topics(world: Callable[..., Any]) -> None:
    w = world(connect=ALL, rollout_rate=0.0, playback="realtime")
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    images = w.robot.listen(Image, "world_model/predicted/image")
    w.spin_for(0.5)
    w.send_stored(0.0)
    w.robot.out["plan"].publish(_plan(w.robot, [(0.1, 0.0), (0.2, 0.0), (0.3, 0.0)], 1.0))
    assert w.spin_until(lambda: len(frames) >= 8)
    assert len(images) < 8
    assert w.spin_until(lambda: len(images) >= 8)
    assert [m.header.stamp for m in images[:8]] == [f.header.stamp for f in frames[:8]]


def test_realtime_playback_shows_each_rollout_to_its_end(world: Callable[..., Any]) -> None:
    w = world(rollout_rate=10.0, playback="realtime", horizon=1.0)
    images = w.robot.listen(Image, "world_model/predicted/image")
    w.spin_for(0.5)
    w.send_stored(0.0)
    start_ns = w.robot.stamp_ns
    assert w.spin_until(lambda: len(images) >= 8)
    offsets = [round((stamp_to_ns(m.header.stamp) - start_ns) / 1e6) for m in images[:8]]
    assert offsets == [250, 500, 750, 1000] * 2
    w.node.trigger_deactivate()
    images.clear()
    w.node.trigger_activate()
    w.spin_for(1.5)
    assert images == [], "nothing of before comes after"


def test_keyframe_policy_decides_what_is_stored(world: Callable[..., Any]) -> None:
    w = world(keyframe_distance=0.5, keyframe_angle=3.0)
    w.send_stored(0.0)
    for x in (0.1, 0.2, 0.45):
        w.robot.tick()
        w.robot.send(x)
    assert w.spin_until(lambda: w.counters.frames_paired >= 4)
    assert w.counters.keyframes_wanted == w.counters.keyframes_stored == 1
    w.send_stored(0.55)
    assert w.counters.token_count == 2 * TOKENS_A_FRAME


def test_reset_forgets_everything(world: Callable[..., Any]) -> None:
    w = world(cloud_rate=20.0)
    clouds = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    w.send_stored(0.0)
    client = w.robot.create_client(Trigger, "world_model/reset_memory")
    assert w.spin_until(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    assert w.spin_until(future.done)
    assert future.result().success
    assert f"{TOKENS_A_FRAME} tokens" in future.result().message
    assert w.counters.token_count == 0
    assert w.spin_until(lambda: bool(clouds) and clouds[-1].width == 0)
    # Standing still, the next frame is a keyframe all the same.
    w.send_stored(0.0)


def test_compressed_images(world: Callable[..., Any]) -> None:
    w = world(connect=("camera_info", "depth", "odom"), image_transport="compressed")
    publisher = w.robot.create_publisher(CompressedImage, "image/compressed", 10)
    assert w.spin_until(lambda: publisher.get_subscription_count() > 0)
    w.robot.send(0.0, image=None)
    message = CompressedImage(header=w.robot.header("camera_optical_frame"), format="jpeg")
    message.data.frombytes(cv2.imencode(".jpg", w.robot.texture)[1].tobytes())
    publisher.publish(message)
    assert w.spin_until(lambda: w.counters.keyframes_stored == 1), w.robot.warnings
    w.robot.tick()
    w.robot.send(0.3, image=None)
    message = CompressedImage(header=w.robot.header("camera_optical_frame"), format="jpeg")
    message.data.frombytes(b"not a picture")
    publisher.publish(message)
    assert w.spin_until(lambda: w.robot.warned("image", "JPEG or PNG"))


def test_poses_of_the_camera_need_no_extrinsics(world: Callable[..., Any]) -> None:
    w = world(
        connect=("image", "camera_info", "depth", "pose"),
        pose_source="pose",
        pose_of="camera",
        T_base_camera=None,
        rollout_rate=10.0,
    )
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    pose = PoseStamped(header=w.robot.header("odom"))
    pose.pose.position.z = 1.5
    pose.pose.orientation.w = 1.0
    w.robot.out["pose"].publish(pose)
    w.robot.send(odom=None)
    assert w.spin_until(lambda: bool(frames)), w.robot.warnings
    assert frames[0].camera_pose.pose.position.z == pytest.approx(1.5)


def test_images_without_depth_are_imagined_from_but_not_remembered(
    world: Callable[..., Any],
) -> None:
    w = world(connect=("image", "camera_info", "odom"), use_depth=False, rollout_rate=10.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.3)
    w.robot.send(0.0, depth=None)
    assert w.spin_until(lambda: w.robot.warned("depth", "no depth source"))
    assert w.spin_until(lambda: bool(frames))
    assert frames[0].known_fraction == 0.0
    assert w.counters.token_count == 0


def test_odometry_is_interpolated_between_its_stamps(world: Callable[..., Any]) -> None:
    w = world(rollout_rate=10.0, horizon=0.25)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.3)
    w.robot.out["odom"].publish(w.robot.odometry(0.0))
    w.robot.tick(0.05)
    w.robot.send(odom=None)
    w.robot.tick(0.05)
    w.robot.out["odom"].publish(w.robot.odometry(0.2))
    assert w.spin_until(lambda: bool(frames)), w.robot.warnings
    assert frames[0].camera_pose.pose.position.x == pytest.approx(0.1 + 0.1, abs=1e-6)


def test_lifecycle_goes_round_and_keeps_memory_over_deactivation(
    world: Callable[..., Any],
) -> None:
    w = world()
    w.send_stored(0.0)
    w.node.trigger_deactivate()
    assert w.state == "inactive"
    received = w.counters.images.total
    w.robot.tick()
    w.robot.send(0.5)
    w.spin_for(0.3)
    assert w.counters.images.total == received
    w.node.trigger_activate()
    w.send_stored(1.0)
    assert w.counters.token_count == 2 * TOKENS_A_FRAME
    w.node.trigger_deactivate()
    w.node.trigger_cleanup()
    assert w.state == "unconfigured"
    w.node.trigger_configure()
    w.node.trigger_activate()
    w.connect("image", "camera_info", "depth", "odom")
    w.send_stored(1.5)
    assert w.counters.token_count == TOKENS_A_FRAME


def test_dynamic_parameters_change_at_once_and_others_are_refused(
    world: Callable[..., Any],
) -> None:
    w = world(keyframe_distance=0.5)
    w.send_stored(0.0)
    accepted, refused, out_of_range = (
        w.node.set_parameters([Parameter(name, value=value)])[0]
        for name, value in (
            ("keyframe_distance", 0.05),
            ("generation_width", 640),
            ("horizon", math.inf),
        )
    )
    assert accepted.successful
    assert not refused.successful
    assert "cleanup" in refused.reason
    assert not out_of_range.successful
    w.send_stored(0.06)


def test_quality_of_service_can_be_overridden(world: Callable[..., Any]) -> None:
    name = "qos_overrides./image.subscription.reliability"
    w = world(**{name: "reliable"})
    (info,) = w.node.get_subscriptions_info_by_topic("/image")
    assert info.qos_profile.reliability.name == "RELIABLE"
    (odom,) = w.node.get_subscriptions_info_by_topic("/odom")
    assert odom.qos_profile.reliability.name == "BEST_EFFORT"

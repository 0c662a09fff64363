"""Moving things, bad depth and drift over the real node, in a room that is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from mirage_ros.msg import MemoryStatus
from room_robot import CELLS, PARAMETERS, RoomRobot, base_pose
from sensor_msgs.msg import CompressedImage, Image
from tiny_depth_model import write_depth_model
from wavy_room import CAMERA, T_BASE_CAMERA, look, look_from

from mirage_ros.geometry import exp_twist, inverse, rotation_angle, translation_distance
from mirage_ros.nodes.image_conversion import image_from_array
from mirage_ros.nodes.pose_conversion import matrix_from_pose, stamp_to_ns

pytestmark = pytest.mark.ros

#: A person in the middle of the view, half way to the wall.
ROWS, COLUMNS = slice(16, 96), slice(48, 80)
BOX = (1.2, ROWS, COLUMNS)


def pixels(msg: Image, dtype: Any = np.uint8) -> np.ndarray:
    return np.frombuffer(msg.data, dtype).reshape(msg.height, msg.width)


def test_what_was_not_there_before_is_masked_and_not_remembered(world: Callable[..., Any]) -> None:
    w = world(**PARAMETERS, status_rate=20.0)
    robot = RoomRobot(w)
    masks = w.robot.listen(Image, "world_model/dynamic_mask")
    beliefs = w.robot.listen(Image, "world_model/depth_confidence")
    status = w.robot.listen(MemoryStatus, "world_model/status")
    reports = w.robot.listen(DiagnosticArray, "/diagnostics")
    w.spin_for(0.3)
    robot.store((-0.6, 0.0, 0.0))
    robot.store((-0.3, 0.0, 0.0))
    robot.store((0.0, 0.0, 0.0))
    assert w.spin_until(lambda: len(masks) == 3)
    assert not any(pixels(mask).any() for mask in masks)
    robot.store((0.3, 0.0, 0.0), box=BOX)
    assert w.spin_until(lambda: len(masks) == 4 and len(beliefs) == 4)
    mask = pixels(masks[-1])
    assert mask.shape == (CAMERA.height, CAMERA.width)
    assert masks[-1].header.frame_id == "camera_optical_frame"
    assert stamp_to_ns(masks[-1].header.stamp) == w.robot.stamp_ns
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[ROWS, COLUMNS] == 255).mean() > 0.95
    assert (mask == 255).mean() < 0.5
    belief = pixels(beliefs[-1], np.float32)
    assert ((belief >= 0.0) & (belief <= 1.0)).all()
    assert belief[8, 8] > 0.5
    # It stood 1.5 m from the middle of the room, and nothing else is less than 2 m away.
    assert np.linalg.norm(robot.positions()[:, :2], axis=1).min() > 2.0
    assert w.spin_until(lambda: bool(status) and status[-1].keyframe_count == 4)
    assert status[-1].new_share == pytest.approx((mask == 255).mean(), abs=1e-6)
    assert status[-1].moving_share == status[-1].masked_share == 0.0
    assert status[-1].perception_bytes > 0
    percent = f"{100.0 * status[-1].new_share:.1f}"

    def reported() -> str:
        values = {v.key: v.value for v in reports[-1].status[0].values} if reports else {}
        return values.get("new_percent", "")

    assert w.spin_until(lambda: reported() == percent), reported()


def test_without_the_filter_it_is_remembered(world: Callable[..., Any]) -> None:
    w = world(**{**PARAMETERS, "dynamic_filter": False})
    robot = RoomRobot(w)
    for x in (-0.6, -0.3, 0.0):
        robot.store((x, 0.0, 0.0))
    robot.store((0.3, 0.0, 0.0), box=BOX)
    assert np.linalg.norm(robot.positions()[:, :2], axis=1).min() < 1.7
    assert w.counters.new_share == 0.0


def test_what_has_gone_is_forgotten(world: Callable[..., Any]) -> None:
    """It was there from the beginning; views that see through it take it away."""
    w = world(**PARAMETERS)
    robot = RoomRobot(w)
    robot.store((0.0, 0.0, 0.0), box=BOX)
    ghosts = int((np.linalg.norm(robot.positions()[:, :2], axis=1) < 1.7).sum())
    assert ghosts > 0
    for x in (0.25, 0.0, 0.25, 0.0):
        robot.store((x, 0.0, 0.0))
    left = int((np.linalg.norm(robot.positions()[:, :2], axis=1) < 1.7).sum())
    assert left <= 0.05 * ghosts
    assert w.counters.tokens_carved >= 0.95 * ghosts


def test_what_moves_against_the_rest_is_masked(world: Callable[..., Any]) -> None:
    """A picture that wanders along the wall: nothing but the flow tells."""
    w = world(
        **{**PARAMETERS, "dynamic_filter": False, "optical_flow": True}, keyframe_interval=0.05
    )
    robot = RoomRobot(w)
    rng = np.random.default_rng(0)
    texture = rng.integers(-30, 30, (48, 64, 3)).repeat(2, axis=0).repeat(2, axis=1)
    patch = rng.integers(0, 255, (12, 10, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    masks = w.robot.listen(Image, "world_model/dynamic_mask")
    w.spin_for(0.3)
    true = base_pose(0.0, 0.0, 0.2)
    for left in (30, 37):
        picture = (look(true @ T_BASE_CAMERA).image + texture).clip(0, 255).astype(np.uint8)
        picture[24:72, left : left + 40] = patch
        w.robot.tick()
        header = w.robot.header("camera_optical_frame")
        w.robot.tick(-0.1)
        robot.store((0.0, 0.0, 0.2), image=image_from_array(picture, "rgb8", header))
    assert w.spin_until(lambda: len(masks) == 2)
    assert not pixels(masks[0]).any(), "there is no frame before the first"
    moving = pixels(masks[1]) == 255
    assert moving[28:68, 45:68].mean() > 0.8
    assert moving[:, 100:].mean() < 0.05
    assert w.counters.moving_share == pytest.approx(moving.mean(), abs=1e-6)


def test_a_frame_before_that_is_of_no_use_is_left_out(world: Callable[..., Any]) -> None:
    w = world(
        connect=("camera_info", "depth", "odom"),
        **{**PARAMETERS, "optical_flow": True},
        image_transport="compressed",
    )
    robot = RoomRobot(w)
    publisher = w.robot.create_publisher(CompressedImage, "image/compressed", 10)
    assert w.spin_until(lambda: publisher.get_subscription_count() > 0)
    w.robot.out["image"] = publisher
    w.robot.tick()
    messages = {}
    for stamp, good in ((0, True), (1, False), (2, True)):
        header = w.robot.header("camera_optical_frame")
        w.robot.tick()
        picture = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
        msg = CompressedImage(header=header, format="png")
        msg.data.frombytes(cv2.imencode(".png", picture)[1].tobytes() if good else b"no picture")
        messages[stamp] = msg
    w.robot.tick(-0.4)
    robot.store((0.0, 0.0, 0.0), image=messages[0])
    robot.send((0.05, 0.0, 0.0), image=messages[1])
    robot.store((0.3, 0.0, 0.0), image=messages[2])
    assert w.spin_until(lambda: w.robot.warned("image", "motion is not looked for", "no use")), (
        w.robot.warnings
    )
    assert w.counters.frames_dropped == 0


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_depth_that_says_nothing_is_named_and_changes_nothing(
    world: Callable[..., Any], value: float
) -> None:
    w = world(**PARAMETERS)
    robot = RoomRobot(w)
    robot.look_about()
    before = robot.positions()
    nothing = np.full((CAMERA.height, CAMERA.width), value, np.float32)
    for number in range(3):
        w.robot.tick()
        header = w.robot.header("camera_optical_frame")
        w.robot.tick(-0.1)
        depth = image_from_array(nothing, "32FC1", header)
        robot.refused((0.1 * number, 0.0, 0.3 * number), depth=depth)
    assert w.spin_until(lambda: w.robot.warned("depth", "expected some depth")), w.robot.warnings
    np.testing.assert_array_equal(robot.positions(), before)
    assert w.counters.tokens_carved == 0
    robot.store((0.0, 0.1, 0.9))


def test_frozen_depth_is_named_and_changes_nothing(world: Callable[..., Any]) -> None:
    w = world(**PARAMETERS)
    robot = RoomRobot(w)
    robot.look_about()
    stuck = look_from((0.0, 0.0, 0.1)).depth
    robot.store((0.0, 0.0, 0.1))
    before = robot.positions()
    for number in range(1, 4):
        w.robot.tick()
        header = w.robot.header("camera_optical_frame")
        w.robot.tick(-0.1)
        depth = image_from_array(stuck, "32FC1", header)
        robot.refused((0.1 * number, 0.0, 0.1 + 0.5 * number), depth=depth)
    assert w.spin_until(lambda: w.robot.warned("depth", "frozen")), w.robot.warnings
    np.testing.assert_array_equal(robot.positions(), before)


def test_a_slipped_odometry_is_corrected(world: Callable[..., Any]) -> None:
    # Larger than the pictures: enough tokens to hold on to.
    larger = {"generation_width": 256, "generation_height": 192}
    w = world(**{**PARAMETERS, **larger}, registration=True, status_rate=20.0)
    robot = RoomRobot(w)
    poses = w.robot.listen(PoseWithCovarianceStamped, "world_model/corrected_pose")
    status = w.robot.listen(MemoryStatus, "world_model/status")
    w.spin_for(0.3)
    robot.look_about()
    accepted = w.counters.registrations_accepted
    assert accepted > 0
    slip = exp_twist([0.05, 0.03, 0.0], [0.0, 0.0, 0.035], 1.0)
    robot.store((-0.4, -0.3, 0.7), slip=slip)
    assert w.counters.registrations_accepted == accepted + 1
    assert w.spin_until(lambda: len(poses) == 22)
    last = poses[-1]
    assert last.header.frame_id == "mirage_memory"
    assert stamp_to_ns(last.header.stamp) == w.robot.stamp_ns
    true = base_pose(-0.4, -0.3, 0.7)
    corrected = matrix_from_pose(last.pose.pose)
    assert translation_distance(corrected, true) < 0.02
    assert rotation_angle(corrected, true) < 0.01
    covariance = np.array(last.pose.covariance).reshape(6, 6)
    np.testing.assert_allclose(covariance, covariance.T)
    assert (np.linalg.eigvalsh(covariance) > 0.0).all()
    assert np.sqrt(np.diag(covariance)[:3]).max() < 0.1
    moved = translation_distance(slip @ true, true)
    assert w.counters.correction_distance == pytest.approx(moved, abs=0.03)
    assert w.counters.correction_angle == pytest.approx(0.035, abs=0.01)
    assert w.spin_until(lambda: status[-1].keyframe_count == 22)
    assert status[-1].registrations_accepted == w.counters.registrations_accepted
    assert status[-1].registrations_refused == w.counters.registrations_refused
    # What is said in the world frame is where the slipped robot sees it.
    cloud = robot.positions() @ inverse(slip)[:3, :3].T + inverse(slip)[:3, 3]
    assert np.median(np.abs(np.abs(cloud[:, :2]).max(axis=1) - 2.5)) < 0.03
    assert not w.robot.warned("registration")


def test_registration_that_stays_refused_is_named(world: Callable[..., Any]) -> None:
    w = world(**PARAMETERS, registration=True)
    robot = RoomRobot(w)
    robot.look_about()
    far = exp_twist([0.4, 0.5, 0.0], [0.0, 0.0, 0.0], 1.0)
    for number in range(4):
        robot.store((0.0, 0.0, 0.3 * number), slip=far)
    assert w.spin_until(lambda: w.robot.warned("registration", "keyframes in a row")), (
        w.robot.warnings
    )
    assert w.counters.registrations_refused >= 3
    assert w.counters.correction_distance < 0.01


def test_depth_is_predicted_where_nobody_measures_it(
    world: Callable[..., Any], tmp_path: FilePath
) -> None:
    model = write_depth_model(tmp_path / "model")
    w = world(
        connect=("image", "camera_info", "odom"),
        **PARAMETERS,
        use_depth=False,
        depth_source="monocular",
        depth_model=str(model),
        depth_model_offline=True,
        max_depth=30.0,
    )
    robot = RoomRobot(w)
    robot.store((0.0, 0.0, 0.0), depth=None)
    assert 0 < w.counters.token_count <= CELLS
    assert w.robot.out["depth"].get_subscription_count() == 0
    assert w.spin_until(lambda: w.robot.warned("depth", "not aligned, the model's own metres")), (
        w.robot.warnings
    )
    assert w.node._session.missing_inputs() == []


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"registration": True, "memory": "rgb"}, "registration needs memory 'latent'"),
        ({"registration": True, "use_corrected_trajectory": True}, "cannot be used together"),
        ({"registration": True, "memory_frame": "odom"}, "memory_frame must not be"),
        ({"use_corrected_trajectory": True, "memory": "rgb_fair"}, "needs memory 'latent'"),
        ({"odom_frame": "odom"}, "odom_frame must not be the world_frame"),
        ({"odom_frame": "o", "use_corrected_trajectory": True}, "cannot be used together"),
        ({"depth_source": "lidar"}, "sensor, monocular, sensor_and_monocular"),
        ({"depth_noise": 0.0}, "Allowed: 1e-05 to "),
        ({"depth_source": "monocular", "depth_model": "/nowhere"}, "/nowhere"),
    ],
)
def test_contradicting_parameters_refuse_configuration(
    world: Callable[..., Any], parameters: dict[str, Any], words: str
) -> None:
    w = world(connect=(), **parameters)
    assert w.spin_until(lambda: w.robot.warned("not configured", words)), w.robot.warnings
    assert w.state == "unconfigured"
    assert w.robot.count_publishers("/world_model/dynamic_mask") == 0

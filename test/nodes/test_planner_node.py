"""The planner node against the real world model node: a client like any other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Twist
from nav_msgs.msg import Path
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String

from mirage_ros.nodes.action_imaginer import ActionImaginer, ImaginingError
from mirage_ros.nodes.planner_node import PlannerNode

pytestmark = pytest.mark.ros

FORWARD_CAMERA = [0.1, 0.0, 0.5, -0.5, 0.5, -0.5, 0.5]


def patches(seed: int = 4) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 10, 3), np.uint8)
    return coarse.repeat(32, axis=0).repeat(32, axis=1)


@pytest.fixture
def w(world: Callable[..., Any]) -> Any:
    w = world(rollout_rate=0.0)
    w.robot.texture = patches()
    return w


@pytest.fixture
def planner(w: Any) -> Iterator[PlannerNode]:
    node = PlannerNode(
        parameter_overrides=[
            Parameter("T_base_camera", value=FORWARD_CAMERA),
            Parameter("area", value=[-2.0, -2.0, 4.0, 2.0]),
            Parameter("headings", value=4),
        ]
    )
    w.executor.add_node(node)
    yield node
    w.executor.remove_node(node)
    node.destroy_node()


def in_thread(w: Any, work: Callable[[], Any]) -> Any:
    """What blocking work gives, while the nodes go on."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(work())
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert w.spin_until(lambda: not thread.is_alive(), 60.0)
    return answers[0]


def test_the_imaginer_gives_one_view_for_every_pose(w: Any) -> None:
    w.send_stored(0.0)
    imaginer = ActionImaginer(w.robot, "/world_model", "odom")
    pose = np.eye(4)
    pose[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    pose[:3, 3] = [0.1, 0.0, 0.5]
    aside = pose.copy()
    aside[1, 3] = 5.0
    # More than fits into one goal.
    paths = [np.repeat(pose[None], 300, axis=0), aside[None]]
    views = in_thread(w, lambda: imaginer.imagine(paths))
    assert [len(of_path) for of_path in views] == [300, 1]
    np.testing.assert_allclose(views[0][0].T_world_camera, pose, atol=1e-9)
    assert views[0][0].known_fraction == 1.0
    assert views[1][0].known_fraction == pytest.approx(1.0 / 6.0, abs=0.06)
    np.testing.assert_allclose(views[0][0].depth, 3.0, atol=0.05)
    np.testing.assert_array_equal(views[0][0].image, views[0][299].image)


def test_the_imaginer_says_what_is_wrong(w: Any) -> None:
    imaginer = ActionImaginer(w.robot, "/world_model", "odom")
    error = in_thread(w, lambda: imaginer.imagine([np.eye(4)[None]]))
    assert isinstance(error, ImaginingError)
    assert "error 902" in str(error)
    nobody = ActionImaginer(w.robot, "/nobody", "odom", timeout_s=0.3)
    assert "is not there" in str(in_thread(w, lambda: nobody.imagine([np.eye(4)[None]])))


def test_it_drives_towards_where_the_image_was_taken(w: Any, planner: PlannerNode) -> None:
    """The wall is seen from nearer and nearer; the robot is then put back to its start."""
    states, legs = (
        w.robot.listen(String, "planner/state", latched=True),
        w.robot.listen(Path, "planner/leg"),
    )
    commands = w.robot.listen(Twist, "cmd_vel")
    goals = w.robot.create_publisher(Image, "goal_image", 1)
    assert w.spin_until(lambda: goals.get_subscription_count() > 0)
    for x in (0.0, 0.3):
        w.send_stored(x)
    for x in (0.0, 0.25, 0.5, 0.75, 1.0):
        # Room to drive in, as depth of the floor would show it.
        planner._map().stand(x, 0.0, 0.6)
    w.robot.tick(0.5)
    w.robot.send(0.0)
    w.spin_for(0.3)
    here = w.robot.image()

    sent = [time.monotonic()]

    def drive() -> bool:
        # No faster than it can be worked off, one callback at a time.
        if time.monotonic() - sent[-1] > 0.1:
            sent.append(time.monotonic())
            w.robot.tick(0.1)
            w.robot.out["odom"].publish(w.robot.odometry())
        return bool(states) and states[-1].data.startswith(("reached", "failed", "driving"))

    goals.publish(here)
    assert w.spin_until(drive, 60.0), [state.data for state in states]
    assert not states[-1].data.startswith("failed"), states[-1].data
    assert states[0].data == "waiting for a goal_image"
    assert "imagining places" in [state.data for state in states]
    if states[-1].data == "driving":
        assert w.spin_until(lambda: drive() and bool(legs) and bool(commands), 20.0)
        speeds = [abs(c.linear.x) <= 0.5 and abs(c.angular.z) <= 1.0 for c in commands]
        assert all(speeds)


def test_a_goal_without_odometry_is_told(w: Any, planner: PlannerNode) -> None:
    states = w.robot.listen(String, "planner/state", latched=True)
    goals = w.robot.create_publisher(Image, "goal_image", 1)
    assert w.spin_until(lambda: goals.get_subscription_count() > 0)
    goals.publish(w.robot.image())
    assert w.spin_until(lambda: bool(states) and states[-1].data.startswith("failed"), 30.0)
    assert "no odometry" in states[-1].data

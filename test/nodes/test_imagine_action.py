"""The action ``~/imagine`` over the real node: what it answers, and that it always answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from geometry_msgs.msg import PoseStamped
from mirage_ros.action import ImaginePaths
from mirage_ros.msg import PredictedFrame
from nav_msgs.msg import Path
from rclpy.action.client import ActionClient

pytestmark = pytest.mark.ros

Result = ImaginePaths.Result


class Client:
    """A planner's side of the action."""

    def __init__(self, w: Any) -> None:
        self.w = w
        self.client = ActionClient(w.robot, ImaginePaths, "world_model/imagine")
        self.frames = w.robot.listen(PredictedFrame, "world_model/predictions")
        self.feedback: list[Any] = []
        assert w.spin_until(self.client.server_is_ready)
        w.spin_for(0.3)

    def send(self, **goal: Any) -> Any:
        """The goal's handle."""
        future = self.client.send_goal_async(
            ImaginePaths.Goal(**goal), lambda msg: self.feedback.append(msg.feedback)
        )
        assert self.w.spin_until(future.done)
        handle = future.result()
        assert handle.accepted
        return handle

    def wait(self, handle: Any, timeout_s: float = 20.0) -> Any:
        """Status and result."""
        future = handle.get_result_async()
        assert self.w.spin_until(future.done, timeout_s), "no result"
        answer = future.result()
        return answer.status, answer.result

    def ask(self, **goal: Any) -> Any:
        return self.wait(self.send(**goal))

    def of(self, rollout_id: str) -> list[list[Any]]:
        """Frames of a rollout, by candidate."""
        mine = [frame for frame in self.frames if frame.rollout_id == rollout_id]
        count = 1 + max(frame.candidate for frame in mine)
        return [[f for f in mine if f.candidate == number] for number in range(count)]


def path(*xs: float, frame_id: str = "odom", y: float = 0.0, step_s: float | None = None) -> Path:
    message = Path()
    message.header.frame_id = frame_id
    for number, x in enumerate(xs):
        pose = PoseStamped()
        pose.pose.position.x, pose.pose.position.y = float(x), y
        pose.pose.orientation.w = 1.0
        if step_s is not None:
            pose.header.stamp.sec = 1 + int(number * step_s)
        message.poses.append(pose)
    return message


@pytest.fixture
def planner(world: Callable[..., Any]) -> Callable[..., Client]:
    def make(*, observed: bool = True, **parameters: Any) -> Client:
        w = world(rollout_rate=0.0, **parameters)
        if observed:
            w.send_stored(0.0)
        return Client(w)

    return make


def pixels(frame: Any) -> np.ndarray:
    return np.frombuffer(frame.image.data, np.uint8).reshape(frame.image.height, -1, 3)


def test_candidates_come_back_frame_by_frame(planner: Callable[..., Client]) -> None:
    c = planner(nominal_speed=0.5)
    paths = [path(0.0, 2.0), path(0.0, 1.0, y=0.5), path(0.6)]
    goal = {"paths": paths, "frame_count": 4}
    goal["frame_period"] = ImaginePaths.Goal().frame_period
    goal["frame_period"].nanosec = 200_000_000
    status, result = c.ask(**goal)
    assert (status, result.error_code, result.error_msg) == (GoalStatus.STATUS_SUCCEEDED, 0, "")
    assert [len(one.known_fraction) for one in result.candidates] == [4, 4, 1]
    assert c.w.spin_until(lambda: len(c.frames) == 9)
    rollouts = c.of(result.rollout_id)
    for number, (frames, told) in enumerate(zip(rollouts, result.candidates, strict=True)):
        assert [frame.index for frame in frames] == list(range(len(told.horizon)))
        assert {frame.candidate for frame in frames} == {number}
        assert {frame.frame_count for frame in frames} == {len(frames)}
        np.testing.assert_allclose([f.known_fraction for f in frames], told.known_fraction)
        assert [f.horizon for f in frames] == told.horizon
        assert {f.conditioned_on.nanosec for f in frames} == {result.conditioned_on.nanosec}
    ahead = [frame.camera_pose.pose.position.x for frame in rollouts[0]]
    np.testing.assert_allclose(ahead, 0.1 + 0.5 * 0.2 * np.arange(1, 5), atol=1e-6)
    # The wall is 3 m before the first place; the camera stands 0.1 m ahead of the base.
    nearest = result.candidates[0].nearest_surface
    np.testing.assert_allclose(nearest, 3.0 - 0.1 * np.arange(1, 5), atol=0.05)
    first = rollouts[0][0]
    assert (first.image.width // first.depth.width, first.depth.encoding) == (16, "32FC1")
    depth = np.frombuffer(first.depth.data, np.float32)
    np.testing.assert_allclose(depth, 2.9, atol=0.05)
    assert c.feedback[-1].frames_done == c.feedback[-1].frames_total == 9
    assert c.feedback[-1].rollout_id == result.rollout_id
    assert 0 < result.first_frame_time.nanosec <= result.total_time.nanosec + 10**9


def test_poses_as_given_and_of_the_camera(planner: Callable[..., Client]) -> None:
    c = planner()
    given = path(0.5, 0.2, 0.9)
    for pose in given.poses:
        # Optical: z forward along x of the world.
        q = pose.pose.orientation
        q.x, q.y, q.z, q.w = -0.5, 0.5, -0.5, 0.5
    status, result = c.ask(paths=[given], as_given=True, pose_of=ImaginePaths.Goal.POSE_OF_CAMERA)
    assert status == GoalStatus.STATUS_SUCCEEDED, result.error_msg
    assert c.w.spin_until(lambda: len(c.frames) == 3)
    (frames,) = c.of(result.rollout_id)
    xs = [frame.camera_pose.pose.position.x for frame in frames]
    np.testing.assert_allclose(xs, [0.5, 0.2, 0.9], atol=1e-9)


def test_the_same_goal_twice_gives_the_same_pictures(planner: Callable[..., Client]) -> None:
    c = planner()
    rollouts = []
    for _ in range(2):
        _, result = c.ask(paths=[path(0.0, 1.0)], frame_count=3)
        assert c.w.spin_until(
            lambda r=result: sum(f.rollout_id == r.rollout_id for f in c.frames) == 3
        )
        rollouts.append(c.of(result.rollout_id)[0])
    for a, b in zip(*rollouts, strict=True):
        np.testing.assert_array_equal(pixels(a), pixels(b))


def _nan_path() -> Path:
    spoilt = path(0.0, 1.0)
    spoilt.poses[1].pose.position.x = math.nan
    return spoilt


@pytest.mark.parametrize(
    ("goal", "code", "words"),
    [
        ({"paths": []}, Result.INVALID_PATH, "at least one path"),
        ({"paths": [path(0, 1), Path()]}, Result.INVALID_PATH, "path 1: a path must hold"),
        ({"paths": [_nan_path()]}, Result.INVALID_PATH, "path 0:"),
        ({"paths": [path(0, 1, frame_id="nowhere")]}, Result.TRANSFORM_FAILED, "nowhere"),
        (
            {"paths": [path(0, 1)] * 4},
            Result.TOO_MANY_CANDIDATES,
            "3 paths (max_candidates). Got 4",
        ),
        ({"paths": [path(0, 1)], "frame_count": 999}, Result.INVALID_PATH, "50 frames"),
        ({"paths": [path(*range(60))], "as_given": True}, Result.INVALID_PATH, "Got 60"),
        ({"paths": [path(0, 1, step_s=-1.0)]}, Result.INVALID_PATH, "must not run backwards"),
        ({"paths": [path(0, 1)], "pose_of": 7}, Result.INVALID_GOAL, "pose_of must be 0"),
        ({"paths": [path(0, 1)], "prompt": "a cat"}, Result.INVALID_GOAL, "takes no prompt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_goals_get_their_number_and_the_next_one_works(
    planner: Callable[..., Client], goal: dict[str, Any], code: int, words: str
) -> None:
    c = planner(max_candidates=3, max_goal_frames=50)
    status, result = c.ask(**goal)
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, code), result.error_msg
    assert words in result.error_msg
    status, result = c.ask(paths=[path(0.0, 1.0)])
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, 0)


def test_a_long_path_is_walked_as_far_as_the_horizon(planner: Callable[..., Client]) -> None:
    c = planner()
    _, result = c.ask(paths=[path(*np.linspace(0.0, 100.0, 10_000))], frame_count=5)
    assert result.error_code == 0, result.error_msg
    assert len(result.candidates[0].known_fraction) == 5


def test_nothing_observed_and_not_active(planner: Callable[..., Client]) -> None:
    c = planner(observed=False)
    _, result = c.ask(paths=[path(0.0, 1.0)])
    assert result.error_code == Result.NO_OBSERVATION
    c.w.node.trigger_deactivate()
    status, result = c.ask(paths=[path(0.0, 1.0)])
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Result.NOT_ACTIVE)
    c.w.node.trigger_activate()
    c.w.send_stored(0.0)
    _, result = c.ask(paths=[path(0.0, 1.0)])
    assert result.error_code == 0


def slowed(c: Client) -> list[int]:
    """The node's generator, taking its time and asking in between whether to go on."""
    from mirage_ros.generation import GenerationCancelled

    generator, started = c.w.node._session._engine.model.generator, []
    together, alone = generator.generate_together, generator.generate

    def wait(cancelled: Callable[[], bool]) -> None:
        started.append(len(started))
        for _ in range(300):
            if cancelled():
                raise GenerationCancelled("asked")
            time.sleep(0.01)

    def slow_together(conditions: Any, cancelled: Any) -> Any:
        wait(cancelled)
        return together(conditions, cancelled)

    def slow(condition: Any, cancelled: Any) -> Any:
        wait(cancelled)
        return alone(condition, cancelled)

    generator.generate_together, generator.generate = slow_together, slow
    return started


def test_a_goal_can_be_cancelled_at_every_stage(planner: Callable[..., Client]) -> None:
    c = planner()
    started = slowed(c)
    for waits in (False, True):
        handle = c.send(paths=[path(0.0, 1.0), path(0.0, 0.5)])
        before = len(started)
        if waits:
            assert c.w.spin_until(lambda n=before: len(started) > n or bool(started))
        begun = time.monotonic()
        handle.cancel_goal_async()
        status, result = c.wait(handle)
        assert (status, result.error_code) == (GoalStatus.STATUS_CANCELED, Result.CANCELLED)
        assert time.monotonic() - begun < 2.0
        assert result.error_msg


def test_a_newer_goal_takes_the_place_of_the_one_before(planner: Callable[..., Client]) -> None:
    c = planner()
    started = slowed(c)
    first = c.send(paths=[path(0.0, 1.0)])
    assert c.w.spin_until(lambda: bool(started))
    second = c.send(paths=[path(0.0, 1.0)])
    third = c.send(paths=[path(0.0, 1.0)])
    for handle in (first, second):
        status, result = c.wait(handle)
        assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Result.PREEMPTED)
    status, result = c.wait(third)
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, 0)


def test_deactivation_ends_a_goal(planner: Callable[..., Client]) -> None:
    c = planner()
    started = slowed(c)
    handle = c.send(paths=[path(0.0, 1.0)])
    assert c.w.spin_until(lambda: bool(started))
    c.w.node.trigger_deactivate()
    status, result = c.wait(handle)
    assert (status, result.error_code) == (GoalStatus.STATUS_ABORTED, Result.STOPPED)


def test_a_client_that_goes_away_leaves_nothing_stuck(planner: Callable[..., Client]) -> None:
    c = planner()
    started = slowed(c)
    c.send(paths=[path(0.0, 1.0)])
    assert c.w.spin_until(lambda: bool(started))
    c.client.destroy()
    again = Client(c.w)
    status, result = again.ask(paths=[path(0.0, 1.0)])
    assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, 0)


def test_the_robot_remembers_while_a_goal_is_followed(planner: Callable[..., Client]) -> None:
    c = planner()
    started = slowed(c)
    handle = c.send(paths=[path(0.0, 1.0)])
    assert c.w.spin_until(lambda: bool(started))
    c.w.send_stored(0.5)
    status, _ = c.wait(handle)
    assert status == GoalStatus.STATUS_SUCCEEDED


def test_twenty_clients_in_a_row_are_all_answered(planner: Callable[..., Client]) -> None:
    c = planner()
    names = set()
    for number in range(20):
        client = ActionClient(c.w.robot, ImaginePaths, "world_model/imagine")
        assert c.w.spin_until(client.server_is_ready)
        c.client = client
        status, result = c.ask(paths=[path(0.0, 0.5)], frame_count=1 + number % 3)
        assert (status, result.error_code) == (GoalStatus.STATUS_SUCCEEDED, 0)
        names.add(result.rollout_id)
        client.destroy()
    assert len(names) == 20
    goals = c.w.node._session.goals
    assert len(goals.last.views[0]) == 2, "only the last one's pictures are kept"

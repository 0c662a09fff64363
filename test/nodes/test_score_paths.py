"""The service ``~/score_paths`` over the real node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mirage_ros.action import ImaginePaths
from mirage_ros.srv import ScorePaths
from sensor_msgs.msg import Image
from test_imagine_action import Client, path

pytestmark = pytest.mark.ros

Code = ImaginePaths.Result


class Scorer(Client):
    def __init__(self, w: Any) -> None:
        super().__init__(w)
        self.service = w.robot.create_client(ScorePaths, "world_model/score_paths")
        assert w.spin_until(self.service.service_is_ready)

    def score(self, goal: Image, **request: Any) -> Any:
        future = self.service.call_async(ScorePaths.Request(goal=goal, **request))
        assert self.w.spin_until(future.done), "no answer"
        return future.result()


def textured(w: Any) -> np.ndarray:
    """Coarse patches: a view from elsewhere looks different cell by cell."""
    patches = np.random.default_rng(4).integers(0, 255, (8, 10, 3), np.uint8)
    return patches.repeat(32, axis=0).repeat(32, axis=1)


@pytest.fixture
def scorer(world: Callable[..., Any]) -> Scorer:
    w = world(rollout_rate=0.0)
    w.robot.texture = textured(w)
    w.send_stored(0.0)
    return Scorer(w)


def test_the_path_that_ends_at_the_goal_costs_least(scorer: Scorer) -> None:
    goal = scorer.w.robot.image()
    paths = [path(0.0, y=1.0), path(0.0, y=0.4), path(0.0)]
    answer = scorer.score(goal, paths=paths, as_given=True)
    assert answer.success, answer.message
    assert (answer.error_code, list(answer.frame_counts)) == (0, [1, 1, 1])
    assert "candidate 2 costs least" in answer.message
    aside, near, there = answer.costs
    assert 0.0 <= there < 0.1 < near < aside <= 1.0
    # What is scored is not sent.
    assert not scorer.frames


def test_the_last_rollout_is_scored_when_no_paths_are_given(scorer: Scorer) -> None:
    empty = scorer.score(scorer.w.robot.image())
    assert (empty.success, empty.error_code) == (False, Code.INVALID_PATH)
    assert "no rollout to score" in empty.message
    _, result = scorer.ask(paths=[path(0.6, 0.3, 0.0), path(0.6, 0.9)], as_given=True)
    answer = scorer.score(scorer.w.robot.image())
    assert answer.success, answer.message
    assert answer.rollout_id == result.rollout_id
    assert list(answer.frame_counts) == [3, 2]
    assert answer.best_frames[0] == 2
    costs = np.split(np.array(answer.frame_costs), [3])
    assert answer.costs[0] == pytest.approx(costs[0].min())
    assert (np.diff(costs[0]) < 0).all(), "nearer and nearer to the goal"


def test_another_size_of_the_same_view_is_the_same_goal(scorer: Scorer) -> None:
    image = scorer.w.robot.image()
    small = Image(height=128, width=160, encoding="rgb8", step=480)
    pixels = np.frombuffer(image.data, np.uint8).reshape(256, 320, 3)
    small.data.frombytes(np.ascontiguousarray(pixels[::2, ::2]).tobytes())
    costs = [
        scorer.score(goal, paths=[path(0.0)], as_given=True).costs[0] for goal in (image, small)
    ]
    assert costs[1] == pytest.approx(costs[0], abs=0.08)


def test_bad_requests_get_their_reason(scorer: Scorer) -> None:
    broken = scorer.w.robot.image()
    broken.encoding = "jpeg2000"
    answer = scorer.score(broken, paths=[path(0.0)])
    assert (answer.success, answer.error_code) == (False, Code.INVALID_GOAL)
    assert "jpeg2000" in answer.message
    answer = scorer.score(scorer.w.robot.image(), paths=[path(0.0, frame_id="nowhere")])
    assert (answer.success, answer.error_code) == (False, Code.TRANSFORM_FAILED)
    scorer.w.node.trigger_deactivate()
    answer = scorer.score(scorer.w.robot.image(), paths=[path(0.0)])
    assert (answer.success, answer.error_code) == (False, Code.NOT_ACTIVE)

"""Generators that fail, and generators that start from what the robot sees, in the real node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mirage_ros.msg import MemoryStatus, PredictedFrame

pytestmark = pytest.mark.ros

PERIOD_NS = 250_000_000


def _generator(w: Any) -> Any:
    return w.node._session._engine.model.generator


def test_a_chunk_that_cannot_be_shown_is_dropped_and_named(world: Callable[..., Any]) -> None:
    # Three chunks: of nine latent frames, and of eight more each.
    w = world(rollout_rate=10.0, horizon=5.0, frame_period=0.25)
    generator = _generator(w)
    generate, asked = generator.generate, []

    def spoilt(condition: Any, cancelled: Any) -> Any:
        chunk = generate(condition, cancelled)
        asked.append(len(chunk.latents))
        return replace(chunk, latents=chunk.latents * np.nan) if len(asked) == 2 else chunk

    generator.generate = spoilt
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    assert w.spin_until(lambda: w.robot.warned("prediction", "latents of chunk 1", "finite"))
    assert w.spin_until(lambda: bool(frames) and frames[-1].index == 19), w.robot.warnings
    rollouts: dict[str, list[int]] = {}
    for frame in frames:
        rollouts.setdefault(frame.rollout_id, []).append(frame.index)
    # What was ready before stays; the rollouts after it are whole.
    first, second = list(rollouts.values())[:2]
    assert first == list(range(9))
    assert second == list(range(20))
    assert w.state == "active"
    w.send_stored(0.3)
    assert not w.robot.warned("unexpected")


def test_a_generator_that_starts_from_a_frame_is_given_the_newest(
    world: Callable[..., Any],
) -> None:
    w = world(rollout_rate=10.0, horizon=1.0, frame_period=0.25)
    generator = _generator(w)
    generator.starts_from_frame = True
    generate, conditions = generator.generate, []

    def watched(condition: Any, cancelled: Any) -> Any:
        conditions.append(condition)
        return generate(condition, cancelled)

    generator.generate = watched
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(1.0, speed=0.4)
    # A newer frame of the same place, which is no keyframe.
    w.robot.tick()
    w.robot.texture = np.full_like(w.robot.texture, 200)
    w.robot.send(1.0, speed=0.4)
    newest = w.robot.stamp_ns
    assert w.spin_until(
        lambda: (
            len(frames) >= 8
            and frames[-1].index == 3
            and frames[-1].conditioned_on.nanosec == newest % 10**9
        )
    )
    # The frame itself comes ahead of the path and does not go out.
    last = frames[-4:]
    assert [(frame.index, frame.frame_count) for frame in last] == [(k, 4) for k in range(4)]
    assert [frame.horizon.nanosec for frame in last[:3]] == [PERIOD_NS * k for k in (1, 2, 3)]
    xs = [frame.camera_pose.pose.position.x - 0.1 for frame in last]
    np.testing.assert_allclose(xs, [1.1, 1.2, 1.3, 1.4], atol=1e-6)
    condition = conditions[-1]
    assert len(condition.T_world_camera) == 5
    np.testing.assert_allclose(condition.T_world_camera[0, 0, 3], 1.1, atol=1e-6)
    codec = w.node._session._engine.model.codec
    shown = codec.mean_colour(condition.first_latents.flatten(1).T)
    np.testing.assert_allclose(shown.numpy(), 200 / 255.0, atol=0.01)
    np.testing.assert_allclose(condition.first_depth.numpy(), 3.0, rtol=1e-5)


def test_stages_of_the_engine_are_in_the_status(world: Callable[..., Any]) -> None:
    w = world(rollout_rate=10.0, status_rate=20.0, horizon=0.25)
    status = w.robot.listen(MemoryStatus, "world_model/status")
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(frames))
    wanted = {"observe", "fit", "store", "next_view", "readout", "generate", "decode"}
    assert w.spin_until(lambda: wanted <= {timing.stage for timing in status[-1].timings})

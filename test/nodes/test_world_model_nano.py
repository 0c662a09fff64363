"""The backend nano in the real node: a tiny random model in the real on-disk format."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

from geometry_msgs.msg import PoseStamped
from mirage_ros.action import ImaginePaths
from mirage_ros.msg import MemoryStatus, PredictedFrame
from nano_folders import REFERENCES, write_nano
from nav_msgs.msg import Path as PathMessage
from rclpy.parameter import Parameter
from test_imagine_action import Client, path

from mirage_ros import nano_backend
from mirage_ros.nodes.pose_conversion import stamp_to_ns

pytestmark = pytest.mark.ros

PERIOD_NS = 250_000_000
#: With the frame that the camera sees now, one chunk.
FRAMES = 8
ALL = ("image", "camera_info", "depth", "odom", "plan")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nano(tmp_path_factory.mktemp("nano"))


@pytest.fixture
def nano(world: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """A node with the tiny model, configured unless something is wrong."""

    def make(**parameters: Any) -> Any:
        given = {
            "backend": "nano",
            "nano.model": str(folder),
            "generation_width": 128,
            "generation_height": 96,
            "frame_period": PERIOD_NS * 1e-9,
            "horizon": FRAMES * PERIOD_NS * 1e-9,
            "rollout_rate": 0.0,
            "status_rate": 10.0,
        }
        return world(**(given | parameters))

    return make


def pixels(frame: Any) -> np.ndarray:
    return np.frombuffer(frame.image.data, np.uint8).reshape(frame.image.height, -1, 3)


def ahead(robot: Any, count: int = FRAMES) -> PathMessage:
    """A plan that begins one period after the robot's newest frame, 0.1 m a period."""
    plan = PathMessage(header=robot.header("odom"))
    for number in range(1, count + 1):
        pose = PoseStamped(header=robot.header("odom"))
        stamp_ns = robot.stamp_ns + number * PERIOD_NS
        pose.header.stamp.sec, pose.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        pose.pose.position.x, pose.pose.orientation.w = 0.1 * number, 1.0
        plan.poses.append(pose)
    return plan


def transformer_of(w: Any) -> Any:
    return w.node._session._engine.model.generator.transformer


def slowed(w: Any, seconds: float) -> list[float]:
    """Let every evaluation of the model take that long; when each begins."""
    transformer, begun = transformer_of(w), []
    forward = transformer.forward

    def slow(*given: Any, **options: Any) -> Any:
        begun.append(time.monotonic())
        time.sleep(seconds)
        return forward(*given, **options)

    transformer.forward = slow
    return begun


@pytest.mark.parametrize(
    ("memory", "quality", "steps"), [("latent", "mean", 1), ("rgb_fair", "sample", 8)]
)
def test_predicts_along_a_plan(
    nano: Callable[..., Any], memory: str, quality: str, steps: int
) -> None:
    w = nano(connect=ALL, memory=memory, **{"nano.quality": quality})
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    status = w.robot.listen(MemoryStatus, "world_model/status")
    w.spin_for(0.5)
    w.send_stored(0.0)
    begun = slowed(w, 0.0)
    start_ns = w.robot.stamp_ns
    w.robot.out["plan"].publish(ahead(w.robot))
    assert w.spin_until(lambda: len(frames) >= FRAMES), w.robot.warnings
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert len({frame.rollout_id for frame in frames}) == 1
    assert len(begun) == steps
    for number, frame in enumerate(frames, start=1):
        # The frame that the rollout starts from does not go out.
        assert stamp_to_ns(frame.conditioned_on) == start_ns
        offset_ns = stamp_to_ns(frame.header.stamp) - start_ns
        assert offset_ns == pytest.approx(number * PERIOD_NS, abs=1000)
        np.testing.assert_allclose(frame.camera_pose.pose.position.x, 0.1 + 0.1 * number, atol=1e-6)
        assert (frame.image.width, frame.image.height) == (128, 96)
        # Moving towards a wall that was seen whole, nothing new comes into view.
        assert frame.known_fraction > 0.9
    assert np.stack([pixels(frame) for frame in frames]).std() > 5.0
    wanted = {
        "encode", "readout", "references", "conditioning", "denoise_step", "generate", "decode",
        "write_back",
    }  # fmt: skip
    assert w.spin_until(
        lambda: bool(status) and wanted <= {timing.stage for timing in status[-1].timings}
    )
    assert (status[-1].backend, status[-1].memory) == ("nano", memory)
    assert status[-1].reference_bytes > 0
    assert not w.robot.warned("unexpected")


def test_the_action_imagines_candidates_with_it(nano: Callable[..., Any]) -> None:
    w = nano(**{"nano.quality": "sample"})
    w.send_stored(0.0)
    client = Client(w)
    answers = []
    for seed in (7, 7, 8):
        paths = [path(0.0, 2.0), path(0.0, 1.0, y=0.5), path(-0.5)]
        _, result = client.ask(paths=paths, frame_count=3, seed=seed)
        assert result.error_code == 0, result.error_msg
        assert [len(one.known_fraction) for one in result.candidates] == [3, 3, 1]
        mine = result.rollout_id
        assert w.spin_until(lambda m=mine: sum(f.rollout_id == m for f in client.frames) == 7)
        shown = [pixels(frame) for frames in client.of(mine) for frame in frames]
        answers.append(np.stack(shown).astype(int))
    first, again, other = answers
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    _, result = client.ask(paths=[path(0.0, 1.0)], prompt="a kitchen")
    assert result.error_code == ImaginePaths.Result.INVALID_GOAL
    assert "prompt" in result.error_msg
    assert not w.robot.warned("unexpected")


def test_a_slow_machine_predicts_less_often_and_still_remembers(nano: Callable[..., Any]) -> None:
    w = nano(rollout_rate=50.0)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    begun = slowed(w, 0.4)
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(begun))
    w.spin_for(1.0)
    w.send_stored(0.5)
    newest, before = w.robot.stamp_ns, len(begun)
    assert w.spin_until(
        lambda: any(stamp_to_ns(frame.conditioned_on) == newest for frame in frames)
    ), w.robot.warnings
    # Of the fifty rollouts a second that the rate asks for none has waited in a queue.
    assert len(begun) - before <= 3
    ids = list(dict.fromkeys(frame.rollout_id for frame in frames))
    counts = [sum(frame.rollout_id == one for frame in frames) for one in ids[:-1]]
    assert set(counts) == {FRAMES}, "no rollout was cut short"


def test_plans_that_come_faster_than_chunks_do_not_silence_it(nano: Callable[..., Any]) -> None:
    w = nano(connect=ALL)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    slowed(w, 0.3)
    plans = 0
    while len({frame.rollout_id for frame in frames}) < 2 and plans < 100:
        w.robot.out["plan"].publish(ahead(w.robot))
        w.spin_for(0.1)
        plans += 1
    assert plans < 100, w.robot.warnings


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nano.model": "/no/such/model"}, ("nano.model", "/no/such/model")),
        ({"nano.quality": "best"}, ("nano.quality must be one of mean, sample", "Got 'best'")),
        ({"nano.steps": -1}, ("nano.steps", "Allowed: 0 to ")),
        ({"nano.references": REFERENCES + 1}, (f"at most the model's {REFERENCES}",)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configuration_is_refused_with_the_reason(
    nano: Callable[..., Any], change: dict[str, Any], words: tuple[str, ...]
) -> None:
    w = nano(connect=(), **change)
    assert w.spin_until(lambda: w.robot.warned("not configured", *words), 30.0), w.robot.warnings
    assert w.state == "unconfigured"


def test_weights_that_are_not_there_can_be_mended(
    nano: Callable[..., Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nano_backend, "SHIPPED", tmp_path / "shipped")
    w = nano(connect=(), **{"nano.model": ""})
    words = ("not configured", "make train-nano", "readout")
    assert w.spin_until(lambda: w.robot.warned(*words), 30.0), w.robot.warnings
    w.mend(Parameter("nano.model", value=str(folder)))

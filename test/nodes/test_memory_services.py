"""Saving, loading and resetting what is remembered, over the real rclpy and DDS."""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from mirage_ros.msg import MemoryStatus, PredictedFrame
from mirage_ros.srv import LoadMemory, SaveMemory
from nav_msgs.msg import Path as Plan
from rclpy.parameter import Parameter
from safetensors import safe_open
from safetensors.torch import save_file
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger

from mirage_ros.backends import MEMORIES
from mirage_ros.nodes.pose_conversion import stamp_to_ns

pytestmark = pytest.mark.ros

ALL = ("image", "camera_info", "depth", "odom", "plan")
TOKENS_A_FRAME = (320 // 16) * (256 // 16)
SERVICES = {"reset": Trigger, "save": SaveMemory, "load": LoadMemory}


def begin(w: Any, name: str, **request: Any) -> Any:
    """Call a service; the future of its answer."""
    kind = SERVICES[name]
    client = w.robot.create_client(kind, f"world_model/{name}_memory")
    assert w.spin_until(client.service_is_ready)
    return client.call_async(kind.Request(**request))


def call(w: Any, name: str, **request: Any) -> Any:
    future = begin(w, name, **request)
    assert w.spin_until(future.done), f"{name} was not answered"
    return future.result()


def imagined(w: Any, frames: list[Any], x: float) -> list[Any]:
    """What a plan that goes on from ``x`` brings: one rollout, in full."""
    frames.clear()
    plan = Plan(header=w.robot.header("odom"))
    for step in range(4):
        pose = w.robot.odometry(x + 0.1 * step, 0.05 * step).pose.pose
        plan.poses.append(_stamped(w.robot, pose))
    w.robot.out["plan"].publish(plan)
    assert w.spin_until(lambda: bool(frames) and frames[-1].index + 1 == frames[-1].frame_count)
    return list(frames)


def _stamped(robot: Any, pose: Any) -> Any:
    from geometry_msgs.msg import PoseStamped

    return PoseStamped(header=robot.header("odom"), pose=pose)


def edited(source: Path, target: Path, **header: str) -> Path:
    """A copy of a memory file whose header says something else."""
    with safe_open(source, framework="pt") as file:
        metadata = {**file.metadata(), **header}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(arrays, target, metadata)
    return target


@pytest.fixture
def saved(world: Callable[..., Any], tmp_path: Path) -> tuple[Any, Path]:
    """A world of one keyframe, and a file of it."""
    w = world(connect=ALL, rollout_rate=0.0)
    w.send_stored(0.0)
    path = tmp_path / "seen.memory"
    answer = call(w, "save", path=str(path))
    assert answer.success, answer.message
    return w, path


@pytest.mark.parametrize("memory", MEMORIES)
def test_after_a_round_trip_the_same_is_predicted_bit_for_bit(
    memory: str, world: Callable[..., Any], tmp_path: Path
) -> None:
    w = world(connect=ALL, rollout_rate=0.0, cloud_rate=20.0, status_rate=20.0, memory=memory)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    clouds = w.robot.listen(PointCloud2, "world_model/latent_cloud", latched=True)
    status = w.robot.listen(MemoryStatus, "world_model/status")
    w.spin_for(0.5)
    w.send_stored(0.0)
    w.send_stored(0.4)
    stamp_ns, tokens = w.robot.stamp_ns, w.counters.token_count
    before = imagined(w, frames, 0.4)
    assert before[0].known_fraction > 0.5
    path = tmp_path / "seen.memory"
    wrote = call(w, "save", path=str(path))
    assert wrote.success, wrote.message
    assert str(path) in wrote.message
    assert (wrote.token_count, wrote.byte_count) == (tokens, path.stat().st_size)

    assert call(w, "reset").success
    assert imagined(w, frames, 0.4)[0].known_fraction == 0.0
    assert w.spin_until(lambda: bool(clouds) and clouds[-1].width == 0)

    loaded = call(w, "load", path=str(path))
    assert loaded.success, loaded.message
    assert (loaded.token_count, loaded.byte_count) == (tokens, w.counters.memory_bytes)
    assert w.spin_until(lambda: clouds[-1].width == tokens), "the cloud is published again"
    assert w.spin_until(lambda: status[-1].token_count == tokens)
    assert stamp_to_ns(status[-1].newest_observation) == stamp_ns
    assert (status[-1].memory, status[-1].capacity == 0) == (memory, memory == "rgb")
    after = imagined(w, frames, 0.4)
    assert len(after) == len(before)
    for one, other in zip(before, after, strict=True):
        assert one.image == other.image
        assert one.coverage == other.coverage
    # Standing still, the next frame is a keyframe all the same: it is new to this memory.
    w.send_stored(0.4)
    assert w.state == "active"


def test_a_saved_memory_is_loaded_at_configuration(
    saved: tuple[Any, Path], world: Callable[..., Any]
) -> None:
    w, path = saved
    stamp_ns = w.robot.stamp_ns
    w.node.trigger_deactivate()
    w.node.trigger_cleanup()
    assert w.node.set_parameters([Parameter("memory_file", value=str(path))])[0].successful
    w.node.trigger_configure()
    w.node.trigger_activate()
    assert w.counters.token_count == TOKENS_A_FRAME
    assert w.counters.newest_observation_ns == stamp_ns
    assert w.counters.memory_bytes > 0


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        ({"frame_id": "map"}, ("frame_id 'odom'", "'map'")),
        ({"kind": "rgb"}, ("kind 'latent'", "'rgb'")),
        ({"codec": "other"}, ("codec", "'other'")),
        ({"spatial_stride": "8"}, ("spatial_stride '16'", "'8'")),
        ({"channels": "16"}, ("channels '48'", "'16'")),
        ({"version": "99"}, ("version '1'", "'99'")),
        ({"last_stamp_ns": "never"}, ("stamp", "never")),
        ({"observed_tokens": "7"}, ("7 observed tokens", str(TOKENS_A_FRAME))),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(
    saved: tuple[Any, Path], tmp_path: Path, spoil: dict[str, str], reasons: tuple[str, ...]
) -> None:
    w, path = saved
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    before = imagined(w, frames, 0.0)
    other = edited(path, tmp_path / "other.memory", **spoil)
    answer = call(w, "load", path=str(other))
    assert not answer.success
    assert (answer.token_count, answer.byte_count) == (0, 0)
    assert all(reason in answer.message for reason in reasons), answer.message
    assert w.counters.token_count == TOKENS_A_FRAME
    assert [f.image for f in imagined(w, frames, 0.0)] == [f.image for f in before]


def test_files_that_cannot_be_loaded_are_answered_with_the_reason(
    saved: tuple[Any, Path], tmp_path: Path
) -> None:
    w, path = saved
    (tmp_path / "text").write_text("no memory")
    (tmp_path / "half").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    save_file({"a": torch.zeros(3)}, tmp_path / "weights")
    os.mkfifo(tmp_path / "pipe")
    for name, expected in {
        "nowhere": "does not exist",
        "nowhere/at/all": "does not exist",
        "": "path must name",
        "text": "expected a mirage_ros/memory file",
        "half": "only part of one",
        "weights": "expected format 'mirage_ros/memory'",
        ".": "is a directory",
        "pipe": "no regular file",
    }.items():
        answer = call(w, "load", path=str(tmp_path / name) if name else "")
        assert not answer.success, name
        assert expected in answer.message, answer.message
    assert w.counters.token_count == TOKENS_A_FRAME
    assert w.state == "active"


def test_files_that_cannot_be_written_are_answered_with_the_reason(
    saved: tuple[Any, Path], tmp_path: Path
) -> None:
    w, path = saved
    note = tmp_path / "note.txt"
    note.write_text("not to be lost")
    # Nobody may create files in /sys, whoever runs the tests.
    for target, expected in {
        tmp_path / "nowhere" / "m": "No such file or directory",
        Path("/sys/mirage.memory"): "ermi" if os.access("/sys", os.W_OK) else "",
        note: "expected a mirage_ros/memory file",
        tmp_path: "is a directory",
        tmp_path / ("n" * 300): "too long",
    }.items():
        answer = call(w, "save", path=str(target))
        assert not answer.success, target
        assert (answer.token_count, answer.byte_count) == (0, 0)
        assert expected in answer.message, answer.message
        assert str(target) in answer.message
    assert note.read_text() == "not to be lost"
    assert sorted(tmp_path.iterdir()) == [note, path], "nothing half-done is left behind"


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file of this process grows beyond ``size`` bytes: as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(saved: tuple[Any, Path], tmp_path: Path) -> None:
    w, path = saved
    content = path.read_bytes()
    w.send_stored(0.4)
    future = begin(w, "save", path=str(path))
    with file_size_limit(len(content) - 1):
        assert w.spin_until(future.done)
    assert not future.result().success
    assert "too large" in future.result().message
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]
    assert call(w, "save", path=str(path)).success
    assert path.read_bytes() != content


def test_relative_paths_start_at_the_memory_directory(
    world: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROS_HOME", str(tmp_path / "ros"))
    w = world()
    w.send_stored(0.0)
    assert call(w, "save", path="home.memory").success
    assert (tmp_path / "ros" / "mirage_ros" / "home.memory").is_file()
    w.node.trigger_deactivate()
    w.node.trigger_cleanup()
    directory = tmp_path / "made" / "for" / "it"
    refused, accepted = (
        w.node.set_parameters([Parameter("memory_directory", value=str(value))])[0]
        for value in ("somewhere", directory)
    )
    assert not refused.successful
    assert "absolute" in refused.reason
    assert accepted.successful
    w.node.trigger_configure()
    w.node.trigger_activate()
    assert call(w, "save", path="empty.memory").success
    assert (directory / "empty.memory").is_file()
    assert not call(w, "save", path="below/empty.memory").success
    answer = call(w, "load", path="empty.memory")
    assert answer.success, answer.message
    assert answer.token_count == 0


def test_services_answer_a_node_that_is_not_active(
    world: Callable[..., Any], tmp_path: Path
) -> None:
    w = world(connect=(), autostart=False)
    for name in SERVICES:
        request = {} if name == "reset" else {"path": str(tmp_path / "m")}
        answer = call(w, name, **request)
        assert not answer.success
        assert "not active" in answer.message
    assert list(tmp_path.iterdir()) == []


def test_services_during_a_rollout_are_answered_and_it_begins_again(
    world: Callable[..., Any], tmp_path: Path
) -> None:
    w = world(connect=ALL, rollout_rate=0.0, horizon=60.0, frame_period=0.02)
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    w.send_stored(0.0)
    plan = Plan(header=w.robot.header("odom"))
    for k in range(2900):
        plan.poses.append(_stamped(w.robot, w.robot.odometry(0.02 * k).pose.pose))
    w.robot.out["plan"].publish(plan)
    assert w.spin_until(lambda: len(frames) > 20)
    futures = [begin(w, "save", path=str(tmp_path / f"{k}.memory")) for k in range(2)]
    futures.append(begin(w, "load", path=str(tmp_path / "0.memory")))
    assert w.spin_until(lambda: all(future.done() for future in futures))
    assert all(future.result().success for future in futures), [f.result() for f in futures]
    rollouts = {frame.rollout_id for frame in frames}
    assert w.spin_until(lambda: frames[-1].rollout_id not in rollouts), "the plan is followed on"
    assert (tmp_path / "0.memory").stat().st_size == (tmp_path / "1.memory").stat().st_size


def test_a_slow_file_keeps_nobody_waiting_but_the_next_service(
    world: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world(status_rate=20.0)
    status = w.robot.listen(MemoryStatus, "world_model/status")
    w.send_stored(0.0)
    memory = w.node._session._engine.model.memory
    begun, go_on, write = threading.Event(), threading.Event(), memory.save

    def slowly(*arguments: Any) -> None:
        begun.set()
        assert go_on.wait(30.0)
        write(*arguments)

    monkeypatch.setattr(memory, "save", slowly)
    save = begin(w, "save", path=str(tmp_path / "m"))
    assert w.spin_until(begun.is_set)
    reset = begin(w, "reset")
    status.clear()
    w.robot.tick()
    w.robot.send(0.4)
    assert w.spin_until(lambda: len(status) > 2 and w.counters.keyframes_wanted == 2)
    assert not save.done()
    assert not reset.done()
    assert w.counters.keyframes_stored == 1
    go_on.set()
    assert w.spin_until(lambda: save.done() and reset.done())
    assert save.result().success
    assert save.result().token_count == TOKENS_A_FRAME
    assert reset.result().success


def test_deactivation_answers_who_waits(
    world: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = world()
    w.send_stored(0.0)
    engine = w.node._session._engine
    begun, go_on, store = threading.Event(), threading.Event(), engine.store

    def slowly(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(30.0)
        return store(*arguments)

    monkeypatch.setattr(engine, "store", slowly)
    w.robot.tick()
    w.robot.send(0.4)
    assert w.spin_until(begun.is_set)
    save = begin(w, "save", path=str(tmp_path / "m"))
    assert w.spin_until(lambda: bool(w.node._session._worker._commands))
    threading.Timer(0.2, go_on.set).start()
    w.node.trigger_deactivate()
    assert w.spin_until(save.done)
    assert not save.result().success
    assert "stopped before" in save.result().message
    assert list(tmp_path.iterdir()) == []
    w.node.trigger_activate()
    assert call(w, "save", path=str(tmp_path / "m")).success

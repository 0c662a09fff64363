"""The wan2.2 backend in the real node: a tiny random model in the real on-disk formats."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers")

from diagnostic_msgs.msg import DiagnosticArray
from mirage_ros.msg import MemoryStatus, PredictedFrame
from rclpy.parameter import Parameter
from wan_folders import lora_tensors, vace_model, write_lora, write_side_branch, write_wan_folder

pytestmark = pytest.mark.ros

#: 33 frames, one chunk, beside the one that the camera sees now.
FRAMES = 33
PERIOD = 1.0 / 16.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wan")
    write_wan_folder(place / "model")
    write_side_branch(place / "side.safetensors")
    write_lora(place / "lora.safetensors", lora_tensors(vace_model().state_dict()))
    return place


@pytest.fixture
def wan(world: Callable[..., Any], folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """A node with the tiny model, configured unless something is wrong."""

    def make(**parameters: Any) -> Any:
        given = {
            "backend": "wan2.2",
            "generation_width": 128,
            "generation_height": 96,
            "wan.model": str(folder / "model"),
            "wan.side_branch": str(folder / "side.safetensors"),
            "wan.dtype": "float32",
            "wan.steps": 2,
            "wan.offline": True,
            "wan.cache_directory": str(tmp_path),
            "frame_period": PERIOD,
            "horizon": FRAMES * PERIOD,
            "rollout_rate": 2.0,
            "status_rate": 10.0,
        }
        return world(**(given | parameters))

    return make


def rollouts_of(frames: list[Any]) -> list[list[Any]]:
    grouped: dict[str, list[Any]] = {}
    for frame in frames:
        grouped.setdefault(frame.rollout_id, []).append(frame)
    return list(grouped.values())


def pixels(frame: Any) -> np.ndarray:
    return np.frombuffer(frame.image.data, np.uint8).reshape(frame.image.height, -1, 3)


def test_from_camera_to_predicted_frames(wan: Callable[..., Any], folder: Path) -> None:
    w = wan(
        **{"wan.prompt": "a robot in an apartment", "wan.lora": [str(folder / "lora.safetensors")]}
    )
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    status = w.robot.listen(MemoryStatus, "world_model/status")
    diagnostics = w.robot.listen(DiagnosticArray, "/diagnostics")
    w.spin_for(0.5)
    w.send_stored(0.0, speed=0.3)
    w.send_stored(0.3, speed=0.3)

    def complete() -> list[list[Any]]:
        return [r for r in rollouts_of(frames) if len(r) == FRAMES]

    assert w.spin_until(lambda: len(complete()) >= 2, 60.0), w.robot.warnings
    first, second = complete()[-2:]
    assert [frame.index for frame in first] == list(range(FRAMES))
    # One robot, one memory, one seed: one rollout.
    if first[0].conditioned_on == second[0].conditioned_on:
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(pixels(a), pixels(b))
    shown = np.stack([pixels(frame) for frame in first]).astype(float)
    assert shown.shape == (FRAMES, 96, 128, 3)
    assert shown.std() > 5.0, "random weights make a picture of some kind"
    assert 0.0 < first[-1].known_fraction <= 1.0
    wanted = {
        "encode", "readout", "references", "conditioning", "denoise_step", "generate", "decode",
        "write_back",
    }  # fmt: skip
    assert w.spin_until(lambda: wanted <= {timing.stage for timing in status[-1].timings})
    assert status[-1].backend == "wan2.2"
    assert status[-1].reference_bytes > 0
    (entry,) = diagnostics[-1].status
    keys = {value.key for value in entry.values}
    assert {"denoise_step_p50_ms", "readout_p50_ms", "gpu_mib", "gpu_peak_mib"} <= keys
    assert not w.robot.warned("unexpected")


def test_numbers_that_are_none_cost_a_chunk_and_not_the_node(wan: Callable[..., Any]) -> None:
    w = wan()
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    weight = w.node._session._engine.model.generator.transformer.proj_out.weight.data
    good = weight.clone()
    weight.fill_(float("nan"))
    w.send_stored(0.0, speed=0.3)
    assert w.spin_until(
        lambda: w.robot.warned("prediction", "latents of chunk 0", "must be finite"), 60.0
    )
    assert not frames
    weight.copy_(good)
    assert w.spin_until(lambda: len(frames) >= FRAMES, 60.0), w.robot.warnings
    assert w.state == "active"


def test_a_gpu_that_is_full_costs_a_chunk_and_not_the_node(wan: Callable[..., Any]) -> None:
    import torch

    w = wan()
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    transformer = w.node._session._engine.model.generator.transformer
    forward = transformer.forward

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    transformer.forward = full
    w.send_stored(0.0, speed=0.3)
    tokens = w.counters.token_count
    assert w.spin_until(
        lambda: w.robot.warned("prediction", "chunk 0 does not fit", "resolution"), 60.0
    )
    transformer.forward = forward
    assert w.spin_until(lambda: len(frames) >= FRAMES, 60.0), w.robot.warnings
    assert w.counters.token_count == tokens


def test_the_robot_remembers_while_a_chunk_is_made(wan: Callable[..., Any]) -> None:
    w = wan(**{"wan.steps": 20, "rollout_rate": 0.5})
    frames = w.robot.listen(PredictedFrame, "world_model/predictions")
    w.spin_for(0.5)
    transformer = w.node._session._engine.model.generator.transformer
    forward, steps = transformer.forward, []

    def slow(*given: Any, **options: Any) -> Any:
        steps.append(time.monotonic())
        time.sleep(0.1)
        return forward(*given, **options)

    transformer.forward = slow
    w.send_stored(0.0)
    assert w.spin_until(lambda: bool(steps))
    w.send_stored(0.5)
    assert not frames, "the keyframe is in memory before the chunk is done"
    assert w.spin_until(lambda: len(frames) >= FRAMES, 60.0), w.robot.warnings
    # It did not begin again.
    assert frames[0].rollout_id == frames[FRAMES - 1].rollout_id


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"wan.model": "/no/such/model"}, ("/no/such/model", "expected a file, a folder")),
        ({"wan.model": "Wan-AI/Wan2.2-TI2V-5B-Diffusers"}, ("hf download", "20 GB")),
        ({"wan.side_branch": "/no/side.safetensors"}, ("/no/side.safetensors",)),
        ({"wan.side_branch_layers": [0, 9]}, ("layers", "[0, 9]")),
        ({"wan.references": 5}, ("references must be at most the model's 4", "Got 5")),
        ({"wan.guidance": 0.0, "wan.steps": 0}, ("wan.steps", "1")),
        ({"wan.noise_levels": [0.2, 0.9]}, ("sigmas must fall", "[0.2, 0.9]")),
        ({"wan.prompt": "a phrase", "wan.quantization": "fp8"}, ("8.9 or more", "cpu")),
        ({"wan.offload": "group", "wan.compile": True}, ("do not go together",)),
        ({"wan.attention": "nonsense"}, ("attention backend 'nonsense'",)),
        ({"wan.tiny_decoder": "/no/taew2_2.safetensors"}, ("/no/taew2_2.safetensors",)),
        ({"generation_width": 120}, ("generation_width must be a multiple of 32", "120")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_configuration_is_refused_with_the_reason(
    wan: Callable[..., Any], change: dict[str, Any], words: tuple[str, ...]
) -> None:
    w = wan(connect=(), **change)
    assert w.spin_until(lambda: w.robot.warned("not configured", *words), 30.0), w.robot.warnings
    assert w.state == "unconfigured"


def test_what_was_refused_can_be_mended(wan: Callable[..., Any], folder: Path) -> None:
    w = wan(connect=(), **{"wan.model": "/no/such/model"})
    assert w.spin_until(lambda: w.robot.warned("not configured"), 30.0)
    w.mend(Parameter("wan.model", value=str(folder / "model")))

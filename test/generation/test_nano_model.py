"""The small model on disk: round trips, and folders that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_nano import SCALES, condition, never, tiny_nano, tiny_transformer, whole

from mirage_ros.codec import DctCodec
from mirage_ros.errors import CheckpointError, MirageError, UnavailableError
from mirage_ros.generation.nano_model import NanoModel, load_nano, nano_generator, save_nano

CODEC = DctCodec()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_nano(tmp_path / "nano", tiny_nano())
    return tmp_path / "nano"


def weights(folder: Path) -> Path:
    (path,) = (folder / "transformer").glob("*.safetensors")
    return path


def edit_settings(folder: Path, **changes: Any) -> None:
    path = folder / "nano.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(weights(folder))
    change(tensors)
    save_file(tensors, weights(folder))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- what is written is read back


@pytest.mark.parametrize("told", ["placement", "constant"])
def test_a_round_trip_rounds_weights_to_half_precision_and_nothing_else(
    tmp_path: Path, told: str
) -> None:
    model = tiny_nano(seed=3, told=told)
    before = {name: tensor.clone() for name, tensor in model.transformer.state_dict().items()}
    save_nano(tmp_path, model)
    loaded = load_nano(tmp_path)
    assert loaded.scales == model.scales
    assert loaded.told == told
    state = loaded.transformer.state_dict()
    assert state.keys() == before.keys()
    for name, tensor in state.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name].half().float())
        # What was saved stays as it was.
        assert torch.equal(model.transformer.state_dict()[name], before[name])
    assert not loaded.transformer.training
    assert not any(parameter.requires_grad for parameter in loaded.transformer.parameters())
    for key in ("vace_layers", "max_reference_frames", "num_attention_heads"):
        assert loaded.transformer.config[key] == model.transformer.config[key]


def test_the_file_takes_two_bytes_a_weight(folder: Path) -> None:
    count = sum(parameter.numel() for parameter in tiny_transformer().parameters())
    assert 2 * count < weights(folder).stat().st_size < 2 * count + 20_000


def test_a_loaded_model_makes_the_same_chunks(folder: Path) -> None:
    model = load_nano(folder)
    save_nano(folder.parent / "again", model)
    for given in (condition(), whole()):
        first, second = (
            nano_generator(load_nano(each), CODEC, steps=2).generate(given, never).latents
            for each in (folder, folder.parent / "again")
        )
        assert torch.equal(first, second)


def test_saving_again_replaces_a_model(folder: Path) -> None:
    other = replace(tiny_nano(seed=9), scales=replace(SCALES, picture=(2.0,) * 48))
    save_nano(folder, other)
    loaded = load_nano(folder)
    assert loaded.scales == other.scales
    bias = other.transformer.state_dict()["proj_out.bias"].half().float()
    assert torch.equal(loaded.transformer.state_dict()["proj_out.bias"], bias)


def test_its_generator_asks_for_what_the_model_may_see() -> None:
    ours = nano_generator(tiny_nano(), CODEC)
    assert ours.name == "nano"
    assert ours.needs_placement
    assert (ours.reference_count, ours.preceding_count) == (4, 2)
    assert ours.config.schedule.steps == 1
    fewer = nano_generator(tiny_nano(), CODEC, steps=3, references=0, preceding=1, batch=2)
    assert (fewer.reference_count, fewer.preceding_count) == (0, 1)
    assert (fewer.config.schedule.steps, fewer.config.batch) == (3, 2)
    assert not nano_generator(tiny_nano(told="constant"), CODEC).needs_placement
    with pytest.raises(MirageError, match=r"references must be at most the model's 4\. Got 5"):
        nano_generator(tiny_nano(), CODEC, references=5)
    with pytest.raises(MirageError, match=r"steps must be 1 to 1000\. Got 0"):
        nano_generator(tiny_nano(), CODEC, steps=0)


# --- folders that are not what they should be


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"none: expected a folder of a small model"):
        load_nano(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"file: expected a folder of a small model"):
        load_nano(tmp_path / "file")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nano\.json: expected a JSON file"):
        load_nano(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\x00\x01"])
def test_settings_that_are_damaged(folder: Path, content: str) -> None:
    (folder / "nano.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"nano\.json: expected a JSON (file|object)\. Got"):
        load_nano(folder)


def test_settings_that_are_no_text(folder: Path) -> None:
    (folder / "nano.json").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(CheckpointError, match=r"nano\.json: expected a JSON file\. Got"):
        load_nano(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "mirage_ros/model"}, "expected format mirage_ros_nano, version 1. Got mirage_"),
        ({"version": 2}, "expected format mirage_ros_nano, version 1. Got .*version 2"),
        ({"version": None}, "expected format .*version None"),
        ({"codec": "wan2.2"}, "expected codec dct16.*Got codec wan2.2"),
        ({"told": "everything"}, "told one of placement, constant. Got .*told everything"),
        ({"told": ["placement"]}, "told one of placement, constant"),
        ({"scales": None}, "expected scales"),
        ({"scales": {"picture": [1.0] * 48}}, "expected scales.*draft_error"),
        ({"scales": {"picture": [1.0] * 47, "draft_error": [1.0] * 47}}, "48 channels. Got 47"),
        ({"scales": {"picture": [1.0] * 48, "draft_error": [1.0] * 47}}, "Got 48 and 47"),
        ({"scales": {"picture": [0.0] * 48, "draft_error": [1.0] * 48}}, "positive"),
        ({"scales": {"picture": ["x"] * 48, "draft_error": [1.0] * 48}}, "expected scales"),
        ({"scales": {"picture": [10**400] * 48, "draft_error": [1.0] * 48}}, "expected scales"),
        ({"scales": {"picture": [float("nan")] * 48, "draft_error": [1.0] * 48}}, "finite"),
    ],
)
def test_settings_of_another_model(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit_settings(folder, **changes)
    with pytest.raises(CheckpointError, match=rf"nano\.json: .*{message}"):
        load_nano(folder)


def test_no_transformer(folder: Path) -> None:
    """Said as what it is; the hub has none of these."""
    (folder / "transformer").rename(folder / "elsewhere")
    with pytest.raises(
        CheckpointError, match=r"transformer: expected a folder.*Got none"
    ) as caught:
        load_nano(folder)
    assert "hub" not in str(caught.value)


def test_no_transformer_at_a_relative_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``nano/transformer`` looks like a repository of the hub."""
    (folder / "transformer").rename(folder / "elsewhere")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(CheckpointError, match="nano/transformer: expected a folder") as caught:
        load_nano(Path("nano"))
    assert "hub" not in str(caught.value)


def test_no_weights_or_no_configuration(folder: Path) -> None:
    config = folder / "transformer" / "config.json"
    content = config.read_text()
    config.unlink()
    with pytest.raises(CheckpointError, match=r"transformer: expected .*config\.json"):
        load_nano(folder)
    config.write_text(content)
    weights(folder).unlink()
    with pytest.raises(CheckpointError, match=r"transformer: expected weights.*safetensors"):
        load_nano(folder)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_weights_that_were_cut_off(folder: Path, share: float) -> None:
    path = weights(folder)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"safetensors: expected a whole safetensors file"):
        load_nano(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    def narrower(tensors: dict[str, torch.Tensor]) -> None:
        tensors["blocks.1.ffn.net.0.proj.bias"] = torch.zeros(15, dtype=torch.float16)

    edit_weights(folder, narrower)
    message = r"transformer.*shapes.*blocks\.1\.ffn\.net\.0\.proj\.bias \(expected \(16,\), got"
    with pytest.raises(CheckpointError, match=message):
        load_nano(folder)


def test_weights_that_are_missing_or_too_many(folder: Path) -> None:
    tensors = load_file(weights(folder))
    edit_weights(folder, lambda content: content.pop("blocks.1.attn1.to_q.weight"))  # type: ignore[arg-type,return-value]
    with pytest.raises(CheckpointError, match=r"Missing 1 tensors: blocks\.1\.attn1\.to_q\.weight"):
        load_nano(folder)
    save_file(tensors | {"stranger": torch.zeros(1)}, weights(folder))
    with pytest.raises(CheckpointError, match="stranger"):
        load_nano(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(folder: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["proj_out.weight"][3, 4] = value

    edit_weights(folder, spoil)
    message = r"proj_out\.weight: expected finite numbers\. Got 1 of"
    with pytest.raises(CheckpointError, match=message):
        load_nano(folder)


def test_weights_of_whole_numbers(folder: Path) -> None:
    def quantise(tensors: dict[str, torch.Tensor]) -> None:
        tensors["proj_out.bias"] = tensors["proj_out.bias"].to(torch.int8)

    edit_weights(folder, quantise)
    with pytest.raises(CheckpointError, match=r"Got torch\.int8 in proj_out\.bias"):
        load_nano(folder)


def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path: Path) -> None:
    model = tiny_nano()
    model.transformer.proj_out.bias[0] = 1e6
    with pytest.raises(CheckpointError, match=r"proj_out\.bias.*half precision"):
        save_nano(tmp_path / "nano", model)
    assert not (tmp_path / "nano").exists()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"in_channels": 16}, "48 channels.*Got 16 in and 48 out"),
        ({"out_channels": 16}, "48 channels.*Got 48 in and 16 out"),
        ({"vace_in_channels": 48}, "96 channels.*Got 48"),
    ],
)
def test_a_transformer_of_other_latents(
    tmp_path: Path, sizes: dict[str, int], message: str
) -> None:
    save_nano(tmp_path, NanoModel(tiny_transformer(**sizes), SCALES))
    with pytest.raises(CheckpointError, match=f"transformer: expected .*{message}"):
        load_nano(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_attention_heads": 5},
        {"num_attention_heads": "two"},
        {"num_attention_heads": 0, "attention_head_dim": None},
        {"attention_head_dim": "twelve"},
        {"vace_layers": [1]},
        {"vace_layers": "first"},
        {"num_layers": 3},
        {"patch_size": [1, 4, 4]},
        {"patch_size": 2},
        {"_class_name": "UNet2DModel"},
        {"max_reference_frames": "four"},
        {"rope_max_seq_len": "long"},
    ],
)
def test_a_configuration_that_does_not_fit_its_weights(
    folder: Path, changes: dict[str, Any]
) -> None:
    edit_config(folder, **changes)
    with pytest.raises(CheckpointError, match=r"transformer.*expected") as caught:
        load_nano(folder)
    assert "Got" in str(caught.value)


def test_a_configuration_that_is_damaged(folder: Path) -> None:
    path = folder / "transformer" / "config.json"
    path.write_text(path.read_text()[:-30])
    with pytest.raises(CheckpointError, match=r"config\.json: expected a JSON file\. Got"):
        load_nano(folder)

"""Folders of a whole model: written whole, read back bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler
from wan_folders import write_side_branch, write_wan_folder

from mirage_ros.atomic import directory_atomically
from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
from mirage_ros.generation.model_folder import check_header, save_model, transformer_weights
from mirage_ros.generation.prompt import encode_prompt
from mirage_ros.generation.transformer import WanWorldTransformer


@pytest.fixture
def wan(tmp_path: Path) -> Path:
    return write_wan_folder(tmp_path / "wan")


@pytest.fixture
def transformer(tmp_path: Path, wan: Path) -> WanWorldTransformer:
    side = write_side_branch(tmp_path / "side.safetensors")
    return load_transformer(ModelFiles(str(wan), str(side)), dtype=torch.bfloat16)


@pytest.mark.parametrize("shard_size", ["5GB", "100KB"])
def test_a_model_comes_back_bit_for_bit(
    tmp_path: Path, wan: Path, transformer: WanWorldTransformer, shard_size: str
) -> None:
    folder = tmp_path / "models" / "ours"
    prompt = encode_prompt(wan, "a robot in the kitchen")
    save_model(
        folder, transformer, components=wan, prompts={" a robot in  the kitchen": prompt},
        shard_size=shard_size,
    )  # fmt: skip
    assert sorted(p.name for p in folder.parent.iterdir()) == ["ours"]
    back = load_transformer(ModelFiles(str(folder)))
    assert back.config.vace_layers == [0, 2]
    state = back.state_dict()
    for name, tensor in transformer.state_dict().items():
        other = state.pop(name)
        assert other.dtype == tensor.dtype, name
        assert torch.equal(other, tensor), name
    assert not state
    # The prompt is there without its encoder; diffusers finds the other parts.
    assert not (folder / "text_encoder").exists()
    assert torch.equal(encode_prompt(folder, "a robot in the kitchen"), prompt)
    assert AutoencoderKLWan.from_pretrained(folder / "vae").config.z_dim == 48
    assert UniPCMultistepScheduler.from_pretrained(folder, subfolder="scheduler").config.flow_shift
    header = json.loads((folder / "mirage_model.json").read_text())
    assert header["holds"] == ["prompts", "scheduler", "transformer", "vae"]
    assert header["side_branch_layers"] == [0, 2]


def test_what_fails_leaves_nothing(tmp_path: Path, transformer: WanWorldTransformer) -> None:
    def fail(folder: Path) -> None:
        with directory_atomically(folder) as unfinished:
            (unfinished / "half").write_text("of it")
            raise RuntimeError("power")

    folder = tmp_path / "models" / "ours"
    with pytest.raises(RuntimeError, match="power"):
        fail(folder)
    assert not list(folder.parent.iterdir())
    with pytest.raises(UnavailableError, match=r"expected vae/: config\.json .* 2\.8 GB"):
        save_model(folder, transformer, components=tmp_path)
    assert not folder.exists()


def test_a_folder_in_use_is_left_alone(tmp_path: Path, transformer: WanWorldTransformer) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="expected a new or an empty folder"):
        save_model(tmp_path, transformer)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_adapters_are_not_saved(tmp_path: Path, transformer: WanWorldTransformer) -> None:
    transformer.blocks[0].attn1.to_q.lora_A = torch.nn.Linear(1, 1)
    with pytest.raises(
        ConfigurationError, match=r"whose LoRAs are fused. Got 2 tensors of adapters"
    ):
        save_model(tmp_path / "ours", transformer)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "Got 'other', version 1"),
        ({"version": 2}, "expected format mirage_ros/model, version 1. Got .* version 2"),
        ({"holds": ["transformer", "vae"]}, "Missing: vae"),
        ({"holds": 3}, "a list of parts as holds. Got 3"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, transformer: WanWorldTransformer, changes, message
) -> None:
    folder = tmp_path / "ours"
    save_model(folder, transformer)
    check_header(folder)
    path = folder / "mirage_model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError, match=message):
        load_transformer(ModelFiles(str(folder)))


def test_folders_without_what_a_model_needs_are_refused(tmp_path: Path, wan: Path) -> None:
    (wan / "transformer" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"transformer: expected a config\.json"):
        load_transformer(ModelFiles(str(wan)))
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "model_index.json").write_text("{}")
    with pytest.raises(
        UnavailableError, match=r"20 GB.*hf download Wan-AI/Wan2\.2-TI2V-5B-Diffusers"
    ):
        transformer_weights(tmp_path / "two")
    (tmp_path / "two" / "transformer_2").mkdir()
    with pytest.raises(CheckpointError, match="Got two, one for high and one for low noise"):
        transformer_weights(tmp_path / "two")

"""Transformers put together from files, against released outputs and diffusers' own model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from wan_folders import (
    base_part,
    lora_tensors,
    side_part,
    vace_model,
    write_lora,
    write_shards,
    write_side_branch,
    write_tensors,
    write_wan_folder,
)

from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
from mirage_ros.generation.transformer import WanWorldTransformer

RELEASED = Path(__file__).parent / "released_model"
BASE, SIDE, LORA = (
    str(RELEASED / f"{name}.safetensors") for name in ("base_original_names", "side_branch", "lora")
)
IO = load_file(RELEASED / "io.safetensors")


def close(ours: Tensor, theirs: Tensor) -> None:
    worst = (ours - theirs).abs().max() / theirs.abs().max()
    assert worst < 1e-5, f"relative difference {worst:.2e}"


def released(files: ModelFiles, control: bool = True) -> Tensor:
    """Output for the released inputs."""
    model = load_transformer(files)
    with torch.inference_mode():
        return model(
            IO["latents"],
            IO["timestep_per_frame"][None],
            IO["text"],
            IO["scene_and_dummy"] if control else None,
            num_references=2,
        )[0]


def outputs(model: torch.nn.Module, text_dim: int = 32) -> Tensor:
    """Output for random inputs, one timestep for all, which diffusers' model understands too."""
    generator = torch.Generator().manual_seed(2)
    with torch.inference_mode():
        return model(
            torch.randn(1, 48, 3, 4, 6, generator=generator),
            torch.tensor([300.0]),
            torch.randn(1, 5, text_dim, generator=generator),
            control_hidden_states=torch.randn(1, 96, 3, 4, 6, generator=generator),
            return_dict=False,
        )[0]


def test_released_files_give_the_released_outputs() -> None:
    close(released(ModelFiles(BASE, SIDE)), IO["out"])
    close(released(ModelFiles(BASE), control=False), IO["out_without_side_branch"])
    close(released(ModelFiles(BASE, SIDE, (LORA,))), IO["out_with_lora"])


def test_a_lora_can_stay_an_adapter() -> None:
    pytest.importorskip("peft")
    files = ModelFiles(BASE, SIDE, (LORA,), lora_mode="adapter")
    close(released(files), IO["out_with_lora"])


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "module.vace."])
def test_other_prefixes_and_shards_give_the_released_outputs(tmp_path: Path, prefix: str) -> None:
    def written(source: str, name: str) -> str:
        tensors = {key.removeprefix("pipe.vace."): t for key, t in load_file(source).items()}
        return str(write_shards(tmp_path / name, tensors, prefix=prefix, rename=str))

    base, side = written(BASE, "base"), written(SIDE, "side")
    shutil.copy(RELEASED / "config.json", tmp_path / "base")
    lora = {prefix + k.removeprefix("pipe.dit."): t for k, t in load_file(LORA).items()}
    save_file(lora, tmp_path / "lora.safetensors")
    files = ModelFiles(base, side, (str(tmp_path / "lora.safetensors"),))
    close(released(files), IO["out_with_lora"])


def test_training_may_save_side_branch_and_lora_in_one_file(tmp_path: Path) -> None:
    save_file({**load_file(SIDE), **load_file(LORA)}, tmp_path / "both.safetensors")
    shutil.copy(RELEASED / "config.json", tmp_path)
    close(released(ModelFiles(BASE, str(tmp_path / "both.safetensors"))), IO["out_with_lora"])


def test_a_folder_of_diffusers_with_side_branch_and_loras(tmp_path: Path) -> None:
    folder = write_wan_folder(tmp_path / "wan", max_shard_size="200KB")
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    theirs = vace_model()
    weights = theirs.state_dict()
    paths, scales = [], (0.5, 1.5)
    for number, scale in enumerate(scales):
        pairs = lora_tensors(weights, seed=number)
        paths.append(str(write_lora(tmp_path / f"{number}.safetensors", pairs)))
        for module, (down, up) in pairs.items():
            weights[f"{module}.weight"] = weights[f"{module}.weight"] + scale * (up @ down)
    theirs.load_state_dict(weights)
    side = str(write_side_branch(tmp_path / "side.safetensors"))
    ours = load_transformer(ModelFiles(str(folder), side, tuple(paths), scales))
    assert ours.config.vace_layers == [0, 2]
    close(outputs(ours), outputs(theirs))


@pytest.mark.parametrize(("count", "step"), [(15, 2), (8, 4)])
def test_both_published_layer_lists_follow_from_the_number_of_blocks(
    tmp_path: Path, count: int, step: int
) -> None:
    sizes = {"num_layers": 30, "num_attention_heads": 1, "attention_head_dim": 12, "ffn_dim": 16}
    theirs = vace_model(4, range(0, 30, step), **sizes)
    weights = theirs.state_dict()
    base = write_tensors(tmp_path / "base" / "base.safetensors", base_part(weights))
    config = {"_class_name": "WanModel", "dim": 12, "num_heads": 1, "in_dim": 48, "out_dim": 48}
    (base.parent / "config.json").write_text(json.dumps(config))
    side = write_tensors(tmp_path / "side.safetensors", side_part(weights), prefix="pipe.vace.")
    ours = load_transformer(ModelFiles(str(base), str(side)))
    assert ours.config.vace_layers == list(range(0, 30, step))
    assert len(ours.vace_blocks) == count
    close(outputs(ours), outputs(theirs))


def test_sizes_are_read_off_the_tensors_where_there_is_no_configuration(tmp_path: Path) -> None:
    sizes = {"num_attention_heads": 1, "attention_head_dim": 128, "text_dim": 20, "num_layers": 3}
    theirs = vace_model(1, (0, 1), **sizes)
    path = write_tensors(tmp_path / "all.safetensors", theirs.state_dict())
    ours = load_transformer(ModelFiles(str(path), side_branch_layers=(0, 1)))
    close(outputs(ours, 20), outputs(theirs, 20))


@pytest.mark.parametrize("way", ["argument", "config", "metadata", "text"])
def test_a_layer_list_that_is_said_counts(tmp_path: Path, way: str) -> None:
    theirs = vace_model(0, (0, 3))
    folder = write_wan_folder(tmp_path / "wan", text_encoder=False)
    said = {"metadata": {"vace_layers": "[0, 3]"}, "text": {"vace_layers": "0,3"}}
    tensors = side_part(theirs.state_dict())
    side = write_tensors(tmp_path / "side.safetensors", tensors, metadata=said.get(way))
    if way == "config":
        (tmp_path / "config.json").write_text('{"vace_layers": [0, 3]}')
    explicit = (0, 3) if way == "argument" else None
    ours = load_transformer(ModelFiles(str(folder), str(side), side_branch_layers=explicit))
    assert ours.config.vace_layers == [0, 3]
    close(outputs(ours), outputs(theirs))


def test_a_new_side_branch_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    whole = write_tensors(tmp_path / "base" / "all.safetensors", vace_model(0, (0, 1)).state_dict())
    (whole.parent / "config.json").write_text('{"num_attention_heads": 2, "vace_layers": [0, 1]}')
    weights = vace_model(0).state_dict() | side_part(vace_model(9).state_dict())
    side = write_tensors(tmp_path / "side.safetensors", side_part(weights))
    theirs = vace_model()
    theirs.load_state_dict(weights)
    close(outputs(load_transformer(ModelFiles(str(whole), str(side)))), outputs(theirs))


def test_types_and_buffers() -> None:
    stored = load_transformer(ModelFiles(BASE, SIDE))
    assert not stored.training
    assert not any(parameter.requires_grad for parameter in stored.parameters())
    assert {parameter.dtype for parameter in stored.parameters()} == {torch.float32}
    # Nothing is left without content, and what is computed instead of stored is right.
    made = dict(WanWorldTransformer(**stored.config).named_buffers())
    assert made
    for name, buffer in stored.named_buffers():
        assert torch.equal(buffer, made.pop(name)), name
    assert not made
    halved = load_transformer(ModelFiles(BASE, SIDE, (LORA,)), dtype=torch.bfloat16)
    kept = ("time_embedder", "scale_shift_table", "norm1", "norm2", "norm3")
    fused = load_transformer(ModelFiles(BASE, SIDE, (LORA,))).state_dict()
    for name, tensor in halved.state_dict().items():
        wanted = torch.float32 if set(name.split(".")) & set(kept) else torch.bfloat16
        assert torch.equal(tensor, fused[name].to(wanted)), name
        assert tensor.dtype == wanted, name
    assert {parameter.dtype for parameter in halved.parameters()} == {torch.float32, torch.bfloat16}


def test_pickled_files_are_read_only_where_allowed(tmp_path: Path) -> None:
    path = tmp_path / "side.pth"
    torch.save({"state_dict": load_file(SIDE), "epoch": 3}, path)
    shutil.copy(RELEASED / "config.json", tmp_path)
    with pytest.raises(ConfigurationError, match=r"Got a pickled file.*allow_pickle.*save_file"):
        load_transformer(ModelFiles(BASE, str(path)))
    close(released(ModelFiles(BASE, str(path), allow_pickle=True)), IO["out"])

"""Files that are not those of the model: what is wrong is named."""

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
    vace_model,
    write_lora,
    write_side_branch,
    write_wan_folder,
)

from mirage_ros.errors import CheckpointError, ConfigurationError
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer

RELEASED = Path(__file__).parent / "released_model"
BASE, SIDE, LORA = (
    str(RELEASED / f"{name}.safetensors") for name in ("base_original_names", "side_branch", "lora")
)


def altered(tmp_path: Path, **changes: Tensor | None) -> ModelFiles:
    tensors = {**load_file(BASE), **{key.replace("__", "."): t for key, t in changes.items()}}
    save_file({k: t for k, t in tensors.items() if t is not None}, tmp_path / "base.safetensors")
    shutil.copy(RELEASED / "config.json", tmp_path)
    return ModelFiles(str(tmp_path / "base.safetensors"), SIDE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head__head__bias": None}, r"Missing 1 tensors: proj_out\.bias"),
        (
            {"blocks__1__ffn__2__bias": torch.zeros(47)},
            r"blocks\.1\.ffn\.net\.2\.bias \(expected \(48,\), got \(47,\)\)",
        ),
        ({"conv1__weight": torch.zeros(3)}, r"neither, beside 177 that are: conv1\.weight"),
        (
            {"head__head__bias": torch.full((192,), float("nan"))},
            r"head\.head\.bias: expected finite numbers. Got 192 of 192",
        ),
        (
            {"head__head__bias": torch.tensor([float("inf")] + [0.0] * 191)},
            r"head\.head\.bias: expected finite numbers. Got 1 of 192",
        ),
        (
            {"head__head__bias": torch.zeros(192, dtype=torch.int8)},
            r"Got torch\.int8 in head\.head",
        ),
        ({"patch_embedding__weight": None}, r"patch_embedding\.weight with 5 axes. Got no such"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, changes, message) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_transformer(altered(tmp_path, **changes))


def test_of_many_missing_tensors_the_first_are_listed(tmp_path: Path) -> None:
    gone = {key: None for key in load_file(BASE) if key.startswith("blocks.2.")}
    with pytest.raises(CheckpointError, match=r"Missing 27 tensors: .* and 19 more") as caught:
        load_transformer(altered(tmp_path, **gone))
    assert str(caught.value).count("blocks.2.") == 8


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"num_attention_heads": 2, "num_layers": 7}, "num_layers 7. Got num_layers 6"),
        ({"num_attention_heads": 2, "patch_size": [1, 1, 1]}, "Got patch_size"),
        ({"num_attention_heads": 5}, "expected 48 channels. Got 5 heads of 9"),
        ({}, r"num_attention_heads, which cannot be told .*Got none, and 48 channels"),
    ],
)
def test_a_configuration_of_another_size_is_refused(tmp_path: Path, stated, message) -> None:
    shutil.copy(BASE, tmp_path / "base.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(stated))
    with pytest.raises(ConfigurationError, match=message):
        load_transformer(ModelFiles(str(tmp_path / "base.safetensors")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"_class_name": "FluxTransformer2DModel"}', "Got FluxTransformer2DModel"),
        ("{", "expected a JSON file"),
        ("[]", "expected a JSON object. Got list"),
    ],
)
def test_a_configuration_of_something_else_is_refused(tmp_path: Path, content, message) -> None:
    shutil.copy(BASE, tmp_path / "base.safetensors")
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load_transformer(ModelFiles(str(tmp_path / "base.safetensors")))


@pytest.mark.parametrize(
    ("blocks", "layers", "message"),
    [
        ((0, 1, 2), None, r"unknown layer list.*divide 4 layers.*side_branch_layers.*Got 3 blocks"),
        ((0, 2), (0, 4), r"2 ascending layers from 0 to 3.*Got \[0, 4\]"),
        ((0, 2), (1, 2), r"Got \[1, 2\]"),
        ((0, 2), (0, 2, 3), r"Got \[0, 2, 3\]"),
        ((0, 2), (0, 0), r"Got \[0, 0\]"),
    ],
)
def test_a_layer_list_that_does_not_fit_is_refused(tmp_path: Path, blocks, layers, message) -> None:
    folder = write_wan_folder(tmp_path / "wan", text_encoder=False)
    side = write_side_branch(tmp_path / "side.safetensors", layers=blocks)
    with pytest.raises(ConfigurationError, match=message):
        load_transformer(ModelFiles(str(folder), str(side), side_branch_layers=layers))


def test_files_in_each_others_place_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"expected tensors of a side branch .* Got 177 others"
    ):
        load_transformer(ModelFiles(BASE, BASE))
    with pytest.raises(CheckpointError, match=r"expected pairs such as .* Got 91 of 91"):
        load_transformer(ModelFiles(BASE, "", (SIDE,)))
    pairs = lora_tensors(vace_model().state_dict(), blocks="vace_blocks")
    lora = write_lora(tmp_path / "lora.safetensors", pairs)
    with pytest.raises(CheckpointError, match="others: vace_blocks"):
        load_transformer(ModelFiles(BASE, "", (str(lora),)))
    with pytest.raises(ConfigurationError, match=r"has no side branch. Got \[0, 2\]"):
        load_transformer(ModelFiles(BASE, side_branch_layers=(0, 2)))


def test_a_folder_that_tells_of_a_side_branch_must_have_it(tmp_path: Path) -> None:
    vace_model().save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    assert load_transformer(ModelFiles(str(tmp_path))).config.vace_layers == [0, 2]
    save_file(base_part(load_file(path)), path)
    with pytest.raises(CheckpointError, match=r"layers \[0, 2\]. Got no tensor of it"):
        load_transformer(ModelFiles(str(tmp_path)))


def test_a_pickled_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": Path("somewhere")}, tmp_path / "side.pt")
    with pytest.raises(CheckpointError, match="pickled file that holds only tensors"):
        load_transformer(ModelFiles(BASE, str(tmp_path / "side.pt"), allow_pickle=True))


def test_options_are_checked() -> None:
    with pytest.raises(ConfigurationError, match=r"one for each of 1 LoRA files, or none. Got 2"):
        ModelFiles(BASE, "", (LORA,), (1.0, 2.0))
    with pytest.raises(
        ConfigurationError, match=r"lora_mode must be one of fuse, adapter\. Got 'add'"
    ):
        ModelFiles(BASE, lora_mode="add")  # type: ignore[arg-type]

"""Names of tensors in all the ways that files have them."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open
from wan_folders import original_name, vace_model

from mirage_ros.errors import CheckpointError
from mirage_ros.generation.key_names import converted_keys, module_name, parameter_name

RELEASED = Path(__file__).parent / "released_model"
NAMES = tuple(vace_model().state_dict())


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "pipe.vace.",
        "pipe.dit.",
        "module.",
        "model.diffusion_model.",
        "vace.",
        "module.pipe.dit.",
    ],
)
@pytest.mark.parametrize("original", [True, False])
def test_every_tensor_is_found_behind_any_prefix(prefix: str, original: bool) -> None:
    keys = [prefix + (original_name(name) if original else name) for name in NAMES]
    assert converted_keys(keys, "file") == dict(zip(NAMES, keys, strict=True))


def test_the_released_files_hold_the_whole_model() -> None:
    found = set()
    for file in ("base_original_names", "side_branch"):
        with safe_open(RELEASED / f"{file}.safetensors", "pt") as tensors:
            found |= converted_keys(list(tensors.keys()), file).keys()
    assert found == vace_model(layers=(0, 2, 4), num_layers=6).state_dict().keys()


def test_the_one_norm_with_weights_changes_its_number() -> None:
    assert parameter_name("blocks.11.norm3.weight") == "blocks.11.norm2.weight"
    assert parameter_name("blocks.11.norm2.weight") == "blocks.11.norm2.weight"
    assert parameter_name("blocks.11.norm1.weight") is None


def test_wrappers_inside_a_name_are_left_out() -> None:
    key = "module._orig_mod.blocks.3._fsdp_wrapped_module.self_attn.o.bias"
    assert parameter_name(key) == "blocks.3.attn1.to_out.0.bias"


@pytest.mark.parametrize(
    "key",
    [
        "blocks.0.self_attn.q",
        "blocks.x.self_attn.q.weight",
        "blocks.weight",
        # Its end alone would be the name of another tensor.
        "blocks.0.adapter.proj_out.weight",
        "blocks.0.before_proj.weight",
        "blocks.0.cross_attn.k_img.weight",
        "encoder.conv1.weight",
        "",
    ],
)
def test_other_names_are_none(key: str) -> None:
    assert parameter_name(key) is None


def test_modules_have_names_of_their_own() -> None:
    assert module_name("pipe.dit.blocks.2.ffn.0") == "blocks.2.ffn.net.0.proj"
    assert module_name("vace_blocks.2.after_proj") == "vace_blocks.2.proj_out"
    assert module_name("head") is None


def test_unknown_names_are_counted_and_the_first_listed() -> None:
    keys = ["patch_embedding.weight", *(f"conv{number}.weight" for number in range(20))]
    with pytest.raises(CheckpointError, match=r"weights\.bin: expected names .* Got 20 ") as caught:
        converted_keys(keys, "weights.bin")
    assert "conv0.weight" in str(caught.value)
    assert "and 12 more" in str(caught.value)
    assert "conv8.weight" not in str(caught.value)


def test_one_tensor_under_two_names_is_refused() -> None:
    keys = ["model.blocks.0.ffn.0.bias", "ema.blocks.0.ffn.net.0.proj.bias"]
    with pytest.raises(CheckpointError, match=r"Got blocks\.0\.ffn\.net\.0\.proj\.bias as model\."):
        converted_keys(keys, "file")

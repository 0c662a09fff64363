"""The transformer against diffusers' own, on tiny random weights in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel
from torch import Tensor

from mirage_ros.errors import ConfigurationError, GenerationError
from mirage_ros.generation.positions import rotary_table
from mirage_ros.generation.transformer import WanWorldTransformer

SIZES = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 5,
}
SIDE = {"vace_layers": [0, 2, 3], "vace_in_channels": 96}
FRAMES, ROWS, COLUMNS = 4, 6, 4
PATCHES = ROWS // 2 * (COLUMNS // 2)


def close(ours: Tensor, theirs: Tensor) -> None:
    worst = (ours - theirs).abs().max() / theirs.abs().max()
    assert worst < 1e-5, f"relative difference {worst:.2e}"


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval()


def inputs(frames: int = FRAMES, batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(batch, 48, frames, ROWS, COLUMNS, generator=generator),
        torch.randn(batch, 7, 16, generator=generator),
        torch.randn(batch, 96, frames, ROWS, COLUMNS, generator=generator),
    )


@pytest.fixture(scope="module")
def model() -> WanWorldTransformer:
    return randomized(WanWorldTransformer(**SIZES, **SIDE))


@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_without_a_side_branch_it_is_wan_with_a_level_for_every_token(batch: int) -> None:
    ours = randomized(WanWorldTransformer(**SIZES, vace_layers=[]))
    theirs = WanTransformer3DModel(**SIZES).eval()
    theirs.load_state_dict(ours.state_dict())
    latents, text, _ = inputs(batch=batch)
    levels = torch.linspace(0.0, 1000.0, batch * FRAMES * PATCHES).reshape(batch, -1)
    expected = theirs(latents, levels, text, return_dict=False)[0]
    close(ours(latents, levels, text)[0], expected)


@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_one_level_for_all_is_vace(model: WanWorldTransformer, batch: int) -> None:
    theirs = WanVACETransformer3DModel(**SIZES, **SIDE).eval()
    theirs.load_state_dict(model.state_dict())
    latents, text, control = inputs(batch=batch)
    level = torch.full((batch,), 700.0)
    scale = torch.tensor([1.0, 0.5, 2.0])
    for given in (None, scale):
        expected = theirs(
            latents,
            level,
            text,
            control_hidden_states=control,
            control_hidden_states_scale=given,
            return_dict=False,
        )[0]
        ours = model(latents, level, text, control, 1.0 if given is None else scale)[0]
        close(ours, expected)


@torch.no_grad()
def test_a_level_for_every_frame_is_that_level_for_all_its_tokens(
    model: WanWorldTransformer,
) -> None:
    latents, text, control = inputs()
    by_frame = torch.tensor([[0.0, 0.0, 600.0, 900.0]])
    by_token = by_frame.repeat_interleave(PATCHES, dim=1)
    whole = model(latents, by_token, text, control[:, :, 1:], num_references=1)[0]
    close(model(latents, by_frame, text, control[:, :, 1:], num_references=1)[0], whole)


@torch.no_grad()
def test_a_side_branch_that_hints_at_nothing_changes_nothing(model: WanWorldTransformer) -> None:
    silent = WanWorldTransformer(**SIZES, **SIDE).eval()
    silent.load_state_dict(model.state_dict())
    for block in silent.vace_blocks:
        block.proj_out.weight.zero_()
        block.proj_out.bias.zero_()
    latents, text, control = inputs()
    level = torch.tensor([[0.0, 300.0, 300.0, 0.0]])
    without = silent(latents, level, text)[0]
    assert torch.equal(silent(latents, level, text, control)[0], without)
    assert not torch.allclose(model(latents, level, text, control)[0], without)


@torch.no_grad()
def test_what_is_computed_before_the_steps_changes_nothing(model: WanWorldTransformer) -> None:
    latents, text, control = inputs()
    level = torch.tensor([[0.0, 0.0, 300.0, 0.0]])
    seen = control[:, :, 1:]
    plain = model(latents, level, text, seen, num_references=1)[0]
    prepared = model(
        latents, level, model.text_context(text), model.embed_control(seen), num_references=1
    )[0]
    close(prepared, plain)


@torch.no_grad()
def test_the_side_branch_never_sees_references(model: WanWorldTransformer) -> None:
    """What stands where references stand reaches the hints only through the targets' tokens."""
    latents, text, control = inputs()
    level = torch.tensor([[0.0, 500.0, 500.0, 0.0]])
    with pytest.raises(GenerationError, match=r"18 tokens\. Got 24"):
        model(latents, level, text, control, num_references=1)
    hints = []
    handle = model.vace_blocks[0].register_forward_hook(lambda _, __, out: hints.append(out[0]))
    try:
        for reference in (latents[:, :, :1], torch.zeros_like(latents[:, :, :1])):
            changed = torch.cat([reference, latents[:, :, 1:]], dim=2)
            model(changed, level, text, control[:, :, 1:], num_references=1)
    finally:
        handle.remove()
    assert torch.equal(*hints)


@torch.no_grad()
def test_gradients_reach_the_side_branch_with_and_without_checkpointing() -> None:
    model = randomized(WanWorldTransformer(**SIZES, **SIDE)).train()
    latents, text, control = inputs()
    level = torch.tensor([[0.0, 500.0, 500.0, 0.0]])
    gradients = []
    with torch.enable_grad():
        for checkpointing in (False, True):
            model.zero_grad()
            if checkpointing:
                model.enable_gradient_checkpointing()
            output = model(latents, level, text, control[:, :, 1:], num_references=1)[0]
            output.square().mean().backward()
            gradients.append(model.vace_patch_embedding.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    close(gradients[1], gradients[0])


def test_rotary_positions_of_references_are_before_and_below() -> None:
    rope = WanWorldTransformer(**SIZES, vace_layers=[]).rope
    frames, references, rows, columns = 3, 2, 2, 3
    cosines, sines = rotary_table(rope, frames, references, rows, columns)
    assert cosines.shape == sines.shape == (1, frames * rows * columns, 1, 24)
    rates = [10000.0 ** -(np.arange(0, d, 2) / d) for d in (rope.t_dim, rope.h_dim, rope.w_dim)]
    token = 0
    for frame in range(frames):
        for row in range(rows):
            for column in range(columns):
                is_reference = frame < references
                place = (frame - references, row + rows * is_reference, column)
                angles = np.concatenate([p * r for p, r in zip(place, rates, strict=True)])
                angles = angles.repeat(2)
                np.testing.assert_allclose(cosines[0, token, 0], np.cos(angles), atol=2e-6)
                np.testing.assert_allclose(sines[0, token, 0], np.sin(angles), atol=2e-6)
                token += 1
    with pytest.raises(GenerationError, match="reach to 2000"):
        rotary_table(rope, 1, 0, 1, 2000)


def test_the_layer_list_has_to_fit() -> None:
    for layers in ([1, 2], [0, 3, 2], [0, 5], [0, 0]):
        with pytest.raises(ConfigurationError, match="must ascend from 0 to at most 4"):
            WanWorldTransformer(**SIZES, vace_layers=layers)
    with pytest.raises(ConfigurationError, match="Got image_dim 1280"):
        WanWorldTransformer(**SIZES, vace_layers=[], image_dim=1280)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_states": torch.zeros(1, 16, 4, 6, 4)}, r"\(B, 48, .*Got \(1, 16, 4, 6, 4\)"),
        ({"hidden_states": torch.zeros(1, 48, 4, 5, 4)}, r"multiples of .*\(4, 5, 4\)"),
        ({"num_references": 5}, "0 to 4 references.*Got 5"),
        ({"num_references": 4}, "0 to 4 references.*Got 4 of 4"),
        ({"timestep": torch.zeros(1, 3)}, r"\(1, 4\).*\(1, 24\).*Got \(1, 3\)"),
        ({"control_hidden_states": torch.zeros(1, 48, 4, 6, 4)}, "96 channels. Got 48"),
    ],
)
def test_bad_input_is_named(
    model: WanWorldTransformer, change: dict[str, object], told: str
) -> None:
    latents, text, control = inputs()
    given = {
        "hidden_states": latents,
        "timestep": torch.zeros(1, 4),
        "encoder_hidden_states": text,
        "control_hidden_states": control,
    }
    with pytest.raises(GenerationError, match=told):
        model(**(given | change))


def test_a_model_without_a_side_branch_refuses_to_be_shown_anything() -> None:
    model = WanWorldTransformer(**SIZES, vace_layers=[])
    latents, text, control = inputs()
    with pytest.raises(GenerationError, match="has no side branch"):
        model(latents, torch.zeros(1), text, control)

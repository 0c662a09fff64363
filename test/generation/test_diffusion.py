"""Denoising of a chunk, on tiny random weights, against diffusers' loop and plain arithmetic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanVACETransformer3DModel
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError, GenerationError
from mirage_ros.generation import ChunkCondition, GenerationCancelled
from mirage_ros.generation.base import Preceding
from mirage_ros.generation.diffusion import DiffusionConfig, DiffusionGenerator
from mirage_ros.generation.schedule import Schedule, wan_sigmas
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.geometry import PinholeCamera
from mirage_ros.memory.base import Readout

SIZES = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 3,
    "vace_layers": [0, 2],
    "vace_in_channels": 96,
}
T, ROWS, COLUMNS = 3, 4, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> WanWorldTransformer:
    model = WanWorldTransformer(**SIZES).eval().requires_grad_(False)
    for number, parameter in enumerate(model.parameters()):
        parameter.data = 0.2 * random(*parameter.shape, seed=number)
    return model


def condition(seed: int = 5) -> ChunkCondition:
    coverage = random(T, ROWS, COLUMNS, seed=1) > 0.0
    latents = random(T, 48, ROWS, COLUMNS, seed=2) * coverage[:, None]
    camera = PinholeCamera(16 * COLUMNS, 16 * ROWS, 90.0, 90.0, 8.0 * COLUMNS, 8.0 * ROWS)
    return ChunkCondition(
        readout=Readout(latents, coverage, 2.0 * coverage, coverage),
        camera=camera,
        T_world_camera=np.tile(np.eye(4), (T, 1, 1)),
        first_latents=None,
        first_depth=None,
        seed=seed,
    )


def preceding_readout() -> Readout:
    coverage = torch.ones(1, ROWS, COLUMNS, dtype=torch.bool)
    return Readout(random(1, 48, ROWS, COLUMNS, seed=7), coverage, 2.0 * coverage, coverage)


def whole() -> ChunkCondition:
    """A chunk in the middle of a rollout: everything that can be known is."""
    return replace(
        condition(),
        first_latents=random(48, ROWS, COLUMNS, seed=3),
        first_depth=torch.full((ROWS, COLUMNS), 7.0),
        references=random(2, 48, ROWS, COLUMNS, seed=4),
        preceding=Preceding(random(1, 48, ROWS, COLUMNS, seed=6), preceding_readout()),
    )


def generator(model: WanWorldTransformer, **options: object) -> DiffusionGenerator:
    config = options.pop("config", DiffusionConfig(Schedule(steps=3)))
    text = random(9, 16, seed=8)
    return DiffusionGenerator(model, DctCodec(), text, config, **options)


def never() -> bool:
    return False


def test_a_first_chunk_is_what_diffusers_makes_of_it(model: WanWorldTransformer) -> None:
    steps = 4
    theirs = WanVACETransformer3DModel(**SIZES).eval()
    theirs.load_state_dict(model.state_dict())
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=1.0
    )
    scheduler.set_timesteps(sigmas=np.array(wan_sigmas(steps, 5.0)))
    given = condition()
    sample = torch.randn(given.readout.latents.shape, generator=torch.Generator().manual_seed(5))
    white = DctCodec().encode(torch.ones(1, 3, 16 * ROWS, 16 * COLUMNS)).expand(T, -1, -1, -1)
    control = torch.cat([given.readout.latents, white], dim=1).transpose(0, 1)[None]
    sample = sample.transpose(0, 1)[None]
    text = random(9, 16, seed=8)[None]
    with torch.no_grad():
        for timestep in scheduler.timesteps:
            velocity = theirs(
                sample,
                timestep[None],
                text,
                control_hidden_states=control,
                return_dict=False,
            )[0]
            sample = scheduler.step(velocity, timestep, sample, return_dict=False)[0]
    config = DiffusionConfig(Schedule(steps=steps))
    ours = generator(model, config=config).generate(given, never).latents
    expected = sample[0].transpose(0, 1)
    assert (ours - expected).abs().max() < 2e-5 * expected.abs().max()


def test_one_step_is_plain_arithmetic_with_everything_known(model: WanWorldTransformer) -> None:
    """Frames in order references, targets, preceding; clean ones at level 0; guidance."""
    given, sigma, guidance = whole(), 0.8, 3.0
    schedule = Schedule(solver="euler", sigmas=(sigma,))
    negative = random(9, 16, seed=9)
    made = generator(
        model, config=DiffusionConfig(schedule, guidance=guidance), negative_text=negative
    ).generate(given, never)

    noise = torch.randn(T, 48, ROWS, COLUMNS, generator=torch.Generator().manual_seed(5))
    noise[0] = given.first_latents
    sequence = torch.cat([given.references, noise, given.preceding.latents])
    levels = torch.tensor([[0.0, 0.0, 0.0, 800.0, 800.0, 0.0]])
    white = DctCodec().encode(torch.ones(1, 3, 16 * ROWS, 16 * COLUMNS)).expand(4, -1, -1, -1)
    scene = torch.cat([given.readout.latents, given.preceding.readout.latents])
    control = torch.cat([scene, white], dim=1).transpose(0, 1)[None]
    hidden = sequence.transpose(0, 1)[None]
    wanted, unwanted = (
        model(hidden, levels, text[None], control, num_references=2)[0][0].transpose(0, 1)
        for text in (random(9, 16, seed=8), negative)
    )
    velocity = unwanted + guidance * (wanted - unwanted)
    expected = noise - sigma * velocity[2:5]
    expected[0] = given.first_latents
    torch.testing.assert_close(made.latents, expected, atol=2e-5, rtol=1e-4)
    assert torch.equal(made.latents[0], given.first_latents)
    assert (made.depth[0] == 7.0).all()
    assert (made.depth[1:] - 2.0).abs().max() < 1e-5


def test_everything_that_is_known_counts(model: WanWorldTransformer) -> None:
    made = generator(model).generate(whole(), never).latents
    given = whole()
    for change in (
        {"references": None},
        {"references": given.references.flip(0)},
        {"preceding": None},
        {"first_latents": given.first_latents + 1.0},
        {"seed": 6},
    ):
        other = generator(model).generate(replace(given, **change), never).latents
        assert not torch.allclose(other[1:], made[1:], atol=1e-3), change


@pytest.mark.parametrize("solver", ["unipc", "euler", "renoise"])
def test_one_seed_one_chunk_whatever_is_kept(model: WanWorldTransformer, solver: str) -> None:
    config = DiffusionConfig(Schedule(steps=3, solver=solver))
    first = generator(model, config=config)
    made = first.generate(whole(), never).latents
    assert torch.equal(first.generate(whole(), never).latents, made)
    fresh = generator(model, config=config, keep_text_keys=False)
    torch.testing.assert_close(fresh.generate(whole(), never).latents, made, atol=1e-5, rtol=1e-4)


def test_the_constant_video_is_encoded_once_a_shape(model: WanWorldTransformer) -> None:
    class Counting(DctCodec):
        shapes: list[tuple[int, ...]] = []  # noqa: RUF012 - of this one test

        def encode_video(self, frames: Tensor) -> Tensor:
            self.shapes.append(tuple(frames.shape))
            return super().encode_video(frames)

    codec = Counting()
    ours = DiffusionGenerator(
        model, codec, random(9, 16), DiffusionConfig(Schedule(steps=1, solver="euler"))
    )
    for given in (condition(), condition(6), whole(), whole()):
        ours.generate(given, never)
    height, width = 16 * ROWS, 16 * COLUMNS
    assert codec.shapes == [(T, 3, height, width), (T + 1, 3, height, width)]


def test_it_asks_within_steps_and_stops_between_them(model: WanWorldTransformer) -> None:
    layers = len(model.blocks)
    assert layers > 1
    asked = []

    def late() -> bool:
        asked.append(len(asked))
        # From within the second step on.
        return len(asked) > layers + 2

    with pytest.raises(GenerationCancelled, match="step 2 of 3"):
        generator(model).generate(condition(), late)
    assert len(asked) == 2 * (layers + 1) + 1


def test_a_chunk_of_which_all_is_known_needs_no_step(model: WanWorldTransformer) -> None:
    given = whole()
    readout = given.readout
    one = replace(
        given,
        readout=Readout(
            readout.latents[:1], readout.coverage[:1], readout.depth[:1], readout.observed[:1]
        ),
    )
    made = generator(model).generate(one, lambda: True)
    assert torch.equal(made.latents[0], given.first_latents)


def test_a_model_without_a_side_branch_goes_by_frames_alone(model: WanWorldTransformer) -> None:
    blind = WanWorldTransformer(**(SIZES | {"vace_layers": []})).eval().requires_grad_(False)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("vace")}
    blind.load_state_dict(state)
    given = whole()
    made = generator(blind).generate(given, never).latents
    unseen = replace(given, readout=replace(given.readout, latents=given.readout.latents + 1.0))
    assert torch.equal(generator(blind).generate(unseen, never).latents, made)


@pytest.mark.parametrize("solver", ["unipc", "renoise"])
def test_chunks_made_together_are_what_they_are_alone(
    model: WanWorldTransformer, solver: str
) -> None:
    """Three of one layout in batches of two, and one of another in between."""
    config = DiffusionConfig(Schedule(steps=3, solver=solver), batch=2)
    ours = generator(model, config=config)
    several = [condition(5), whole(), condition(6), condition(7)]
    calls = []
    handle = model.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    together = ours.generate_together(several, never)
    handle.remove()
    assert sorted(calls) == 3 * [1] + 3 * [1] + 3 * [2]
    for given, made in zip(several, together, strict=True):
        alone = generator(model, config=replace(config, batch=1)).generate(given, never)
        torch.testing.assert_close(made.latents, alone.latents, atol=2e-5, rtol=1e-4)
        assert torch.equal(made.depth, alone.depth)


def test_stages_are_timed(model: WanWorldTransformer) -> None:
    from contextlib import contextmanager

    class Clock:
        def __init__(self) -> None:
            self.seen: list[str] = []

        @contextmanager
        def measure(self, stage: str):  # type: ignore[no-untyped-def]
            self.seen.append(stage)
            yield

    clock = Clock()
    generator(model).generate(replace(condition(), stages=clock), never)
    assert clock.seen == ["conditioning"] + 3 * ["denoise_step"]


def test_more_references_than_the_model_allows(model: WanWorldTransformer) -> None:
    with pytest.raises(ConfigurationError, match=r"at most the model's 4\. Got 5"):
        generator(model, config=DiffusionConfig(references=5))
    many = replace(whole(), references=random(5, 48, ROWS, COLUMNS))
    with pytest.raises(GenerationError, match="0 to 4 references"):
        generator(model).generate(many, never)


def test_what_does_not_fit_the_model_is_refused(model: WanWorldTransformer) -> None:
    with pytest.raises(ConfigurationError, match="needs a negative prompt"):
        generator(model, config=DiffusionConfig(guidance=5.0))
    with pytest.raises(ConfigurationError, match="preceding must not be negative"):
        DiffusionConfig(preceding=-1)
    with pytest.raises(GenerationError, match=r"\(L, 16\)\. Got \(9, 15\)"):
        DiffusionGenerator(model, DctCodec(), random(9, 15))
    narrow = WanWorldTransformer(**(SIZES | {"in_channels": 16}))
    with pytest.raises(ConfigurationError, match=r"codec's 48 channels\. Got 16 and 48"):
        DiffusionGenerator(narrow, DctCodec(), random(9, 16))
    half = WanWorldTransformer(**(SIZES | {"vace_in_channels": 48}))
    with pytest.raises(ConfigurationError, match=r"twice the codec's channels, 96\. Got 48"):
        DiffusionGenerator(half, DctCodec(), random(9, 16))

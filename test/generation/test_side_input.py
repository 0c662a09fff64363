"""What the side branch is given, and chunks denoised in the units that come with it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from stand_ins import MeanCodec
from tiny_nano import (
    COLUMNS,
    ROWS,
    SCALES,
    T,
    condition,
    headless_transformer,
    never,
    random,
    tiny_nano,
    tiny_transformer,
    whole,
)
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError
from mirage_ros.generation import ChunkCondition, GenerationCancelled
from mirage_ros.generation.base import Preceding
from mirage_ros.generation.diffusion import DiffusionConfig, DiffusionGenerator
from mirage_ros.generation.nano_model import nano_generator
from mirage_ros.generation.scene import control_of, scene_of, units_of
from mirage_ros.generation.schedule import Schedule, wan_sigmas
from mirage_ros.generation.side_input import ConstantSide, SceneSide
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.memory.base import Readout

CODEC = DctCodec()
WHITE = CODEC.encode(torch.ones(1, 3, 16 * ROWS, 16 * COLUMNS))


def draft_of(given: ChunkCondition) -> Tensor:  # (T, C, h, w)
    """As the generator must draw it: with the preceding frames, whose texture counts as well."""
    readouts = [given.readout]
    if given.preceding is not None:
        readouts.append(given.preceding.readout)
    return scene_of(Readout.joined(readouts), CODEC).draft[: len(given.readout.latents)]


def generator(
    transformer: WanWorldTransformer, steps: int = 1, told: str = "placement", **options: object
) -> DiffusionGenerator:
    schedule = Schedule(steps, shift=1.0, solver=str(options.pop("solver", "euler")))
    config = DiffusionConfig(schedule, prediction="clean", **options)  # type: ignore[arg-type]
    side = SceneSide(CODEC, SCALES, told)
    return DiffusionGenerator(transformer, CODEC, torch.zeros(1, 8), config, side=side)


GIVEN = {
    "first chunk": condition(),
    "everything": whole(),
    "no references": replace(whole(), references=None),
    "no preceding": replace(whole(), preceding=None),
    "no first frame": replace(whole(), first_latents=None, first_depth=None),
    "not placed": whole(placed=False),
}


# --- the side branch's input


def test_the_side_branch_sees_targets_then_preceding_frames() -> None:
    batch = [whole(5), whole(50)]
    chunk = SceneSide(CODEC, SCALES).of(batch)
    assert chunk.units is not None
    assert chunk.control.shape == (2, 96, T + 1, ROWS, COLUMNS)
    for entry, given in enumerate(batch):
        assert given.preceding is not None
        scene = scene_of(Readout.joined([given.readout, given.preceding.readout]), CODEC)
        arrays = scene.draft[None], scene.known[None]
        control = control_of(*arrays, scene.about[None], SCALES)
        assert torch.equal(chunk.control[entry], control[0])
        units = units_of(*arrays, SCALES)
        assert torch.equal(chunk.units.origin[entry], units.origin[0])
        assert torch.equal(chunk.units.scale[entry], units.scale[0])


def test_told_a_constant_the_white_video_stands_beside_the_draft() -> None:
    given = whole(placed=False)
    plain, white = SceneSide(CODEC, SCALES, "constant"), SceneSide(CODEC, SCALES)
    assert not plain.needs_placement
    assert white.needs_placement
    constant, placed = plain.of([given]), white.of([given])
    assert torch.equal(constant.control[:, :48], placed.control[:, :48])
    expected = WHITE[0][:, None].expand(-1, T + 1, -1, -1)
    assert torch.equal(constant.control[0, 48:], expected)
    assert constant.units is not None
    assert placed.units is not None
    assert torch.equal(constant.units.scale, placed.units.scale)


def test_as_published_there_are_no_units_and_no_placement() -> None:
    side = ConstantSide(CODEC)
    assert not side.needs_placement
    chunk = side.of([condition(placed=False)])
    assert chunk.units is None
    assert torch.equal(chunk.control[0, :48].transpose(0, 1), condition().readout.latents)
    assert torch.equal(chunk.control[0, 48:], WHITE[0][:, None].expand(-1, T, -1, -1))


def test_other_things_cannot_be_told() -> None:
    with pytest.raises(
        ConfigurationError, match=r"told must be one of placement, constant\. Got 'both'"
    ):
        SceneSide(CODEC, SCALES, "both")


def test_scales_of_other_channels_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"3 channels\. Got 48"):
        SceneSide(MeanCodec(), SCALES)


def test_placed_readouts_need_linear_blocks() -> None:
    class Other(DctCodec):
        pass

    chunk = SceneSide(Other(), SCALES).of([condition()])
    assert chunk.control.shape[1] == 96

    class Foreign:
        name, channels = "foreign", 48

    with pytest.raises(ConfigurationError, match="Got codec 'foreign'"):
        SceneSide(Foreign(), SCALES).of([condition()])  # type: ignore[arg-type]


# --- denoising in units


@pytest.mark.parametrize("name", list(GIVEN))
@pytest.mark.parametrize("steps", [1, 3])
def test_a_model_that_says_nothing_returns_the_draft(name: str, steps: int) -> None:
    given = GIVEN[name]
    made = generator(headless_transformer(), steps).generate(given, never)
    expected = draft_of(given)
    start = 0
    if given.first_latents is not None:
        assert torch.equal(made.latents[0], given.first_latents)
        start = 1
    torch.testing.assert_close(made.latents[start:], expected[start:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("solver", ["euler", "unipc", "renoise"])
def test_every_solver_ends_at_what_a_model_holds_for_clean(solver: str) -> None:
    """Also where the model is told whole levels, which are a little beside the solver's."""
    made = generator(headless_transformer(), 7, solver=solver).generate(condition(), never)
    torch.testing.assert_close(made.latents, draft_of(condition()), atol=1e-5, rtol=1e-5)


def output_of(
    transformer: WanWorldTransformer, given: ChunkCondition, sample: Tensor, level: float
) -> Tensor:  # (T, 48, h, w) in the model's units
    """One evaluation, with the sequence and all units put together by hand."""
    assert given.references is not None
    assert given.preceding is not None
    assert given.first_latents is not None
    scene = scene_of(Readout.joined([given.readout, given.preceding.readout]), CODEC)
    error, picture = torch.tensor(SCALES.draft_error), torch.tensor(SCALES.picture)
    scale = torch.where(scene.known[..., None], error, picture).permute(0, 3, 1, 2)
    first = (given.first_latents - scene.draft[0]) / scale[0]
    preceding = (given.preceding.latents - scene.draft[T:]) / scale[T:]
    references = given.references / picture[:, None, None]
    sequence = torch.cat([references, first[None], sample[1:], preceding])
    levels = torch.tensor([[0.0, 0.0, 0.0, *[1000.0 * level] * (T - 1), 0.0]])
    beside = torch.where(scene.known[:, None], scene.draft / picture[:, None, None], 0.0)
    control = torch.cat([beside, scene.about], dim=1).transpose(0, 1)[None]
    with torch.no_grad():
        output = transformer(
            sequence.transpose(0, 1)[None],
            levels,
            torch.zeros(1, 1, 8),
            control,
            num_references=len(references),
        )[0][0].transpose(0, 1)
    return output[2 : 2 + T]


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_plain_arithmetic_with_everything_known(steps: int) -> None:
    """x moves towards what the model holds for clean: by its share of the level that is left."""
    given, transformer = whole(), tiny_transformer()
    sample = torch.randn(T, 48, ROWS, COLUMNS, generator=torch.Generator().manual_seed(5))
    levels = [*wan_sigmas(steps, 1.0), 0.0]
    for level, following in pairwise(levels):
        clean = output_of(transformer, given, sample, level)
        sample = clean + (sample - clean) * following / level
    scene = scene_of(Readout.joined([given.readout, given.preceding.readout]), CODEC)
    error, picture = torch.tensor(SCALES.draft_error), torch.tensor(SCALES.picture)
    scale = torch.where(scene.known[..., None], error, picture).permute(0, 3, 1, 2)
    expected = (sample * scale[:T] + scene.draft[:T])[1:]
    made = generator(transformer, steps).generate(given, never).latents
    torch.testing.assert_close(made[1:], expected, atol=2e-4, rtol=1e-3)
    assert torch.equal(made[0], given.first_latents)
    assert not torch.allclose(made[1:], draft_of(given)[1:], atol=0.1)


def test_clean_predictions_work_without_units_too() -> None:
    """In one step the chunk is the model's output, whatever its side branch sees."""
    transformer, given = tiny_transformer(), condition(placed=False)
    config = DiffusionConfig(Schedule(1, shift=1.0, solver="euler"), prediction="clean")
    ours = DiffusionGenerator(transformer, CODEC, torch.zeros(1, 8), config)
    noise = torch.randn(T, 48, ROWS, COLUMNS, generator=torch.Generator().manual_seed(5))
    white = WHITE.expand(T, -1, -1, -1)
    control = torch.cat([given.readout.latents, white], dim=1).transpose(0, 1)[None]
    expected = transformer(
        noise.transpose(0, 1)[None], torch.full((1, T), 999.0), torch.zeros(1, 1, 8), control
    )[0][0].transpose(0, 1)
    made = ours.generate(given, never).latents
    torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("told", ["placement", "constant"])
def test_several_chunks_at_once_are_each_as_alone(told: str) -> None:
    """Also such with and without anything known, whose units differ."""
    model, given = tiny_nano(told=told), [whole(5), whole(50), whole(500)]
    blank = torch.zeros_like(given[2].readout.coverage)
    given[2] = replace(given[2], readout=replace(given[2].readout, coverage=blank))
    alone = [nano_generator(model, CODEC, steps=2, batch=1).generate(c, never) for c in given]
    together = nano_generator(model, CODEC, steps=2).generate_together(given, never)
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other.latents, one.latents, atol=1e-4, rtol=1e-4)


def test_everything_that_is_known_counts() -> None:
    ours, given = nano_generator(tiny_nano(), CODEC, steps=2), whole()
    made = ours.generate(given, never).latents
    placement = given.readout.placement
    assert placement is not None
    turned = replace(given.readout, placement=replace(placement, turn=placement.turn + 0.5))
    farther = replace(given.readout, depth=2.0 * given.readout.depth)
    assert given.preceding is not None
    earlier = Preceding(given.preceding.latents + 1.0, given.preceding.readout)
    for change in (
        {"references": None},
        {"preceding": None},
        {"preceding": earlier},
        {"first_latents": random(48, ROWS, COLUMNS, seed=1)},
        {"seed": 6},
        {"readout": turned},
        {"readout": farther},
        {"readout": replace(given.readout, placement=None)},
    ):
        other = ours.generate(replace(given, **change), never).latents  # type: ignore[arg-type]
        assert (other[1:] - made[1:]).abs().max() > 1e-4, list(change)


def test_a_side_branch_is_no_condition_for_units() -> None:
    """A model without one still finishes the draft."""
    blind = tiny_transformer(vace_layers=[])
    blind.proj_out.weight.zero_()
    blind.proj_out.bias.zero_()
    made = generator(blind, 2).generate(whole(), never).latents
    torch.testing.assert_close(made[1:], draft_of(whole())[1:], atol=1e-5, rtol=1e-5)


def test_it_stops_between_steps_and_needs_none_where_all_is_known() -> None:
    with pytest.raises(GenerationCancelled, match="step 0 of 3"):
        generator(tiny_transformer(), 3).generate(whole(), lambda: True)
    given = whole()
    one = replace(given, readout=given.readout.part(slice(0, 1)))
    made = generator(tiny_transformer(), 3).generate(one, lambda: True).latents
    assert torch.equal(made[0], given.first_latents)


def test_predictions_of_unknown_kind_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"one of velocity, clean\. Got 'noise'"):
        DiffusionConfig(prediction="noise")

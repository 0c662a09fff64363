"""What is remembered of a chunk, drawn up for the small model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from stand_ins import MeanCodec
from tiny_nano import COLUMNS, ROWS, SCALES, T, random, readout

from mirage_ros.codec import DctCodec
from mirage_ros.codec.dct_blend import blend_blocks
from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.fill import fade_with_distance, fill_holes
from mirage_ros.generation.scene import (
    ABOUT_CHANNELS,
    SceneScales,
    control_of,
    scene_of,
    units_of,
)
from mirage_ros.memory.base import Readout
from mirage_ros.memory.placement import untouched

CODEC = DctCodec()


def nothing(frames: int, *, placed: bool = True) -> Readout:
    where = torch.zeros(frames, ROWS, COLUMNS)
    return Readout(
        torch.zeros(frames, 48, ROWS, COLUMNS),
        where.bool(),
        where,
        where.bool(),
        untouched(where.shape, where.device) if placed else None,
    )


# --- the scene


def test_known_cells_are_the_blended_blocks_and_holes_their_fading_fill() -> None:
    given = readout(T)
    scene = scene_of(given, CODEC)
    assert given.placement is not None
    blended = blend_blocks(
        CODEC, given.latents, given.coverage, given.placement.offset, given.placement.stretch
    ).latents
    where = given.coverage[:, None].expand_as(blended)
    assert torch.equal(scene.draft[where], blended[where])
    filled = fade_with_distance(fill_holes(blended, given.coverage), given.coverage)
    torch.testing.assert_close(scene.draft, filled)
    assert torch.equal(scene.known, given.coverage)
    assert not torch.allclose(scene.draft[where], given.latents[where], atol=0.1)


def test_without_placement_known_cells_are_what_was_read() -> None:
    given = readout(T, placed=False)
    scene = scene_of(given, CODEC)
    where = given.coverage[:, None].expand_as(scene.draft)
    assert torch.equal(scene.draft[where], given.latents[where])


@pytest.mark.parametrize("placed", [True, False])
def test_what_stands_in_holes_of_a_readout_does_not_matter(placed: bool) -> None:
    given = readout(T, placed=placed)
    hole = ~given.coverage
    spoiled = replace(
        given,
        latents=torch.where(hole[:, None], torch.nan, given.latents),
        depth=torch.where(hole, -1.0, given.depth),
    )
    expected, found = scene_of(given, CODEC), scene_of(spoiled, CODEC)
    assert torch.equal(found.draft, expected.draft)
    assert torch.equal(found.about, expected.about)


def test_about_holds_what_its_channels_are_said_to_hold() -> None:
    given = readout(T)
    scene, placement = scene_of(given, CODEC), given.placement
    assert placement is not None
    assert scene.about.shape == (T, ABOUT_CHANNELS, ROWS, COLUMNS)
    assert scene.about.dtype == torch.float32
    about = scene.about.permute(0, 2, 3, 1)  # (T, h, w, 48)
    known = given.coverage
    assert not bool(about[~known].any())
    cells = about[known]
    assert bool((cells[:, 0] == 1.0).all())
    torch.testing.assert_close(cells[:, 1:3], placement.offset[known])
    off = placement.stretch[known] - torch.eye(2)
    for channel, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        torch.testing.assert_close(cells[:, 3 + channel], off[:, row, column])
    torch.testing.assert_close(cells[:, 7], 4.0 * placement.turn[known])
    depth = given.depth[known]
    assert bool((depth < 0.25).any())
    torch.testing.assert_close(cells[:, 8], torch.where(depth < 0.25, 4.0, 1.0 / depth))
    blended = blend_blocks(CODEC, given.latents, known, placement.offset, placement.stretch)
    support = blended.support.permute(0, 2, 3, 1)[known]
    torch.testing.assert_close(cells[:, 9:25], 0.5 * support.clamp(max=4.0))
    spread = blended.spread.permute(0, 2, 3, 1)[known]
    torch.testing.assert_close(cells[:, 25:41], 10.0 * spread)
    assert not bool(cells[:, 41:].any())


def test_support_counts_up_to_four_blocks() -> None:
    given = readout(T)
    assert given.placement is not None
    wide = replace(given.placement, stretch=3.0 * given.placement.stretch)
    about = scene_of(replace(given, placement=wide), CODEC).about
    support = blend_blocks(CODEC, given.latents, given.coverage, wide.offset, wide.stretch).support
    assert float(support.max()) > 4.5
    torch.testing.assert_close(about[:, 9:25], 0.5 * support.clamp(max=4.0))


def test_without_placement_blocks_count_as_lying_in_their_cells() -> None:
    given = readout(T, placed=False)
    cells = scene_of(given, CODEC).about.permute(0, 2, 3, 1)
    assert not bool(cells[~given.coverage].any())
    known = cells[given.coverage]
    assert bool((known[:, 0] == 1.0).all())
    assert not bool(known[:, 1:8].any())
    assert bool((known[:, 9:25] == 0.5).all())
    assert not bool(known[:, 25:].any())
    placed = scene_of(readout(T), CODEC).about.permute(0, 2, 3, 1)[given.coverage]
    assert torch.equal(known[:, 8], placed[:, 8])


@pytest.mark.parametrize("placed", [True, False])
def test_of_frames_of_which_nothing_is_known_nothing_is_said(placed: bool) -> None:
    scene = scene_of(nothing(2, placed=placed), CODEC)
    assert not bool(scene.draft.any())
    assert not bool(scene.known.any())
    assert not bool(scene.about.any())
    some = readout(1, placed=placed)
    both = scene_of(Readout.joined([nothing(1, placed=placed), some]), CODEC)
    assert not bool(both.draft[0].any())
    torch.testing.assert_close(both.draft[1:], scene_of(some, CODEC).draft)


def test_only_linear_blocks_can_be_put_in_place() -> None:
    codec = MeanCodec()
    given = readout(T)
    with pytest.raises(ConfigurationError, match=r"dct16.* can be put in place.* codec 'mean'"):
        scene_of(given, codec)
    latents = torch.zeros(T, 3, ROWS, COLUMNS)
    plain = scene_of(replace(given, latents=latents, placement=None), codec)
    assert plain.draft.shape == latents.shape


# --- units


def test_the_unit_is_the_draft_s_error_where_known_and_a_picture_s_elsewhere() -> None:
    scene = scene_of(readout(T), CODEC)
    units = units_of(scene.draft[None], scene.known[None], SCALES)
    picture, error = torch.tensor(SCALES.picture), torch.tensor(SCALES.draft_error)
    scale = units.scale[0].permute(0, 2, 3, 1)
    assert bool((scale[scene.known] == error).all())
    assert bool((scale[~scene.known] == picture).all())
    assert torch.equal(units.origin[0], scene.draft)


def test_inside_and_outside_are_inverse_on_any_frames() -> None:
    scene = scene_of(readout(4), CODEC)
    draft = torch.stack([scene.draft, scene.draft.flip(0)])
    known = torch.stack([scene.known, scene.known.flip(0)])
    units = units_of(draft, known, SCALES)
    latents = random(2, 2, 48, ROWS, COLUMNS)
    for frames in (slice(0, 2), slice(1, 3), slice(2, 4)):
        inside = units.inside(latents, frames)
        torch.testing.assert_close(units.outside(inside, frames), latents, atol=1e-5, rtol=1e-5)
        zero = units.outside(torch.zeros_like(latents), frames)
        assert torch.equal(zero, draft[:, frames])
        assert not bool(units.inside(draft[:, frames], frames).any())
    one = units.outside(torch.ones_like(latents), slice(0, 2)) - draft[:, :2]
    torch.testing.assert_close(one, units.scale[:, :2], atol=1e-5, rtol=1e-4)
    assert units.inside(latents[:, :0], slice(4, 4)).shape == (2, 0, 48, ROWS, COLUMNS)


def test_whole_frames_are_measured_in_pictures() -> None:
    units = units_of(torch.zeros(1, 1, 48, 2, 2), torch.ones(1, 1, 2, 2).bool(), SCALES)
    references = random(1, 3, 48, ROWS, COLUMNS)
    for channel, picture in enumerate(SCALES.picture):
        expected = references[:, :, channel] / picture
        torch.testing.assert_close(units.whole(references)[:, :, channel], expected)


def test_units_of_frames_without_anything_known() -> None:
    scene = scene_of(nothing(2), CODEC)
    units = units_of(scene.draft[None], scene.known[None], SCALES)
    latents = random(1, 2, 48, ROWS, COLUMNS)
    assert torch.equal(units.inside(latents, slice(0, 2)), units.whole(latents))


def test_control_is_what_is_remembered_then_what_is_told() -> None:
    scene = scene_of(readout(T), CODEC)
    draft = torch.stack([scene.draft, 2.0 * scene.draft])
    known, about = scene.known.expand(2, -1, -1, -1), scene.about.expand(2, -1, -1, -1, -1)
    control = control_of(draft, known, about, SCALES)
    assert control.shape == (2, 48 + ABOUT_CHANNELS, T, ROWS, COLUMNS)
    for entry in range(2):
        for channel in range(48):
            expected = draft[entry, :, channel] / SCALES.picture[channel] * scene.known
            torch.testing.assert_close(control[entry, channel], expected)
            torch.testing.assert_close(control[entry, 48 + channel], scene.about[:, channel])
    hole = (~scene.known)[None, None].expand_as(control)
    assert not bool(control[hole].any())
    assert bool((scene.draft[~scene.known[:, None].expand_as(scene.draft)] != 0.0).any())


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        ((1.0, 1.0), (1.0,), "Got 2 and 1"),
        ((1.0, 0.0), (1.0, 1.0), "finite, positive"),
        ((1.0, 1.0), (1.0, -0.1), "finite, positive"),
        ((1.0, float("inf")), (1.0, 1.0), "finite, positive"),
        ((1.0, 1.0), (float("nan"), 1.0), "finite, positive"),
    ],
)
def test_scales_that_are_none_are_refused(
    picture: tuple[float, ...], error: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SceneScales(picture, error)

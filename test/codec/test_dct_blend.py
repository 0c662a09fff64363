"""Blocks put where they belong, against plain Python and against pictures known everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.codec.dct_blend import Blended, blend_blocks
from mirage_ros.errors import CodecError

CODEC = DctCodec()
LUMA = (0.299, 0.587, 0.114)


def uniform(low: float, high: float, *shape: int, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def unmoved(count: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Offset and stretch of blocks that lie where their cells are."""
    offset = torch.zeros(count, rows, columns, 2)
    return offset, torch.eye(2).expand(count, rows, columns, 2, 2).clone()


def drawn(latents: Tensor, known: Tensor, offset: Tensor, stretch: Tensor) -> Blended:
    return blend_blocks(CODEC, latents, known, offset, stretch)


def random_case(
    count: int, rows: int, columns: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    latents = uniform(-1.5, 1.5, count, 48, rows, columns, seed=seed)
    known = uniform(0.0, 1.0, count, rows, columns, seed=seed + 1) < 0.7
    offset = uniform(-0.9, 0.9, count, rows, columns, 2, seed=seed + 2)
    stretch = torch.eye(2) + uniform(-0.4, 0.4, count, rows, columns, 2, 2, seed=seed + 3)
    return latents, known, offset, stretch


# --- the same in plain Python


def at(block: Tensor, row: float, column: float) -> list[float]:  # block: (3, 16, 16)
    """Colour between pixel centres; the border goes on beyond."""
    row, column = min(max(row - 0.5, 0.0), 15.0), min(max(column - 0.5, 0.0), 15.0)
    top, left = math.floor(row), math.floor(column)
    colour = [0.0, 0.0, 0.0]
    for i, share_i in ((top, 1.0 - (row - top)), (top + 1, row - top)):
        for j, share_j in ((left, 1.0 - (column - left)), (left + 1, column - left)):
            for k in range(3):
                colour[k] += share_i * share_j * float(block[k, min(i, 15), min(j, 15)])
    return colour


def slowly(
    picture: Tensor,  # (3, 16 h, 16 w), the blocks as decoded
    known: Tensor,  # (h, w)
    offset: Tensor,
    stretch: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # picture; support and variance of luma (16 h, 16 w)
    rows, columns = known.shape
    result = picture.clone()
    support, variance = torch.zeros(picture.shape[1:]), torch.zeros(picture.shape[1:])
    back = np.linalg.inv(stretch.double().numpy())
    for i in range(16 * rows):
        for j in range(16 * columns):
            here = i // 16, j // 16
            if not known[here]:
                continue
            total, said = 0.0, []
            for row in range(max(here[0] - 1, 0), min(here[0] + 2, rows)):
                for column in range(max(here[1] - 1, 0), min(here[1] + 2, columns)):
                    if not known[row, column]:
                        continue
                    x = (j + 0.5) / 16 - (column + 0.5) - float(offset[row, column, 0])
                    y = (i + 0.5) / 16 - (row + 0.5) - float(offset[row, column, 1])
                    u, v = back[row, column] @ [x, y]
                    if abs(u) >= 1.0 or abs(v) >= 1.0:
                        continue
                    weight = ((1.0 - u * u) * (1.0 - v * v)) ** 4
                    block = picture[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
                    said.append((weight, at(block, 16 * (v + 0.5), 16 * (u + 0.5))))
                    total += weight
            support[i, j] = total
            if total > 1e-6:
                mean = [sum(w * c[k] for w, c in said) / total for k in range(3)]
                result[:, i, j] = torch.tensor(mean)
                lumas = [(w, sum(a * b for a, b in zip(LUMA, c, strict=True))) for w, c in said]
                middle = sum(w * luma for w, luma in lumas) / total
                variance[i, j] = sum(w * (luma - middle) ** 2 for w, luma in lumas) / total
    return result, support, variance


def parts(values: Tensor) -> Tensor:  # (16 h, 16 w) -> (16, h, w), means of 4x4 pixels
    means = torch.nn.functional.avg_pool2d(values[None, None], 4)
    return torch.nn.functional.pixel_unshuffle(means, 4)[0]


@pytest.mark.parametrize("seed", [0, 10])
def test_it_is_what_plain_python_makes(seed: int) -> None:
    latents, known, offset, stretch = random_case(1, 2, 3, seed)
    blended = drawn(latents, known, offset, stretch)
    picture, support, variance = slowly(CODEC.decode(latents)[0], known[0], offset[0], stretch[0])
    cells = known[0]
    expected = CODEC.encode(picture[None])[0]
    torch.testing.assert_close(blended.latents[0][:, cells], expected[:, cells], atol=1e-3, rtol=0)
    torch.testing.assert_close(blended.support[0], parts(support), atol=1e-5, rtol=0)
    torch.testing.assert_close(blended.spread[0], parts(variance).sqrt(), atol=1e-3, rtol=0)


# --- closed forms


def grey(*levels: float) -> Tensor:  # (1, 48, 1, len(levels)) latents of constant cells
    row = torch.tensor(levels).repeat_interleave(16)
    return CODEC.encode(row.expand(1, 3, 16, -1).contiguous())


def bell() -> Tensor:  # (16,) weight of a block along one axis, at its pixels
    return (1.0 - ((torch.arange(16) + 0.5) / 16 - 0.5).square()) ** 4


def test_a_constant_stays_one_wherever_blocks_lie() -> None:
    _, _, offset, stretch = random_case(2, 4, 5, 3)
    colour = torch.tensor([0.8, 0.3, 0.1])[:, None, None]
    picture = colour.expand(2, 3, 64, 80).contiguous()
    blended = drawn(CODEC.encode(picture), torch.ones(2, 4, 5, dtype=torch.bool), offset, stretch)
    torch.testing.assert_close(CODEC.decode(blended.latents), picture, atol=1e-4, rtol=0)
    assert float(blended.spread.max()) < 1e-3


def test_a_block_alone_in_its_place_is_what_it_was() -> None:
    """Exactly, up to rounding: nothing else has a say in its cell. Its weight is a bell."""
    latents = uniform(-1.5, 1.5, 1, 48, 3, 3)
    known = torch.zeros(1, 3, 3, dtype=torch.bool)
    known[0, 1, 1] = True
    blended = drawn(latents, known, *unmoved(1, 3, 3))
    torch.testing.assert_close(blended.latents, latents, atol=5e-4, rtol=0)
    expected = parts(torch.outer(bell(), bell()))[:, 0, 0]
    torch.testing.assert_close(blended.support[0, :, 1, 1], expected)
    assert float(expected.max()) > 0.85
    assert float(blended.spread.max()) < 1e-3


def test_two_blocks_are_weighed_by_how_near_their_middles_are() -> None:
    low, high = 0.25, 0.65
    known = torch.ones(1, 1, 2, dtype=torch.bool)
    blended = drawn(grey(low, high), known, *unmoved(1, 1, 2))
    # In the left cell the other block's middle is one side away; it ends half a cell in.
    x = (torch.arange(16) + 0.5) / 16 - 0.5
    other = (1.0 - (x - 1.0).square()).clamp(min=0.0) ** 4
    share = other / (other + bell())
    profile = low + (high - low) * share
    expected = CODEC.encode(profile.expand(1, 3, 16, 16).contiguous())[0, :, 0, 0]
    torch.testing.assert_close(blended.latents[0, :, 0, 0], expected, atol=5e-4, rtol=0)
    weights = torch.outer(bell(), bell() + other)
    torch.testing.assert_close(blended.support[0, :, 0, 0], parts(weights)[:, 0, 0])
    variance = ((high - low) ** 2 * share * (1.0 - share)).expand(16, 16)
    spread = parts(variance)[:, 0, 0].sqrt()
    torch.testing.assert_close(blended.spread[0, :, 0, 0], spread, atol=1e-3, rtol=0)
    assert float(spread.max()) > 0.15


def test_a_larger_block_has_its_say_farther_out() -> None:
    """Stretched by two along x: its weight at x is that of the unstretched one at x / 2."""
    known = torch.ones(1, 1, 1, dtype=torch.bool)
    offset, stretch = unmoved(1, 1, 1)
    stretch[..., 0, 0] = 2.0
    x = ((torch.arange(16) + 0.5) / 16 - 0.5) / 2.0
    expected = parts(torch.outer(bell(), (1.0 - x.square()) ** 4))[:, 0, 0]
    found = drawn(grey(0.5), known, offset, stretch).support[0, :, 0, 0]
    torch.testing.assert_close(found, expected)


def test_pixels_that_no_block_reaches_stay_what_their_cell_held() -> None:
    """A block far to the right leaves the left of its cell without support."""
    latents = uniform(-1.0, 1.0, 1, 48, 1, 1)
    offset, stretch = unmoved(1, 1, 1)
    offset[..., 0] = 1.25
    known = torch.ones(1, 1, 1, dtype=torch.bool)
    blended = drawn(latents, known, offset, stretch)
    support = blended.support.reshape(4, 4)
    assert not bool(support[:, :3].any())
    assert bool((support[:, 3] > 0.0).all())
    before, after = CODEC.decode(latents), CODEC.decode(blended.latents)
    # Analysis blurs what was pasted on the right, so the left is only about as before.
    left = (after - before)[..., :8].square().mean().sqrt()
    assert float(left) < 0.5 * float((after - before)[..., 12:].square().mean().sqrt())


# --- pictures known everywhere


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """A wave of four cells, slanted, in three colours."""
    phase = 2.0 * math.pi * (0.22 * x + 0.13 * y)
    return torch.stack([0.5 + 0.3 * torch.cos(phase + shift) for shift in (0.0, 0.7, 2.0)])


def ramp(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([0.2 + 0.08 * x, 0.7 - 0.06 * y, 0.3 + 0.02 * (x + y)])


def sampled(
    function: Callable[[Tensor, Tensor], Tensor], offset: Tensor, stretch: Tensor
) -> Tensor:  # (1, 48, h, w)
    """Latents of blocks that show a picture at an offset from their cells, stretched."""
    rows, columns = offset.shape[1:3]
    local = (torch.arange(16) + 0.5) / 16 - 0.5
    v, u = torch.meshgrid(local, local, indexing="ij")
    picture = torch.zeros(1, 3, 16 * rows, 16 * columns)
    for row in range(rows):
        for column in range(columns):
            a, b, c, d = stretch[0, row, column].flatten()
            x = column + 0.5 + offset[0, row, column, 0] + a * u + b * v
            y = row + 0.5 + offset[0, row, column, 1] + c * u + d * v
            block = (slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
            picture[(0, slice(None), *block)] = function(x, y)
    return CODEC.encode(picture)


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


@pytest.mark.parametrize("function", [cosine, ramp])
def test_what_lies_where_it_belongs_stays_about_as_it_was(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Only about: near borders a block is mixed with what its neighbours' borders go on to."""
    offset, stretch = unmoved(1, 6, 8)
    latents = sampled(function, offset, stretch)
    known = torch.ones(1, 6, 8, dtype=torch.bool)
    picture = CODEC.decode(latents)
    again = CODEC.decode(drawn(latents, known, offset, stretch).latents)
    assert rms(again - picture) < 0.06 * float(picture.std())


@pytest.mark.parametrize("function", [cosine, ramp])
@pytest.mark.parametrize("kind", ["shifted", "scaled", "sheared"])
def test_blocks_seen_elsewhere_are_put_in_their_place(
    kind: str, function: Callable[[Tensor, Tensor], Tensor]
) -> None:
    rows, columns = 6, 8
    offset, stretch = unmoved(1, rows, columns)
    if kind == "shifted":
        offset = uniform(-0.5, 0.5, 1, rows, columns, 2, seed=5)
    elif kind == "scaled":
        stretch = stretch * uniform(0.8, 2.0, 1, rows, columns, seed=6)[..., None, None]
    else:
        offset = uniform(-0.3, 0.3, 1, rows, columns, 2, seed=7)
        stretch = stretch + uniform(-0.4, 0.4, 1, rows, columns, 2, 2, seed=8)
    latents = sampled(function, offset, stretch)
    truth = CODEC.decode(sampled(function, *unmoved(1, rows, columns)))
    known = torch.ones(1, rows, columns, dtype=torch.bool)
    placed = CODEC.decode(drawn(latents, known, offset, stretch).latents)
    before, after = rms(CODEC.decode(latents) - truth), rms(placed - truth)
    assert after < 0.35 * before


# --- what else holds


def test_unknown_cells_are_neither_touched_nor_looked_at() -> None:
    latents, known, offset, stretch = random_case(2, 3, 4, 20)
    assert bool((~known).any())
    expected = drawn(latents, known, offset, stretch)
    assert torch.equal(_cells(expected.latents, ~known), _cells(latents, ~known))
    hole = (~known)[..., None]
    spoiled = drawn(
        torch.where(known[:, None], latents, torch.nan),
        known,
        torch.where(hole, torch.nan, offset),
        torch.where(hole[..., None], 0.0, stretch),
    )
    assert torch.equal(_cells(spoiled.latents, known), _cells(expected.latents, known))
    assert torch.equal(spoiled.support, expected.support)
    assert torch.equal(spoiled.spread, expected.spread)
    assert not bool(_cells(expected.support, ~known).any())
    assert not bool(_cells(expected.spread, ~known).any())


def _cells(planes: Tensor, where: Tensor) -> Tensor:  # (T, C, h, w), (T, h, w) -> (N, C)
    return planes.permute(0, 2, 3, 1)[where]


def test_views_are_drawn_each_by_itself() -> None:
    case = random_case(3, 3, 4, 30)
    together = drawn(*case)
    for view in range(3):
        alone = drawn(*(values[view : view + 1] for values in case))
        torch.testing.assert_close(alone.latents[0], together.latents[view], atol=1e-5, rtol=1e-5)
        assert torch.equal(alone.support[0], together.support[view])


def test_a_mirrored_scene_gives_the_mirrored_picture() -> None:
    latents, known, offset, stretch = random_case(1, 4, 5, 40)
    mirror = torch.tensor([-1.0, 1.0])
    mirrored = drawn(
        CODEC.encode(CODEC.decode(latents).flip(-1)),
        known.flip(-1),
        (offset * mirror).flip(2),
        (stretch * torch.outer(mirror, mirror)).flip(2),
    )
    blended = drawn(latents, known, offset, stretch)
    expected = CODEC.decode(blended.latents).flip(-1)
    torch.testing.assert_close(CODEC.decode(mirrored.latents), expected, atol=1e-4, rtol=0)
    for found, wanted in (
        (mirrored.support, blended.support),
        (mirrored.spread, blended.spread),
    ):
        wanted = wanted.unflatten(1, (4, 4)).flip(2).flatten(1, 2).flip(-1)
        torch.testing.assert_close(found, wanted, atol=1e-3, rtol=0)


def test_the_same_bits_on_one_and_two_threads() -> None:
    case = random_case(2, 5, 6, 50)
    before, results = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append(drawn(*case))
    finally:
        torch.set_num_threads(before)
    for name in ("latents", "support", "spread"):
        assert torch.equal(getattr(results[0], name), getattr(results[1], name))


def test_no_known_cells_are_fine() -> None:
    latents, known, offset, stretch = random_case(2, 2, 3, 60)
    nothing = drawn(latents, torch.zeros_like(known), offset, stretch)
    assert torch.equal(nothing.latents, latents)
    assert not bool(nothing.support.any())


@pytest.mark.parametrize(
    ("which", "values"),
    [
        (0, torch.zeros(48, 2, 3)),
        (0, torch.zeros(2, 47, 2, 3)),
        (0, torch.zeros(2, 48, 2, 3, dtype=torch.float64)),
        (1, torch.ones(2, 3, 2, dtype=torch.bool)),
        (1, torch.ones(2, 2, 3)),
        (2, torch.zeros(2, 2, 3)),
        (2, torch.zeros(2, 2, 3, 2, dtype=torch.float64)),
        (3, torch.ones(2, 2, 3, 2)),
        (3, torch.zeros(2, 2, 3, 2, 2)),
        (2, torch.full((2, 2, 3, 2), torch.nan)),
        (3, torch.full((2, 2, 3, 2, 2), torch.inf)),
    ],
)
def test_what_does_not_fit_is_refused(which: int, values: Tensor) -> None:
    case = list(random_case(2, 2, 3, 70))
    case[which] = values
    with pytest.raises(CodecError, match="Got"):
        drawn(*case)

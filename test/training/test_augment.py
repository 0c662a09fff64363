"""A changed sample is what a changed world would have given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import DATA, sample

from mirage_ros.codec import DctCodec
from mirage_ros.generation.scene import scene_of
from mirage_ros.memory import Readout
from mirage_ros.memory.placement import Placement
from mirage_ros.training.augment import Augmentation, forget_all, forget_region
from mirage_ros.training.shards import Batch

CODEC = DctCodec()


def batch(*seeds: int) -> Batch:
    samples = [sample(seed) for seed in seeds]
    names = ("latents", "draft", "known", "about", "references")
    parts = {name: torch.stack([getattr(s, name) for s in samples]) for name in names}
    return Batch(**parts, reference_count=torch.tensor([s.reference_count for s in samples]))


class Fixed:
    """A generator that draws what it is told to."""

    def __init__(self, mirrored: bool, *uniform: float) -> None:
        self._first = 0.0 if mirrored else 1.0
        self._uniform = list(uniform)

    def random(self) -> float:
        return self._first

    def uniform(self, low: float, high: float) -> float:
        value = self._uniform.pop(0)
        assert low <= value <= high
        return value


# Contrast, saturation, hue, brightness.
UNCHANGED = (1.0, 1.0, 0.0, 0.0)


def test_a_mirrored_sample_is_that_of_mirrored_pictures() -> None:
    given = batch(1)
    made = Augmentation(CODEC)(given, Fixed(True, *UNCHANGED))  # type: ignore[arg-type]
    pictures = CODEC.decode(given.latents[0])
    mirrored = CODEC.encode(pictures.flip(-1))
    torch.testing.assert_close(made.latents[0], mirrored, rtol=1e-4, atol=1e-4)
    drafts = CODEC.encode(CODEC.decode(given.draft[0]).flip(-1))
    torch.testing.assert_close(made.draft[0], drafts, rtol=1e-4, atol=1e-4)
    assert torch.equal(made.known, given.known.flip(-1))
    # The given sample is left as it was.
    torch.testing.assert_close(given.latents, batch(1).latents)


def test_what_is_told_mirrors_like_the_readout() -> None:
    """The scene of a mirrored readout is the mirrored scene."""
    generator = torch.Generator().manual_seed(4)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    known = random(1, 4, 6) > -0.5
    offset, stretch = 0.3 * random(1, 4, 6, 2), torch.eye(2) + 0.2 * random(1, 4, 6, 2, 2)
    turn, depth = random(1, 4, 6).abs(), 1.0 + random(1, 4, 6).abs()
    latents = random(1, 48, 4, 6)
    readout = Readout(latents, known, depth, known, Placement(offset, stretch, turn))
    mirror = torch.tensor([-1.0, 1.0])
    signs = Augmentation(CODEC)._signs
    mirrored = Readout(
        latents.flip(-1) * signs,
        known.flip(-1),
        depth.flip(-1),
        known.flip(-1),
        Placement(
            offset.flip(2) * mirror,
            stretch.flip(2) * mirror[:, None] * mirror,
            turn.flip(-1),
        ),
    )
    here, there = scene_of(readout, CODEC), scene_of(mirrored, CODEC)
    given = Batch(
        latents[None], here.draft[None], here.known[None], here.about[None],
        latents[None], torch.tensor([1]),
    )  # fmt: skip
    made = Augmentation(CODEC)(given, Fixed(True, *UNCHANGED))  # type: ignore[arg-type]
    torch.testing.assert_close(made.about[0], there.about, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(made.draft[0], there.draft, rtol=1e-3, atol=1e-4)


def test_another_light_is_that_of_the_pictures() -> None:
    given = batch(2)
    contrast, brightness = 0.8, 0.05
    drawn = Fixed(False, contrast, 1.0, 0.0, brightness)
    made = Augmentation(CODEC)(given, drawn)  # type: ignore[arg-type]
    luma = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    pictures = CODEC.decode(given.latents[0])
    grey = (pictures * luma).sum(dim=1, keepdim=True)
    expected = pictures + (contrast - 1.0) * grey + brightness
    torch.testing.assert_close(CODEC.decode(made.latents[0]), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(made.known, given.known)


def test_colour_turns_without_changing_luma() -> None:
    given = batch(3)
    made = Augmentation(CODEC)(given, Fixed(False, 1.0, 1.2, 0.4, 0.0))  # type: ignore[arg-type]
    torch.testing.assert_close(made.latents[:, :, :36], given.latents[:, :, :36])
    before, after = given.latents[0, :, 36:], made.latents[0, :, 36:]
    assert not torch.allclose(before, after, atol=1e-3)
    torch.testing.assert_close(after.square().sum(), 1.2**2 * before.square().sum())


def test_a_frame_without_draft_stays_without() -> None:
    given = forget_all(batch(1, 2), torch.tensor([True, False]))
    made = Augmentation(CODEC)(given, np.random.default_rng(0))
    assert not bool(made.draft[0].any())
    assert bool(made.draft[1].any())


def test_what_is_forgotten_is_gone_from_all_that_is_told() -> None:
    given = batch(1, 2)
    made = forget_all(given, torch.tensor([False, True]))
    assert torch.equal(made.draft[0], given.draft[0])
    for name in ("draft", "known", "about"):
        assert not bool(getattr(made, name)[1].any())
    assert torch.equal(made.latents, given.latents)


def test_a_forgotten_region_is_filled_from_around() -> None:
    config = replace(DATA, width=128, height=128)
    one = sample(5, config)
    known = torch.ones_like(one.known)
    about = torch.ones_like(one.about)
    draft = one.latents.clone()
    parts = (one.latents, draft, known, about, one.references)
    given = Batch(*(part[None].clone() for part in parts), torch.tensor([1]))
    forget_region(given, 0, np.random.default_rng(3))
    lost = ~given.known[0]
    share = float(lost.float().mean())
    assert 0.05 < share < 0.6
    # The same cells of all frames; what is told of them is zero, of others as it was.
    assert bool((lost == lost[0]).all())
    assert not bool(given.about[0].transpose(0, 1)[:, lost].any())
    kept = given.draft[0].transpose(0, 1)[:, ~lost]
    assert torch.equal(kept, one.latents.transpose(0, 1)[:, ~lost])
    filled = given.draft[0].transpose(0, 1)[:, lost]
    assert not torch.allclose(filled, one.latents.transpose(0, 1)[:, lost], atol=1e-2)


@pytest.mark.parametrize("seed", range(3))
def test_changes_are_drawn_by_the_generator_alone(seed: int) -> None:
    one, other = (Augmentation(CODEC)(batch(1, 2), np.random.default_rng(seed)) for _ in range(2))
    assert torch.equal(one.latents, other.latents)
    assert torch.equal(one.about, other.about)

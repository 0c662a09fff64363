"""Changes samples in ways under which the world stays one: mirrored, in another light.

The codec is linear, so both are linear maps of latents; no picture is decoded for them. Part of
what is remembered may be taken away, so that there are holes to fill.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from mirage_ros.codec.dct import BLOCK, COEFFICIENTS, DctCodec, zigzag
from mirage_ros.codec.dct_blend import PARTS
from mirage_ros.generation.fill import fade_with_distance, fill_holes
from mirage_ros.training.shards import Batch

#: Channels of :class:`mirage_ros.generation.scene.Scene` that change sign in a mirror (columns of
#: the offset, mixed terms of the stretch), and the first of those laid out over a cell.
_MIRRORED_ABOUT = (1, 4, 5)
_LAID_OUT = 9

#: How far light and colour may change: factors, and offset of the brightness.
_CONTRAST, _BRIGHTNESS, _SATURATION, _HUE = (0.75, 1.2), 0.06, (0.7, 1.3), math.radians(25.0)

#: Sides of what is forgotten, as shares of the picture's.
_LEAST_LOST, _MOST_LOST = 0.25, 0.75


class Augmentation:
    """Draws changes of samples.

    Args:
        codec: of the latents.
    """

    def __init__(self, codec: DctCodec) -> None:
        signs = [
            -1.0 if column % 2 else 1.0 for count in COEFFICIENTS for _, column in zigzag(count)
        ]
        self._signs = torch.tensor(signs)[:, None, None]
        self._std = torch.from_numpy(codec.std).float()
        self._mean = torch.from_numpy(codec.mean).float()

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """The samples, each mirrored or not, in another light."""
        parts = {name: value.clone() for name, value in vars(batch).items()}
        for row in range(len(batch.latents)):
            if rng.random() < 0.5:
                self._mirror(parts, row)
            self._relight(parts, row, rng)
        return Batch(**parts)

    def _mirror(self, parts: dict[str, Tensor], row: int) -> None:
        for name in ("latents", "draft", "references"):
            parts[name][row] = parts[name][row].flip(-1) * self._signs
        parts["known"][row] = parts["known"][row].flip(-1)
        about = parts["about"][row].flip(-1)
        about[:, _MIRRORED_ABOUT] *= -1.0
        laid_out = about[:, _LAID_OUT : _LAID_OUT + 2 * PARTS**2]
        squares = (
            laid_out.reshape(len(about), 2, PARTS, PARTS, *about.shape[2:]).flip(3).flatten(1, 3)
        )
        about[:, _LAID_OUT : _LAID_OUT + 2 * PARTS**2] = squares
        parts["about"][row] = about

    def _relight(self, parts: dict[str, Tensor], row: int, rng: np.random.Generator) -> None:
        """Y' = a Y + b, and the two chroma planes turned and scaled."""
        contrast, saturation = rng.uniform(*_CONTRAST), rng.uniform(*_SATURATION)
        hue, brightness = rng.uniform(-_HUE, _HUE), rng.uniform(-_BRIGHTNESS, _BRIGHTNESS)
        luma, chroma = COEFFICIENTS[:2]
        turn = saturation * torch.tensor(
            [[math.cos(hue), -math.sin(hue)], [math.sin(hue), math.cos(hue)]], dtype=torch.float32
        )
        shift = (contrast - 1.0) * float(self._mean[0]) + BLOCK * brightness
        for name in ("latents", "draft", "references"):
            values = parts[name][row]
            # A frame of which nothing is known says nothing, in any light.
            says = values.flatten(1).any(dim=1)[:, None, None].float()
            values[:, :luma] *= contrast
            values[:, 0] += says * shift / float(self._std[0])
            planes = values[:, luma:].reshape(len(values), 2, chroma, *values.shape[2:])
            values[:, luma:] = torch.einsum("ij,tjchw->tichw", turn, planes).flatten(1, 2)
        spread = slice(_LAID_OUT + PARTS**2, _LAID_OUT + 2 * PARTS**2)
        parts["about"][row][:, spread] *= contrast


def forget_all(batch: Batch, rows: Tensor) -> Batch:  # rows: (B,) bool
    """Some samples without anything remembered."""
    kept = (~rows)[:, None, None, None]
    return replace(
        batch,
        draft=batch.draft * kept[..., None],
        known=batch.known & kept,
        about=batch.about * kept[..., None],
    )


def forget_region(batch: Batch, row: int, rng: np.random.Generator) -> None:
    """Forget what stands in a rectangle of all frames of a sample, in place; drafts are refilled.

    What blocks inside lent to their neighbours outside stays.
    """
    _, rows, columns = batch.known[row].shape
    height, width = (
        max(1, round(side * rng.uniform(_LEAST_LOST, _MOST_LOST))) for side in (rows, columns)
    )
    top, left = rng.integers(0, rows - height + 1), rng.integers(0, columns - width + 1)
    batch.known[row][:, top : top + height, left : left + width] = False
    known = batch.known[row]
    batch.draft[row] = fade_with_distance(fill_holes(batch.draft[row], known), known)
    batch.about[row] *= known[:, None]

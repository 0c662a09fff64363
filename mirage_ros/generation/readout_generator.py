"""The generator without a model: what is remembered, holes filled smoothly, nothing invented."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, GenerationCancelled
from mirage_ros.generation.fill import fade_with_distance, fill_holes


class ReadoutGenerator:
    """Keeps remembered tokens bit for bit and fills holes from their surroundings.

    Latents go on from the rim of a hole as far as neighbouring cells are alike, channel by channel.

    Depth is filled as inverse depth: a plane's inverse depth is linear in the pixel, so walls go on
    as the planes they are, and no filled cell comes nearer than the nearest or farther than the
    farthest known one. Coverage is only read: what is filled stays marked as not remembered.
    """

    name = "readout"
    invents = False
    reference_count = 0
    preceding_count = 0
    starts_from_frame = False

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth of the chunk; frame 0 is the overlap exactly, where there is one.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
        """
        readout = condition.readout
        _check(cancelled)
        filled = fill_holes(readout.latents, readout.coverage)
        latents = fade_with_distance(filled, readout.coverage)
        _check(cancelled)
        depth = fill_depth(readout.depth, readout.coverage)
        if condition.first_latents is not None:
            latents[0] = condition.first_latents
        if condition.first_depth is not None:
            depth[0] = condition.first_depth
        return GeneratedChunk(latents=latents, depth=depth)


def fill_depth(
    depth: Tensor,  # (T, h, w) float, metres
    coverage: Tensor,  # (T, h, w) bool
) -> Tensor:  # (T, h, w)
    """Depth with holes filled smoothly in inverse depth; 0 in frames that know no depth at all."""
    known = coverage & (depth > 0.0)
    inverse = torch.where(known, 1.0 / depth, 0.0)
    filled = fill_holes(inverse[:, None], known)[:, 0]
    completed = torch.where(filled > 0.0, 1.0 / filled, 0.0)
    return torch.where(known, depth, completed)


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise GenerationCancelled("cancelled while filling holes")

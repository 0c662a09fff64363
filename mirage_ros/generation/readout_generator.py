"""The generator without a model: what is remembered, holes filled smoothly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, GenerationCancelled
from mirage_ros.generation.fill import fill_holes


class ReadoutGenerator:
    """Copies remembered tokens bit for bit and fills holes from their surroundings.

    Latents are filled channel by channel, depth by its inverse: planes are linear in inverse depth,
    so a wall goes on as a wall. A frame of which nothing is known gets zeros, which decode to the
    codec's mean grey, and no depth.
    """

    name = "readout"

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth for the whole chunk; the seed makes no difference.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
        """
        if cancelled():
            raise GenerationCancelled
        readout = condition.readout
        latents = fill_holes(readout.latents, readout.coverage)
        depth = _filled_depth(readout.depth, readout.coverage)
        if condition.first_latents is not None:
            latents[0] = condition.first_latents
        if condition.first_depth is not None:
            depth[0] = condition.first_depth
        return GeneratedChunk(latents, depth)


def _filled_depth(
    depth: Tensor,  # (T, h, w)
    coverage: Tensor,  # (T, h, w) bool
) -> Tensor:  # (T, h, w)
    inverse = torch.where(coverage, 1.0 / depth.clamp(min=1e-6), 0.0)
    filled = fill_holes(inverse[:, None], coverage)[:, 0]
    # Where nothing is known the fill is zero: no depth rather than an infinite one.
    completed = torch.where(filled > 0.0, 1.0 / filled.clamp(min=1e-6), 0.0)
    return torch.where(coverage, depth, completed)

"""The generator without a model: what is remembered, holes filled smoothly, nothing invented."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mirage_ros.errors import ConfigurationError
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
    needs_placement = False

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth of the chunk; frame 0 is the overlap exactly, where there is one.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
        """
        return _completed([condition], cancelled)[0]

    def generate_together(
        self, conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
    ) -> list[GeneratedChunk]:
        """Chunks of several rollouts, each bit for bit as if it were alone.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
        """
        return _completed(conditions, cancelled)

    def prepare_prompt(self, prompt: str) -> None:
        """Refuse: nothing is invented that a text could change.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            f"generator '{self.name}' invents nothing and takes no prompt. Got '{prompt}'"
        )


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


def _completed(
    conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
) -> list[GeneratedChunk]:
    readouts = [condition.readout for condition in conditions]
    counts = [len(readout.coverage) for readout in readouts]
    coverage = torch.cat([readout.coverage for readout in readouts])
    _check(cancelled)
    # Frames do not mix in a hole, but how far texture goes on is told by a chunk as a whole.
    filled = fill_holes(torch.cat([readout.latents for readout in readouts]), coverage)
    latents = [
        fade_with_distance(part, readout.coverage)
        for part, readout in zip(torch.split(filled, counts), readouts, strict=True)
    ]
    _check(cancelled)
    depth = fill_depth(torch.cat([readout.depth for readout in readouts]), coverage)
    chunks = []
    for condition, values, distances in zip(
        conditions, latents, torch.split(depth, counts), strict=True
    ):
        if condition.first_latents is not None:
            values[0] = condition.first_latents
        if condition.first_depth is not None:
            distances[0] = condition.first_depth
        chunks.append(GeneratedChunk(latents=values, depth=distances))
    return chunks


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise GenerationCancelled("cancelled while filling holes")

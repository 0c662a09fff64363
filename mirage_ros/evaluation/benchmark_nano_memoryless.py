"""What a generator makes of a path when nothing is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from mirage_ros.generation import ChunkCondition, GeneratedChunk, Generator
from mirage_ros.memory.base import Readout


class MemorylessGenerator:
    """A generator that is told nothing of what is remembered, nor of what it imagined long ago.

    It is left with what any video model has: the frame that a path begins with, and the frames just
    before each chunk. So it is what the same model would be without a memory.

    Args:
        generator: is told less.
    """

    reference_count = 0
    needs_placement = False
    # What it imagines is written nowhere: it could not read it either.
    invents = False

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.name = f"{generator.name} without memory"
        self.preceding_count = generator.preceding_count
        self.starts_from_frame = generator.starts_from_frame

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """A chunk as the generator makes it of an empty readout.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: as the generator.
        """
        return self._generator.generate(forgotten(condition), cancelled)

    def generate_together(
        self, conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
    ) -> list[GeneratedChunk]:
        """Chunks of several rollouts.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: as the generator.
        """
        blank = [forgotten(condition) for condition in conditions]
        return self._generator.generate_together(blank, cancelled)

    def prepare_prompt(self, prompt: str) -> None:
        """Make ready for conditions with this prompt.

        Raises:
            ConfigurationError: the generator takes none.
            UnavailableError: its text encoder is not at hand.
        """
        self._generator.prepare_prompt(prompt)


def forgotten(condition: ChunkCondition) -> ChunkCondition:
    """A condition of which nothing is remembered; what is seen and was made just before stays."""
    preceding = condition.preceding
    return replace(
        condition,
        readout=nothing_of(condition.readout),
        references=None,
        preceding=None
        if preceding is None
        else replace(preceding, readout=nothing_of(preceding.readout)),
    )


def nothing_of(readout: Readout) -> Readout:
    """The readout of the same views from an empty memory."""
    return Readout(
        torch.zeros_like(readout.latents),
        torch.zeros_like(readout.coverage),
        torch.zeros_like(readout.depth),
        torch.zeros_like(readout.observed),
    )

"""The draft that a small model begins with, as it is: no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, GenerationCancelled
from mirage_ros.generation.readout_generator import fill_depth
from mirage_ros.generation.scene import scene_of


class DraftGenerator:
    """Remembered blocks put where they belong, holes filled smoothly.

    What a model that is given such drafts adds is what it makes better than this.

    Args:
        codec: of the latents.
    """

    name = "draft"
    invents = False
    reference_count = 0
    preceding_count = 0
    starts_from_frame = False
    needs_placement = True

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth of the chunk; frame 0 is the overlap exactly, where there is one.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
            ConfigurationError: the codec is not the one whose blocks can be moved.
        """
        if cancelled():
            raise GenerationCancelled("cancelled before drawing up a chunk")
        readout = condition.readout
        latents = scene_of(readout, self._codec).draft
        depth = fill_depth(readout.depth, readout.coverage)
        if condition.first_latents is not None:
            latents[0] = condition.first_latents
        if condition.first_depth is not None:
            depth[0] = condition.first_depth
        return GeneratedChunk(latents, depth)

    def generate_together(
        self, conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
    ) -> list[GeneratedChunk]:
        """Chunks of several rollouts, each as if it were alone.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
        """
        return [self.generate(condition, cancelled) for condition in conditions]

    def prepare_prompt(self, prompt: str) -> None:
        """Refuse: nothing is invented that a text could change.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(
            f"generator '{self.name}' invents nothing and takes no prompt. Got '{prompt}'"
        )

"""Generators: latents of a chunk from what the memory knows."""

from mirage_ros.generation.base import (
    ChunkCondition,
    GeneratedChunk,
    GenerationCancelled,
    Generator,
)

__all__ = ["ChunkCondition", "GeneratedChunk", "GenerationCancelled", "Generator"]

"""Generators: latents of a chunk from what the memory knows."""

from mirage_ros.generation.base import (
    ChunkCondition,
    GeneratedChunk,
    GenerationCancelled,
    Generator,
)
from mirage_ros.generation.fill import fill_holes
from mirage_ros.generation.readout_generator import ReadoutGenerator

__all__ = [
    "ChunkCondition",
    "GeneratedChunk",
    "GenerationCancelled",
    "Generator",
    "ReadoutGenerator",
    "fill_holes",
]

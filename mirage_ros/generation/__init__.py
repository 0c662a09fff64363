"""Generators: latents of a chunk from what the memory knows."""

from mirage_ros.generation.base import (
    ChunkCondition,
    GeneratedChunk,
    GenerationCancelled,
    Generator,
    Preceding,
)
from mirage_ros.generation.fill import fill_holes
from mirage_ros.generation.readout_generator import ReadoutGenerator
from mirage_ros.generation.references import ReferenceBank

__all__ = [
    "ChunkCondition",
    "GeneratedChunk",
    "GenerationCancelled",
    "Generator",
    "Preceding",
    "ReadoutGenerator",
    "ReferenceBank",
    "fill_holes",
]

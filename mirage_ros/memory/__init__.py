"""Latent spatial memory: what cameras saw, as tokens in 3D."""

from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.base import Readout, SpatialMemory
from mirage_ros.memory.latent_memory import LatentMemory, LatentMemoryConfig
from mirage_ros.memory.readout import ReadoutConfig
from mirage_ros.memory.tokens import IMAGINED, OBSERVED, TokenCloud

__all__ = [
    "IMAGINED",
    "OBSERVED",
    "CellDepthConfig",
    "LatentMemory",
    "LatentMemoryConfig",
    "Readout",
    "ReadoutConfig",
    "SpatialMemory",
    "TokenCloud",
]

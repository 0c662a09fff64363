"""Spatial memories: what cameras saw, as latent tokens or as coloured points in 3D."""

from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.base import (
    CorrectableMemory,
    MemoryBranch,
    MemoryCloud,
    MemoryUpdate,
    ReadableMemory,
    Readout,
    SpatialMemory,
)
from mirage_ros.memory.bounds import BoundsConfig
from mirage_ros.memory.carving import Carving, CarvingConfig
from mirage_ros.memory.keyframe_table import Keyframes, SurfacePoints
from mirage_ros.memory.latent_config import LatentMemoryConfig
from mirage_ros.memory.latent_memory import LatentMemory
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.rgb_memory import RgbMemory, RgbMemoryConfig
from mirage_ros.memory.token_store import IMAGINED, OBSERVED
from mirage_ros.memory.tokens import TokenCloud

__all__ = [
    "IMAGINED",
    "OBSERVED",
    "BoundsConfig",
    "Carving",
    "CarvingConfig",
    "CellDepthConfig",
    "CorrectableMemory",
    "Keyframes",
    "LatentMemory",
    "LatentMemoryConfig",
    "MemoryBranch",
    "MemoryCloud",
    "MemoryUpdate",
    "ReadableMemory",
    "Readout",
    "ReadoutConfig",
    "RgbMemory",
    "RgbMemoryConfig",
    "SpatialMemory",
    "SurfacePoints",
    "TokenCloud",
]

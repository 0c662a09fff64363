"""Latent spatial memory: what cameras saw, as tokens in 3D."""

from mirage_ros.memory.base import Readout, SpatialMemory

__all__ = ["Readout", "SpatialMemory"]

"""What the GPU's memory holds for this process; nothing without torch and CUDA."""

from __future__ import annotations

import gc
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class GpuMemory:
    """Bytes on the GPU that tensors of this process take.

    Attributes:
        used: now.
        peak: at most so far.
    """

    used: int = 0
    peak: int = 0


def gpu_memory() -> GpuMemory:
    """Memory of the current CUDA device; zeros where none is in use."""
    # A node that has no backend yet does not load torch for the question.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return GpuMemory()
    return GpuMemory(torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())


def release_memory() -> None:
    """Give back what a backend that is gone has held, cycles among its objects included."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

"""What every generator offers: a chunk of latents from what the memory knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.base import Readout


class GenerationCancelled(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a generator when its ``cancelled`` callback says so."""


@dataclass(frozen=True)
class ChunkCondition:
    """What a generator is told about one chunk of T latent frames.

    Attributes:
        readout: what the memory knows of the T target views.
        camera: pixel camera of the targets.
        T_world_camera: (T, 4, 4) float64 target poses.
        first_latents: (C, h, w) latents of the first frame where the previous chunk has already
            made it (the overlap), else None.
        first_depth: (h, w) depth that belongs to ``first_latents``, else None.
        seed: seeds all randomness of the chunk.
    """

    readout: Readout
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    first_latents: Tensor | None
    first_depth: Tensor | None
    seed: int


@dataclass(frozen=True)
class GeneratedChunk:
    """Latents and depth of T latent frames, without holes.

    Attributes:
        latents: (T, C, h, w) float32.
        depth: (T, h, w) float32 z-depth in metres, completed over holes; 0 everywhere in a frame
            of which the memory knows nothing.
    """

    latents: Tensor
    depth: Tensor


class Generator(Protocol):
    """Turns a condition into a chunk.

    Attributes:
        name: identifies it in messages.
        invents: whether its chunks show what is not remembered; if so, they are written to the
            rollout's branch of the memory.
    """

    name: str
    invents: bool

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth for the whole chunk.

        Raises:
            GenerationCancelled: ``cancelled()`` became true; it is asked between steps.
        """
        ...

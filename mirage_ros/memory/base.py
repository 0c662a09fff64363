"""What every spatial memory offers to the world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera


@dataclass(frozen=True)
class Readout:
    """What a memory knows of T target views, on the latent grid.

    Attributes:
        latents: (T, C, h, w) float32; zero where not covered.
        coverage: (T, h, w) bool; True where a remembered token was read.
        depth: (T, h, w) float32 z-depth in metres of that token in the target view; 0 where not
            covered.
    """

    latents: Tensor
    coverage: Tensor
    depth: Tensor


class SpatialMemory(Protocol):
    """Stores what cameras saw and reads it out for other cameras."""

    @property
    def token_count(self) -> int:
        """Number of tokens held."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tokens, all fields."""
        ...

    def observe(self, frame: RgbdFrame) -> int:
        """Store a sensor frame (with depth, size a multiple of the stride); tokens added.

        Raises:
            FrameError: the frame carries no depth.
        """
        ...

    def read(
        self,
        camera: PinholeCamera,  # pixel camera, one for all views
        T_world_camera: Sequence[NDArray[np.float64]] | NDArray[np.float64],  # (T, 4, 4)
    ) -> Readout:
        """What is remembered of T views of one camera, in one batched pass."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

"""Reading tokens out for other cameras: which token stands in which cell of which view.

Per view and cell:

1. Candidates. A token *covers* the cells whose centre lies within half its side of its projection,
   and within half a cell at least; one that was seen from farther away appears larger. It is a
   candidate for these and for all cells whose centre is nearer than `reach`. All tokens meet all
   views in one pass.
2. Visibility. The nearest token that *covers* the cell's centre gives the depth of the visible
   surface; where none does, the nearest candidate. Candidates farther than a band behind it are
   hidden.
3. Fit. Of the visible candidates the one that was seen most alike is copied, whole and unblended:
   close to the cell's centre, at a similar scale, from a similar direction.

Both minima do not depend on the order of the hits, so a readout is the same on every run. Only
exactly rounded arithmetic is used (no logarithm, no cosine, no matrix product), so that devices
agree as well. On a CPU compiled loops do it (:mod:`mirage_ros.memory.readout_cpu`), elsewhere dense
tensor operations that never wait for the device (:mod:`mirage_ros.memory.readout_dense`);
:mod:`mirage_ros.memory.readout_reference` states the same in plain Python.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import readout_cpu, readout_dense
from mirage_ros.memory.readout_config import FIT_LIMIT, FIT_STEPS, ReadoutConfig

__all__ = ["FIT_LIMIT", "FIT_STEPS", "ReadoutConfig", "Selection", "TokenGeometry", "select_tokens"]


class TokenGeometry(Protocol):
    """What the readout needs to know of N tokens (see :class:`mirage_ros.memory.TokenCloud`)."""

    @property
    def position(self) -> Tensor:
        """(N, 3) float32, world, metres."""
        ...

    @property
    def footprint(self) -> Tensor:
        """(N,) float32, metres a pixel covers."""
        ...

    @property
    def view(self) -> Tensor:
        """(N, 3) float32 unit vector from the camera to the token."""
        ...

    @property
    def normal(self) -> Tensor:
        """(N, 3) int8 normal times NORMAL_SCALE."""
        ...


@dataclass(frozen=True)
class Selection:
    """The token in every cell.

    Attributes:
        index: (T, h, w) int64 into the tokens; -1 where none.
        depth: (T, h, w) float32 z-depth of that token in the view, metres; 0 where none.
        fit: (T, h, w) float32 how well that token's view fits, 0 = as it was seen; 0 where none.
    """

    index: Tensor
    depth: Tensor
    fit: Tensor


def select_tokens(
    tokens: TokenGeometry,
    camera: PinholeCamera,  # of the latent grid: its pixels are the cells
    stride: int,  # pixels per cell
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> Selection:
    """The best-fitting visible token in every cell of T views."""
    if tokens.position.device.type == "cpu":
        arrays = readout_cpu.select(
            tokens.position.numpy(),
            tokens.footprint.numpy(),
            tokens.view.numpy(),
            tokens.normal.numpy(),
            camera,
            stride,
            T_world_camera,
            config,
        )
        index, depth, steps = (torch.from_numpy(array) for array in arrays)
    else:
        index, depth, steps = readout_dense.select(
            tokens.position,
            tokens.footprint,
            tokens.view,
            tokens.normal,
            camera,
            stride,
            T_world_camera,
            config,
        )
    return Selection(index, depth, steps.float() / FIT_STEPS)

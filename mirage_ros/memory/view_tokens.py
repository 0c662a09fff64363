"""The tokens of one view: what is stored of a keyframe or of an imagined frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.errors import MemoryFormatError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.backprojection import back_project, surface_normals
from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.token_store import (
    MOST_CELLS,
    NORMAL_SCALE,
    PackedTokens,
    pack_confidence,
)

#: Cells along the side of a tile, whose tokens are stored next to each other: a run's worth.
_TILE = 8


@dataclass(frozen=True)
class View:
    """Latents of one view with the depth of their cells.

    Attributes:
        latents: (C, h, w) float32.
        depth: (h, w) float32 z-depth in metres, 0 where nothing is to be stored.
        share: (h, w) float32 in [0, 1], how much of each cell lies at that depth.
        contrast: (h, w) float32 variance of each cell's pixels in [0, 1]; 0 where unknown.
        grid: camera of the latent grid, whose pixels are the cells.
        focal: focal length in pixels.
        T_world_camera: (4, 4) float64.
        stamp_ns: when it was seen.
    """

    latents: Tensor
    depth: Tensor
    share: Tensor
    contrast: Tensor
    grid: PinholeCamera
    focal: float
    T_world_camera: NDArray[np.float64]
    stamp_ns: int

    def only(
        self,
        where: Tensor,  # (h, w) bool
    ) -> View:
        """The same view with fewer cells."""
        return replace(self, depth=torch.where(where, self.depth, 0.0))


@dataclass(frozen=True)
class ViewTokens:
    """The N tokens of a view, neighbours in the picture next to each other.

    Attributes:
        tokens: as stored, with keyframe and clock of 0.
        cell: (N,) int64 flat number of each token's cell.
        latents: (N, C) float32.
        depth: (N,) float32, metres.
        footprint: (N,) float32, metres a pixel covers.
    """

    tokens: PackedTokens
    cell: Tensor
    latents: Tensor
    depth: Tensor
    footprint: Tensor

    def entered(self, keyframe: int, now: int) -> PackedTokens:
        """The tokens with their row of the keyframe table and the time on the memory's clock."""
        return replace(
            self.tokens,
            keyframe=torch.full_like(self.tokens.keyframe, keyframe),
            seen=torch.full_like(self.tokens.seen, now),
        )


def cell_contrast(
    image: Tensor,  # (1, 3, H, W) float32 in [0, 1]
    stride: int,
) -> Tensor:  # (h, w) float32
    """Variance of the pixels of each cell, averaged over the colours."""
    mean = torch.nn.functional.avg_pool2d(image, stride)
    square = torch.nn.functional.avg_pool2d(image.square(), stride)
    return (square - mean.square()).clamp(min=0.0).mean(dim=1)[0]


def tokens_of_view(view: View, features: FeatureFormat, exact_depth: bool) -> ViewTokens:
    """Tokens of all cells with depth.

    Raises:
        MemoryFormatError: the view has more than :data:`token_store.MOST_CELLS` cells.
    """
    device = view.depth.device
    rows, columns = view.depth.shape
    if rows * columns > MOST_CELLS:
        raise MemoryFormatError(
            f"a view to remember must have at most {MOST_CELLS} cells. "
            f"Got {columns}x{rows} = {rows * columns}"
        )
    points = back_project(view.depth, view.grid, view.T_world_camera)
    origin = torch.from_numpy(view.T_world_camera[:3, 3].astype(np.float32)).to(device)
    normal = surface_normals(points, view.depth, origin)
    cell = _tile_order(rows, columns).to(device)
    cell = cell[view.depth.flatten()[cell] > 0.0]
    depth = view.depth.flatten()[cell]
    if not exact_depth:
        # From here on the depth is the one that will be read back.
        depth = depth.half().float()
    latents = view.latents.flatten(1)[:, cell].T.contiguous()
    zeros = torch.zeros(len(cell), device=device)
    tokens = PackedTokens(
        features=features.pack(latents),
        cell=cell.to(torch.int16),
        depth=depth if exact_depth else depth.half(),
        normal=(normal.flatten(0, 1)[cell] * NORMAL_SCALE).round().to(torch.int8),
        keyframe=zeros.to(torch.int16),
        seen=zeros.to(torch.int16),
        sureness=pack_confidence(view.share.flatten()[cell]),
    )
    return ViewTokens(tokens, cell, latents, depth, depth / view.focal)


def _tile_order(rows: int, columns: int) -> Tensor:  # (rows * columns,) int64
    """Flat cell numbers, tile by tile."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    order = np.lexsort((column, row, column // _TILE, row // _TILE))
    return torch.from_numpy(order.astype(np.int64))

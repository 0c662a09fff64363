"""The tokens of one view: what is stored of a keyframe or of an imagined frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.codec.pixels import as_codec_frames
from mirage_ros.errors import FrameError, MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.backprojection import (
    CellDepthConfig,
    back_project,
    cell_depth,
    surface_normals,
)
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
        share: (h, w) float32 in [0, 1], how much of each cell lies at that depth, times how far the
            depth is believed.
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


def views_of_frame(
    frame: RgbdFrame,
    codec: Codec,
    config: CellDepthConfig,
    shifts: Sequence[tuple[int, int]],  # of the cell grid to the right and down, half cells
    device: torch.device,
    latents: Tensor | None = None,  # (C, h, w) float32 of the whole frame, not shifted
) -> Iterator[View]:
    """A sensor frame on every grid, encoded as a single image where its latents are not given.

    Raises:
        FrameError: the frame carries no depth.
        CodecError: its size is not a multiple of the codec's stride.
        MemoryFormatError: ``latents`` do not fit codec and frame.
    """
    if frame.depth is None:
        raise FrameError("a frame to remember must carry depth. Got none")
    stride = codec.spatial_stride
    expected = (codec.channels, frame.camera.height // stride, frame.camera.width // stride)
    if latents is not None and latents.shape != expected:
        raise MemoryFormatError(
            f"latents of the frame must have shape {expected}. Got {tuple(latents.shape)}"
        )
    image = as_codec_frames(frame.image, device)
    depth_map = torch.from_numpy(frame.depth).to(device)
    confidence = None if frame.confidence is None else torch.from_numpy(frame.confidence).to(device)
    dynamic = None if frame.dynamic is None else torch.from_numpy(frame.dynamic).to(device)
    for right, down in shifts:
        # Half a cell is lost at either border, so that every cell lies inside the image.
        left, top = right * stride // 2, down * stride // 2
        width, height = frame.camera.width - 2 * left, frame.camera.height - 2 * top
        if width <= 0 or height <= 0:
            continue
        window = (slice(top, top + height), slice(left, left + width))
        camera = frame.camera.cropped(left, top, width, height)
        part = image[..., window[0], window[1]]
        shifted = (right, down) != (0, 0)
        cells = codec.encode(part)[0] if latents is None or shifted else latents
        depth, share = cell_depth(depth_map[window], stride, config)
        if confidence is not None:
            share = share * _cell_mean(confidence[window], depth_map[window] > 0.0, stride)
        if dynamic is not None:
            # What moves shines through in the whole cell's latents.
            moves = torch.nn.functional.max_pool2d(dynamic[window][None].float(), stride)[0]
            depth = torch.where(moves > 0.0, 0.0, depth)
        yield View(
            latents=cells,
            depth=depth,
            share=share,
            contrast=cell_contrast(part, stride),
            grid=camera.latent(stride),
            focal=float(np.sqrt(frame.camera.fx * frame.camera.fy)),
            T_world_camera=frame.T_world_camera,
            stamp_ns=frame.stamp_ns,
        )


def cell_contrast(
    image: Tensor,  # (1, 3, H, W) float32 in [0, 1]
    stride: int,
) -> Tensor:  # (h, w) float32
    """Variance of the pixels of each cell, averaged over the colours."""
    mean = torch.nn.functional.avg_pool2d(image, stride)
    square = torch.nn.functional.avg_pool2d(image.square(), stride)
    return (square - mean.square()).clamp(min=0.0).mean(dim=1)[0]


def _cell_mean(
    values: Tensor,  # (H, W) float32
    where: Tensor,  # (H, W) bool
    stride: int,
) -> Tensor:  # (h, w) float32
    """Mean over the pixels of each cell that count; 0 where none does."""
    pool = torch.nn.functional.avg_pool2d
    total = pool(torch.where(where, values, 0.0)[None], stride)[0]
    return total / pool(where[None].float(), stride)[0].clamp(min=1e-6)


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

"""Large pictures in overlapping tiles, so that a network's memory is bounded by the tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mirage_ros.codec.base import DecodeStream
from mirage_ros.codec.checks import check_planes, check_same_size
from mirage_ros.errors import ConfigurationError

#: Tiles begin and end on cells of this many pixels.
_CELL = 16


@dataclass(frozen=True)
class Tiling:
    """Square tiles, and by how much neighbours overlap at least.

    Attributes:
        tile: side of a tile, pixels; a multiple of 16.
        overlap: of neighbouring tiles, pixels; a multiple of 16 below ``tile``.

    Raises:
        ConfigurationError: a value is out of range.
    """

    tile: int = 512
    overlap: int = 128

    def __post_init__(self) -> None:
        if self.tile < _CELL or self.tile % _CELL:
            raise ConfigurationError(f"tile must be a positive multiple of 16. Got {self.tile}")
        if self.overlap % _CELL or not 0 <= self.overlap < self.tile:
            raise ConfigurationError(
                f"overlap must be a multiple of 16 in [0, {self.tile}). Got {self.overlap}"
            )

    def starts(self, cells: int) -> list[int]:
        """First cell of every tile along an axis of ``cells`` cells.

        All tiles are equally long and spread evenly, so they overlap by at least what was asked.
        """
        tile, overlap = self.tile // _CELL, self.overlap // _CELL
        if cells <= tile:
            return [0]
        last = -(-(cells - tile) // (tile - overlap))
        return [round(number * (cells - tile) / last) for number in range(last + 1)]

    def weights(
        self,
        cells: int,
        size: int,  # samples per cell: 1 for latents, 16 for pixels
    ) -> list[Tensor]:  # of (samples of a tile,) float32
        """How much each tile along an axis counts at each of its samples.

        Where two tiles overlap one fades linearly into the other; the weights of all tiles at one
        place add up to 1.
        """
        starts = self.starts(cells)
        length = min(self.tile // _CELL, cells) * size
        position = torch.arange(length, dtype=torch.float64) + 0.5
        ramps = []
        for number, start in enumerate(starts):
            ramp = torch.ones(length, dtype=torch.float64)
            if number > 0:
                shared = starts[number - 1] * size + length - start * size
                ramp = torch.minimum(ramp, position / max(shared, 1))
            if number + 1 < len(starts):
                shared = start * size + length - starts[number + 1] * size
                ramp = torch.minimum(ramp, position.flip(0) / max(shared, 1))
            ramps.append(ramp.clamp(max=1.0))
        total = torch.zeros(cells * size, dtype=torch.float64)
        for start, ramp in zip(starts, ramps, strict=True):
            total[start * size : start * size + length] += ramp
        return [
            (ramp / total[start * size : start * size + length]).float()
            for start, ramp in zip(starts, ramps, strict=True)
        ]


class _Canvas:
    """Sums weighted tiles; allocated with the first one, whose type and device it takes."""

    def __init__(self, tiling: Tiling, rows: int, columns: int, size: int) -> None:
        self._height, self._width, self._size = rows * size, columns * size, size
        self._row_weights = tiling.weights(rows, size)
        self._column_weights = tiling.weights(columns, size)
        self.sum: Tensor | None = None

    def add(self, part: Tensor, row: tuple[int, int], column: tuple[int, int]) -> None:
        """Add a tile, given its number and first cell along either axis."""
        if self.sum is None:
            self.sum = part.new_zeros((*part.shape[:2], self._height, self._width))
        weight = self._row_weights[row[0]][:, None] * self._column_weights[column[0]]
        top, left = row[1] * self._size, column[1] * self._size
        height, width = part.shape[2:]
        self.sum[..., top : top + height, left : left + width] += part * weight.to(part.device)


def in_tiles(
    work: Callable[[Tensor], Tensor],  # (T, 3, H', W') -> (T, C, H' / 16, W' / 16)
    frames: Tensor,  # (T, 3, H, W) H and W multiples of 16
    tiling: Tiling,
) -> Tensor:  # (T, C, H / 16, W / 16)
    """What ``work`` makes of frames, tile by tile, blended where tiles overlap."""
    rows, columns = frames.shape[2] // _CELL, frames.shape[3] // _CELL
    canvas = _Canvas(tiling, rows, columns, 1)
    side = tiling.tile
    for row, top in enumerate(tiling.starts(rows)):
        for column, left in enumerate(tiling.starts(columns)):
            y, x = top * _CELL, left * _CELL
            part = work(frames[..., y : y + side, x : x + side])
            canvas.add(part, (row, top), (column, left))
    assert canvas.sum is not None
    return canvas.sum


class TiledDecodeStream:
    """Decodes a video tile by tile, every tile a stream of its own.

    Implements :class:`mirage_ros.codec.base.DecodeStream`.

    Args:
        new_stream: makes the stream of one tile.
        tiling: how the picture is cut.
        channels: of the latents.
    """

    def __init__(
        self, new_stream: Callable[[], DecodeStream], tiling: Tiling, channels: int
    ) -> None:
        self._new_stream, self._tiling, self._channels = new_stream, tiling, channels
        self._size: tuple[int, int] | None = None
        #: By first row and column of the tile.
        self.tiles: dict[tuple[int, int], DecodeStream] = {}

    def decode(
        self,
        latents: Tensor,  # (T', C, h, w) float32
    ) -> Tensor:  # (T, 3, 16 h, 16 w) float32
        """Frames of the next latents.

        Raises:
            CodecError: shape or type does not fit, or the size is not that of the calls before.
        """
        check_planes(latents, self._channels, "latents")
        rows, columns = latents.shape[2:]
        if self._size is None:
            self._size = (rows, columns)
        check_same_size(self._size, (rows, columns))
        canvas = _Canvas(self._tiling, rows, columns, _CELL)
        side = self._tiling.tile // _CELL
        for row, top in enumerate(self._tiling.starts(rows)):
            for column, left in enumerate(self._tiling.starts(columns)):
                if (top, left) not in self.tiles:
                    self.tiles[top, left] = self._new_stream()
                part = latents[..., top : top + side, left : left + side]
                frames = self.tiles[top, left].decode(part)
                canvas.add(frames, (row, top), (column, left))
        assert canvas.sum is not None
        return canvas.sum

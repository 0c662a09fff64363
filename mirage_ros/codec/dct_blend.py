"""Puts blocks of the DCT codec where they belong inside their cells.

A block that was seen elsewhere covers its cell only roughly: its centre lies beside the cell's, it
is larger or smaller, sheared by a slant. As the codec is linear, a block can be drawn as it
appears, neighbours blended over each other by how near their middles are, and analysed again. That
is a linear map of the latents of three by three cells, evaluated on their pixels; no cloud of
points, no network. Overlapped block motion compensation does so for video (Orchard and Sullivan
1994, IEEE Transactions on Image Processing 3, 693).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mirage_ros.codec.dct import BLOCK, DctCodec
from mirage_ros.compiled import compiled_parallel, threads
from mirage_ros.errors import CodecError

#: Parts of a cell along each side of which support and spread are told.
PARTS = 4

#: A block's weight falls to nothing at this distance from its middle along either of its axes, as
#: a share of its side. Blocks end at 0.5; what lies beyond repeats the border.
_REACH = 1.0

#: Blocks drawn smaller than this, as a share of their area, would not hit a pixel.
_LEAST_DETERMINANT = 1e-6

_ZERO, _HALF, _ONE = np.float32(0.0), np.float32(0.5), np.float32(1.0)
_SIDE, _STEP = np.float32(BLOCK), np.float32(1.0 / BLOCK)
_LAST = np.float32(BLOCK - 1)
_PART = BLOCK // PARTS
_INVERSE_REACH = np.float32(1.0 / _REACH**2)
_RED, _GREEN, _BLUE = np.float32(0.299), np.float32(0.587), np.float32(0.114)


@dataclass(frozen=True)
class Blended:
    """Cells drawn anew from their neighbourhoods.

    Attributes:
        latents: (T, 48, h, w) float32; as they were in cells that are not known.
        support: (T, 4 * 4, h, w) float32 weight that blocks had in each sixteenth of a cell, row by
            row; 1 is one block in its middle.
        spread: (T, 4 * 4, h, w) float32 standard deviation of the luma that blocks said there.
    """

    latents: Tensor
    support: Tensor
    spread: Tensor


def blend_blocks(
    codec: DctCodec,
    latents: Tensor,  # (T, 48, h, w) float32
    known: Tensor,  # (T, h, w) bool: cells with a block; others are not looked at
    offset: Tensor,  # (T, h, w, 2) float32 cells, from a cell's centre to its block's
    stretch: Tensor,  # (T, h, w, 2, 2) float32 cells of the view per block's side
) -> Blended:
    """Known cells as the blocks in and about them show them.

    Raises:
        CodecError: shapes or types do not fit each other, or known blocks have a place that is not
            finite or a stretch without inverse.
    """
    pictures = codec.decode(latents)
    count, _, rows, columns = latents.shape
    shape = (count, rows, columns)
    _check(shape, known, offset, stretch)
    blocks = functional.pixel_unshuffle(pictures, BLOCK)
    blocks = blocks.reshape(count, 3, BLOCK, BLOCK, rows, columns)
    arrays = blocks.permute(0, 4, 5, 2, 3, 1).contiguous().cpu().numpy()  # (T, h, w, 16, 16, 3)
    drawn = np.empty_like(arrays)
    told = np.zeros((2, *shape, PARTS, PARTS), dtype=np.float32)
    where = known.cpu().numpy()
    with threads():
        _blend(
            arrays,
            np.ascontiguousarray(where),
            np.ascontiguousarray(offset.cpu().numpy()),
            _inverse(stretch.cpu().numpy(), where),
            drawn,
            told,
        )
    planes = torch.from_numpy(drawn).permute(0, 5, 3, 4, 1, 2)
    planes = planes.reshape(count, 3 * BLOCK**2, rows, columns)
    analysed = codec.encode(functional.pixel_shuffle(planes, BLOCK)).to(latents.device)
    support, spread = torch.from_numpy(told).flatten(4).permute(0, 1, 4, 2, 3).to(latents.device)
    return Blended(torch.where(known[:, None], analysed, latents), support, spread)


def _check(shape: tuple[int, int, int], known: Tensor, offset: Tensor, stretch: Tensor) -> None:
    """Compare what says where blocks lie with the latents.

    Raises:
        CodecError: see :func:`blend_blocks`.
    """
    expected = {
        "known": (known, shape, torch.bool),
        "offset": (offset, (*shape, 2), torch.float32),
        "stretch": (stretch, (*shape, 2, 2), torch.float32),
    }
    for name, (values, wanted, dtype) in expected.items():
        if values.shape != wanted or values.dtype != dtype:
            raise CodecError(
                f"{name} of latents of {shape} cells must be {dtype} of shape {wanted}. "
                f"Got {values.dtype} of shape {tuple(values.shape)}"
            )
    if not bool(torch.isfinite(offset).all(dim=-1)[known].all()):
        raise CodecError("offsets of known cells must be finite. Got others")


def _inverse(
    stretch: NDArray[np.float32],  # (T, h, w, 2, 2)
    known: NDArray[np.bool_],  # (T, h, w)
) -> NDArray[np.float32]:  # (T, h, w, 2, 2), zero in cells that are not known
    """Inverses of two by two matrices.

    Raises:
        CodecError: a known one has none.
    """
    (a, b), (c, d) = np.moveaxis(stretch[known].astype(np.float64), 0, -1)
    with np.errstate(invalid="ignore"):
        determinant = a * d - b * c
    if not (np.isfinite(determinant) & (np.abs(determinant) > _LEAST_DETERMINANT)).all():
        raise CodecError(
            "stretches of known cells must be finite and invertible. Got determinants from "
            f"{determinant.min()} to {determinant.max()}"
        )
    inverse = np.zeros_like(stretch, order="C")
    inverse[known] = np.moveaxis(np.array([[d, -b], [-c, a]]) / determinant, -1, 0)
    return inverse


@compiled_parallel
def _blend(blocks, known, offset, inverse, drawn, told):  # type: ignore[no-untyped-def]
    """Draw every known cell; ``told`` gets the weights' means and the deviations of luma."""
    count, rows, columns = known.shape
    for strip in numba.prange(count * rows):
        view, row = strip // rows, strip % rows
        total = np.empty((BLOCK, BLOCK, 6), dtype=np.float32)
        for column in range(columns):
            if not known[view, row, column]:
                drawn[view, row, column] = blocks[view, row, column]
                continue
            total[:] = _ZERO
            for other_row in range(max(row - 1, 0), min(row + 2, rows)):
                for other in range(max(column - 1, 0), min(column + 2, columns)):
                    if not known[view, other_row, other]:
                        continue
                    block = blocks[view, other_row, other]
                    left = np.float32(other - column) + offset[view, other_row, other, 0]
                    above = np.float32(other_row - row) + offset[view, other_row, other, 1]
                    a = inverse[view, other_row, other, 0, 0]
                    b = inverse[view, other_row, other, 0, 1]
                    c = inverse[view, other_row, other, 1, 0]
                    d = inverse[view, other_row, other, 1, 1]
                    for i in range(BLOCK):
                        y = (np.float32(i) + _HALF) * _STEP - _HALF - above
                        for j in range(BLOCK):
                            x = (np.float32(j) + _HALF) * _STEP - _HALF - left
                            u, v = a * x + b * y, c * x + d * y
                            across = _ONE - u * u * _INVERSE_REACH
                            along = _ONE - v * v * _INVERSE_REACH
                            if across <= _ZERO or along <= _ZERO:
                                continue
                            weight = across * along
                            weight = weight * weight
                            weight = weight * weight
                            p = min(max((u + _HALF) * _SIDE - _HALF, _ZERO), _LAST)
                            q = min(max((v + _HALF) * _SIDE - _HALF, _ZERO), _LAST)
                            p0, q0 = min(int(p), BLOCK - 2), min(int(q), BLOCK - 2)
                            p1, q1 = p - np.float32(p0), q - np.float32(q0)
                            w00, w01 = (_ONE - q1) * (_ONE - p1), (_ONE - q1) * p1
                            w10, w11 = q1 * (_ONE - p1), q1 * p1
                            luma = _ZERO
                            for k in range(3):
                                value = w00 * block[q0, p0, k] + w01 * block[q0, p0 + 1, k]
                                value += w10 * block[q0 + 1, p0, k] + w11 * block[q0 + 1, p0 + 1, k]
                                total[i, j, k] += weight * value
                                share = _RED if k == 0 else (_GREEN if k == 1 else _BLUE)
                                luma += share * value
                            total[i, j, 3] += weight
                            total[i, j, 4] += weight * luma
                            total[i, j, 5] += weight * luma * luma
            for i in range(BLOCK):
                for j in range(BLOCK):
                    weight = total[i, j, 3]
                    if weight > np.float32(1e-6):
                        for k in range(3):
                            drawn[view, row, column, i, j, k] = total[i, j, k] / weight
                        mean = total[i, j, 4] / weight
                        variance = max(total[i, j, 5] / weight - mean * mean, _ZERO)
                    else:
                        drawn[view, row, column, i, j] = blocks[view, row, column, i, j]
                        variance = _ZERO
                    told[0, view, row, column, i // _PART, j // _PART] += weight
                    told[1, view, row, column, i // _PART, j // _PART] += variance
            for i in range(PARTS):
                for j in range(PARTS):
                    told[0, view, row, column, i, j] /= np.float32(_PART * _PART)
                    told[1, view, row, column, i, j] = np.sqrt(
                        told[1, view, row, column, i, j] / np.float32(_PART * _PART)
                    )

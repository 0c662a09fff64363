"""Fills what a readout does not know from what it knows, like a membrane clamped at known cells."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_holes(
    values: Tensor,  # (T, C, h, w) float
    known: Tensor,  # (T, h, w) bool
) -> Tensor:  # (T, C, h, w), the type of values
    """Every unknown cell becomes the mean of its up to four neighbours; known cells stay as they are.

    That is the discrete Laplace equation with the known cells as boundary values and no slope at
    the border of the frame. Its only solution has no bumps of its own: it keeps constants, recovers
    a ramp with a hole in it, and stays between the least and the greatest known value of its frame
    and channel. Frames do not mix; a frame with no known cell becomes zero.

    The equation is solved exactly (in float64), strip by strip along the longer side: block
    elimination, all frames and channels at once. It needs no pivoting between strips, because the
    matrix is weakly diagonally dominant.
    """
    if values.shape[-2] > values.shape[-1]:
        return fill_holes(values.mT, known.mT).mT.contiguous()
    if bool(known.all()):
        return values.clone()
    # A frame without any known cell has no solution of its own: it is clamped to zero everywhere.
    clamped = known | ~known.any(dim=-1).any(dim=-1)[:, None, None]
    hole = (~clamped).to(torch.float64)
    targets = torch.where(known[:, None], values, 0.0).to(torch.float64)
    solution = _solve_strips(hole.permute(2, 0, 1), targets.permute(3, 0, 2, 1))
    filled = solution.permute(1, 3, 2, 0).to(values.dtype)
    return torch.where(known[:, None], values, filled)


def _solve_strips(
    hole: Tensor,  # (w, T, h) float64, 1 in holes
    targets: Tensor,  # (w, T, h, C) float64, values of the clamped cells, 0 in holes
) -> Tensor:  # (w, T, h, C)
    """Solves degree * x - sum of neighbours = 0 in holes, x = target elsewhere.

    One strip is a column of the grid; with x_j its cells and H_j the diagonal matrix of its holes,
    A_j x_j - H_j x_(j-1) - H_j x_(j+1) = b_j, a block-tridiagonal system (Golub and Van Loan,
    Matrix Computations, 4.5.1).
    """
    strips, frames, height = hole.shape
    vertical = torch.zeros(height, height, dtype=hole.dtype, device=hole.device)
    vertical.diagonal(1).fill_(1.0)
    vertical.diagonal(-1).fill_(1.0)
    degree = vertical.sum(dim=-1)
    onward: list[Tensor] = []  # G_j: how strip j follows strip j + 1
    offset: list[Tensor] = []  # y_j: strip j where strip j + 1 is zero
    for j in range(strips):
        beside = float(j > 0) + float(j < strips - 1)
        coupling = torch.diag_embed(hole[j])  # (T, h, h)
        matrix = torch.diag_embed(1.0 + hole[j] * (degree + beside - 1.0)) - coupling @ vertical
        right = targets[j]
        if j:
            matrix = matrix - coupling @ onward[-1]
            right = right + hole[j, :, :, None] * offset[-1]
        solved = torch.linalg.solve(matrix, torch.cat([coupling, right], dim=-1))
        onward.append(solved[..., :height])
        offset.append(solved[..., height:])
    solution = [offset[-1]]
    for j in range(strips - 2, -1, -1):
        solution.append(offset[j] + onward[j] @ solution[-1])
    return torch.stack(solution[::-1])

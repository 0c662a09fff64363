"""Fills what a readout does not know from what it knows, like a membrane clamped at known cells."""

from __future__ import annotations

import torch
from torch import Tensor


def fill_holes(
    values: Tensor,  # (T, C, h, w) float
    known: Tensor,  # (T, h, w) bool
) -> Tensor:  # (T, C, h, w), the type of values
    """Every unknown cell becomes the mean of its up to four neighbours; known cells keep theirs.

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


def fade_with_distance(
    filled: Tensor,  # (T, C, h, w) of fill_holes
    known: Tensor,  # (T, h, w) bool
) -> Tensor:  # (T, C, h, w)
    """Let each channel of a fill return to its frame's mean as fast as neighbours lose touch.

    A membrane carries what stands at the rim of a hole all the way across. That is right for a
    channel whose neighbouring cells agree (brightness), and wrong for one whose cells do not
    (texture): the rim's pattern would be stamped over the whole hole. So the deviation from the
    mean is scaled by r^d: r the correlation of the channel between neighbouring known cells, taken
    from the frames themselves, and d the distance to the nearest known cell. That is the best
    linear guess in a field whose correlation falls off like that (kriging, one neighbour).
    """
    correlation = neighbour_correlation(filled, known)
    distance = distance_to_known(known).to(filled.dtype)
    counts = known.sum(dim=(-2, -1)).clamp(min=1)[:, None]  # (T, 1)
    mean = (filled * known[:, None]).sum(dim=(-2, -1)) / counts  # (T, C)
    mean = mean[:, :, None, None]
    share = correlation[None, :, None, None] ** distance[:, None]
    return torch.where(known[:, None], filled, mean + (filled - mean) * share)


def neighbour_correlation(
    values: Tensor,  # (T, C, h, w)
    known: Tensor,  # (T, h, w) bool
) -> Tensor:  # (C,) in [0, 1]
    """Correlation of each channel between neighbouring known cells, both directions, all frames.

    1 where a channel does not vary at all, or no two neighbours are known.
    """
    weight = known[:, None].to(values.dtype)
    # Centred first: the sums below then neither cancel nor make noise of a constant channel.
    mean = (values * weight).sum(dim=(0, 2, 3)) / weight.sum().clamp(min=1.0)
    centred = (values - mean[:, None, None]) * weight
    products = values.new_zeros(values.shape[1])
    squares = values.new_zeros(values.shape[1])
    for axis in (-1, -2):
        size = values.shape[axis] - 1
        here, there = centred.narrow(axis, 0, size), centred.narrow(axis, 1, size)
        both = weight.narrow(axis, 0, size) * weight.narrow(axis, 1, size)
        products += (here * there).sum(dim=(0, 2, 3))
        squares += 0.5 * ((here * here + there * there) * both).sum(dim=(0, 2, 3))
    varies = squares > 1e-10 * weight.sum()
    return torch.where(varies, products / squares.clamp(min=1e-20), 1.0).clamp(0.0, 1.0)


def distance_to_known(known: Tensor) -> Tensor:  # (T, h, w) bool -> (T, h, w) int64
    """Steps to the nearest known cell, diagonals counting one; 0 in known cells."""
    reached = known[:, None].float()
    distance = torch.zeros(known.shape, dtype=torch.int64, device=known.device)
    for _ in range(max(known.shape[-2:])):
        missing = reached[:, 0] == 0.0
        if not bool(missing.any()):
            break
        distance += missing
        reached = torch.nn.functional.max_pool2d(reached, 3, stride=1, padding=1)
    return distance


def _solve_strips(
    hole: Tensor,  # (w, T, h) float64, 1 in holes
    targets: Tensor,  # (w, T, h, C) float64, values of the clamped cells, 0 in holes
) -> Tensor:  # (w, T, h, C)
    """Solves degree * x - sum of neighbours = 0 in holes, x = target elsewhere.

    One strip is a column of the grid; with x_j its cells and H_j the diagonal matrix of its holes,
    A_j x_j - H_j x_(j-1) - H_j x_(j+1) = b_j, a block-tridiagonal system (Golub and Van Loan,
    Matrix Computations, 4.5.1).
    """
    strips, _, height = hole.shape
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

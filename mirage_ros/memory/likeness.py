"""Which stored token looks like each cell of a new view, of all that may stand there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mirage_ros.compiled import compiled
from mirage_ros.memory import culling_cpu
from mirage_ros.memory.bounds import BoundsConfig
from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.readout_cpu import (
    BLOCK,
    HALF,
    ONE,
    ZERO,
    cell_span,
    project_block,
    view_scalars,
)
from mirage_ros.memory.token_store import TokenArrays
from mirage_ros.memory.view_tokens import View


def alike_tokens(
    store: TokenArrays,
    features: FeatureFormat,
    gain: Tensor,  # (C,) float32 of the codec's channels
    view: View,
    stride: int,  # pixels per cell
    readout: ReadoutConfig,
    bounds: BoundsConfig,
) -> Tensor:  # (h, w) int64, -1 = none
    """For each cell the token that stands for it with the least error, if any does.

    The condition is that of :class:`mirage_ros.memory.bounds.BoundsConfig`.
    """
    pose = view.T_world_camera[None]
    if store.device.type == "cpu":
        rows, numbers = culling_cpu.visible_tokens(store, view.grid, pose, readout)
    else:
        geometry = store.geometry(slice(None))
        parts = (geometry.position.T, geometry.footprint[None], geometry.view.T, geometry.normal.T)
        rows = torch.cat([part.float() for part in parts]).cpu().numpy()
        numbers = np.arange(store.count)
    known = features.unpack(store.tokens.features[torch.from_numpy(numbers).to(store.device)])
    height, width = view.depth.shape
    found = np.full(height * width, -1, dtype=np.int64)
    _alike(
        rows,
        numbers,
        (known * gain).cpu().numpy(),
        (view.latents.flatten(1).T * gain).contiguous().cpu().numpy(),
        view.depth.flatten().cpu().numpy(),
        bounds.allowed_error(view.contrast).flatten().cpu().numpy(),
        pose[0, :3].astype(np.float32),
        view_scalars(view.grid, stride, readout),
        width,
        np.array(
            [
                readout.reach,
                readout.offset_weight,
                bounds.same_surface,
                bounds.same_fit,
            ],
            dtype=np.float32,
        ),
        found,
    )
    return torch.from_numpy(found).to(store.device).reshape(height, width)


@compiled
def _alike(  # type: ignore[no-untyped-def]
    tokens, numbers, known, new, depth, least, pose, scalars, columns, limits, found
):
    reach, offset_weight, same_surface, same_fit = limits
    rows = len(depth) // columns
    seen = np.empty((5, BLOCK), dtype=np.float32)
    for start in range(0, tokens.shape[1], BLOCK):
        block = min(BLOCK, tokens.shape[1] - start)
        project_block(tokens, start, block, pose, scalars, seen)
        for i in range(block):
            u, v, z, half, mismatch = seen[0, i], seen[1, i], seen[2, i], seen[3, i], seen[4, i]
            if z == ZERO:
                continue
            first_row, last_row = cell_span(v, max(reach, half), rows)
            first_column, last_column = cell_span(u, max(reach, half), columns)
            for row in range(first_row, last_row + 1):
                dv = v - (np.float32(row) + HALF)
                for column in range(first_column, last_column + 1):
                    du = u - (np.float32(column) + HALF)
                    away = max(abs(du), abs(dv))
                    cell = row * columns + column
                    if away > half and away >= reach:
                        continue
                    if depth[cell] == ZERO or abs(z - depth[cell]) > same_surface * depth[cell]:
                        continue
                    fit = offset_weight * (du * du + dv * dv) + mismatch
                    strictness = max(ONE, fit / same_fit)
                    error = ZERO
                    for channel in range(known.shape[1]):
                        difference = known[start + i, channel] - new[cell, channel]
                        error += difference * difference * strictness
                        if error >= least[cell]:
                            break
                    if error < least[cell]:
                        least[cell] = error
                        found[cell] = numbers[start + i]

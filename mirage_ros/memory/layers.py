"""Reading several sets of tokens as one: what was observed first, then what was imagined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import culling_cpu, readout_cpu
from mirage_ros.memory.base import Readout
from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.placement import Placement, place_tokens, untouched
from mirage_ros.memory.readout import FIT_STEPS, Selection, select_tokens
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.token_store import Geometry, TokenArrays


@dataclass(frozen=True)
class Layers:
    """Sets of tokens that are read together.

    Attributes:
        observed: what sensors saw.
        imagined: what rollouts wrote, read only where nothing observed is.
    """

    observed: tuple[TokenArrays, ...]
    imagined: tuple[TokenArrays, ...]


def select(
    parts: Sequence[TokenArrays],
    camera: PinholeCamera,  # of the latent grid
    stride: int,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> Selection:
    """The token in every cell; numbers count through ``parts`` in order."""
    if all(part.device.type == "cpu" for part in parts):
        rows, numbers, first = [], [], 0
        for part in parts:
            if part.count and len(T_world_camera):
                part_rows, part_numbers = culling_cpu.visible_tokens(
                    part, camera, T_world_camera, config
                )
                rows.append(part_rows)
                numbers.append(part_numbers + first)
            first += part.count
        tokens = rows[0] if len(rows) == 1 else np.hstack([np.empty((10, 0), np.float32), *rows])
        index, depth, steps = readout_cpu.select_rows(
            tokens.astype(np.float32, copy=False), camera, stride, T_world_camera, config
        )
        number = np.concatenate([*numbers, np.full(1, -1)])
        fit = torch.from_numpy(steps).float() / FIT_STEPS
        return Selection(torch.from_numpy(number[index]), torch.from_numpy(depth), fit)
    decoded = [part.geometry(slice(None)) for part in parts]
    together = Geometry(
        torch.cat([part.position for part in decoded]),
        torch.cat([part.footprint for part in decoded]),
        torch.cat([part.view for part in decoded]),
        torch.cat([part.normal for part in decoded]),
    )
    return select_tokens(together, camera, stride, T_world_camera, config)


def read(
    layers: Layers,
    features: FeatureFormat,
    camera: PinholeCamera,  # of the latent grid
    stride: int,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
    *,
    placed: bool = False,
) -> Readout:
    """What both layers know of T views; the imagined only where nothing observed is.

    With ``placed``, and how the tokens lie in their cells.
    """
    where = camera, stride, T_world_camera, config
    latents, coverage, depth, placement = _read(layers.observed, features, *where, placed)
    observed = coverage
    if any(part.count for part in layers.imagined):
        others, also, other_depth, other = _read(layers.imagined, features, *where, placed)
        if placement is not None and other is not None:
            placement = placement.where(coverage, other)
        latents = torch.where(coverage[:, None], latents, others)
        depth = torch.where(coverage, depth, other_depth)
        coverage = coverage | also
    return Readout(latents, coverage, depth, observed, placement)


def _read(
    parts: Sequence[TokenArrays],
    features: FeatureFormat,
    camera: PinholeCamera,
    stride: int,
    T_world_camera: NDArray[np.float64],
    config: ReadoutConfig,
    placed: bool,
) -> tuple[Tensor, Tensor, Tensor, Placement | None]:
    """Latents (T, C, h, w), coverage and depth (T, h, w) of one layer, and the placement."""
    selection = select(parts, camera, stride, T_world_camera, config)
    if len(parts) == 1:
        packed = parts[0].tokens.features
    else:
        packed = torch.cat([part.tokens.features for part in parts])
    latents = features.unpack_cells(packed, selection.index)
    placement = _placement(parts, selection.index, camera, T_world_camera) if placed else None
    return latents, selection.index >= 0, selection.depth, placement


def _placement(
    parts: Sequence[TokenArrays],
    index: Tensor,  # (T, h, w) int64, through all parts; -1 where none
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],
) -> Placement:
    placement = untouched(index.shape, index.device)
    first = 0
    for part in parts:
        mine = (index >= first) & (index < first + part.count)
        if bool(mine.any()):
            tokens = part.tokens.select(index[mine] - first)
            keyframes = part.keyframes[tokens.keyframe.long()]
            placed = place_tokens(tokens, keyframes, mine, camera, T_world_camera)
            placement = placed.where(mine, placement)
        first += part.count
    return placement

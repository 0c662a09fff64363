"""Which stored token looks like each cell of a new view, of all that may stand there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mirage_ros.memory import readout_cpu
from mirage_ros.memory.bounds import BoundsConfig
from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.rows_in_view import rows_in_view
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
    rows, numbers = rows_in_view(store, view.grid, view.T_world_camera, readout)
    known = features.unpack(store.tokens.features[torch.from_numpy(numbers).to(store.device)])
    height, width = view.depth.shape
    found = np.full(height * width, -1, dtype=np.int64)
    readout_cpu.most_alike(
        rows,
        numbers,
        (known * gain).cpu().numpy(),
        (view.latents.flatten(1).T * gain).contiguous().cpu().numpy(),
        view.depth.flatten().cpu().numpy(),
        bounds.allowed_error(view.contrast).flatten().cpu().numpy(),
        view.T_world_camera[:3].astype(np.float32),
        readout_cpu.view_scalars(view.grid, stride, readout),
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

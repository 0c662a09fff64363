"""Decoded tokens in and about one view, for compiled loops over them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import culling_cpu
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.token_store import TokenArrays


def rows_in_view(
    store: TokenArrays,
    grid: PinholeCamera,  # of the latent grid
    T_world_camera: NDArray[np.float64],  # (4, 4)
    config: ReadoutConfig,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Tokens of all runs that lie in a view, and their numbers; all there are from other devices.

    Returns:
        Rows (10, M) of position, footprint, viewing direction and normal, as
        :func:`mirage_ros.memory.readout_cpu.select_rows` takes them; ascending numbers (M,).
    """
    if store.device.type == "cpu":
        return culling_cpu.visible_tokens(store, grid, T_world_camera[None], config)
    geometry = store.geometry(slice(None))
    parts = (geometry.position.T, geometry.footprint[None], geometry.view.T, geometry.normal.T)
    rows: NDArray[np.float32] = torch.cat([part.float() for part in parts]).cpu().numpy()
    return rows, np.arange(store.count)

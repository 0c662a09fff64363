"""The readout as dense tensor operations, for accelerators.

Shapes depend only on the number of tokens, views and cells, never on what is seen, so nothing
inside waits for the device and the whole can be recorded as a graph. What does not count goes to
one spare cell behind the last.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.readout_config import FIT_LIMIT, FIT_STEPS, ReadoutConfig
from mirage_ros.memory.token_store import NORMAL_SCALE

_EMPTY = torch.iinfo(torch.int64).max


def select(
    position: Tensor,  # (N, 3) float32
    footprint: Tensor,  # (N,) float32
    view: Tensor,  # (N, 3) float32
    normal: Tensor,  # (N, 3) int8
    camera: PinholeCamera,  # of the latent grid
    stride: int,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Entry, depth and fit in steps for every cell, each (T, h, w); -1, 0 and 0 where none."""
    views, rows, columns = len(T_world_camera), camera.height, camera.width
    device, count = position.device, position.shape[0]
    shape, cells = (views, rows, columns), views * rows * columns
    if count == 0 or views == 0:
        none = torch.zeros(shape, dtype=torch.int64, device=device)
        return none - 1, torch.zeros(shape, device=device), none

    pose = torch.from_numpy(np.asarray(T_world_camera, dtype=np.float32)).to(device)
    pose = pose[:, :3, :, None]  # (T, 3, 4, 1), broadcast over tokens
    x, y, z = position.unbind(dim=1)
    dx, dy, dz = x - pose[:, 0, 3], y - pose[:, 1, 3], z - pose[:, 2, 3]  # (T, N) world
    depth = dx * pose[:, 0, 2] + dy * pose[:, 1, 2] + dz * pose[:, 2, 2]
    right = dx * pose[:, 0, 0] + dy * pose[:, 1, 0] + dz * pose[:, 2, 0]
    down = dx * pose[:, 0, 1] + dy * pose[:, 1, 1] + dz * pose[:, 2, 1]
    left, top = -config.max_reach - camera.cx, -config.max_reach - camera.cy
    far_right = camera.width + config.max_reach - camera.cx
    bottom = camera.height + config.max_reach - camera.cy
    # Comparing products instead of quotients keeps tokens behind the camera out of any division.
    seen = (depth >= config.near_plane) & (camera.fx * right >= left * depth)
    seen &= (camera.fx * right <= far_right * depth) & (camera.fy * down >= top * depth)
    seen &= camera.fy * down <= bottom * depth
    distance = torch.sqrt(dx * dx + dy * dy + dz * dz)
    normal_x, normal_y, normal_z = normal.float().unbind(dim=1)
    facing = dx * normal_x + dy * normal_y + dz * normal_z
    seen &= facing <= config.back_limit * NORMAL_SCALE * distance
    depth = torch.where(seen, depth, 1.0)

    u = camera.fx * right / depth + camera.cx
    v = camera.fy * down / depth + camera.cy
    ratio = footprint * (float(np.sqrt(camera.fx * camera.fy)) * stride) / depth
    half = (0.5 * ratio).clamp(min=0.5, max=config.max_reach)
    seen_x, seen_y, seen_z = view.unbind(dim=1)
    turn_x, turn_y, turn_z = dx / distance - seen_x, dy / distance - seen_y, dz / distance - seen_z
    one_minus_cosine = 0.5 * (turn_x * turn_x + turn_y * turn_y + turn_z * turn_z)
    mismatch = config.scale_weight * (torch.maximum(ratio, 1.0 / ratio) - 1.0)
    mismatch = mismatch + config.angle_weight * one_minus_cosine

    first_u, first_v = torch.floor(u - 0.5), torch.floor(v - 0.5)
    start = torch.arange(views, device=device)[:, None] * rows

    def candidates(row: int, column: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Flat cell, whether the token covers its centre, may stand there; squared distance."""
        cell_u, cell_v = first_u + column, first_v + row
        du, dv = u - (cell_u + 0.5), v - (cell_v + 0.5)
        away = torch.maximum(du.abs(), dv.abs())
        covers = away <= half
        counts = seen & (cell_u >= 0) & (cell_u < columns) & (cell_v >= 0) & (cell_v < rows)
        counts &= covers | (away < config.reach)
        flat = (start + cell_v.long()) * columns + cell_u.long()
        return torch.where(counts, flat, cells).flatten(), covers, counts, du * du + dv * dv

    ring = math.ceil(config.max_reach)
    offsets = [(r, c) for r in range(1 - ring, ring + 1) for c in range(1 - ring, ring + 1)]
    covering = torch.full((cells + 1,), torch.inf, device=device)
    nearest = covering.clone()
    for row, column in offsets:
        flat, covers, _, _ = candidates(row, column)
        covering.scatter_reduce_(0, flat, torch.where(covers, depth, torch.inf).flatten(), "amin")
        nearest.scatter_reduce_(0, flat, depth.flatten(), "amin")
    surface = torch.where(torch.isfinite(covering), covering, nearest)
    limit = surface * (1.0 + config.depth_band)

    entry = torch.arange(count, device=device)
    best = torch.full((cells + 1,), _EMPTY, device=device)
    for row, column in offsets:
        flat, _, counts, offset2 = candidates(row, column)
        visible = counts & (depth <= limit[flat].reshape(depth.shape))
        fit = config.offset_weight * offset2 + mismatch
        steps = (fit.clamp(max=FIT_LIMIT) * FIT_STEPS).to(torch.int64)
        # The token's number in the low bits breaks ties: the oldest wins, on every run.
        key = torch.where(visible, (steps << 32) | entry, _EMPTY)
        best.scatter_reduce_(0, flat, key.flatten(), "amin")

    best = best[:cells].reshape(shape)
    found = best != _EMPTY
    index = torch.where(found, best & 0xFFFFFFFF, -1)
    of_view = depth.gather(1, index.clamp(min=0).reshape(views, -1)).reshape(shape)
    return index, torch.where(found, of_view, 0.0), torch.where(found, best >> 32, 0)

"""Reading tokens out for other cameras: which token stands in which cell of which view.

Per view and cell:

1. Candidates. A token *covers* the cells whose centre lies within half its side of its projection,
   and within half a cell at least; one that was seen from farther away appears larger. It is a
   candidate for these and for all cells whose centre is nearer than `reach`. All tokens meet all
   views in one pass.
2. Visibility. The nearest token that *covers* the cell's centre gives the depth of the visible
   surface; where none does, the nearest candidate. Candidates farther than a band behind it are
   hidden.
3. Fit. Of the visible candidates the one that was seen most alike is copied, whole and unblended:
   close to the cell's centre, at a similar scale, from a similar direction.

Both minima are scatter-reductions whose result does not depend on the order of the hits, so a
readout is the same on every run. Only exactly rounded arithmetic is used (no logarithm, no cosine,
no matrix product), so that devices agree as well.
:mod:`mirage_ros.memory.readout_reference` states the same in plain loops.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.tokens import NORMAL_SCALE, TokenCloud

#: Steps per unit of the fit score, which is compared as an integer.
FIT_STEPS = 4096.0
#: Largest fit that is told apart (it must leave 31 bits).
FIT_LIMIT = 2.0**18
#: A column that no view has, cells.
FAR_OUTSIDE = -1e6


@dataclass(frozen=True)
class ReadoutConfig:
    """Weights and limits of the readout.

    The fit of a token seen with footprint F along unit direction a, read where a pixel has
    footprint f and the token appears along b, (du, dv) cells from the cell's centre (lowest wins)::

        offset_weight (du^2 + dv^2) + scale_weight (max(f/F, F/f) - 1) + angle_weight (1 - a.b)

    The defaults were tuned on hand-held Kinect frames (7-Scenes, redkitchen) and on a simulated
    drive. The wide band suits both, although the simulator's depth is exact: a cell at a depth edge
    holds two surfaces, and the token that shows the same mixture may carry the farther one's depth.

    Attributes:
        near_plane: tokens nearer to the image plane than this are not seen, metres.
        depth_band: share of the surface's depth by which a candidate may lie behind it.
        reach: a token is a candidate for cells whose centre is nearer than this, cells.
        max_reach: largest half side of a token that appears larger than a cell, cells.
        offset_weight: weight of the squared distance to the cell's centre, per cell^2.
        scale_weight: weight of the ratio of footprints.
        angle_weight: weight of the change of viewing direction.
        back_limit: a token is not seen from behind: when the cosine between the ray to it and its
            surface's normal exceeds this. Normals are not exact, so it is above 0.

    Raises:
        ConfigurationError: a value is negative or not finite, or ``max_reach < reach``.
    """

    near_plane: float = 0.1
    depth_band: float = 0.3
    reach: float = 1.0
    max_reach: float = 2.0
    offset_weight: float = 1.0
    scale_weight: float = 1.0
    angle_weight: float = 80.0
    back_limit: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise ConfigurationError(f"{field.name} must be finite and >= 0. Got {value}")
        if self.near_plane == 0.0:
            raise ConfigurationError("near_plane must be positive. Got 0.0")
        if not 0.5 <= self.reach <= self.max_reach <= 8.0:
            raise ConfigurationError(
                "0.5 <= reach <= max_reach <= 8 must hold. "
                f"Got reach={self.reach}, max_reach={self.max_reach}"
            )


@dataclass(frozen=True)
class Selection:
    """The token in every cell.

    Attributes:
        index: (T, h, w) int64 into the tokens; -1 where none.
        depth: (T, h, w) float32 z-depth of that token in the view, metres; 0 where none.
    """

    index: Tensor
    depth: Tensor


@dataclass(frozen=True)
class _Seen:
    """M tokens in front of a view's camera and near its image, one entry per token and view."""

    view: Tensor  # (M,) int64
    token: Tensor  # (M,) int64
    u: Tensor  # (M,) float32 cells
    v: Tensor  # (M,) float32 cells
    depth: Tensor  # (M,) float32 metres
    half_size: Tensor  # (M,) float32 cells: half the side of the token's patch in this view
    mismatch: Tensor  # (M,) float32: the part of the fit that does not depend on the cell


def select_tokens(
    tokens: TokenCloud,
    camera: PinholeCamera,  # of the latent grid: its pixels are the cells
    stride: int,  # pixels per cell
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> Selection:
    """The best-fitting visible token in every cell of T views."""
    views, rows, columns = len(T_world_camera), camera.height, camera.width
    device = tokens.position.device
    seen = _project(tokens, camera, stride, T_world_camera, config)
    cell, hit, offset2, covers = _candidates(seen, rows, columns, config)
    depth = seen.depth.index_select(0, hit)

    cells = views * rows * columns
    surface = torch.full((cells,), torch.inf, device=device)
    covering = surface.scatter_reduce(0, cell, torch.where(covers, depth, torch.inf), "amin")
    nearest = surface.scatter_reduce(0, cell, depth, "amin")
    surface = torch.where(torch.isfinite(covering), covering, nearest)

    limit = surface * (1.0 + config.depth_band)
    visible = (depth <= limit.index_select(0, cell)).nonzero()[:, 0]
    cell, hit = cell.index_select(0, visible), hit.index_select(0, visible)
    offset2 = offset2.index_select(0, visible)
    fit = config.offset_weight * offset2 + seen.mismatch.index_select(0, hit)
    steps = (fit.clamp(max=FIT_LIMIT) * FIT_STEPS).to(torch.int64)
    # The token's number in the low bits breaks ties: the oldest wins, on every run. The entry in
    # `seen` grows with the token's number within a view, so it serves as well and leads to depth.
    key = (steps << 32) | hit
    empty = torch.iinfo(torch.int64).max
    best = torch.full((cells,), empty, device=device).scatter_reduce(0, cell, key, "amin")

    found = best != empty
    entry = best[found] & 0xFFFFFFFF
    index = torch.full((cells,), -1, device=device)
    index[found] = seen.token[entry]
    read_depth = torch.zeros(cells, device=device)
    read_depth[found] = seen.depth[entry]
    shape = (views, rows, columns)
    return Selection(index.reshape(shape), read_depth.reshape(shape))


def _project(
    tokens: TokenCloud,
    camera: PinholeCamera,
    stride: int,
    T_world_camera: NDArray[np.float64],
    config: ReadoutConfig,
) -> _Seen:
    """Every token in every view, as far as it may reach a cell."""
    pose = torch.from_numpy(np.asarray(T_world_camera, dtype=np.float32))
    pose = pose.to(tokens.position.device)[:, :3, :, None]  # (T, 3, 4, 1)
    x, y, z = tokens.position.unbind(dim=1)
    dx, dy, dz = x - pose[:, 0, 3], y - pose[:, 1, 3], z - pose[:, 2, 3]  # (T, N) world
    depth = dx * pose[:, 0, 2] + dy * pose[:, 1, 2] + dz * pose[:, 2, 2]
    right = dx * pose[:, 0, 0] + dy * pose[:, 1, 0] + dz * pose[:, 2, 0]
    down = dx * pose[:, 0, 1] + dy * pose[:, 1, 1] + dz * pose[:, 2, 1]
    # Comparing products instead of quotients keeps tokens behind the camera out of any division.
    left, top = -config.max_reach - camera.cx, -config.max_reach - camera.cy
    far_right = camera.width + config.max_reach - camera.cx
    bottom = camera.height + config.max_reach - camera.cy
    near = (depth >= config.near_plane) & (camera.fx * right >= left * depth)
    near &= (camera.fx * right <= far_right * depth) & (camera.fy * down >= top * depth)
    near &= camera.fy * down <= bottom * depth
    flat = near.flatten().nonzero()[:, 0]
    view, token = flat // len(tokens), flat % len(tokens)

    # Selecting by number, not by mask: a mask is searched anew for every array.
    depth, right, down = (array.take(flat) for array in (depth, right, down))
    u = camera.fx * right / depth + camera.cx
    v = camera.fy * down / depth + camera.cy
    dx, dy, dz = (array.take(flat) for array in (dx, dy, dz))
    distance = torch.sqrt(dx * dx + dy * dy + dz * dz)
    normal_x, normal_y, normal_z = tokens.normal.index_select(0, token).float().unbind(dim=1)
    facing = dx * normal_x + dy * normal_y + dz * normal_z
    # What is seen from behind is moved out of every view.
    u = torch.where(facing <= config.back_limit * NORMAL_SCALE * distance, u, FAR_OUTSIDE)
    seen_x, seen_y, seen_z = tokens.view.index_select(0, token).unbind(dim=1)
    turn_x, turn_y, turn_z = dx / distance - seen_x, dy / distance - seen_y, dz / distance - seen_z
    one_minus_cosine = 0.5 * (turn_x * turn_x + turn_y * turn_y + turn_z * turn_z)
    focal = float(np.sqrt(camera.fx * camera.fy)) * stride
    ratio = tokens.footprint.index_select(0, token) * focal / depth
    mismatch = config.scale_weight * (torch.maximum(ratio, 1.0 / ratio) - 1.0)
    mismatch = mismatch + config.angle_weight * one_minus_cosine
    return _Seen(view, token, u, v, depth, 0.5 * ratio, mismatch)


def _candidates(
    seen: _Seen, rows: int, columns: int, config: ReadoutConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells that each seen token may stand in.

    Returns, per hit: flat cell, entry in ``seen``, squared distance to the cell's centre, and
    whether the token covers that centre.
    """
    half = seen.half_size.clamp(min=0.5, max=config.max_reach)
    first_u, first_v = torch.floor(seen.u - 0.5), torch.floor(seen.v - 0.5)
    row_start = seen.view * rows
    parts: list[tuple[Tensor, ...]] = []
    for ring in range(1, int(np.ceil(config.max_reach)) + 1):
        # Every token may stand in some of the 2 x 2 cells around its projection; the rings about
        # them are farther away than most tokens reach.
        entry = torch.arange(len(half), device=half.device)
        if ring > 1 and config.reach <= ring - 1:
            entry = (half >= ring - 1).nonzero()[:, 0]
        if entry.numel() == 0:
            continue
        u, v, size, left, top, start = (
            array.index_select(0, entry)
            for array in (seen.u, seen.v, half, first_u, first_v, row_start)
        )
        for row, column in _ring(ring):
            cell_u, cell_v = left + column, top + row
            du, dv = u - (cell_u + 0.5), v - (cell_v + 0.5)
            distance = torch.maximum(du.abs(), dv.abs())
            covers = distance <= size
            inside = (cell_u >= 0) & (cell_u < columns) & (cell_v >= 0) & (cell_v < rows)
            hit = (inside & (covers | (distance < config.reach))).nonzero()[:, 0]
            flat = (start + cell_v.long()) * columns + cell_u.long()
            offset2 = du * du + dv * dv
            arrays = (flat, entry, offset2, covers)
            parts.append(tuple(array.index_select(0, hit) for array in arrays))
    if not parts:
        none = torch.empty(0, dtype=torch.int64, device=half.device)
        return none, none, half[none], none > 0
    cells, entries, offsets2, cover = zip(*parts, strict=True)
    return torch.cat(cells), torch.cat(entries), torch.cat(offsets2), torch.cat(cover)


def _ring(ring: int) -> list[tuple[int, int]]:
    """Offsets (row, column) of the cells on the rim of a square of side ``2 * ring``.

    The first square is the 2 x 2 cells (0, 0) to (1, 1).
    """
    side = range(1 - ring, ring + 1)
    rim = (1 - ring, ring)
    return [(row, column) for row in side for column in side if row in rim or column in rim]

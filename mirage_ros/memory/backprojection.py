"""Depth at latent resolution without inventing surfaces, and the points it stands for.

Averaging depth over a cell, or interpolating it across invalid pixels, yields surfaces that exist
nowhere. So each cell takes the median of the depths measured in it, and where an edge runs through
the cell the median of one side of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.geometry.camera import PinholeCamera

#: Neighbouring cells whose depths differ by more than this factor share no surface.
TANGENT_RATIO = 1.5


@dataclass(frozen=True)
class CellDepthConfig:
    """Which depths count, and when a cell is split at an edge.

    Attributes:
        min_depth: nearest depth believed, metres.
        max_depth: farthest depth believed, metres.
        min_valid: share of a cell's pixels that must be valid, else the cell is dropped.
        edge_ratio: a gap between consecutive sorted depths wider than this share of the nearer one
            splits the cell into two surfaces.
        near_share: the nearer surface stands for a split cell from this share of the valid pixels
            on, the farther one below it.

    Raises:
        ConfigurationError: a value lies outside its range.
    """

    min_depth: float = 0.1
    max_depth: float = 10.0
    min_valid: float = 0.03
    edge_ratio: float = 0.05
    near_share: float = 0.4

    def __post_init__(self) -> None:
        if not 0.0 < self.min_depth < self.max_depth < float("inf"):
            raise ConfigurationError(
                "0 < min_depth < max_depth must hold. "
                f"Got min_depth={self.min_depth}, max_depth={self.max_depth}"
            )
        for name in ("min_valid", "edge_ratio", "near_share"):
            value = getattr(self, name)
            if not 0.0 < value <= 1.0:
                raise ConfigurationError(f"{name} must be in (0, 1]. Got {value}")


def cell_depth(
    depth: Tensor,  # (H, W) float32 z-depth in metres; 0, NaN or infinite = unknown
    stride: int,
    config: CellDepthConfig,
) -> tuple[Tensor, Tensor]:
    """One depth per cell, and how much of the cell it speaks for.

    Returns:
        Depth (H / stride, W / stride) float32, 0 where the cell is dropped; and the share of the
        cell's pixels that lie on that surface, float32 in [0, 1].

    Raises:
        FrameError: not two-dimensional, or a side is no multiple of ``stride``.
    """
    if depth.ndim != 2 or depth.shape[0] % stride or depth.shape[1] % stride:
        raise FrameError(
            f"depth must be (H, W) with sides that are multiples of {stride}. "
            f"Got shape {tuple(depth.shape)}"
        )
    rows, columns = depth.shape[0] // stride, depth.shape[1] // stride
    pixels = depth.reshape(rows, stride, columns, stride).transpose(1, 2)
    pixels = pixels.reshape(rows * columns, stride * stride)
    valid = (pixels >= config.min_depth) & (pixels <= config.max_depth)  # NaN compares false
    ordered = torch.where(valid, pixels, torch.inf).sort(dim=1).values
    count = valid.sum(dim=1)

    nearer, farther = ordered[:, :-1], ordered[:, 1:]
    gap = torch.where(torch.isfinite(farther), farther / nearer - 1.0, 0.0)
    widest, split = gap.max(dim=1)
    near_count = split + 1
    has_edge = widest > config.edge_ratio
    takes_near = near_count >= config.near_share * count
    first = torch.where(has_edge & ~takes_near, near_count, 0)
    last = torch.where(has_edge & takes_near, near_count, count) - 1

    # Of the two in the middle the nearer alone would be half a pixel off on any slanted surface: a
    # floor would rise with every keyframe that is registered to it. Inverse depth is linear there.
    middle = torch.stack([(first + last) // 2, (first + last + 1) // 2], dim=1).clamp(min=0)
    median = 2.0 / (1.0 / ordered.gather(1, middle)).sum(dim=1)
    kept = count >= max(1.0, config.min_valid * stride * stride)
    share = torch.where(kept, (last - first + 1) / (stride * stride), 0.0)
    return torch.where(kept, median, 0.0).reshape(rows, columns), share.reshape(rows, columns)


def back_project(
    depth: Tensor,  # (h, w) float32 z-depth at the cell centres, metres
    camera: PinholeCamera,  # of the latent grid: its pixels are the cells
    T_world_camera: NDArray[np.float64],  # (4, 4)
) -> Tensor:  # (h, w, 3) float32, world
    """World points of the cell centres."""
    # In float64 until the end: the world frame's origin may be far away.
    points = camera.unproject(camera.pixel_centres(), depth.cpu().numpy())
    world = points @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
    return torch.from_numpy(world.astype(np.float32)).to(depth.device)


def surface_normals(
    points: Tensor,  # (h, w, 3) world
    depth: Tensor,  # (h, w) z-depth of the points, 0 = none
    origin: Tensor,  # (3,) the camera, world
) -> Tensor:  # (h, w, 3) unit normals towards the camera, zero where unknown
    """Normal of the surface through each cell and its neighbours.

    Along each axis the neighbour nearer in depth is taken, so that a cell beside an edge takes its
    tangent from its own surface. Where even that one differs by more than :data:`TANGENT_RATIO`
    there is no normal.
    """
    across, has_across = _tangent(points, depth, axis=1)
    down, has_down = _tangent(points, depth, axis=0)
    normal = torch.linalg.cross(across, down)
    towards = origin - points
    normal = normal * torch.sign((normal * towards).sum(dim=-1, keepdim=True))
    length = normal.norm(dim=-1, keepdim=True)
    known = (has_across & has_down)[..., None] & (length > 0.0)
    return torch.where(known, normal / length.clamp(min=1e-12), 0.0)


def _tangent(points: Tensor, depth: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Step along an axis of the grid to the neighbour nearer in depth; and whether there is one."""
    count = depth.shape[axis]
    steps, gaps = [], []
    for direction in (-1, 1):
        other = torch.roll(depth, -direction, dims=axis)
        ratio = torch.maximum(other / depth, depth / other)
        usable = (depth > 0.0) & (other > 0.0) & (ratio <= TANGENT_RATIO)
        border = [slice(None), slice(None)]
        border[axis] = slice(0, 1) if direction < 0 else slice(count - 1, count)
        usable[tuple(border)] = False
        gaps.append(torch.where(usable, ratio, torch.inf))
        steps.append(direction * (torch.roll(points, -direction, dims=axis) - points))
    first = gaps[0] <= gaps[1]
    step = torch.where(first[..., None], steps[0], steps[1])
    return step, torch.isfinite(torch.minimum(gaps[0], gaps[1]))

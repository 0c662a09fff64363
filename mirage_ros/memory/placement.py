"""Where in its cell a token that was read lies, and how its patch appears there.

A token is a patch of a picture: a cell of the keyframe that saw it. Read for another camera it is
copied whole into a cell whose centre it rarely hits, at a scale and a slant it was not seen at. To
first order the way from the keyframe's picture to the target's is an affine map, which follows from
the keyframe's pose, the token's depth and its surface's normal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.token_store import PackedTokens

#: A slanted surface is believed to be seen at no less than this cosine to its normal: normals are
#: estimates, and near the grazing angle a small error of theirs changes the map without bound.
_LEAST_COSINE = 0.25

#: Bounds of the map's singular values, target cells per source cell: beyond, its shape tells
#: nothing any more and its scale is kept.
_LEAST_STRETCH, _MOST_STRETCH = 0.25, 4.0


@dataclass(frozen=True)
class Placement:
    """How the tokens of a readout lie in T views of h x w cells.

    Attributes:
        offset: (T, h, w, 2) float32 column and row, in cells, from a cell's centre to where the
            token's own centre appears; 0 where nothing was read.
        stretch: (T, h, w, 2, 2) float32 Jacobian of the map from the keyframe's picture to the
            view, target cells per source cell: ``[[dx/du, dx/dv], [dy/du, dy/dv]]``; the identity
            where nothing was read.
        turn: (T, h, w) float32 1 - cosine between the rays along which the token was and is seen.
    """

    offset: Tensor
    stretch: Tensor
    turn: Tensor

    def part(self, views: slice) -> Placement:
        """Some of the views."""
        return Placement(self.offset[views], self.stretch[views], self.turn[views])

    @classmethod
    def joined(cls, parts: Sequence[Placement]) -> Placement:
        """Views of several placements, one after the other."""
        return cls(
            torch.cat([part.offset for part in parts]),
            torch.cat([part.stretch for part in parts]),
            torch.cat([part.turn for part in parts]),
        )

    def where(self, first: Tensor, other: Placement) -> Placement:
        """This placement in the cells of ``first`` (T, h, w) bool, another one elsewhere."""
        return Placement(
            torch.where(first[..., None], self.offset, other.offset),
            torch.where(first[..., None, None], self.stretch, other.stretch),
            torch.where(first, self.turn, other.turn),
        )


def untouched(shape: Sequence[int], device: torch.device) -> Placement:  # (T, h, w)
    """The placement of views in which nothing was read."""
    return Placement(
        torch.zeros(*shape, 2, device=device),
        torch.eye(2, device=device).expand(*shape, 2, 2),
        torch.zeros(shape, device=device),
    )


def place_tokens(
    tokens: PackedTokens,  # N, those read, view by view and row by row
    keyframes: Tensor,  # (N, 20) float64, of every token, see token_store.KEYFRAME_COLUMNS
    read: Tensor,  # (T, h, w) bool, N of them
    camera: PinholeCamera,  # of the latent grid
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
) -> Placement:
    """Placement of tokens in the cells that they were read for."""
    device = tokens.cell.device
    view, row, column = read.nonzero().unbind(dim=1)
    poses = torch.from_numpy(np.ascontiguousarray(T_world_camera)).to(device)[view]
    from_world = poses[:, :3, :3].mT
    turned = from_world @ keyframes[:, :12].reshape(-1, 3, 4)[:, :, :3]
    origin = keyframes[:, [3, 7, 11]]
    fx, fy, cx, cy = keyframes[:, 12:16].unbind(dim=1)
    width = keyframes[:, 17]
    cell = tokens.cell.double()
    ray = torch.stack(
        [
            (torch.remainder(cell, width) + 0.5 - cx) / fx,
            (torch.div(cell, width, rounding_mode="floor") + 0.5 - cy) / fy,
            torch.ones_like(fx),
        ],
        dim=1,
    )
    depth = tokens.depth.double()[:, None]
    normal = _facing(
        (keyframes[:, :12].reshape(-1, 3, 4)[:, :, :3].mT @ _unit(tokens)[..., None])[..., 0], ray
    )
    slope = normal[:, :2] / (normal * ray).sum(dim=1, keepdim=True)
    zero = torch.zeros_like(fx)
    right = torch.stack([1.0 / fx, zero, zero], dim=1) - ray * (slope[:, :1] / fx[:, None])
    down = torch.stack([zero, 1.0 / fy, zero], dim=1) - ray * (slope[:, 1:] / fy[:, None])
    steps = turned @ (torch.stack([right, down], dim=2) * depth[..., None])  # (N, 3, 2)
    local = turned @ (ray * depth)[..., None]
    local = local[..., 0] + (from_world @ (origin - poses[:, :3, 3])[..., None])[..., 0]
    ahead = local[:, 2:].clamp(min=1e-6)
    plane = local[:, :2] / ahead
    focal = torch.tensor([camera.fx, camera.fy], dtype=torch.float64, device=device)
    stretch = focal[:, None] * (steps[:, :2] - plane[..., None] * steps[:, 2:]) / ahead[..., None]
    scale = (depth[:, 0] / ahead[:, 0]) * np.sqrt(camera.fx * camera.fy) / (fx * fy).sqrt()
    centre = torch.tensor([camera.cx, camera.cy], dtype=torch.float64, device=device)
    cells = torch.stack([column + 0.5, row + 0.5], dim=1)
    offset = plane * focal + centre - cells
    sight = torch.nn.functional.normalize(local, dim=1)
    before = torch.nn.functional.normalize((turned @ ray[..., None])[..., 0], dim=1)
    placed = untouched(read.shape, device)
    whole = placed.stretch.clone()
    whole[read] = _bounded(stretch, scale).float()
    placed.offset[read] = offset.float()
    placed.turn[read] = (1.0 - (sight * before).sum(dim=1)).float()
    return Placement(placed.offset, whole, placed.turn)


def _unit(tokens: PackedTokens) -> Tensor:  # (N, 3) float64, zero where unknown
    return torch.nn.functional.normalize(tokens.normal.double(), dim=1)


def _facing(
    normal: Tensor,  # (N, 3) in the keyframe's frame, zero where unknown
    ray: Tensor,  # (N, 3)
) -> Tensor:  # (N, 3)
    """Normals turned towards the camera as far as they are believed; unknown ones face it."""
    sight = torch.nn.functional.normalize(ray, dim=1)
    cosine = -(normal * sight).sum(dim=1, keepdim=True)
    along = normal + cosine * sight
    length = along.norm(dim=1, keepdim=True).clamp(min=1e-9)
    sine = (1.0 - _LEAST_COSINE**2) ** 0.5
    limited = along / length * sine - sight * _LEAST_COSINE
    facing = torch.where(cosine >= _LEAST_COSINE, normal, limited)
    return torch.where((normal * normal).sum(dim=1, keepdim=True) > 0.5, facing, -sight)


def _bounded(
    stretch: Tensor,  # (N, 2, 2)
    scale: Tensor,  # (N,) of a surface that faces both cameras
) -> Tensor:  # (N, 2, 2)
    """Maps as they are where they can be believed, elsewhere without their shape."""
    square = (stretch * stretch).sum(dim=(1, 2))
    determinant = torch.linalg.det(stretch)
    # Squares of the two singular values have this sum and this product.
    spread = (square.square() / 4.0 - determinant.square()).clamp(min=0.0).sqrt()
    greatest, least = (square / 2.0 + spread).sqrt(), (square / 2.0 - spread).clamp(min=0.0).sqrt()
    sound = (determinant > 0.0) & (least >= _LEAST_STRETCH) & (greatest <= _MOST_STRETCH)
    plain = scale.clamp(_LEAST_STRETCH, _MOST_STRETCH)[:, None, None] * torch.eye(2).to(stretch)
    return torch.where(sound[:, None, None], stretch, plain)

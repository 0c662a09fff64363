"""Keyframes that tokens came with: where they stand, what surfaces they saw, and moving them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.rows_in_view import rows_in_view
from mirage_ros.memory.token_store import NORMAL_SCALE, TokenArrays, TokenStore


@dataclass(frozen=True)
class SurfacePoints:
    """N points of remembered surfaces.

    Attributes:
        positions: (N, 3) float64, world, metres.
        normals: (N, 3) float32 unit normals towards the camera that saw them, world; zero where
            unknown.
        stamps_ns: (N,) int64, when the keyframe that each came with was seen.
    """

    positions: NDArray[np.float64]
    normals: NDArray[np.float32]
    stamps_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True)
class Keyframes:
    """K keyframes.

    Attributes:
        stamps_ns: (K,) int64, nanoseconds.
        T_world_camera: (K, 4, 4) float64.
    """

    stamps_ns: NDArray[np.int64]
    T_world_camera: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.stamps_ns)


@dataclass(frozen=True)
class PlacedTokens:
    """N tokens as their keyframes saw them.

    Attributes:
        stamps_ns: (N,) int64, when the keyframe was seen.
        cells: (N,) int64 number of the cell in the keyframe's grid, row by row.
        depths: (N,) float32 z-depth in the keyframe, metres.
    """

    stamps_ns: NDArray[np.int64]
    cells: NDArray[np.int64]
    depths: NDArray[np.float32]


def placed_tokens(store: TokenArrays) -> PlacedTokens:
    """All tokens of a store."""
    tokens = store.tokens
    return PlacedTokens(
        store.stamps_ns[tokens.keyframe.long()].cpu().numpy(),
        tokens.cell.long().cpu().numpy(),
        tokens.depth.float().cpu().numpy(),
    )


def surfaces_in_view(
    store: TokenArrays,
    grid: PinholeCamera,  # of the latent grid
    T_world_camera: NDArray[np.float64],  # (4, 4)
    config: ReadoutConfig,
) -> SurfacePoints:
    """The tokens of all runs that lie in a view, as points."""
    rows, numbers = rows_in_view(store, grid, T_world_camera, config)
    keyframe = store.tokens.keyframe[torch.from_numpy(numbers).to(store.device)]
    return SurfacePoints(
        np.ascontiguousarray(rows[:3].T, dtype=np.float64),
        np.ascontiguousarray(rows[7:10].T / np.float32(NORMAL_SCALE), dtype=np.float32),
        store.stamps_ns[keyframe.long()].cpu().numpy(),
    )


def keyframes_of(store: TokenArrays) -> Keyframes:
    """All keyframes of a store, in the order in which they came."""
    table = store.keyframes.cpu().numpy()
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3] = table[:, :12].reshape(-1, 3, 4)
    return Keyframes(store.stamps_ns.cpu().numpy(), poses)


def move_keyframes(store: TokenStore, moved: Keyframes) -> int:
    """Let the keyframes of these stamps stand elsewhere; how many there are.

    Raises:
        PoseError: a pose is not rigid.
    """
    for number, pose in enumerate(moved.T_world_camera):
        validate_pose(pose, f"keyframe pose {number}")
    # A keyframe encoded on several grids has a row for each.
    place = {int(stamp): number for number, stamp in enumerate(moved.stamps_ns)}
    pairs = [
        (row, place[stamp]) for row, stamp in enumerate(store.stamps_ns.tolist()) if stamp in place
    ]
    if not pairs:
        return 0
    rows, numbers = (list(column) for column in zip(*pairs, strict=True))
    poses = torch.from_numpy(np.asarray(moved.T_world_camera, dtype=np.float64)[numbers])
    store.move_keyframes(torch.tensor(rows, device=store.device), poses.to(store.device))
    return len(set(numbers))

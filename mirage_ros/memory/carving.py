"""Which tokens stand in space that a view sees to be free, and which on a surface that it sees.

A token is a picture of a patch, placed at the patch's centre at one depth that was measured in it.
The surface need not run through the centre: at an edge the depth may be that of the patch's other
half. So a view is asked about the whole patch: a token is *seen through* only if nearly all depths
measured where its patch projects lie behind it and nearly none at it. What lies before it says
nothing, and neither do holes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.compiled import compiled_parallel, threads
from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.rows_in_view import rows_in_view
from mirage_ros.memory.token_store import MOST_DOUBTS, TokenArrays

#: Depths looked at along each side of a token's patch.
_SAMPLES = 7

#: What a view says of a token; 0 = nothing.
_THROUGH, _SURFACE = 1, 2


@dataclass(frozen=True)
class CarvingConfig:
    """When a view sees through a token, and how many have to before it is forgotten.

    A depth measured at z agrees with a token at z_t if they differ by less than the tolerance
    max(margin, relative z_t, 3 noise z_t^2).

    Attributes:
        views: views in a row that have to see through a token, 1 to 3.
        margin: least tolerance, metres.
        relative: share of the depth; allows for poses that are a little wrong.
        noise: standard deviation of measured depth at 1 m, metres; it grows with the square.
        window: side of the patch looked at, in sides of the token's cell.
        through_share: least share of the patch that must be measured farther than the token.
        surface_share: most of it that may be measured at the token.
        seen_share: share measured at the token from which on its surface counts as seen.
        most_contradicted: a view that sees through more than this share of what it judges is
            itself taken for wrong (pose or depth), and nothing is doubted.

    Raises:
        ConfigurationError: a value is out of range.
    """

    views: int = 2
    margin: float = 0.05
    relative: float = 0.03
    noise: float = 0.0015
    window: float = 1.25
    through_share: float = 0.6
    surface_share: float = 0.15
    seen_share: float = 0.3
    most_contradicted: float = 0.6

    def __post_init__(self) -> None:
        if not 1 <= self.views <= MOST_DOUBTS:
            raise ConfigurationError(
                f"carving views must be between 1 and {MOST_DOUBTS}. Got {self.views}"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0.0):
                raise ConfigurationError(
                    f"carving {field.name} must be finite and >= 0. Got {value}"
                )


@dataclass(frozen=True)
class Carving:
    """What a view says about the tokens of a memory.

    Attributes:
        through: tokens that it sees through.
        surface: tokens whose surface it sees.
        removed: tokens forgotten, because enough views saw through them.
        reason: why the view is not believed; empty where it is.
    """

    through: int = 0
    surface: int = 0
    removed: int = 0
    reason: str = ""


def judge_tokens(
    store: TokenArrays,
    depth: NDArray[np.float32],  # (H, W) z-depth in metres; 0, NaN or infinite = unknown
    camera: PinholeCamera,  # pixel camera
    stride: int,  # pixels per cell
    T_world_camera: NDArray[np.float64],  # (4, 4)
    readout: ReadoutConfig,
    config: CarvingConfig,
) -> tuple[Tensor, Tensor]:  # (M,), (M',) int64
    """Numbers of the tokens that a view sees through, and of those whose surface it sees."""
    rows, numbers = rows_in_view(store, camera.latent(stride), T_world_camera, readout)
    known = np.where(np.isfinite(depth) & (depth > 0.0), depth, 0.0).astype(np.float32)
    scalars = np.array(
        [camera.fx, camera.fy, camera.cx, camera.cy, 0.5 * stride * config.window],
        dtype=np.float32,
    )
    with threads():
        state = _judge(
            rows,
            known,
            np.ascontiguousarray(T_world_camera[:3], dtype=np.float64),
            scalars,
            readout.near_plane,
            np.array([config.margin, config.relative, 3.0 * config.noise], dtype=np.float32),
            config.through_share,
            config.surface_share,
            config.seen_share,
        )
    device = store.device
    through = torch.from_numpy(numbers[state == _THROUGH]).to(device)
    return through, torch.from_numpy(numbers[state == _SURFACE]).to(device)


@compiled_parallel
def _judge(  # type: ignore[no-untyped-def]
    rows, depth, pose, scalars, near, tolerances, through_share, surface_share, seen_share
):
    fx, fy, cx, cy, half = scalars
    focal = math.sqrt(fx * fy)
    height, width = depth.shape
    state = np.zeros(rows.shape[1], dtype=np.uint8)
    for token in numba.prange(rows.shape[1]):
        x = rows[0, token] - pose[0, 3]
        y = rows[1, token] - pose[1, 3]
        z = rows[2, token] - pose[2, 3]
        right = pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z
        down = pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z
        ahead = pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z
        if ahead <= near:
            continue
        u, v = right / ahead * fx + cx, down / ahead * fy + cy
        if u < 0.0 or u >= width or v < 0.0 or v >= height:
            continue
        # Pixels that half the patch covers here: its footprint over that of a pixel at its depth.
        reach = half * rows[3, token] * focal / ahead
        reach = min(max(reach, 1.0), 0.25 * width)
        tolerance = max(tolerances[0], max(tolerances[1] * ahead, tolerances[2] * ahead * ahead))
        farther, at, seen = 0, 0, 0
        for i in range(_SAMPLES):
            row = math.floor(v + reach * (2.0 * (i + 0.5) / _SAMPLES - 1.0))
            if row < 0 or row >= height:
                continue
            for j in range(_SAMPLES):
                column = math.floor(u + reach * (2.0 * (j + 0.5) / _SAMPLES - 1.0))
                if column < 0 or column >= width:
                    continue
                measured = depth[row, column]
                if measured <= 0.0:
                    continue
                seen += 1
                if measured > ahead + tolerance:
                    farther += 1
                elif measured >= ahead - tolerance:
                    at += 1
        # Half the patch has to be measured at least.
        if 2 * seen < _SAMPLES * _SAMPLES:
            continue
        if farther >= through_share * seen and at <= surface_share * seen:
            state[token] = _THROUGH
        elif at >= seen_share * seen:
            state[token] = _SURFACE
    return state

"""The readout in plain loops: slow, one token, view and cell at a time.

It states what :mod:`mirage_ros.memory.readout` computes and is what tests compare it with. Numbers
are float32 and operations come in the same order, so that the very same token is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.readout_config import FIT_LIMIT, FIT_STEPS, ReadoutConfig
from mirage_ros.memory.token_store import NORMAL_SCALE
from mirage_ros.memory.tokens import TokenCloud

_Float = np.float32


@dataclass(frozen=True)
class _Seen:
    """One token as one view sees it."""

    number: int
    u: np.float32
    v: np.float32
    depth: np.float32
    half_size: np.float32
    mismatch: np.float32


def select_tokens_reference(
    tokens: TokenCloud,
    camera: PinholeCamera,  # of the latent grid
    stride: int,  # pixels per cell
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Token index (T, h, w), -1 where none, and its z-depth (T, h, w), 0 where none."""
    shape = (len(T_world_camera), camera.height, camera.width)
    index = np.full(shape, -1, dtype=np.int64)
    depth = np.zeros(shape, dtype=np.float32)
    for view, pose in enumerate(T_world_camera):
        seen = [
            token
            for number in range(len(tokens))
            if (token := _project(tokens, number, camera, stride, pose, config)) is not None
        ]
        for row in range(camera.height):
            for column in range(camera.width):
                best = _best(seen, row, column, config)
                if best is not None:
                    index[view, row, column], depth[view, row, column] = best
    return index, depth


def _project(
    tokens: TokenCloud,
    number: int,
    camera: PinholeCamera,
    stride: int,
    pose: NDArray[np.float64],
    config: ReadoutConfig,
) -> _Seen | None:
    """One token in one view; None when it is behind the camera, or seen from behind."""
    matrix = pose.astype(_Float)
    offset = tokens.position[number].numpy() - matrix[:3, 3]

    def along(axis: int) -> np.float32:
        x, y, z = offset * matrix[:3, axis]
        return _Float(x + y + z)

    right, down, depth = along(0), along(1), along(2)
    if depth < _Float(config.near_plane):
        return None
    u = _Float(camera.fx) * right / depth + _Float(camera.cx)
    v = _Float(camera.fy) * down / depth + _Float(camera.cy)

    x, y, z = offset * offset
    distance = np.sqrt(x + y + z)
    x, y, z = offset * tokens.normal[number].numpy().astype(_Float)
    if x + y + z > _Float(config.back_limit * NORMAL_SCALE) * distance:
        return None
    turn = offset / distance - tokens.view[number].numpy()
    x, y, z = turn * turn
    one_minus_cosine = _Float(0.5) * (x + y + z)
    focal = _Float(np.sqrt(camera.fx * camera.fy) * stride)
    ratio = _Float(tokens.footprint[number].item()) * focal / depth
    mismatch = _Float(config.scale_weight) * (max(ratio, _Float(1.0) / ratio) - _Float(1.0))
    mismatch = mismatch + _Float(config.angle_weight) * one_minus_cosine
    return _Seen(number, u, v, depth, _Float(0.5) * ratio, mismatch)


def _best(
    seen: list[_Seen],
    row: int,
    column: int,
    config: ReadoutConfig,
) -> tuple[int, np.float32] | None:
    """Number and depth of the token that one cell of one view reads."""
    candidates: list[tuple[_Seen, int, bool]] = []
    for token in seen:
        du, dv = token.u - _Float(column + 0.5), token.v - _Float(row + 0.5)
        distance = max(abs(du), abs(dv))
        half = min(max(token.half_size, _Float(0.5)), _Float(config.max_reach))
        covers = bool(distance <= half)
        if covers or distance < _Float(config.reach):
            fit = _Float(config.offset_weight) * (du * du + dv * dv) + token.mismatch
            steps = int(min(fit, _Float(FIT_LIMIT)) * _Float(FIT_STEPS))
            candidates.append((token, steps, covers))
    if not candidates:
        return None
    covering = [token.depth for token, _, covers in candidates if covers]
    surface = min(covering or [token.depth for token, _, _ in candidates])
    limit = surface * _Float(1.0 + config.depth_band)
    visible = [(steps, token.number, token.depth) for token, steps, _ in candidates]
    _, number, depth = min(entry for entry in visible if entry[2] <= limit)
    return number, depth

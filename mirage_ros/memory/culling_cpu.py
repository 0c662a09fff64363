"""Compiled decoding of stored tokens for the CPU readout: only runs that some camera may see."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled_parallel, threads
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.readout_config import ReadoutConfig
from mirage_ros.memory.token_store import RUN, TokenArrays

#: Metres by which a run's box is widened: far more than rounding moves a token.
_BOX_MARGIN = 1e-3


def visible_tokens(
    store: TokenArrays,
    camera: PinholeCamera,  # of the latent grid
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Decoded tokens of all runs that lie in some view, and their numbers in the store.

    Returns:
        Rows (10, M) as :func:`mirage_ros.memory.readout_cpu.select_rows` takes them, ascending
        numbers (M,).
    """
    tokens = store.tokens
    planes = np.stack([_planes(camera, pose, config) for pose in T_world_camera])  # (T, 5, 4)
    boxes = store.boxes.numpy()
    centre = (boxes[:, :3] + boxes[:, 3:]).astype(np.float64) / 2.0
    half = (boxes[:, 3:] - boxes[:, :3]).astype(np.float64) / 2.0 + _BOX_MARGIN
    with threads():
        seen = _runs_in_view(centre, half, planes)
        runs = np.flatnonzero(seen)
        sizes = np.minimum(RUN, store.count - runs * RUN)
        ends = np.cumsum(sizes)
        total = int(ends[-1]) if len(ends) else 0
        rows = np.empty((10, total), dtype=np.float32)
        numbers = np.empty(total, dtype=np.int64)
        _decode_runs(
            runs,
            RUN,
            ends - sizes,
            sizes,
            tokens.cell.numpy(),
            tokens.depth.float().numpy(),
            tokens.normal.numpy(),
            tokens.keyframe.numpy(),
            store.keyframes.numpy(),
            rows,
            numbers,
        )
    return rows, numbers


def _planes(
    camera: PinholeCamera, pose: NDArray[np.float64], config: ReadoutConfig
) -> NDArray[np.float64]:  # (5, 4): n . p + c >= 0 inside
    """The borders of a view, widened by the readout's reach."""
    inside = np.array(
        [
            [0.0, 0.0, 1.0, -config.near_plane],
            [camera.fx, 0.0, config.max_reach + camera.cx, 0.0],
            [-camera.fx, 0.0, camera.width + config.max_reach - camera.cx, 0.0],
            [0.0, camera.fy, config.max_reach + camera.cy, 0.0],
            [0.0, -camera.fy, camera.height + config.max_reach - camera.cy, 0.0],
        ]
    )
    normal = inside[:, :3] @ pose[:3, :3].T
    return np.concatenate([normal, inside[:, 3:] - normal @ pose[:3, 3:]], axis=1)


@compiled_parallel
def _runs_in_view(centre, half, planes):  # type: ignore[no-untyped-def]
    seen = np.zeros(len(centre), dtype=np.bool_)
    for run in numba.prange(len(centre)):
        for view in range(len(planes)):
            inside = True
            for plane in range(planes.shape[1]):
                reach = planes[view, plane, 3]
                for axis in range(3):
                    n = planes[view, plane, axis]
                    reach += n * centre[run, axis] + abs(n) * half[run, axis]
                if reach < 0.0:
                    inside = False
                    break
            if inside:
                seen[run] = True
                break
    return seen


@compiled_parallel
def _decode_runs(  # type: ignore[no-untyped-def]
    runs, run_size, starts, sizes, cell, depth, normal, keyframe, keyframes, rows, numbers
):
    """What :func:`mirage_ros.memory.token_store.decode` does, for whole runs."""
    for entry in numba.prange(len(runs)):
        for i in range(sizes[entry]):
            token, out = runs[entry] * run_size + i, starts[entry] + i
            table = keyframes[keyframe[token]]
            z = np.float64(depth[token])
            columns = np.int64(table[17])
            x = (cell[token] % columns + 0.5 - table[14]) / table[12] * z
            y = (cell[token] // columns + 0.5 - table[15]) / table[13] * z
            length = np.sqrt(x * x + y * y + z * z)
            for axis in range(3):
                ray = table[4 * axis] * x + table[4 * axis + 1] * y + table[4 * axis + 2] * z
                rows[axis, out] = np.float32(ray + table[4 * axis + 3])
                rows[4 + axis, out] = np.float32(ray / length)
                rows[7 + axis, out] = np.float32(normal[token, axis])
            rows[3, out] = np.float32(z / table[16])
            numbers[out] = token

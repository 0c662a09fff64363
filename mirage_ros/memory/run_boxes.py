"""Compiled bounding boxes of runs of tokens, for CPUs."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled_parallel, threads


def boxes_of_runs(
    cell: NDArray[np.int16],  # (N,)
    depth: NDArray[np.float32],  # (N,)
    keyframe: NDArray[np.int16],  # (N,)
    keyframes: NDArray[np.float64],  # (K, 20), see token_store.KEYFRAME_COLUMNS
    run: int,  # tokens to a box
) -> NDArray[np.float32]:  # (ceil(N / run), 6)
    """Least and greatest x, y, z of the positions of every run of tokens."""
    boxes = np.empty((-(-len(cell) // run), 6), dtype=np.float32)
    with threads():
        _boxes(cell, depth, keyframe, keyframes, run, boxes)
    return boxes


@compiled_parallel
def _boxes(cell, depth, keyframe, keyframes, run, boxes):  # type: ignore[no-untyped-def]
    """Positions are those of :func:`mirage_ros.memory.token_store.decode`, bit by bit."""
    for number in numba.prange(len(boxes)):
        for axis in range(3):
            boxes[number, axis], boxes[number, 3 + axis] = np.inf, -np.inf
        for token in range(number * run, min((number + 1) * run, len(cell))):
            table = keyframes[keyframe[token]]
            z = np.float64(depth[token])
            columns = np.int64(table[17])
            x = (cell[token] % columns + 0.5 - table[14]) / table[12] * z
            y = (cell[token] // columns + 0.5 - table[15]) / table[13] * z
            for axis in range(3):
                ray = table[4 * axis] * x + table[4 * axis + 1] * y + table[4 * axis + 2] * z
                position = np.float32(ray + table[4 * axis + 3])
                boxes[number, axis] = min(boxes[number, axis], position)
                boxes[number, 3 + axis] = max(boxes[number, 3 + axis], position)

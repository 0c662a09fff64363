"""Points at most one to a voxel, in voxels as large as the pixels that saw them.

A linear octree of which only leaves exist. A voxel's side is a power of two, its key the Morton
code of its lowest corner and below it its level, so along the sorted keys a voxel is an interval,
and two voxels are disjoint or one holds the other. No stored voxel holds another: of two the finer
one stays. Two sorted lists of such intervals merge in one pass.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled, compiled_parallel, threads
from mirage_ros.memory.base import MemoryUpdate
from mirage_ros.memory.rgb_points import Points

Integers = NDArray[np.int64]

#: Side of the finest voxels, metres (a power of two), and how many times it doubles.
FINEST = 2.0**-10
LEVEL_BITS = 3
LEVELS = 2**LEVEL_BITS
#: Bits of a voxel's coordinate: places 2^20 of the finest voxels (1 km) apart share their voxels.
_AXIS_BITS = 20


class VoxelPoints:
    """Points in the order of their voxels; every change makes new arrays, so copies may share them.

    Attributes:
        points: at most one to a voxel.
        keys: (N,) int64 voxel of each, ascending.
        frame: (N,) int32 row of the frame table, of the frame that saw each point last.
        clock: (F,) int64 of the frame table, the memory's count of frames.
        stamps_ns: (F,) int64 likewise.
    """

    def __init__(self) -> None:
        self.clear()

    @property
    def count(self) -> int:
        """Number of points held."""
        return len(self.points)

    @property
    def index_nbytes(self) -> int:
        """Bytes held beside the points: voxel and frame of each, and the frame table."""
        arrays = (self.keys, self.frame, self.clock, self.stamps_ns)
        return sum(array.nbytes for array in arrays)

    def clear(self) -> None:
        """Forget everything."""
        self.points = Points(np.empty((0, 3), dtype=np.float32), np.empty((0, 3), dtype=np.uint8))
        self.keys = np.empty(0, dtype=np.int64)
        self.frame = np.empty(0, dtype=np.int32)
        self.clock = np.empty(0, dtype=np.int64)
        self.stamps_ns = np.empty(0, dtype=np.int64)

    def assign(
        self,
        points: Points,
        keys: Integers,  # (N,)
        frame: NDArray[np.int32],  # (N,)
        clock: Integers,  # (F,)
        stamps_ns: Integers,  # (F,)
    ) -> None:
        """Hold these points instead."""
        self.points, self.keys, self.frame = points, keys, frame
        self.clock, self.stamps_ns = clock, stamps_ns

    def observe(
        self,
        points: Points,
        footprint: NDArray[np.float64],  # (N,) metres that each point stands for
        clock: int,
        stamp_ns: int,
    ) -> MemoryUpdate:
        """Store a frame's points, of several in one voxel the first.

        A point takes the place of a coarser one and of one that is as fine; where a finer one is,
        it is dropped and the finer one counts as seen again.
        """
        if len(points) == 0:
            return MemoryUpdate()
        new_keys = voxel_keys(points.positions, levels_of(footprint))
        order = np.argsort(new_keys, kind="stable")
        order = order[_finest(new_keys[order])]
        new_keys = new_keys[order]
        source, seen, added, refreshed = _merge(self.keys, new_keys)
        row = len(self.clock)
        with threads():
            positions, colours, keys, frame = _gather(
                source,
                seen,
                row,
                self.points.positions,
                self.points.colours,
                self.keys,
                self.frame,
                points.positions,
                points.colours,
                new_keys,
                order,
            )
        self.assign(
            Points(positions, colours),
            keys,
            frame,
            np.append(self.clock, clock),
            np.append(self.stamps_ns, stamp_ns),
        )
        return MemoryUpdate(added, refreshed, len(points) - added - refreshed)

    def keep(
        self,
        kept: NDArray[np.bool_],  # (N,)
    ) -> None:
        """Forget all other points, and the frames that have none left."""
        frame = self.frame[kept]
        used = np.zeros(len(self.clock), dtype=np.bool_)
        used[frame] = True
        row = (np.cumsum(used) - 1).astype(np.int32)
        self.assign(
            self.points.select(kept),
            self.keys[kept],
            row[frame],
            self.clock[used],
            self.stamps_ns[used],
        )

    def point_stamps(self) -> Integers:  # (N,)
        """When each point was seen last."""
        return self.stamps_ns[self.frame]


def levels_of(
    footprint: NDArray[np.float64],  # (N,) metres
) -> Integers:  # (N,)
    """Level of the largest voxels whose side is no more than each footprint; clamped."""
    # frexp is exact where a logarithm rounds: x = m 2^e with m in [0.5, 1).
    exponent = np.frexp(footprint / FINEST)[1].astype(np.int64) - 1
    return np.clip(exponent, 0, LEVELS - 1)


def voxel_keys(
    positions: NDArray[np.float32],  # (N, 3) world, metres
    levels: Integers,  # (N,) 0 = finest
) -> Integers:  # (N,)
    """Key of the voxel that each point lies in."""
    with threads():
        keys: Integers = _keys(positions, levels)
    return keys


def disjoint(
    keys: Integers,  # (N,)
) -> bool:
    """Whether keys are those of valid voxels, ascending, of which none holds another."""
    if len(keys) == 0:
        return True
    level = keys & (LEVELS - 1)
    low = keys >> LEVEL_BITS
    inside = bool((keys >= 0).all() and (low & ((1 << 3 * level) - 1) == 0).all())
    return inside and bool((low[:-1] + (1 << 3 * level[:-1]) <= low[1:]).all())


@compiled
def _spread(value):  # type: ignore[no-untyped-def]
    """The bits of a coordinate with two empty ones after each."""
    value = (value | (value << 32)) & 0x1F00000000FFFF
    value = (value | (value << 16)) & 0x1F0000FF0000FF
    value = (value | (value << 8)) & 0x100F00F00F00F00F
    value = (value | (value << 4)) & 0x10C30C30C30C30C3
    return (value | (value << 2)) & 0x1249249249249249


@compiled_parallel
def _keys(positions, levels):  # type: ignore[no-untyped-def]
    keys = np.empty(len(positions), dtype=np.int64)
    for i in numba.prange(len(positions)):
        code = np.int64(0)
        for axis in range(3):
            # Exact, as the side is a power of two.
            index = np.int64(np.floor(np.float64(positions[i, axis]) / FINEST))
            index = ((index >> levels[i]) << levels[i]) & ((1 << _AXIS_BITS) - 1)
            code |= _spread(index) << axis
        keys[i] = (code << LEVEL_BITS) | levels[i]
    return keys


@compiled
def _low(key):  # type: ignore[no-untyped-def]
    return key >> LEVEL_BITS


@compiled
def _end(key):  # type: ignore[no-untyped-def]
    return (key >> LEVEL_BITS) + (np.int64(1) << (3 * (key & (LEVELS - 1))))


@compiled
def _finest(keys):  # type: ignore[no-untyped-def]
    """Of ascending keys, the first of each voxel that holds no finer one."""
    kept = np.zeros(len(keys), dtype=np.bool_)
    following = np.iinfo(np.int64).max
    for i in range(len(keys) - 1, -1, -1):
        # Of voxels with one corner the finest comes first.
        if i > 0 and _low(keys[i - 1]) == _low(keys[i]):
            continue
        if _end(keys[i]) <= following:
            kept[i] = True
            following = _low(keys[i])
    return kept


@compiled
def _merge(old, new):  # type: ignore[no-untyped-def]
    """Which points there are afterwards: of the old ones i, of the new ones -1 - j.

    Also which of them the new frame saw, and how many are beside and in the place of old ones.
    """
    source = np.empty(len(old) + len(new), dtype=np.int64)
    seen = np.zeros(len(old) + len(new), dtype=np.bool_)
    i, j, k, added, refreshed = 0, 0, 0, 0, 0
    while i < len(old) or j < len(new):
        if j == len(new) or (i < len(old) and _end(old[i]) <= _low(new[j])):
            source[k] = i
            i += 1
            k += 1
        elif i == len(old) or _end(new[j]) <= _low(old[i]):
            source[k], seen[k] = -1 - j, True
            added += 1
            j += 1
            k += 1
        elif _end(new[j]) - _low(new[j]) <= _end(old[i]) - _low(old[i]):
            end, before = _end(old[i]), j
            while j < len(new) and _low(new[j]) < end:
                source[k], seen[k] = -1 - j, True
                j += 1
                k += 1
            refreshed += 1
            added += j - before - 1
            i += 1
        else:
            end = _end(new[j])
            while i < len(old) and _low(old[i]) < end:
                source[k], seen[k] = i, True
                i += 1
                k += 1
            j += 1
    return source[:k], seen[:k], added, refreshed


@compiled_parallel
def _gather(  # type: ignore[no-untyped-def]
    source, seen, row, positions, colours, keys, frame, new_positions, new_colours, new_keys, order
):
    count = len(source)
    to_positions = np.empty((count, 3), dtype=np.float32)
    to_colours = np.empty((count, 3), dtype=np.uint8)
    to_keys = np.empty(count, dtype=np.int64)
    to_frame = np.empty(count, dtype=np.int32)
    for k in numba.prange(count):
        i = source[k]
        if i >= 0:
            to_keys[k] = keys[i]
            for axis in range(3):
                to_positions[k, axis] = positions[i, axis]
                to_colours[k, axis] = colours[i, axis]
        else:
            to_keys[k] = new_keys[-1 - i]
            j = order[-1 - i]
            for axis in range(3):
                to_positions[k, axis] = new_positions[j, axis]
                to_colours[k, axis] = new_colours[j, axis]
        to_frame[k] = row if seen[k] else frame[i]
    return to_positions, to_colours, to_keys, to_frame

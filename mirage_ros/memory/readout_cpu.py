"""The readout as compiled loops over tokens, for CPUs.

Chooses the very tokens of :mod:`mirage_ros.memory.readout_dense`: the same operations in the same
order on float32, and both minima give one answer whatever order the hits come in.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from mirage_ros.compiled import compiled, compiled_parallel, threads
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.readout_config import FIT_LIMIT, FIT_STEPS, ReadoutConfig
from mirage_ros.memory.token_store import NORMAL_SCALE

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

_EMPTY = np.iinfo(np.int64).max
_ONE, _HALF, _ZERO = np.float32(1.0), np.float32(0.5), np.float32(0.0)
_INFINITY = np.float32(np.inf)
#: Tokens projected in one go.
_BLOCK = 512
#: Cells by which a token's window is widened so that rounding loses none; each is tested again.
_MARGIN = np.float32(1e-3)
_LIMIT, _STEPS = np.float32(FIT_LIMIT), np.float32(FIT_STEPS)


def select(
    position: Floats,  # (N, 3)
    footprint: Floats,  # (N,)
    view: Floats,  # (N, 3)
    normal: NDArray[np.int8],  # (N, 3)
    camera: PinholeCamera,  # of the latent grid
    stride: int,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> tuple[Integers, Floats, Integers]:
    """Entry, depth and fit in steps for every cell, each (T, h, w); -1, 0 and 0 where none."""
    # One row a quantity, so that the processor takes several tokens at a time.
    tokens = np.empty((10, len(position)), dtype=np.float32)
    tokens[0:3], tokens[3], tokens[4:7], tokens[7:10] = position.T, footprint, view.T, normal.T
    return select_rows(tokens, camera, stride, T_world_camera, config)


def select_rows(
    tokens: Floats,  # (10, N): position, footprint, view, normal times NORMAL_SCALE
    camera: PinholeCamera,  # of the latent grid
    stride: int,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    config: ReadoutConfig,
) -> tuple[Integers, Floats, Integers]:
    """Entry, depth and fit in steps for every cell, each (T, h, w); -1, 0 and 0 where none."""
    poses = np.ascontiguousarray(T_world_camera[:, :3, :], dtype=np.float32)
    shape = (len(poses), camera.height, camera.width)
    scalars = view_scalars(camera, stride, config)
    with threads() as count:
        # Enough parts for the threads to share one view, few enough to merge cheaply.
        parts = max(1, -(-2 * count // max(1, len(poses)))) if count > 1 else 1
        keys, depth = _select(
            tokens,
            poses,
            scalars,
            *shape[1:],
            parts,
            np.float32(config.reach),
            np.float32(config.offset_weight),
            np.float32(1.0 + config.depth_band),
        )
    found = keys != _EMPTY
    index = np.where(found, keys & 0xFFFFFFFF, -1)
    steps = np.where(found, keys >> 32, 0)
    return index.reshape(shape), depth.reshape(shape), steps.reshape(shape)


def view_scalars(
    camera: PinholeCamera, stride: int, config: ReadoutConfig
) -> Floats:  # as _project takes them
    """What is the same for all tokens and views, rounded once, as torch rounds its scalars."""
    return np.array(
        [
            camera.fx,
            camera.fy,
            camera.cx,
            camera.cy,
            np.sqrt(camera.fx * camera.fy) * stride,
            config.near_plane,
            -config.max_reach - camera.cx,
            camera.width + config.max_reach - camera.cx,
            -config.max_reach - camera.cy,
            camera.height + config.max_reach - camera.cy,
            config.max_reach,
            config.scale_weight,
            config.angle_weight,
            config.back_limit * NORMAL_SCALE,
        ],
        dtype=np.float32,
    )


@compiled
def _project(tokens, start, count, pose, scalars, seen):  # type: ignore[no-untyped-def]
    """Tokens ``start`` on in one view: column, row, depth (0 = not seen), half side, mismatch."""
    px, py, pz = pose[0, 3], pose[1, 3], pose[2, 3]
    right_x, right_y, right_z = pose[0, 0], pose[1, 0], pose[2, 0]
    down_x, down_y, down_z = pose[0, 1], pose[1, 1], pose[2, 1]
    ahead_x, ahead_y, ahead_z = pose[0, 2], pose[1, 2], pose[2, 2]
    fx, fy, cx, cy, focal, near_plane = scalars[:6]
    left, far_right, top, bottom, max_reach = scalars[6:11]
    scale_weight, angle_weight, back = scalars[11:14]
    for i in range(count):
        dx = tokens[0, start + i] - px
        dy = tokens[1, start + i] - py
        dz = tokens[2, start + i] - pz
        depth = dx * ahead_x + dy * ahead_y + dz * ahead_z
        right = dx * right_x + dy * right_y + dz * right_z
        down = dx * down_x + dy * down_y + dz * down_z
        near = (depth >= near_plane) & (fx * right >= left * depth)
        near &= (fx * right <= far_right * depth) & (fy * down >= top * depth)
        near &= fy * down <= bottom * depth
        distance = np.sqrt(dx * dx + dy * dy + dz * dz)
        facing = dx * tokens[7, start + i] + dy * tokens[8, start + i] + dz * tokens[9, start + i]
        near &= facing <= back * distance
        ratio = tokens[3, start + i] * focal / depth
        half = _HALF * ratio
        half = half if half > _HALF else _HALF
        half = half if half < max_reach else max_reach
        turn_x = dx / distance - tokens[4, start + i]
        turn_y = dy / distance - tokens[5, start + i]
        turn_z = dz / distance - tokens[6, start + i]
        turn = turn_x * turn_x + turn_y * turn_y + turn_z * turn_z
        inverse = _ONE / ratio
        larger = ratio if ratio > inverse else inverse
        seen[0, i] = fx * right / depth + cx
        seen[1, i] = fy * down / depth + cy
        seen[2, i] = depth if near else _ZERO
        seen[3, i] = half
        seen[4, i] = scale_weight * (larger - _ONE) + angle_weight * (_HALF * turn)


@compiled
def _span(centre, reach, cells):  # type: ignore[no-untyped-def]
    """Cells along an axis whose centres may lie within reach of a coordinate."""
    far = reach + _MARGIN
    first = max(np.int64(np.ceil(centre - far - _HALF)), 0)
    last = min(np.int64(np.floor(centre + far - _HALF)), cells - 1)
    return first, last


@compiled_parallel
def _select(  # type: ignore[no-untyped-def]
    tokens, poses, scalars, rows, columns, parts, reach, offset_weight, band
):
    views, count, cells = len(poses), tokens.shape[1], rows * columns
    # Tokens that a task finds near its view: column, row, depth, half side and mismatch.
    longest = count // parts + 1
    place = np.empty((views * parts, longest, 5), dtype=np.float32)
    token_of = np.empty((views * parts, longest), dtype=np.int32)
    found = np.zeros(views * parts, dtype=np.int64)

    surfaces = np.full((views * parts, cells), _INFINITY, dtype=np.float32)
    for task in numba.prange(views * parts):
        which, part = task // parts, task % parts
        surface, places, numbers = surfaces[task], place[task], token_of[task]
        seen = np.empty((5, _BLOCK), dtype=np.float32)
        entry = 0
        end = count * (part + 1) // parts
        for start in range(count * part // parts, end, _BLOCK):
            block = min(_BLOCK, end - start)
            _project(tokens, start, block, poses[which], scalars, seen)
            for i in range(block):
                u, v, depth, half = seen[0, i], seen[1, i], seen[2, i], seen[3, i]
                if depth == _ZERO:
                    continue
                places[entry, 0], places[entry, 1], places[entry, 2] = u, v, depth
                places[entry, 3], places[entry, 4] = half, seen[4, i]
                numbers[entry] = start + i
                entry += 1
                first_row, last_row = _span(v, half, rows)
                first_column, last_column = _span(u, half, columns)
                for row in range(first_row, last_row + 1):
                    dv = abs(v - (np.float32(row) + _HALF))
                    for column in range(first_column, last_column + 1):
                        du = abs(u - (np.float32(column) + _HALF))
                        cell = row * columns + column
                        if max(du, dv) <= half and depth < surface[cell]:
                            surface[cell] = depth
        found[task] = entry

    limits = np.empty((views, cells), dtype=np.float32)
    bare = np.zeros(views, dtype=np.int64)
    for which in numba.prange(views):
        for cell in range(cells):
            depth = _INFINITY
            for part in range(parts):
                depth = min(depth, surfaces[which * parts + part, cell])
            limits[which, cell] = depth
            bare[which] += depth == _INFINITY

    # Where no token covers the centre of a cell, the nearest that reaches it is the surface.
    for task in numba.prange(views * parts):
        which = task // parts
        covered, surface, places = limits[which], surfaces[task], place[task]
        if bare[which] == 0:
            continue
        for entry in range(found[task]):
            u, v, depth = places[entry, 0], places[entry, 1], places[entry, 2]
            first_row, last_row = _span(v, reach, rows)
            first_column, last_column = _span(u, reach, columns)
            for row in range(first_row, last_row + 1):
                dv = abs(v - (np.float32(row) + _HALF))
                for column in range(first_column, last_column + 1):
                    cell = row * columns + column
                    if covered[cell] == _INFINITY and depth < surface[cell]:
                        du = abs(u - (np.float32(column) + _HALF))
                        if max(du, dv) < reach:
                            surface[cell] = depth

    for which in numba.prange(views):
        for cell in range(cells):
            depth = limits[which, cell]
            if depth == _INFINITY:
                for part in range(parts):
                    depth = min(depth, surfaces[which * parts + part, cell])
            limits[which, cell] = depth * band

    best = np.full((views * parts, cells), _EMPTY, dtype=np.int64)
    best_depth = np.zeros((views * parts, cells), dtype=np.float32)
    for task in numba.prange(views * parts):
        limit, places = limits[task // parts], place[task]
        keys, depth_of = best[task], best_depth[task]
        for entry in range(found[task]):
            u, v, depth = places[entry, 0], places[entry, 1], places[entry, 2]
            half, mismatch = places[entry, 3], places[entry, 4]
            first_row, last_row = _span(v, max(reach, half), rows)
            first_column, last_column = _span(u, max(reach, half), columns)
            for row in range(first_row, last_row + 1):
                dv = v - (np.float32(row) + _HALF)
                for column in range(first_column, last_column + 1):
                    cell = row * columns + column
                    if depth > limit[cell]:
                        continue
                    du = u - (np.float32(column) + _HALF)
                    away = max(abs(du), abs(dv))
                    if away > half and away >= reach:
                        continue
                    fit = offset_weight * (du * du + dv * dv) + mismatch
                    steps = np.int64(min(fit, _LIMIT) * _STEPS)
                    # The token's number in the low bits breaks ties: the oldest wins.
                    key = (steps << 32) | np.int64(token_of[task, entry])
                    if key < keys[cell]:
                        keys[cell] = key
                        depth_of[cell] = depth

    for which in numba.prange(views):
        first = which * parts
        for part in range(1, parts):
            for cell in range(cells):
                if best[first + part, cell] < best[first, cell]:
                    best[first, cell] = best[first + part, cell]
                    best_depth[first, cell] = best_depth[first + part, cell]
    return best[::parts], best_depth[::parts]


@compiled
def most_alike(  # type: ignore[no-untyped-def]
    tokens, numbers, known, new, depth, least, pose, scalars, columns, limits, found
):
    """For each cell of one view, write into ``found`` the token that looks most like it.

    ``least`` holds the error allowed for each cell; see :mod:`mirage_ros.memory.likeness`. It is
    in this file because numba's cache looks only at the file of a function, not at those it calls.
    """
    reach, offset_weight, same_surface, same_fit = limits
    rows = len(depth) // columns
    seen = np.empty((5, _BLOCK), dtype=np.float32)
    for start in range(0, tokens.shape[1], _BLOCK):
        block = min(_BLOCK, tokens.shape[1] - start)
        _project(tokens, start, block, pose, scalars, seen)
        for i in range(block):
            u, v, z, half, mismatch = seen[0, i], seen[1, i], seen[2, i], seen[3, i], seen[4, i]
            if z == _ZERO:
                continue
            first_row, last_row = _span(v, max(reach, half), rows)
            first_column, last_column = _span(u, max(reach, half), columns)
            for row in range(first_row, last_row + 1):
                dv = v - (np.float32(row) + _HALF)
                for column in range(first_column, last_column + 1):
                    du = u - (np.float32(column) + _HALF)
                    away = max(abs(du), abs(dv))
                    cell = row * columns + column
                    if away > half and away >= reach:
                        continue
                    if depth[cell] == _ZERO or abs(z - depth[cell]) > same_surface * depth[cell]:
                        continue
                    fit = offset_weight * (du * du + dv * dv) + mismatch
                    strictness = max(_ONE, fit / same_fit)
                    error = _ZERO
                    for channel in range(known.shape[1]):
                        difference = known[start + i, channel] - new[cell, channel]
                        error += difference * difference * strictness
                        if error >= least[cell]:
                            break
                    if error < least[cell]:
                        least[cell] = error
                        found[cell] = numbers[start + i]

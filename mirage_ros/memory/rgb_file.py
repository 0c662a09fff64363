"""What an RGB memory writes to a file, and the checks before it believes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.errors import MemoryFormatError
from mirage_ros.memory.files import read_memory, write_memory
from mirage_ros.memory.rgb_points import PointList, Points, joined
from mirage_ros.memory.rgb_voxels import LEVELS, VoxelPoints, disjoint, voxel_keys

KIND = "rgb"

_POINTS = {"positions": (torch.float32, (3,)), "colours": (torch.uint8, (3,))}
#: By the class of a store: arrays with a row for every point, and with one for every frame.
_LIST_FRAMES = {"sizes": torch.int64, "stamps_ns": torch.int64}
_VOXEL_POINTS = {"keys": torch.int64, "frame": torch.int32}
_VOXEL_FRAMES = {"clock": torch.int64, "stamps_ns": torch.int64}


@dataclass(frozen=True)
class RgbFile:
    """What a file held.

    Attributes:
        header: its header.
        clock: the memory's count of frames.
        observed: what sensors saw.
        imagined: what was imagined.
    """

    header: dict[str, str]
    clock: int
    observed: PointList | VoxelPoints
    imagined: PointList


def save_rgb(
    path: Path,
    frame_id: str,
    policy: str,
    observed: PointList | VoxelPoints,
    imagined: PointList,
    clock: int,
) -> None:
    """Write points to a file.

    Raises:
        OSError: it cannot be written.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    stamps = np.concatenate([np.asarray(s.stamps_ns, np.int64) for s in (observed, imagined)])
    for name, store in (("observed", observed), ("imagined", imagined)):
        if isinstance(store, VoxelPoints):
            points = store.points
            for field in (*_VOXEL_POINTS, *_VOXEL_FRAMES):
                arrays[f"{name}.{field}"] = getattr(store, field)
        else:
            points = joined(store.parts)
            sizes = [len(part) for part in store.parts]
            arrays[f"{name}.sizes"] = np.array(sizes, dtype=np.int64)
            arrays[f"{name}.stamps_ns"] = np.array(store.stamps_ns, dtype=np.int64)
        arrays[f"{name}.positions"] = points.positions
        arrays[f"{name}.colours"] = points.colours
    header = {
        "policy": policy,
        "frame_id": frame_id,
        "clock": str(clock),
        "first_stamp_ns": str(int(stamps.min()) if len(stamps) else 0),
        "last_stamp_ns": str(int(stamps.max()) if len(stamps) else 0),
        "observed_points": str(observed.count),
        "imagined_points": str(imagined.count),
    }
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    write_memory(path, KIND, header, tensors)


def load_rgb(
    path: Path,
    frame_id: str | None,  # None = any
    policy: str,
) -> RgbFile:
    """Read and check a file for a memory of a policy.

    Raises:
        MemoryFormatError: not such a file, or its content cannot be.
        OSError: it cannot be read.
    """
    wanted = {"kind": KIND, "policy": policy}
    if frame_id is not None:
        wanted["frame_id"] = frame_id
    header, arrays = read_memory(path, wanted)
    voxels = policy == "voxel"
    fields = {
        "observed": (*_POINTS, *_VOXEL_POINTS, *_VOXEL_FRAMES)
        if voxels
        else (*_POINTS, *_LIST_FRAMES),
        "imagined": (*_POINTS, *_LIST_FRAMES),
    }
    names = {f"{name}.{field}" for name, wanted_fields in fields.items() for field in wanted_fields}
    if arrays.keys() != names:
        raise MemoryFormatError(
            f"{path}: expected the arrays {', '.join(sorted(names))}. "
            f"Got {', '.join(sorted(arrays)) or 'none'}"
        )
    try:
        clock = int(header["clock"])
        counts = {name: int(header[f"{name}_points"]) for name in fields}
        _ = header["frame_id"]
    except (KeyError, ValueError) as error:
        raise MemoryFormatError(
            f"{path}: expected a clock, a frame and counts. Got {error}"
        ) from error
    points = {name: _points(path, name, arrays, counts[name]) for name in fields}
    observed = (
        _voxels(path, arrays, points["observed"], clock)
        if voxels
        else _list(path, "observed", arrays, points["observed"])
    )
    return RgbFile(header, clock, observed, _list(path, "imagined", arrays, points["imagined"]))


def _refusal(path: Path, what: str, got: object) -> MemoryFormatError:
    return MemoryFormatError(f"{path}: expected {what}. Got {got}")


def _check_array(path: Path, name: str, array: Tensor, dtype: torch.dtype, shape: object) -> None:
    if tuple(array.shape) != shape or array.dtype != dtype:
        raise _refusal(
            path,
            f"{name} as {dtype} of shape {shape}",
            f"{array.dtype} of shape {tuple(array.shape)}",
        )


def _points(path: Path, store: str, arrays: Mapping[str, Tensor], count: int) -> Points:
    for field, (dtype, shape) in _POINTS.items():
        name = f"{store}.{field}"
        _check_array(path, name, arrays[name], dtype, (count, *shape))
    positions = arrays[f"{store}.positions"].numpy()
    if not np.isfinite(positions).all():
        raise _refusal(path, f"{store} positions finite", "some that are not")
    return Points(positions, arrays[f"{store}.colours"].numpy())


def _list(path: Path, store: str, arrays: Mapping[str, Tensor], points: Points) -> PointList:
    frames = tuple(arrays[f"{store}.stamps_ns"].shape)[:1]
    for field, dtype in _LIST_FRAMES.items():
        _check_array(path, f"{store}.{field}", arrays[f"{store}.{field}"], dtype, frames)
    sizes = arrays[f"{store}.sizes"].tolist()
    if any(size < 1 for size in sizes) or sum(sizes) != len(points):
        raise _refusal(path, f"{store} sizes that add up to {len(points)}", sum(sizes))
    result, start = PointList(), 0
    for size, stamp in zip(sizes, arrays[f"{store}.stamps_ns"].tolist(), strict=True):
        result.add(points.select(slice(start, start + size)), stamp)
        start += size
    return result


def _voxels(path: Path, arrays: Mapping[str, Tensor], points: Points, clock: int) -> VoxelPoints:
    frames = tuple(arrays["observed.stamps_ns"].shape)[:1]
    for field, dtype in _VOXEL_POINTS.items():
        _check_array(path, field, arrays[f"observed.{field}"], dtype, (len(points),))
    for field, dtype in _VOXEL_FRAMES.items():
        _check_array(path, field, arrays[f"observed.{field}"], dtype, frames)
    keys, frame = arrays["observed.keys"].numpy(), arrays["observed.frame"].numpy()
    times = arrays["observed.clock"].numpy()
    if not disjoint(keys):
        raise _refusal(path, "keys of voxels that do not overlap, ascending", "others")
    if not np.array_equal(voxel_keys(points.positions, keys & (LEVELS - 1)), keys):
        raise _refusal(path, "every point inside its voxel", "some outside")
    if len(frame) and not (frame.min() >= 0 and frame.max() < len(times)):
        raise _refusal(
            path, f"frames from 0 to {len(times) - 1}", f"{frame.min()} to {frame.max()}"
        )
    if (times < 0).any() or (times > clock).any():
        raise _refusal(
            path, f"frames at times from 0 to {clock}", f"{times.min()} to {times.max()}"
        )
    result = VoxelPoints()
    result.assign(points, keys, frame, times, arrays["observed.stamps_ns"].numpy())
    return result

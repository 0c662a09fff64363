"""What a latent memory writes to a file, and the checks before it believes one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.errors import MemoryFormatError, PoseError
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.files import read_memory, write_memory
from mirage_ros.memory.token_store import FIELDS, PackedTokens, TokenArrays

KIND = "latent"

#: Tokens whose features are checked in one go.
_CHUNK = 65_536


@dataclass(frozen=True)
class LatentFile:
    """What a file held.

    Attributes:
        header: its header.
        frame_id: the frame that positions are in.
        clock: the memory's clock of updates.
        stores: by name, the tokens, the keyframe table and the keyframes' stamps.
    """

    header: dict[str, str]
    frame_id: str
    clock: int
    stores: dict[str, tuple[PackedTokens, Tensor, Tensor]]


def expected_header(codec: Codec, features: FeatureFormat) -> dict[str, str]:
    """What the header of a file has to say for a memory of this codec and format."""
    return {
        "kind": KIND,
        "codec": codec.name,
        "spatial_stride": str(codec.spatial_stride),
        "channels": str(codec.channels),
        "features": features.name,
        "channel_gain": json.dumps([float(f"{gain:.6g}") for gain in codec.channel_gain]),
    }


def save_latent(
    path: Path,
    frame_id: str,
    codec: Codec,
    features: FeatureFormat,
    stores: Mapping[str, TokenArrays],
    clock: int,
) -> None:
    """Write stores to a file.

    Raises:
        OSError: it cannot be written.
    """
    arrays = {}
    for name, store in stores.items():
        for field in FIELDS:
            arrays[f"{name}.{field}"] = getattr(store.tokens, field)
        arrays[f"{name}.keyframes"] = store.keyframes
        arrays[f"{name}.stamps_ns"] = store.stamps_ns
    stamps = torch.cat([store.stamps_ns.cpu() for store in stores.values()])
    header = {
        **expected_header(codec, features),
        "frame_id": frame_id,
        "clock": str(clock),
        "first_stamp_ns": str(int(stamps.min()) if len(stamps) else 0),
        "last_stamp_ns": str(int(stamps.max()) if len(stamps) else 0),
        **{f"{name}_tokens": str(store.count) for name, store in stores.items()},
        **{f"{name}_keyframes": str(len(store.stamps_ns)) for name, store in stores.items()},
    }
    write_memory(path, KIND, header, arrays)


def load_latent(
    path: Path,
    frame_id: str | None,  # None = any
    codec: Codec,
    features: FeatureFormat,
    like: Mapping[str, TokenArrays],
) -> LatentFile:
    """Read and check a file for a memory with stores ``like`` these.

    Raises:
        MemoryFormatError: not such a file, or its content cannot be.
        OSError: it cannot be read.
    """
    wanted = expected_header(codec, features)
    if frame_id is not None:
        wanted["frame_id"] = frame_id
    header, arrays = read_memory(path, wanted)
    names = {f"{name}.{field}" for name in like for field in (*FIELDS, "keyframes", "stamps_ns")}
    if arrays.keys() != names:
        raise MemoryFormatError(
            f"{path}: expected the arrays {', '.join(sorted(names))}. "
            f"Got {', '.join(sorted(arrays)) or 'none'}"
        )
    stores = {}
    for name, example in like.items():
        count, rows = arrays[f"{name}.cell"].shape[0], arrays[f"{name}.stamps_ns"].shape[0]
        if header.get(f"{name}_tokens") != str(count):
            raise MemoryFormatError(
                f"{path}: expected {header.get(f'{name}_tokens')} {name} tokens. Got {count}"
            )
        for field in FIELDS:
            _check_array(
                path, f"{name}.{field}", arrays[f"{name}.{field}"], count, example.array(field)
            )
        for field in ("keyframes", "stamps_ns"):
            _check_array(
                path, f"{name}.{field}", arrays[f"{name}.{field}"], rows, example.array(field)
            )
        tokens = PackedTokens(**{field: arrays[f"{name}.{field}"] for field in FIELDS})
        _check_content(path, name, tokens, arrays[f"{name}.keyframes"], features)
        stores[name] = (tokens, arrays[f"{name}.keyframes"], arrays[f"{name}.stamps_ns"])
    clock = header.get("clock", "")
    if not (clock.isdecimal() and int(clock) < 2**15) or "frame_id" not in header:
        raise MemoryFormatError(
            f"{path}: expected a frame_id and a clock from 0 to {2**15 - 1}. "
            f"Got frame_id '{header.get('frame_id')}' and clock '{clock[:20]}'"
        )
    return LatentFile(header, header["frame_id"], int(clock), stores)


def _check_array(path: Path, name: str, array: Tensor, count: int, like: Tensor) -> None:
    expected = (count, *like.shape[1:])
    if tuple(array.shape) != expected or array.dtype != like.dtype:
        raise MemoryFormatError(
            f"{path}: expected {name} as {like.dtype} of shape {expected}. "
            f"Got {array.dtype} of shape {tuple(array.shape)}"
        )


def _check_content(
    path: Path, name: str, tokens: PackedTokens, keyframes: Tensor, features: FeatureFormat
) -> None:
    def refuse(what: str, got: object) -> MemoryFormatError:
        return MemoryFormatError(f"{path}: expected {name} {what}. Got {got}")

    for row, values in enumerate(keyframes.tolist()):
        grid = np.array(values[12:])
        try:
            validate_pose(np.vstack([np.reshape(values[:12], (3, 4)), [0, 0, 0, 1]]), "T")
        except PoseError as error:
            raise refuse(f"keyframe {row} with a rigid pose", error) from error
        usable = np.isfinite(grid).all() and (grid[[0, 1, 4, 5, 6]] > 0.0).all()
        if not usable or (grid[5:7] % 1.0 != 0.0).any() or (grid[5:7] > 2**15).any():
            raise refuse(f"keyframe {row} with a usable grid", values[12:])
    keyframe = tokens.keyframe.long()
    if len(tokens) == 0:
        return
    if int(keyframe.min()) < 0 or int(keyframe.max()) >= len(keyframes):
        raise refuse(
            f"keyframe numbers from 0 to {len(keyframes) - 1}",
            f"{int(keyframe.min())} to {int(keyframe.max())}",
        )
    cells = (keyframes[:, 17] * keyframes[:, 18])[keyframe]
    if bool((tokens.cell < 0).any()) or bool((tokens.cell >= cells).any()):
        raise refuse("cells inside their keyframe's grid", "some outside")
    depth = tokens.depth.float()
    if not bool((torch.isfinite(depth) & (depth > 0.0)).all()):
        raise refuse("depths finite and positive", "some that are not")
    if bool((tokens.seen < 0).any()):
        raise refuse("times of confirmation from 0 on", int(tokens.seen.min()))
    for start in range(0, len(tokens), _CHUNK):
        part = tokens.features[start : start + _CHUNK]
        if not bool(torch.isfinite(features.unpack(part)).all()):
            raise refuse("features finite", "some that are not")

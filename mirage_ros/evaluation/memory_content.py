"""What a memory file holds, without a world model to load it into."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.codec.wan_config import NAME as WAN_NAME
from mirage_ros.codec.wan_config import SPATIAL_STRIDE as WAN_STRIDE
from mirage_ros.errors import MemoryFormatError
from mirage_ros.memory import (
    BoundsConfig,
    LatentMemory,
    LatentMemoryConfig,
    MemoryCloud,
    RgbMemory,
    RgbMemoryConfig,
    SpatialMemory,
)
from mirage_ros.memory.files import read_header, stamp_range

#: More than any file holds: looking at a memory must not make it forget.
_ALL = 2**62


@dataclass(frozen=True)
class MemoryContent:
    """A memory file.

    Attributes:
        header: what it says about itself.
        stamps_ns: first and last stamp that it states, nanoseconds.
        file_bytes: its size.
        memory_bytes: what its elements take in memory.
        cloud: its elements.
    """

    header: dict[str, str]
    stamps_ns: tuple[int, int]
    file_bytes: int
    memory_bytes: int
    cloud: MemoryCloud

    @property
    def count(self) -> int:
        """Tokens or points."""
        return len(self.cloud.positions)

    def figures(self) -> dict[str, object]:
        """All there is to say, as JSON takes it; None where an empty memory has no answer."""
        cloud, some = self.cloud, self.count > 0
        ages = (self.stamps_ns[1] - cloud.stamps_ns) * 1e-9
        return {
            "header": self.header,
            "count": self.count,
            "file_bytes": self.file_bytes,
            "memory_bytes": self.memory_bytes,
            "bytes_each": self.memory_bytes / self.count if some else None,
            "observed_share": float(cloud.observed.mean()) if some else None,
            "extent_m": {
                "least": cloud.positions.min(axis=0).tolist(),
                "greatest": cloud.positions.max(axis=0).tolist(),
            }
            if some
            else None,
            # Before the last stamp.
            "ages_s": {
                "least": float(ages.min()),
                "median": float(np.median(ages)),
                "greatest": float(ages.max()),
            }
            if some
            else None,
        }


def read_content(path: Path) -> MemoryContent:
    """Read and check a memory file of either kind.

    Raises:
        MemoryFormatError: not a memory file of this version, of a kind or codec that is not known
            here, or its content cannot be.
        OSError: it cannot be read.
    """
    header = read_header(path)
    stamps_ns = stamp_range(path, header)
    memory = _memory_for(path, header)
    memory.load(path)
    return MemoryContent(header, stamps_ns, path.stat().st_size, memory.nbytes, memory.cloud())


class _WithoutWeights(DctCodec):
    """Stands for the codec of a file whose weights are not at hand: all but pictures is known."""

    spatial_stride = WAN_STRIDE

    def __init__(self, header: dict[str, str]) -> None:
        super().__init__()
        self.name = header["codec"]
        try:
            self.channel_gain = tuple(float(gain) for gain in json.loads(header["channel_gain"]))
        except (KeyError, TypeError, ValueError):
            # Loading the file says what is wrong with it.
            return

    def mean_colour(self, features: Tensor) -> Tensor:  # (N, C) -> (N, 3)
        """Grey: only the decoder could tell."""
        return torch.full((len(features), 3), 0.5)


def _memory_for(path: Path, header: dict[str, str]) -> SpatialMemory:
    """An empty memory that the file should fit; whether it does, loading it tells."""
    kind = header.get("kind", "none")
    is_wan = header.get("codec", "").startswith(WAN_NAME)
    codec = _WithoutWeights(header) if is_wan else DctCodec()
    try:
        if kind == LatentMemory.kind:
            bounds = BoundsConfig(capacity=_ALL, merge=False)
            features = header.get("features", "")
            return LatentMemory(codec, LatentMemoryConfig(bounds=bounds, features=features))
        if kind == RgbMemory.kind:
            return RgbMemory(codec, RgbMemoryConfig(policy=header.get("policy", ""), capacity=_ALL))
    except ValueError as error:
        raise MemoryFormatError(f"{path}: {error}") from error
    raise MemoryFormatError(
        f"{path}: expected kind '{LatentMemory.kind}' or '{RgbMemory.kind}'. Got '{kind}'"
    )

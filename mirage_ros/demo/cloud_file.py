"""The latent cloud as a .ply file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PLY_DTYPE = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("red", "u1"),
        ("green", "u1"),
        ("blue", "u1"),
        ("confidence", "<f4"),
        ("observed", "u1"),
    ]
)
_PLY_TYPES = {"<f4": "float", "|u1": "uchar"}


def unpack_rgb(packed: NDArray[np.float32]) -> NDArray[np.uint8]:  # (N,) -> (N, 3)
    """Colours out of the bits of a float, the inverse of ``nodes.point_cloud.pack_rgb``."""
    bits = np.ascontiguousarray(packed).view(np.uint32)
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)


def cloud_arrays(
    cloud: NDArray[Any],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:  # (N, 3) both
    """Positions and colours of a latent cloud (fields of ``nodes.point_cloud.TOKEN_DTYPE``)."""
    return np.stack([cloud["x"], cloud["y"], cloud["z"]], axis=1), unpack_rgb(cloud["rgb"])


def write_ply(path: Path, cloud: NDArray[Any]) -> None:
    """Write a latent cloud (fields of ``nodes.point_cloud.TOKEN_DTYPE``) as binary PLY."""
    vertices = np.zeros(len(cloud), dtype=_PLY_DTYPE)
    for name in ("x", "y", "z", "confidence", "observed"):
        vertices[name] = cloud[name]
    for name, values in zip(("red", "green", "blue"), unpack_rgb(cloud["rgb"]).T, strict=True):
        vertices[name] = values
    properties = [
        f"property {_PLY_TYPES[_PLY_DTYPE[name].str]} {name}" for name in _PLY_DTYPE.names or ()
    ]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment latent spatial memory, metres, world frame",
        f"element vertex {len(vertices)}",
        *properties,
        "end_header",
    ]
    path.write_bytes("\n".join(header).encode() + b"\n" + vertices.tobytes())

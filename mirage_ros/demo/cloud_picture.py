"""The latent cloud as a .ply file and as a picture from above."""

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
_BACKGROUND = 24


def unpack_rgb(packed: NDArray[np.float32]) -> NDArray[np.uint8]:  # (N,) -> (N, 3)
    """Colours out of the bits of a float, the inverse of ``nodes.point_cloud.pack_rgb``."""
    bits = np.ascontiguousarray(packed).view(np.uint32)
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)


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


def render_cloud(
    cloud: NDArray[Any], width: int = 1280, height: int = 960, tilt: float = 0.9, turn: float = 0.5
) -> NDArray[np.uint8]:  # (H, W, 3)
    """A picture of a latent cloud from obliquely above, parallel projection, nearest points on top.

    Args:
        cloud: fields of ``nodes.point_cloud.TOKEN_DTYPE``, z up.
        width: of the picture, pixels.
        height: of the picture, pixels.
        tilt: how far the view leans from straight down, radians from the horizontal.
        turn: rotation about the vertical, radians.
    """
    canvas = np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)
    if not len(cloud):
        return canvas
    points = np.stack([cloud["x"], cloud["y"], cloud["z"]], axis=1).astype(np.float64)
    points, colours = _without_ceiling(points, unpack_rgb(cloud["rgb"]))
    points -= np.median(points, axis=0)
    c, s = np.cos(turn), np.sin(turn)
    points[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]])
    right = points[:, 0]
    up = points[:, 1] * np.sin(tilt) + points[:, 2] * np.cos(tilt)
    toward = points[:, 2] * np.sin(tilt) - points[:, 1] * np.cos(tilt)
    low = np.percentile(np.stack([right, up]), 0.5, axis=1)
    high = np.percentile(np.stack([right, up]), 99.5, axis=1)
    scale = 0.92 * float(min(np.array([width, height]) / np.maximum(high - low, 1e-3)))
    centre = (low + high) / 2.0
    u = np.round((right - centre[0]) * scale + width / 2).astype(int)
    v = np.round(height / 2 - (up - centre[1]) * scale).astype(int)
    # A token stands for a patch: about the spacing of tokens seen from two metres.
    radius = int(np.clip(round(0.04 * scale), 1, 6))
    offsets = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 2), axis=-1).reshape(-1, 2)
    us = (u[:, None] + offsets[:, 0]).ravel()
    vs = (v[:, None] + offsets[:, 1]).ravel()
    nearness = np.repeat(toward, len(offsets))
    source = np.repeat(np.arange(len(u)), len(offsets))
    inside = (us >= 0) & (us < width) & (vs >= 0) & (vs < height)
    # Painter's algorithm in one assignment: numpy keeps the last value written to a pixel.
    order = np.flatnonzero(inside)
    order = order[np.argsort(nearness[order], kind="stable")]
    canvas[vs[order], us[order]] = colours[source[order]]
    return canvas


def _without_ceiling(
    points: NDArray[np.float64], colours: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Leave out the highest fifth of the room's height, which would hide all below it."""
    floor, top = np.percentile(points[:, 2], [1, 99])
    below = points[:, 2] <= floor + 0.8 * (top - floor)
    return points[below], colours[below]

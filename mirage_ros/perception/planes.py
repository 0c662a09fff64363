"""A depth image as small planes: one for each block of pixels that shows a single surface.

The inverse depth of a plane is linear in the pixel (u, v), and the noise of stereo and structured
light is about as large everywhere in inverse depth. So a least-squares fit of inverse depth over a
block is exact on any plane at any slant, and averages noise as it should. It costs some box sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.geometry.camera import PinholeCamera

#: Share of a block's pixels that need depth.
_LEAST_VALID = 0.5

#: Least variance of the pixels with depth along any direction, as a share of a whole block's.
_LEAST_SPREAD = 0.3

#: Surfaces seen at a smaller cosine are left out.
_LEAST_COSINE = 0.08


@dataclass(frozen=True)
class DepthPlanes:
    """A plane for each of h x w blocks, in the camera's optical frame.

    Attributes:
        points: (h, w, 3) float64, on each plane at the mean of the block's pixels, metres.
        normals: (h, w, 3) float64 unit normals towards the camera.
        valid: (h, w) bool; the others hold nothing of use.
        block: pixels along a block's side.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    valid: NDArray[np.bool_]
    block: int


def depth_planes(
    depth: NDArray[np.float32],  # (H, W) z-depth in metres, 0 or NaN where unknown
    camera: PinholeCamera,
    block: int,  # pixels
    depth_range: tuple[float, float],  # believed depths, metres
    max_residual: float,
    usable: NDArray[np.bool_] | None = None,  # (H, W), None = everywhere
) -> DepthPlanes:
    """Fit a plane to each block of a depth image; edges, holes and grazing surfaces are left out.

    Args:
        depth: of the whole image; pixels beyond the last whole block are not used.
        camera: intrinsics of ``depth``.
        block: pixels along the side of a block.
        depth_range: least and greatest depth.
        max_residual: root mean square of the relative depth residual up to which a block is one
            surface.
        usable: where depth may be used.
    """
    rows, columns = depth.shape[0] // block, depth.shape[1] // block
    window = (slice(0, rows * block), slice(0, columns * block))
    cut = depth[window]
    known = (cut >= depth_range[0]) & (cut <= depth_range[1])  # NaN compares false
    if usable is not None:
        known &= usable[window]
    weight = known.astype(np.float32)
    inverse_depth = np.divide(weight, cut, out=np.zeros_like(weight), where=known)
    # Pixels counted from the middle of their block, so that float32 sums lose nothing.
    offset = (np.arange(block) - (block - 1) / 2.0).astype(np.float32)
    du, dv = np.tile(offset, columns)[None, :], np.tile(offset, rows)[:, None]

    def mean(layer: NDArray[np.float32]) -> NDArray[np.float64]:  # (h, w) over all pixels
        size = (columns, rows)
        return np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_AREA), dtype=np.float64)

    share = mean(weight)
    valid = share >= _LEAST_VALID
    scale = 1.0 / np.where(valid, share, 1.0)
    weight_u, weight_v = weight * du, weight * dv
    mean_u, mean_v, mean_q = (mean(x) * scale for x in (weight_u, weight_v, inverse_depth))
    uu = mean(weight_u * du) * scale - mean_u**2
    uv = mean(weight_u * dv) * scale - mean_u * mean_v
    vv = mean(weight_v * dv) * scale - mean_v**2
    uq = mean(inverse_depth * du) * scale - mean_u * mean_q
    vq = mean(inverse_depth * dv) * scale - mean_v * mean_q
    qq = mean(inverse_depth**2) * scale - mean_q**2

    determinant = uu * vv - uv**2
    whole = (block**2 - 1) / 12.0
    valid &= determinant > (_LEAST_SPREAD * whole) ** 2
    safe = np.where(valid, determinant, 1.0)
    slope_u, slope_v = (uq * vv - vq * uv) / safe, (vq * uu - uq * uv) / safe
    residual = np.sqrt(np.maximum(qq - slope_u * uq - slope_v * vq, 0.0))
    z = 1.0 / np.where(valid, mean_q, 1.0)
    valid &= residual * z <= max_residual

    u = (np.arange(columns)[None, :] + 0.5) * block + mean_u
    v = (np.arange(rows)[:, None] + 0.5) * block + mean_v
    points = camera.unproject(np.stack([u, v], axis=-1), z)
    # 1 / Z = q + a (fx X / Z + cx - u) + b (fy Y / Z + cy - v), times Z, is the plane.
    constant = mean_q + slope_u * (camera.cx - u) + slope_v * (camera.cy - v)
    normals = -np.stack([slope_u * camera.fx, slope_v * camera.fy, constant], axis=-1)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = normals / np.where(length > 0.0, length, 1.0)
    cosine = -(normals * points).sum(axis=-1) / np.linalg.norm(points, axis=-1)
    return DepthPlanes(points, normals, valid & (cosine >= _LEAST_COSINE), block)

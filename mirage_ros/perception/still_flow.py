"""How a still scene would seem to move: the flow that depth and two poses allow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera_info import CENTRE_TO_CORNER

Flow = NDArray[np.float32]  # (h, w, 2) pixels, x and y
Mask = NDArray[np.bool_]  # (h, w)

#: Less depth than this is none, metres.
_LEAST_DEPTH_M = 0.01

#: Nearest surface that a pixel of unknown depth may lie on, metres.
_NEAREST_M = 0.3

#: Depth noise is allowed for up to so many standard deviations.
_SIGMAS = 3.0

#: Depth edges and the picture's may lie apart, as colour and depth are rarely registered exactly:
#: a pixel may have any depth of this window, pixels.
_EDGE_PX = 7

#: Inverse depths of a window that differ by more, 1/m, are of an edge: no pose is fitted to it.
_EDGE_NEARNESS = 0.1

#: A pose is fitted to pixels this far apart, in so many rounds of reweighting.
_FIT_STRIDE_PX, _FIT_ROUNDS = 4, 6

#: Errors of flow, pixels, up to which a pixel counts fully (more while most err by more), and the
#: side of the patches whose errors go together.
_FIT_SCALE_PX, _FIT_PATCH_PX = 2.0, 8

#: Fewer pixels than this do not fit a pose.
_FIT_LEAST = 60

#: Least z of a ray of unit depth in the older camera: what lies behind it is unknown.
_LEAST_RAY_Z = 0.05


@dataclass(frozen=True)
class StillScene:
    """Depth of the newer of two frames of one camera, and what the older one may have seen of it.

    Attributes:
        nearness: (2, h, w) 1/m, least and largest inverse depth that a pixel may have.
        middle: (h, w) 1/m, measured inverse depth, 0 where unknown.
        known: (h, w) whether there is depth.
        focal: fx, fy, pixels.
        centre: cx, cy, pixel-centre convention.
    """

    nearness: NDArray[np.float32]
    middle: NDArray[np.float32]
    known: Mask
    focal: tuple[float, float]
    centre: tuple[float, float]

    @classmethod
    def of(
        cls,
        frame: RgbdFrame,
        size: tuple[int, int],  # width, height
        depth_noise: float,  # 1/m
    ) -> StillScene:
        """The scene of a frame with depth, at a working size.

        Of a pixel at a depth edge it is open which of the surfaces shows: its interval holds all of
        its surroundings. ``depth_noise`` times z squared is the depth's standard deviation, which
        is a constant of inverse depth.
        """
        camera = frame.camera.resized(*size)
        assert frame.depth is not None, "callers check"
        depth = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST_EXACT)
        known = np.isfinite(depth) & (depth > _LEAST_DEPTH_M)
        nearness = np.zeros(depth.shape, dtype=np.float32)
        np.divide(np.float32(1.0), depth, out=nearness, where=known)
        around = np.ones((_EDGE_PX, _EDGE_PX), dtype=np.uint8)
        noise = np.float32(_SIGMAS * depth_noise)
        far = cv2.erode(np.where(known, nearness, np.float32(1.0 / _NEAREST_M)), around) - noise
        near = cv2.dilate(nearness, around) + noise
        far = np.where(known, np.maximum(far, np.float32(0.0)), np.float32(0.0))
        near = np.where(known, near, np.float32(1.0 / _NEAREST_M))
        return cls(
            np.stack([far, near]),
            nearness,
            known,
            (camera.fx, camera.fy),
            (camera.cx - CENTRE_TO_CORNER, camera.cy - CENTRE_TO_CORNER),
        )


def pose_correction(
    scene: StillScene,
    flow: Flow,
    usable: Mask,
    T_older_newer: NDArray[np.float64],  # (4, 4)
    noise: tuple[float, float],  # metres, radians
) -> NDArray[np.float64] | None:  # (6,) linear metres, angular radians
    """The small motion of the older camera, in its frame, that makes most of the picture still.

    Robust least squares (Geman and McClure's weights) over the linearised projection, with the
    poses given as a prior of standard deviations ``noise``. None with too little to fit to.
    """
    far, near = scene.nearness
    sure = usable & scene.known & (near - far < _EDGE_NEARNESS)
    rows, columns = np.nonzero(sure[::_FIT_STRIDE_PX, ::_FIT_STRIDE_PX])
    rows, columns = rows * _FIT_STRIDE_PX, columns * _FIT_STRIDE_PX
    (fx, fy), (cx, cy) = scene.focal, scene.centre
    rays = np.stack([(columns - cx) / fx, (rows - cy) / fy, np.ones(len(rows))])
    nearness = scene.middle[rows, columns].astype(np.float64)
    # Points divided by their depth in the newer frame: those at infinity are like any other.
    x, y, z = T_older_newer[:3, :3] @ rays + T_older_newer[:3, 3:] * nearness
    ahead = z > _LEAST_RAY_Z
    if np.count_nonzero(ahead) < _FIT_LEAST:
        return None
    rows, columns, nearness = rows[ahead], columns[ahead], nearness[ahead]
    x, y, k = x[ahead] / z[ahead], y[ahead] / z[ahead], nearness / z[ahead]
    target = flow[rows, columns].astype(np.float64).T + np.stack([columns, rows])
    zero, one = np.zeros_like(x), np.ones_like(x)
    # How the pixel moves with the point: (linear, angular) in the older camera's frame.
    along_x = fx * np.stack([k, zero, -k * x, -x * y, one + x * x, -y])
    along_y = fy * np.stack([zero, k, -k * y, -one - y * y, x * y, x])
    slopes = np.concatenate([along_x, along_y], axis=1)  # (6, 2M)
    lack = np.concatenate([target[0] - (fx * x + cx), target[1] - (fy * y + cy)])
    # Errors of neighbouring pixels go together; a patch counts about once.
    alone = (_FIT_STRIDE_PX / _FIT_PATCH_PX) ** 2 / _FIT_SCALE_PX**2
    prior = np.diag([noise[0] ** -2.0] * 3 + [noise[1] ** -2.0] * 3)
    motion = np.zeros(6)
    for _ in range(_FIT_ROUNDS):
        squared = ((lack - motion @ slopes).reshape(2, -1) ** 2).sum(axis=0)
        scale = max(_FIT_SCALE_PX**2, float(np.median(squared)))
        weight = alone / (1.0 + squared / scale) ** 2
        weighted = slopes * np.tile(weight, 2)
        motion = np.linalg.solve(weighted @ slopes.T + prior, weighted @ lack)
    return motion


def nearest_still(
    scene: StillScene,
    flow: Flow,
    T_older_newer: NDArray[np.float64],  # (4, 4)
) -> tuple[Flow, Mask]:
    """The flow of a still scene that comes nearest to ``flow``, and where there can be one.

    A pixel whose depth is known up to an interval moves along a piece of its epipolar line; without
    depth along all of it, from infinity to what is nearest.
    """
    height, width = scene.known.shape
    (fx, fy), (cx, cy) = scene.focal, scene.centre
    column = np.arange(width, dtype=np.float32)
    row = np.arange(height, dtype=np.float32)[:, None]
    R, t = T_older_newer[:3, :3], T_older_newer[:3, 3]
    rotated = [
        (R[k, 0] / fx * (column - cx) + (R[k, 1] / fy * (row - cy) + R[k, 2])).astype(np.float32)
        for k in range(3)
    ]
    ends = []
    visible = np.ones(scene.known.shape, dtype=np.bool_)
    for nearness in scene.nearness:
        x, y, z = (rotated[k] + np.float32(t[k]) * nearness for k in range(3))
        visible &= z > _LEAST_RAY_Z
        over = np.float32(1.0) / np.maximum(z, np.float32(_LEAST_RAY_Z))
        ends.append(
            (
                np.float32(fx) * x * over + np.float32(cx) - column,
                np.float32(fy) * y * over + np.float32(cy) - row,
            )
        )
    (ax, ay), (bx, by) = ends
    dx, dy = bx - ax, by - ay
    along = (flow[..., 0] - ax) * dx + (flow[..., 1] - ay) * dy
    along /= np.maximum(dx * dx + dy * dy, np.float32(1e-6))
    np.clip(along, 0.0, 1.0, out=along)
    still = np.dstack([ax + along * dx, ay + along * dy])
    return still, visible & is_inside(targets(still))


def targets(flow: Flow) -> NDArray[np.float32]:  # (h, w, 2) x and y, pixel-centre convention
    """Where the flow leads from every pixel."""
    height, width = flow.shape[:2]
    return flow + _pixels(height, width)


def is_inside(places: NDArray[np.float32]) -> Mask:  # (h, w, 2) x and y, pixel-centre convention
    """Which places lie in a picture of the same size."""
    height, width = places.shape[:2]
    x, y = places[..., 0], places[..., 1]
    return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


@lru_cache(maxsize=4)
def _pixels(height: int, width: int) -> NDArray[np.float32]:  # (h, w, 2) x and y
    """Every pixel's own place."""
    return np.dstack(np.meshgrid(np.arange(width), np.arange(height))).astype(np.float32)

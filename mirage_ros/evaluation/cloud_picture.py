"""Clouds of coloured points as pictures, in parallel projection."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BACKGROUND = 24
#: A token stands for a patch. Half its side, metres: about the spacing of tokens seen from 2 m.
TOKEN_PATCH = 0.04
_GAP = 4
_CAPTION_HEIGHT = 22


def render_cloud(
    positions: NDArray[np.float32],  # (N, 3)
    colours: NDArray[np.uint8],  # (N, 3)
    width: int = 1280,
    height: int = 960,
    tilt: float = 0.9,
    turn: float = 0.5,
    ceiling: bool = False,
    patch: float = TOKEN_PATCH,
) -> NDArray[np.uint8]:  # (H, W, 3)
    """A picture of a cloud from above or from the side, the nearest points on top.

    Args:
        positions: metres, z up.
        colours: RGB.
        width: of the picture, pixels.
        height: of the picture, pixels.
        tilt: how steeply the view looks down, radians: pi / 2 from straight above, 0 from the side.
        turn: rotation about the vertical, radians.
        ceiling: whether to show the highest fifth of the height, which hides what is below it.
        patch: half the side of the square that a point is drawn as, metres; 1 to 6 pixels.
    """
    canvas = np.full((height, width, 3), _BACKGROUND, dtype=np.uint8)
    if not len(positions):
        return canvas
    points = positions.astype(np.float64)
    if not ceiling:
        points, colours = _without_ceiling(points, colours)
    points = points - np.median(points, axis=0)
    c, s = np.cos(turn), np.sin(turn)
    points[:, :2] = points[:, :2] @ np.array([[c, s], [-s, c]])
    right = points[:, 0]
    up = points[:, 1] * np.sin(tilt) + points[:, 2] * np.cos(tilt)
    toward = points[:, 2] * np.sin(tilt) - points[:, 1] * np.cos(tilt)
    low = np.percentile(np.stack([right, up]), 0.5, axis=1)
    high = np.percentile(np.stack([right, up]), 99.5, axis=1)
    scale = 0.92 * float(min(np.array([width, height]) / np.maximum(high - low, 1e-3)))
    centre = (low + high) / 2.0
    radius = int(np.clip(round(patch * scale), 1, 6))
    order = np.argsort(toward, kind="stable")
    # With a margin, from where patches reach into the picture.
    u = np.round((right[order] - centre[0]) * scale + width / 2).astype(int) + radius
    v = np.round(height / 2 - (up[order] - centre[1]) * scale).astype(int) + radius
    inside = (u >= 0) & (u < width + 2 * radius) & (v >= 0) & (v < height + 2 * radius)
    rank = np.full((height + 2 * radius, width + 2 * radius), -1.0)
    # Painter's algorithm: numpy keeps the last value written to a pixel, and of the patches over a
    # pixel the one of the highest rank lies on top.
    rank[v[inside], u[inside]] = np.flatnonzero(inside)
    square = np.ones((2 * radius + 1, 2 * radius + 1), dtype=np.uint8)
    top = cv2.dilate(rank, square)[radius:-radius, radius:-radius].astype(int)
    shown = top >= 0
    canvas[shown] = colours[order[top[shown]]]
    return canvas


def plan_and_side(
    positions: NDArray[np.float32],  # (N, 3)
    colours: NDArray[np.uint8],  # (N, 3)
    width: int = 1280,
    height: int = 720,
    patch: float = TOKEN_PATCH,
) -> NDArray[np.uint8]:  # (2 height + a gap and two captions, width, 3)
    """A cloud from straight above, without its ceiling, and below that from the side.

    Args:
        positions: metres, z up.
        colours: RGB.
        width: of each view, pixels.
        height: of each view, pixels.
        patch: as :func:`render_cloud` takes it.
    """
    views = (
        ("from above: x to the right, y up", np.pi / 2),
        ("from the side: x to the right, z up", 0.0),
    )
    parts = []
    for caption, tilt in views:
        bar = np.full((_CAPTION_HEIGHT, width, 3), _BACKGROUND, dtype=np.uint8)
        font, white = cv2.FONT_HERSHEY_SIMPLEX, (235, 235, 235)
        cv2.putText(bar, caption, (6, 15), font, 0.45, white, 1, cv2.LINE_AA)
        picture = render_cloud(
            positions, colours, width, height, tilt, turn=0.0, ceiling=tilt == 0.0, patch=patch
        )
        parts += [bar, picture, np.full((_GAP, width, 3), _BACKGROUND, dtype=np.uint8)]
    return np.vstack(parts[:-1])


def _without_ceiling(
    points: NDArray[np.float64], colours: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Leave out the highest fifth of the room's height, which would hide all below it."""
    floor, top = np.percentile(points[:, 2], [1, 99])
    below = points[:, 2] <= floor + 0.8 * (top - floor)
    return points[below], colours[below]

"""SIFT features of a picture and their matches: the raw material of the geometric metrics."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.picture import Picture, as_bytes
from mirage_ros.geometry.camera_info import CENTRE_TO_CORNER

#: Strongest features kept of a picture: more make matching slow and add only weak ones.
MAX_FEATURES = 2000

#: A match has to be this much nearer than the next best one (Lowe 2004, IJCV 60(2)).
RATIO = 0.8

#: Neighbouring pixels whose depths differ by more than this share lie on different surfaces.
DEPTH_EDGE = 0.05

#: OpenCV's SIFT doubles the picture's size first and halves coordinates after, which leaves them
#: a quarter of a pixel too far right and down; the switch against it is missing in older ones.
_UPSCALING_BIAS = 0.25


@dataclass(frozen=True)
class Features:
    """Features of one picture.

    Attributes:
        pixels: (N, 2) float64 positions, corner convention.
        descriptors: (N, 128) float32, of unit length.
    """

    pixels: NDArray[np.float64]
    descriptors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pixels)


def grey(picture: Picture) -> NDArray[np.uint8]:  # (H, W)
    """Brightness of a picture.

    Raises:
        FrameError: not a picture.
    """
    return cv2.cvtColor(as_bytes(picture), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def detect(picture: Picture) -> Features:
    """SIFT features with root descriptors (Arandjelovic and Zisserman 2012, CVPR); often none.

    Raises:
        FrameError: not a picture.
    """
    keypoints, found = cv2.SIFT.create(MAX_FEATURES).detectAndCompute(grey(picture), None)
    if not keypoints:
        return Features(np.zeros((0, 2)), np.zeros((0, 128), dtype=np.float32))
    pixels = np.array([keypoint.pt for keypoint in keypoints], dtype=np.float64)
    sums = np.maximum(found.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    descriptors = np.sqrt(found / sums).astype(np.float32)
    return Features(pixels + (CENTRE_TO_CORNER - _UPSCALING_BIAS), descriptors)


def match(a: Features, b: Features) -> NDArray[np.int64]:  # (M, 2) numbers in a, in b
    """Pairs that are each other's nearest, much nearer than the next either way (:data:`RATIO`)."""
    if len(a) < 2 or len(b) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    there, clear = _nearest(a, b)
    back, clear_back = _nearest(b, a)
    numbers = np.arange(len(a))
    kept = clear & clear_back[there] & (back[there] == numbers)
    return np.stack([numbers[kept], there[kept]], axis=1)


def _nearest(a: Features, b: Features) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For every feature of ``a`` the nearest of ``b``, and whether the next is much farther."""
    matches = cv2.BFMatcher(cv2.NORM_L2).knnMatch(a.descriptors, b.descriptors, k=2)
    nearest = np.array([first.trainIdx for first, _ in matches], dtype=np.int64)
    clear = np.array([first.distance < RATIO * second.distance for first, second in matches])
    return nearest, clear


def depth_at(
    depth: NDArray[np.float32],  # (H, W) z-depth, metres, 0 or NaN where unknown
    pixels: NDArray[np.float64],  # (N, 2) corner convention
) -> NDArray[np.float64]:  # (N,) metres, NaN where there is none to be had
    """Depth between pixel centres, linear in inverse depth, in which planes are linear.

    NaN where one of the four pixels about the point is unknown, or where they differ by more than
    :data:`DEPTH_EDGE`: on an edge it is open which of two surfaces a feature lies on.
    """
    height, width = depth.shape
    column, row = (pixels - CENTRE_TO_CORNER).T
    left = np.clip(np.floor(column), 0, width - 2).astype(np.int64)
    top = np.clip(np.floor(row), 0, height - 2).astype(np.int64)
    corners = np.stack(
        [depth[top + down, left + right] for down in (0, 1) for right in (0, 1)], axis=-1
    ).astype(np.float64)
    known = (np.isfinite(corners) & (corners > 0.0)).all(axis=-1)
    corners[~known] = 1.0
    smooth = corners.max(axis=-1) <= (1.0 + DEPTH_EDGE) * corners.min(axis=-1)
    right, down = np.clip(column - left, 0.0, 1.0), np.clip(row - top, 0.0, 1.0)
    weights = np.stack(
        [(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], axis=-1
    )
    return np.where(known & smooth, 1.0 / (weights / corners).sum(axis=-1), np.nan)

"""The two kinds of pictures that metrics take, and each as the other.

Frames and predicted views hold bytes, codecs and the metrics over masks work on unit floats.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import FrameError

Picture: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]  # (H, W, 3) RGB, float32 in [0, 1]


def as_bytes(picture: Picture) -> NDArray[np.uint8]:  # (H, W, 3)
    """The picture in uint8; floats are clipped to [0, 1] and rounded.

    Raises:
        FrameError: another shape or type, or values that are not finite.
    """
    _check(picture)
    pixels = picture if picture.dtype == np.uint8 else np.rint(as_unit(picture) * np.float32(255.0))
    return pixels.astype(np.uint8, copy=False)


def as_unit(picture: Picture) -> NDArray[np.float32]:  # (H, W, 3)
    """The picture in float32 in [0, 1]; floats are clipped to it.

    Raises:
        FrameError: another shape or type, or values that are not finite.
    """
    _check(picture)
    if picture.dtype == np.uint8:
        return picture.astype(np.float32) / np.float32(255.0)
    return picture.astype(np.float32, copy=False).clip(0.0, 1.0)


def _check(picture: Picture) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype not in (np.uint8, np.float32):
        raise FrameError(
            "a picture must be uint8, or float32 in [0, 1], of shape (H, W, 3). "
            f"Got {picture.dtype} of shape {picture.shape}"
        )
    if picture.dtype == np.float32 and not np.isfinite(picture).all():
        raise FrameError("a picture must be finite. Got NaN or infinity in it")

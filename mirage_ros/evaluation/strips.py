"""Pictures side by side, as files for reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as ImageFile

#: Widest that a picture of a strip is, pixels.
_WIDEST = 320

#: White columns between two pictures.
_GAP = 4

#: Colour of what is not remembered.
_ORANGE = np.array([255.0, 96.0, 0.0], dtype=np.float32)

_QUALITY = 90


def tinted(
    picture: NDArray[np.uint8],  # (H, W, 3)
    covered: NDArray[np.bool_],  # (H, W)
) -> NDArray[np.uint8]:  # (H, W, 3)
    """The picture, pale where it is covered and orange where it is not."""
    shown = picture.astype(np.float32) * 0.5
    shown += np.where(covered[..., None], np.float32(127.0), np.float32(0.5) * _ORANGE)
    return shown.astype(np.uint8)


def write_strip(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Write pictures of one size (H, W, 3) side by side as a JPEG, shrunk where they are large.

    Raises:
        OSError: the file cannot be written.
    """
    height, width = pictures[0].shape[:2]
    scale = min(1.0, _WIDEST / width)
    size = (round(width * scale), round(height * scale))
    gap = np.full((size[1], _GAP, 3), 255, dtype=np.uint8)
    parts: list[NDArray[np.uint8]] = []
    for picture in pictures:
        shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        parts += [gap, np.asarray(shown, dtype=np.uint8)]
    ImageFile.fromarray(np.concatenate(parts[1:], axis=1)).save(path, quality=_QUALITY)

"""Fixtures that several parts share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def small_sequence(tmp_path: Path) -> Callable[[int], Path]:
    """Writes a sequence in 7-Scenes layout: a camera that runs 5 cm a frame along its view.

    64x48 pixels, 30 Hz; frame k shows the grey value 5 k (modulo 256) on a wall 2 m ahead.
    """

    def write(count: int) -> Path:
        folder = tmp_path / "sequence"
        folder.mkdir()
        np.savetxt(folder / "camera-intrinsics.txt", [[60, 0, 32], [0, 60, 24], [0, 0, 1]])
        for number in range(count):
            stem = folder / f"frame-{number:06d}"
            pose = np.eye(4)
            pose[:3, 3] = [1.0, 2.0, 0.05 * number]
            np.savetxt(f"{stem}.pose.txt", pose)
            cv2.imwrite(f"{stem}.color.png", np.full((48, 64, 3), 5 * number % 256, np.uint8))
            depth = np.full((48, 64), 2000, np.uint16)
            depth[0, 0] = 65535
            cv2.imwrite(f"{stem}.depth.png", depth)
        return folder

    return write

"""What the readers of recorded RGB-D layouts share: the list of frames, and text files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import SequenceError

#: Name of the optional file with the 3x3 camera matrix, in either layout.
INTRINSICS_FILE = "camera-intrinsics.txt"

#: How far R R^T of a recorded rotation may be from identity; rounding to a few digits stays below.
ROTATION_TOLERANCE = 2e-2


@dataclass(frozen=True)
class FrameFiles:
    """One frame on disk, not decoded.

    Attributes:
        number: the recording's own frame number.
        stamp_ns: time of exposure, nanoseconds.
        image: path of the colour image.
        depth: path of the 16-bit depth image.
        T_world_camera: (4, 4) float64, optical frame to world.
    """

    number: int
    stamp_ns: int
    image: Path
    depth: Path
    T_world_camera: NDArray[np.float64]


@dataclass(frozen=True)
class Listing:
    """The frames of a recording in order of time.

    Attributes:
        layout: name of the layout.
        frames: frames that have everything.
        intrinsics: (fx, fy, cx, cy) in pixels, pixel-centre convention as on disk.
        depth_units_per_metre: value of the depth image at one metre.
        left_out: number of frames without a usable pose or depth.
    """

    layout: str
    frames: list[FrameFiles]
    intrinsics: tuple[float, float, float, float]
    depth_units_per_metre: float
    left_out: int


def read_matrix(
    path: Path, rows: int, columns: int, what: str
) -> NDArray[np.float64]:  # (rows, columns)
    """Numbers of a text file; the ways in which C runtimes print NaN and infinity are understood.

    Raises:
        SequenceError: the file is missing, unreadable, or holds other than rows x columns numbers.
    """
    try:
        words = path.read_text(encoding="ascii").split()
        values = [np.nan if "#" in word else float(word) for word in words]
    except (OSError, ValueError) as error:
        raise SequenceError(
            f"{path}: expected {what} ({rows}x{columns} numbers as text). Got {error}"
        ) from error
    if len(values) != rows * columns:
        raise SequenceError(
            f"{path}: expected {what} ({rows}x{columns} numbers). Got {len(values)} numbers"
        )
    return np.array(values, dtype=np.float64).reshape(rows, columns)


def read_intrinsics(
    directory: Path, default: tuple[float, float, float, float]
) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) of :data:`INTRINSICS_FILE` where there is one, else ``default``.

    Raises:
        SequenceError: the file is malformed or not a camera matrix.
    """
    path = directory / INTRINSICS_FILE
    if not path.exists():
        return default
    k = read_matrix(path, 3, 3, "a camera matrix")
    usable = np.isfinite(k).all() and k[0, 0] > 0.0 and k[1, 1] > 0.0
    if not usable or not np.allclose(k[2], [0.0, 0.0, 1.0]):
        raise SequenceError(
            f"{path}: expected a camera matrix [fx 0 cx; 0 fy cy; 0 0 1]. Got {k.tolist()}"
        )
    return float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])


def nearest_rigid(pose: NDArray[np.float64], path: Path) -> NDArray[np.float64]:  # (4, 4)
    """The rigid pose nearest to one that was written with rounded digits.

    Raises:
        SequenceError: the matrix is not a rigid transform up to rounding.
    """
    rotation = pose[:3, :3]
    error = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    last_row = np.allclose(pose[3], [0.0, 0.0, 0.0, 1.0], atol=1e-6)
    if error > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0.0 or not last_row:
        raise SequenceError(
            f"{path}: expected a rigid camera-to-world pose. Got |R R^T - I| = {error:.3g}, "
            f"det = {np.linalg.det(rotation):.3g}, last row {pose[3].tolist()}"
        )
    left, _, right = np.linalg.svd(rotation)
    rigid = np.eye(4)
    rigid[:3, :3] = left @ right
    rigid[:3, 3] = pose[:3, 3]
    return rigid

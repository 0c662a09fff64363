"""Poses on the floor as (x, y, heading), and as matrices."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mirage_ros.errors import PoseError


def wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same angles in [-pi, pi)."""
    result: NDArray[np.float64] = (angle + np.pi) % (2.0 * np.pi) - np.pi
    return result


def turn_between(start: float, end: float) -> float:
    """The smallest turn from one heading to another, radians in [-pi, pi)."""
    return (end - start + math.pi) % (2.0 * math.pi) - math.pi


def planar_matrices(
    poses: ArrayLike,  # (N, 3) x, y in metres, heading in radians
) -> NDArray[np.float64]:  # (N, 4, 4)
    """T_world_base of poses on the floor.

    Raises:
        PoseError: another shape, or values that are not finite.
    """
    checked = np.asarray(poses, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != 3 or not np.isfinite(checked).all():
        raise PoseError(f"poses on the floor must be finite, of shape (N, 3). Got {checked!r:.80}")
    cosines, sines = np.cos(checked[:, 2]), np.sin(checked[:, 2])
    matrices = np.zeros((len(checked), 4, 4))
    matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 0, 3] = cosines, -sines, checked[:, 0]
    matrices[:, 1, 0], matrices[:, 1, 1], matrices[:, 1, 3] = sines, cosines, checked[:, 1]
    matrices[:, 2, 2] = matrices[:, 3, 3] = 1.0
    return matrices


def planar_pose_of(T_world_base: NDArray[np.float64]) -> NDArray[np.float64]:  # (4, 4) -> (3,)
    """x, y and heading of a pose; what is not on the floor is left out."""
    heading = math.atan2(float(T_world_base[1, 0]), float(T_world_base[0, 0]))
    return np.array([T_world_base[0, 3], T_world_base[1, 3], heading])

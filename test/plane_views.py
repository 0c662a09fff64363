"""Random poses, and derivatives of projections, for tests against plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]


def random_pose(rng: np.random.Generator, turn: float, shift: float) -> Array:
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rng.uniform(-turn, turn, 3)).as_matrix()
    pose[:3, 3] = rng.uniform(-shift, shift, 3)
    return pose


def jacobian(project: Callable[[Array], Array], at: Array, step: float = 1e-4) -> Array:
    columns = [
        (project(at + step * axis) - project(at - step * axis)) / (2 * step) for axis in np.eye(2)
    ]
    return np.stack(columns, axis=1)

"""Views of the whole free floor, to look up where an image may have been taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.planning.candidates import camera_path
from mirage_ros.planning.planar import wrapped
from mirage_ros.planning.scores import Encoder, ImageCostConfig, LatentGoal, encoded
from mirage_ros.planning.views import Imaginer, views_apart

#: Latent cells along each side that are averaged: a place half a metre off looks alike then.
_POOL = 2

#: Views imagined in one call.
_BATCH = 256


@dataclass(frozen=True)
class Hypothesis:
    """Where an image may have been taken.

    Attributes:
        pose: (3,) x, y, heading of the base.
        cost: of the view imagined there, or nearby, against the image.
    """

    pose: NDArray[np.float64]
    cost: float


class Gallery:
    """What the views at known poses look like, coarsely.

    Kept are the channels that count, averaged over 2x2 cells. A view is compared with an image at
    several shifts along the rows, which stand for small turns: moved by s pixels, an image shows
    what a camera turned by atan(s / fx) would, but for its borders. So few headings suffice.

    Args:
        poses: (N, 3) of the base.
        latents: (N, C, h, w) of the views.
        coverage: (N, h, w) share of the cells remembered.
        focal: focal length in cells.
        config: how views are compared.
        shifts: pooled cells that an image is moved by.

    Raises:
        FrameError: no views, numbers that differ, or an odd number of cells.
    """

    def __init__(
        self,
        poses: NDArray[np.float64],
        latents: NDArray[np.float32],
        coverage: NDArray[np.float32],
        focal: float,
        config: ImageCostConfig,
        shifts: tuple[int, ...] = (-2, -1, 0, 1, 2),
    ) -> None:
        if not 0 < len(poses) == len(latents) == len(coverage):
            raise FrameError(
                "a gallery needs as many poses as views, one at least. "
                f"Got {len(poses)}, {len(latents)} and {len(coverage)}"
            )
        self.poses = poses
        self._used, self._config = config.compact()
        self._latents = pooled(latents[:, self._used])
        self._coverage = pooled(coverage[:, None])[:, 0]
        self._focal = focal / _POOL
        self._shifts = shifts

    @classmethod
    def imagined(
        cls,
        imaginer: Imaginer,
        encode: Encoder,
        poses: NDArray[np.float64],  # (N, 3)
        T_base_camera: NDArray[np.float64],  # (4, 4)
        config: ImageCostConfig,
    ) -> Gallery:
        """The gallery of views imagined at poses of the base.

        Raises:
            ConfigurationError: no poses.
        """
        if not len(poses):
            raise ConfigurationError("a gallery needs at least one pose. Got none")
        parts = []
        focal = 0.0
        for start in range(0, len(poses), _BATCH):
            path = camera_path(poses[start : start + _BATCH], T_base_camera)
            views = views_apart(imaginer, path)
            parts.append(encoded(views, encode))
            focal = views[0].camera.fx * parts[-1][0].shape[3] / views[0].camera.width
        latents, coverage = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return cls(poses, latents, coverage, focal, config)

    def rank(
        self,
        goal: NDArray[np.float32],  # (C, h, w) latents of an image
        count: int,
        *,
        apart: float = 0.55,
        turned: float = math.radians(25.0),
    ) -> list[Hypothesis]:
        """The ``count`` best poses, the best first, no two nearer than both limits to each other.

        Args:
            goal: the image.
            count: at most.
            apart: metres.
            turned: radians.
        """
        wanted = LatentGoal(pooled(goal[None, self._used])[0], self._config)
        costs = np.stack([wanted.costs(self._latents, self._coverage, s) for s in self._shifts])
        best = costs.argmin(axis=0)
        least = costs[best, np.arange(len(best))]
        poses = self.poses.copy()
        # What stands farther right in the view than in the image is seen from farther left.
        poses[:, 2] -= np.arctan(np.array(self._shifts)[best] / self._focal)
        poses[:, 2] = wrapped(poses[:, 2])
        found: list[Hypothesis] = []
        for number in np.argsort(least, kind="stable"):
            pose = poses[number]
            new = all(
                np.hypot(*(pose[:2] - other.pose[:2])) > apart
                or abs(wrapped(pose[2] - other.pose[2])) > turned
                for other in found
            )
            if new:
                found.append(Hypothesis(pose, float(least[number])))
            if len(found) == count:
                break
        return found


def pooled(values: NDArray[np.float32]) -> NDArray[np.float32]:  # (N, C, h, w)
    """Means over 2x2 cells, (N, C, h / 2, w / 2).

    Raises:
        FrameError: an odd number of rows or columns.
    """
    count, channels, rows, columns = values.shape
    if rows % _POOL or columns % _POOL:
        raise FrameError(f"rows and columns must be even. Got {rows} and {columns}")
    blocks = values.reshape(count, channels, rows // _POOL, _POOL, columns // _POOL, _POOL)
    means: NDArray[np.float32] = blocks.mean(axis=(3, 5))
    return means

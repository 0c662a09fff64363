"""What a planner knows of a predicted view, and who predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import FrameError
from mirage_ros.geometry import PinholeCamera


@dataclass(frozen=True)
class PlannedView:
    """One frame of a prediction, of any predictor.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        coverage: (H, W) bool, True where remembered, False where made up.
        depth: (h, w) float32 z-depth in metres, 0 where unknown; one value for H / h by W / w
            pixels.
        T_world_camera: (4, 4) pose of the optical frame.
        camera: intrinsics of ``image``.
        known_fraction: share of the view that is remembered, 0 to 1.

    Raises:
        FrameError: arrays whose shapes do not fit the camera's.
    """

    image: NDArray[np.uint8]
    coverage: NDArray[np.bool_]
    depth: NDArray[np.float32]
    T_world_camera: NDArray[np.float64]
    camera: PinholeCamera
    known_fraction: float

    def __post_init__(self) -> None:
        size = (self.camera.height, self.camera.width)
        if self.image.shape != (*size, 3) or self.image.dtype != np.uint8:
            raise FrameError(
                f"a view's image must be uint8 of shape {(*size, 3)}. "
                f"Got {self.image.dtype} of shape {self.image.shape}"
            )
        if self.coverage.shape != size or self.coverage.dtype != np.bool_:
            raise FrameError(
                f"a view's coverage must be bool of shape {size}. "
                f"Got {self.coverage.dtype} of shape {self.coverage.shape}"
            )
        if self.depth.ndim != 2 or size[0] % self.depth.shape[0] or size[1] % self.depth.shape[1]:
            raise FrameError(
                f"a view's depth must have a shape that divides {size}. Got {self.depth.shape}"
            )


class Imaginer(Protocol):
    """Predicts views: a world model, a ROS action, or a renderer that knows the truth."""

    def imagine(
        self,
        paths: Sequence[NDArray[np.float64]],  # each (T, 4, 4) T_world_camera, T >= 1
    ) -> Sequence[Sequence[PlannedView]]:
        """The views along every path, one per pose.

        All paths of a call see the same memory. Whoever predicts may work on all of them at once,
        so that few calls with many poses are faster than many calls with few.
        """
        ...


def views_apart(
    imaginer: Imaginer,
    poses: NDArray[np.float64],  # (N, 4, 4) T_world_camera
) -> list[PlannedView]:  # N
    """The views at poses that do not follow each other: each is a path by itself.

    As one path, a model that invents would make a film of them, in which every view depends on
    what was invented for the one before.
    """
    return [views[0] for views in imaginer.imagine([pose[None] for pose in poses])]

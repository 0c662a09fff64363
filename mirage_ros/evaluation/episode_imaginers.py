"""Who predicts in the episodes: the world model, and a renderer that knows the truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mirage_ros.geometry import PinholeCamera
from mirage_ros.planning.views import PlannedView
from mirage_ros.sources.simulator import Simulator
from mirage_ros.world_model import PredictedView, WorldModel

#: Rollouts that go through their chunk together.
_AT_ONCE = 64


class ModelImaginer:
    """The world model; paths are read from branches of its memory, which leave no trace.

    Args:
        model: predicts.
        camera: the robot's.
    """

    def __init__(self, model: WorldModel, camera: PinholeCamera) -> None:
        self.model = model
        self._camera = camera

    def imagine(
        self,
        paths: Sequence[NDArray[np.float64]],  # each (T, 4, 4)
    ) -> list[list[PlannedView]]:
        """The views along every path; in one rollout where the generator invents nothing.

        Otherwise each view is a rollout of its own. Planners ask for views of places to compare
        them, and a film would let each view depend on what was invented for the one before.
        """
        poses = np.concatenate(list(paths))
        views = self._apart(poses) if self.model.generator.invents else self._together(poses)
        ends = np.cumsum([len(path) for path in paths])
        return [views[end - len(path) : end] for path, end in zip(paths, ends, strict=True)]

    def _together(self, poses: NDArray[np.float64]) -> list[PlannedView]:
        return [self._planned(view) for view in self.model.imagine(poses, self._camera)]

    def _apart(self, poses: NDArray[np.float64]) -> list[PlannedView]:
        views: list[PlannedView] = []
        for start in range(0, len(poses), _AT_ONCE):
            paths = list(poses[start : start + _AT_ONCE, None])
            made = dict(self.model.imagine_candidates(paths, self._camera))
            views += [self._planned(made[number]) for number in range(len(paths))]
        return views

    def _planned(self, view: PredictedView) -> PlannedView:
        stride = self.model.codec.spatial_stride
        return PlannedView(
            image=view.image,
            coverage=view.coverage > 0,
            depth=np.ascontiguousarray(view.depth[::stride, ::stride]),
            T_world_camera=view.T_world_camera,
            camera=view.camera,
            known_fraction=view.known_fraction,
        )


class TrueImaginer:
    """The renderer of the simulator: what a perfect world model would predict.

    Args:
        simulator: renders.
    """

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def imagine(
        self,
        paths: Sequence[NDArray[np.float64]],  # each (T, 4, 4)
    ) -> list[list[PlannedView]]:
        """The true views along every path; everything counts as remembered."""
        camera = self._simulator.camera
        known = np.ones((camera.height, camera.width), dtype=np.bool_)
        result = []
        for path in paths:
            views = []
            for pose in path:
                image, depth = self._simulator.render_from(pose)
                views.append(PlannedView(image, known, depth, pose, camera, 1.0))
            result.append(views)
        return result

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
        """The views along every path; all in one rollout where the generator invents nothing."""
        if self.model.generator.invents:
            return self._apart(paths)
        poses = np.concatenate(list(paths))
        views = [self._planned(view) for view in self.model.imagine(poses, self._camera)]
        ends = np.cumsum([len(path) for path in paths])
        return [views[end - len(path) : end] for path, end in zip(paths, ends, strict=True)]

    def _apart(self, paths: Sequence[NDArray[np.float64]]) -> list[list[PlannedView]]:
        made: list[list[PlannedView]] = [[] for _ in paths]
        for start in range(0, len(paths), _AT_ONCE):
            few = paths[start : start + _AT_ONCE]
            for number, view in self.model.imagine_candidates(few, self._camera):
                made[start + number].append(self._planned(view))
        return made

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

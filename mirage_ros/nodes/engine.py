"""What the worker thread does: messages into the world model, rollouts and clouds out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage

from mirage_ros.errors import FrameError, MirageError
from mirage_ros.frames import RgbdFrame
from mirage_ros.nodes.calibration import CalibrationCache
from mirage_ros.nodes.goal_paths import CandidatePath
from mirage_ros.nodes.image_conversion import (
    depth_from_image,
    mask_from_image,
    rgb_from_compressed,
    rgb_from_image,
)
from mirage_ros.nodes.pairing import PairedFrame
from mirage_ros.nodes.plan_input import CameraState
from mirage_ros.nodes.statistics import StageTimer

if TYPE_CHECKING:
    from mirage_ros.geometry import PinholeCamera
    from mirage_ros.memory import MemoryCloud
    from mirage_ros.world_model import Observation, PredictedView, WorldModel


class Engine:
    """Feeds the world model. Owned by one thread.

    Args:
        model: the world model.
        calibration: cameras and rectifiers.
        timer: stage times go here.
    """

    def __init__(self, model: WorldModel, calibration: CalibrationCache, timer: StageTimer) -> None:
        self.model = model
        self._calibration = calibration
        self._timer = timer
        model.stages = timer

    def store(
        self,
        paired: PairedFrame,
        previous: PairedFrame | None = None,
        without_previous: Callable[[str], None] = lambda _: None,
    ) -> Observation:
        """Convert a paired frame and let the model observe it; what became of it.

        Args:
            paired: what the sensors gave.
            previous: what they gave a moment before, by which motion is seen.
            without_previous: told why ``previous`` cannot be used, where it cannot; the frame is
                stored all the same.

        Raises:
            MirageError: image, depth or calibration cannot be used.
        """
        before = None
        with self._timer.measure("convert"):
            frame = self._convert(paired)
            if previous is not None:
                try:
                    before = self._convert(previous)
                except MirageError as error:
                    without_previous(str(error))
        with self._timer.measure("observe"):
            return self.model.observe(frame, before)

    def imagine(
        self,
        T_world_camera: NDArray[np.float64],  # (T, 4, 4)
        camera: PinholeCamera,
        seed: int,
        cancelled: Callable[[], bool],
        newest: PairedFrame | None = None,
    ) -> Iterator[PredictedView]:
        """Predicted views as they are ready, one per pose, indices from 0.

        A path of targets begins one period after the newest frame. A generator that starts from a
        frame is told that frame and its pose ahead of the path; what is made of it is not a
        prediction and does not come out.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: the generator returned what cannot be shown.
            MirageError: image, depth or calibration of ``newest`` cannot be used, where it is.
        """
        first_frame = None
        if newest is not None and self.model.generator.starts_from_frame:
            with self._timer.measure("convert"):
                first_frame = self._convert(newest)
            T_world_camera = np.concatenate([newest.T_world_camera[None], T_world_camera])
        ahead = 0 if first_frame is None else 1
        views = self.model.imagine(
            T_world_camera, camera, seed=seed, cancelled=cancelled, first_frame=first_frame
        )
        while True:
            # The views of a chunk come together, so the first one's time is the chunk's.
            with self._timer.measure("next_view"):
                view = next(views, None)
            if view is None:
                return
            if view.index >= ahead:
                yield replace(view, index=view.index - ahead)

    def imagine_candidates(
        self,
        candidates: Sequence[CandidatePath],
        state: CameraState,
        seed: int,
        cancelled: Callable[[], bool],
        *,
        prompt: str = "",
        commit: bool = False,
    ) -> Iterator[tuple[int, PredictedView]]:
        """Numbers of candidates and predicted views of them as they are ready.

        A candidate that goes on from where the camera is begins with the newest frame, where the
        generator starts from one; what is made of it does not come out.

        Args:
            candidates: where to imagine.
            state: the newest observation.
            seed: of all randomness.
            cancelled: asked before every layer; its answer counts between denoising steps.
            prompt: text to generate with; empty: the generator's own.
            commit: keep what was imagined, once all of it is there.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: the generator returned what cannot be shown.
            ConfigurationError: the generator takes no prompt.
            MirageError: the newest frame cannot be used, where it is.
        """
        model, first_frame = self.model, None
        follows = [candidate.follows for candidate in candidates]
        if model.generator.starts_from_frame and any(follows):
            with self._timer.measure("convert"):
                first_frame = self._convert(state.frame)
        ahead = [int(follow and first_frame is not None) for follow in follows]
        paths = [
            np.concatenate([state.T_world_camera[None], candidate.T_world_camera])
            if more
            else candidate.T_world_camera
            for candidate, more in zip(candidates, ahead, strict=True)
        ]
        branches = [model.memory.branch() for _ in paths] if commit else None
        views = model.imagine_candidates(
            paths,
            state.camera,
            seed=seed,
            cancelled=cancelled,
            branches=branches,
            first_frame=first_frame,
            prompt=prompt,
        )
        for number, view in views:
            if view.index >= ahead[number]:
                yield number, replace(view, index=view.index - ahead[number])
        for branch in branches or ():
            model.memory.commit(branch)

    def cloud(self, *, with_features: bool) -> MemoryCloud:
        """What is in memory, as plain arrays."""
        return self.model.cloud(with_features=with_features)

    def _convert(self, paired: PairedFrame) -> RgbdFrame:
        if isinstance(paired.image, CompressedImage):
            image = rgb_from_compressed(paired.image)
        else:
            image = rgb_from_image(paired.image)
        depth = None if paired.depth is None else depth_from_image(paired.depth)
        if depth is not None and depth.shape != image.shape[:2]:
            raise FrameError(
                f"depth must have the image's size {image.shape[1]}x{image.shape[0]}. "
                f"Got {depth.shape[1]}x{depth.shape[0]}"
            )
        dynamic = None if paired.mask is None else mask_from_image(paired.mask)
        camera = self._calibration.camera(paired.info)
        rectifier = self._calibration.rectifier(paired.info)
        if rectifier is not None:
            image = rectifier.rectify_image(image)
            depth = None if depth is None else rectifier.rectify_depth(depth)
            dynamic = None if dynamic is None else rectifier.rectify_mask(dynamic)
        return RgbdFrame(
            paired.stamp_ns, image, depth, camera, paired.T_world_camera, dynamic=dynamic
        )

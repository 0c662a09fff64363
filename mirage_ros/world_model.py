"""The engine: observe frames, imagine what a camera would see along a path. No ROS in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mirage_ros.codec.base import Codec
from mirage_ros.codec.pixels import as_codec_frames
from mirage_ros.errors import ConfigurationError, FrameError, PoseError
from mirage_ros.frames import RgbdFrame, fit_camera, fit_frame
from mirage_ros.generation.base import Generator
from mirage_ros.generation.references import ReferenceBank
from mirage_ros.geometry import PinholeCamera, exp_twist, inverse, validate_pose
from mirage_ros.memory.backprojection import cell_depth
from mirage_ros.memory.base import (
    CorrectableMemory,
    MemoryBranch,
    MemoryCloud,
    MemoryUpdate,
    SpatialMemory,
)
from mirage_ros.memory.files import read_header, stamp_range
from mirage_ros.memory.keyframe_table import Keyframes
from mirage_ros.perception.pipeline import Perceived, Perception
from mirage_ros.rollout import PredictedView, Rollout, RolloutRequest, stands_for
from mirage_ros.rollout_group import RolloutGroup
from mirage_ros.shortage import memory_shortage_told
from mirage_ros.stages import UNTIMED, StageClock, measured
from mirage_ros.world_model_config import SIZE_MULTIPLE, WorldModelConfig

__all__ = [
    "SIZE_MULTIPLE",
    "Observation",
    "PredictedView",
    "WorldModel",
    "WorldModelConfig",
]

#: Enough for a keyframe to count as an earlier one when the camera comes back to it.
_WARM_UP_FRAMES = 16

#: A frame of which more than this share moves is no reference: it is shown whole.
_MOST_DYNAMIC = 0.05


@dataclass(frozen=True)
class Observation:
    """What became of an observed frame.

    Attributes:
        update: what the memory did with it.
        token_count: tokens in memory now.
        seconds: time spent, by stage.
        perceived: the frame as it was remembered.
    """

    update: MemoryUpdate
    token_count: int
    seconds: dict[str, float]
    perceived: Perceived


class WorldModel:
    """A memory, a codec and a generator: observe frames, imagine views.

    Not thread-safe: one thread owns it.

    Poses that come in and go out are in the world frame, as the robot's odometry has it. Where
    they are corrected by what is seen, the memory keeps to a frame of its own in which the robot
    does not drift (:attr:`T_memory_world`).

    Attributes:
        references: whole observed frames, for generators that want some.
        newest_stamp_ns: of the newest observation in memory, None without one.
        stages: takes the time of the stages of the work. Nobody does until somebody sets it.

    Args:
        codec: pixels to latents and back.
        memory: what is remembered; uses the same codec.
        generator: completes what the memory knows.
        config: sizes and chunks.
        perception: depth sources, correction of poses, and the filter of what moves; None believes
            frames as they come.

    Raises:
        ConfigurationError: poses are to be corrected with a memory that cannot tell surfaces.
    """

    def __init__(
        self,
        codec: Codec,
        memory: SpatialMemory,
        generator: Generator,
        config: WorldModelConfig | None = None,
        perception: Perception | None = None,
    ) -> None:
        self.perception = perception or Perception()
        if self.perception.corrects_poses and not isinstance(memory, CorrectableMemory):
            raise ConfigurationError(
                "registration needs a memory of latent tokens. "
                f"Got one of kind '{type(memory).__name__}'"
            )
        self.codec = codec
        self.memory = memory
        self.generator = generator
        self.config = config or WorldModelConfig()
        self.references = ReferenceBank()
        self.newest_stamp_ns: int | None = None
        self.stages: StageClock = UNTIMED

    @property
    def token_count(self) -> int:
        """Tokens (or points) in memory."""
        return self.memory.count

    @property
    def memory_bytes(self) -> int:
        """Bytes of the tokens in memory."""
        return self.memory.nbytes

    @property
    def reference_bytes(self) -> int:
        """Bytes of the whole frames that are kept beside the memory."""
        return self.references.nbytes

    @property
    def T_memory_world(self) -> NDArray[np.float64]:  # noqa: N802
        """(4, 4) from the world frame, which drifts with odometry, to that of the memory."""
        return self.perception.drift.T_memory_world

    def observe(self, frame: RgbdFrame, previous: RgbdFrame | None = None) -> Observation:
        """Fit a sensor frame to the generation size and remember it.

        Args:
            frame: what the sensors gave.
            previous: what they gave a moment before, by which motion is seen.

        Raises:
            FrameError: the frame has no depth that can be believed: a depth source is needed to
                place what it shows.
            GenerationError: the device's memory is too small to encode it.
        """
        start = time.perf_counter()
        fitted = self._fitted(frame)
        before = None if previous is None else self._fitted(previous)
        fit_end = time.perf_counter()
        with measured(self.stages, "perceive", torch.device("cpu")):
            perceived = self.perception.perceive(fitted, before, self.memory)
        perceived_end = time.perf_counter()
        with (
            memory_shortage_told("a frame to remember"),
            measured(self.stages, "store", self.memory.device),
        ):
            update = self._store(perceived.frame)
        stored = time.perf_counter()
        self.newest_stamp_ns = max(frame.stamp_ns, self.newest_stamp_ns or frame.stamp_ns)
        seconds = {
            "fit": fit_end - start,
            "perceive": perceived_end - fit_end,
            "store": stored - perceived_end,
        }
        return Observation(update, self.token_count, seconds, perceived)

    def move_keyframes(self, moved: Keyframes) -> int:
        """After a loop closure: let keyframes stand elsewhere with all they saw; how many do.

        Stamps that no keyframe has are passed over. Whole frames kept as references of moved
        keyframes are forgotten.

        Raises:
            PoseError: a pose is not rigid; nothing has changed then.
            ConfigurationError: the memory does not know which keyframe saw what.
        """
        if not isinstance(self.memory, CorrectableMemory):
            raise ConfigurationError(
                "moving keyframes needs a memory of latent tokens. "
                f"Got one of kind '{type(self.memory).__name__}'"
            )
        count = self.memory.move_keyframes(moved)
        self.perception.move(moved.stamps_ns, moved.T_world_camera)
        self.references.forget(moved.stamps_ns)
        return count

    def cloud(self, *, with_features: bool = False) -> MemoryCloud:
        """Everything remembered, in the world frame as it is now."""
        cloud = self.memory.cloud(with_features=with_features)
        T_world_memory = inverse(self.T_memory_world)
        moved = cloud.positions @ T_world_memory[:3, :3].T + T_world_memory[:3, 3]
        return replace(cloud, positions=moved.astype(np.float32))

    def imagine(
        self,
        T_world_camera: NDArray[np.float64],  # (T, 4, 4)
        camera: PinholeCamera,
        *,
        seed: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        branch: MemoryBranch | None = None,
        first_frame: RgbdFrame | None = None,
    ) -> Iterator[PredictedView]:
        """Predicted views along a camera path, one per pose, as soon as their chunk is ready.

        The path is cut into chunks; the last latent frame of a chunk is the first of the next, and
        its views come once. All chunks see the memory as it is at this call. What a generator
        invents goes into a branch of it, so that later chunks agree with earlier ones, and is gone
        with the rollout unless the caller gave the branch and commits it. Whole frames that it is
        told as references are those kept at this call, and one that it imagined from each chunk
        but the newest.

        Args:
            T_world_camera: poses to imagine; with a codec of temporal stride s every s-th of
                them, from the first on, becomes a latent frame.
            camera: the robot's camera, of any size; fitted as observed frames are.
            seed: of all randomness (default: the configuration's).
            cancelled: asked between chunks and inside the generator.
            branch: of this model's memory, to read from and to write what is invented to (default:
                a new one).
            first_frame: what the sensor sees at the first pose, with depth or without. Where the
                generator starts from a frame, and this one was seen near enough to that pose
                (:func:`mirage_ros.rollout.stands_for`), it is the first view; else it is ignored.
                Coverage says what the memory knows all the same.

        Raises:
            PoseError: no pose, or one that is not rigid.
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: the generator returned NaN, infinity or another shape than asked for;
                that chunk leaves no trace, and no view comes after it.
        """
        branches = None if branch is None else [branch]
        views = self.imagine_candidates(
            [T_world_camera],
            camera,
            seed=seed,
            cancelled=cancelled,
            branches=branches,
            first_frame=first_frame,
        )
        return (view for _, view in views)

    def imagine_candidates(
        self,
        paths: Sequence[NDArray[np.float64]],  # K of (T_k, 4, 4)
        camera: PinholeCamera,
        *,
        seed: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        branches: Sequence[MemoryBranch] | None = None,
        first_frame: RgbdFrame | None = None,
        prompt: str = "",
    ) -> Iterator[tuple[int, PredictedView]]:
        """Predicted views along several paths, as :meth:`imagine` would give them for each.

        The candidates go through their chunks together: the memory is read once for all of them,
        and the generator works on all at once where it can. Every one has a branch of its own, and
        the same noise, so that they differ by where they go alone.

        Args:
            paths: camera poses of every candidate.
            camera: as for :meth:`imagine`, as are the arguments that follow.
            seed: likewise.
            cancelled: likewise.
            branches: one for each path.
            first_frame: likewise; of the paths that begin where it was seen.
            prompt: text to generate with; empty: the generator's own.

        Returns:
            Pairs of a candidate's number and a view of it.

        Raises:
            PoseError: no path, no pose, or one that is not rigid.
            ConfigurationError: the generator takes no prompt.
            UnavailableError: it could, but its text encoder is not at hand.
            GenerationCancelled: ``cancelled()`` became true.
            GenerationError: as :meth:`imagine`; no view of any candidate comes after it.
        """
        if prompt:
            self.generator.prepare_prompt(prompt)
        if not len(paths):
            raise PoseError("at least one camera path is needed. Got none")
        valid = [_valid_path(path) for path in paths]
        fitted = fit_camera(camera, self.config.generation_width, self.config.generation_height)
        frame, drift = None, self.perception.drift
        if first_frame is not None and self.generator.starts_from_frame:
            frame = self._fitted(first_frame)
            frame = replace(frame, T_world_camera=drift.apply(frame.T_world_camera))
        stride = self.codec.spatial_stride
        rollouts = []
        for number, path in enumerate(drift.T_memory_world @ poses for poses in valid):
            begins = frame is not None and stands_for(frame, fitted, path[0], stride)
            request = RolloutRequest(
                path=path,
                camera=fitted,
                seed=self.config.seed if seed is None else seed,
                stamp_ns=self.newest_stamp_ns or 0,
                chunk_latent_frames=self.config.chunk_latent_frames,
                first_frame=frame if begins else None,
                prompt=prompt,
            )
            rollout = Rollout(
                self.codec,
                self.generator,
                self.memory.branch() if branches is None else branches[number],
                self.references.branch(),
                self.memory.cell_depth,
                self.memory.device,
                self.stages,
                request,
            )
            rollouts.append(rollout)
        views = RolloutGroup(
            rollouts,
            self.generator,
            self.memory.device,
            self.stages,
            cancelled,
            read_alone=branches is not None,
        ).views()
        return (
            (number, replace(view, T_world_camera=valid[number][view.index]))
            for number, view in views
        )

    def reset(self) -> None:
        """Forget everything."""
        self.memory.clear()
        self.references.clear()
        self.perception.clear()
        self.newest_stamp_ns = None

    def save(self, path: Path, frame_id: str) -> None:
        """Write the memory to a file; positions are in ``frame_id``.

        Raises:
            OSError: it cannot be written.
        """
        self.memory.save(path, frame_id)

    def load(self, path: Path, frame_id: str | None = None) -> dict[str, str]:
        """Remember what a file holds instead of what is remembered; the file's header.

        A file holds no whole frames, so there are no references until new frames are observed.

        Raises:
            MemoryFormatError: the file does not fit the memory, or is in another frame than
                ``frame_id``; nothing has changed then.
            OSError: it cannot be read.
        """
        # Before the memory changes, since a header that cannot be read refuses the whole file.
        stamps = stamp_range(path, read_header(path))
        header = self.memory.load(path, frame_id)
        self.references.clear()
        self.perception.clear()
        self.newest_stamp_ns = stamps[1] if self.token_count else None
        return header

    def warm_up(self) -> None:
        """Run every stage, so that the first real frame does not pay for set-up and compilation.

        Whole chunks, as large as they come: what does not fit into the device's memory is told now.
        Nothing is kept; a memory that holds something is only read.

        Raises:
            GenerationError: the generator makes what cannot be shown, or the device's memory is too
                small.
        """
        width, height = self.config.generation_width, self.config.generation_height
        camera = PinholeCamera(width, height, width, width, width / 2, height / 2)
        empty, frame = self.memory.count == 0, None
        if empty:
            image = np.zeros((height, width, 3), dtype=np.uint8)
            depth = np.full((height, width), 2.0, dtype=np.float32)
            for number in range(_WARM_UP_FRAMES):
                # Turning to and fro: what is stored is seen, seen again, and seen from aside.
                image[:, :: 2 + number] = 255
                turn = exp_twist([0.0, 0.0, 0.0], [0.0, 0.4 * (number % 2), 0.0], 1.0)
                previous, frame = frame, RgbdFrame(number, image, depth, camera, turn)
                # A depth model may make nothing of stripes.
                with suppress(FrameError):
                    self.observe(frame, previous)
        start = np.eye(4) if frame is None else frame.T_world_camera
        # The second chunk is the first with frames before it.
        chunks = 2 if self.generator.preceding_count else 1
        step = (self.config.chunk_latent_frames - 1) * self.codec.temporal_stride
        path = np.repeat(start[None], 1 + chunks * step, axis=0)
        for _ in self.imagine(path, camera, first_frame=frame):
            pass
        if empty:
            self.reset()

    def _fitted(self, frame: RgbdFrame) -> RgbdFrame:
        with measured(self.stages, "fit", torch.device("cpu")):
            return fit_frame(frame, self.config.generation_width, self.config.generation_height)

    def _store(self, frame: RgbdFrame) -> MemoryUpdate:
        """Remember a fitted frame, and keep it whole where the generator wants references."""
        if not self.generator.reference_count or frame.depth is None:
            return self.memory.observe(frame)
        if frame.dynamic is not None and frame.dynamic.mean() > _MOST_DYNAMIC:
            return self.memory.observe(frame)
        device = self.memory.device
        with torch.no_grad():
            latents = self.codec.encode(as_codec_frames(frame.image, device))[0]
        update = self.memory.observe(frame, latents)
        pixels = torch.from_numpy(frame.depth).to(device)
        depth, _ = cell_depth(pixels, self.codec.spatial_stride, self.memory.cell_depth)
        self.references.add(
            latents, depth, frame.camera, frame.T_world_camera, frame.stamp_ns, observed=True
        )
        return update


def _valid_path(T_world_camera: NDArray[np.float64]) -> NDArray[np.float64]:  # (T, 4, 4)
    path = np.asarray(T_world_camera, dtype=np.float64)
    if path.ndim != 3 or len(path) == 0:
        raise PoseError(f"a camera path must have shape (T, 4, 4), T >= 1. Got {path.shape}")
    for index, pose in enumerate(path):
        validate_pose(pose, f"camera pose {index}")
    return path

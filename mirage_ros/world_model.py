"""The engine: observe frames, imagine what a camera would see along a path. No ROS in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError, FrameError, PoseError
from mirage_ros.frames import RgbdFrame, fit_camera, fit_frame
from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, Generator
from mirage_ros.geometry import PinholeCamera, exp_twist, validate_pose
from mirage_ros.memory.base import MemoryBranch, MemoryUpdate, Readout, SpatialMemory
from mirage_ros.memory.files import read_header, stamp_range

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: Enough for a keyframe to count as an earlier one when the camera comes back to it.
_WARM_UP_FRAMES = 16

#: Generation sizes are multiples of this: two patches of a stride-16 codec.
SIZE_MULTIPLE = 32


@dataclass(frozen=True)
class WorldModelConfig:
    """Sizes and chunks.

    Attributes:
        generation_width: of observed and predicted views, pixels, a multiple of 32.
        generation_height: likewise.
        chunk_latent_frames: latent frames a chunk, the overlap included.
        seed: of rollouts that are not given one.

    Raises:
        ConfigurationError: a value is out of range.
    """

    generation_width: int = 320
    generation_height: int = 256
    chunk_latent_frames: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("generation_width", "generation_height"):
            value = getattr(self, name)
            if value < SIZE_MULTIPLE or value % SIZE_MULTIPLE:
                raise ConfigurationError(
                    f"{name} must be a positive multiple of {SIZE_MULTIPLE}. Got {value}"
                )
        if self.chunk_latent_frames < 2:
            raise ConfigurationError(
                "chunk_latent_frames must be at least 2: one overlaps with the chunk before. "
                f"Got {self.chunk_latent_frames}"
            )


@dataclass(frozen=True)
class Observation:
    """What became of an observed frame.

    Attributes:
        update: what the memory did with it.
        token_count: tokens in memory now.
        seconds: time spent, by stage.
    """

    update: MemoryUpdate
    token_count: int
    seconds: dict[str, float]


@dataclass(frozen=True)
class PredictedView:
    """One predicted frame.

    Attributes:
        index: along the path, from 0.
        image: (H, W, 3) uint8 RGB.
        coverage: (H, W) uint8, 255 remembered, 0 invented; constant over a latent cell.
        depth: (H, W) float32 z-depth, metres, completed over holes; 0 where nothing is known of
            the whole frame; constant over a latent cell.
        T_world_camera: (4, 4) its pose.
        camera: its intrinsics.
        known_fraction: share of remembered cells.
    """

    index: int
    image: NDArray[np.uint8]
    coverage: NDArray[np.uint8]
    depth: NDArray[np.float32]
    T_world_camera: NDArray[np.float64]
    camera: PinholeCamera
    known_fraction: float


class WorldModel:
    """A memory, a codec, a generator and the chunk loop.

    Not thread-safe: one thread owns it.

    Args:
        codec: pixels to latents and back.
        memory: what is remembered; uses the same codec.
        generator: completes what the memory knows.
        config: sizes and chunks.
    """

    def __init__(
        self,
        codec: Codec,
        memory: SpatialMemory,
        generator: Generator,
        config: WorldModelConfig | None = None,
    ) -> None:
        self.codec = codec
        self.memory = memory
        self.generator = generator
        self.config = config or WorldModelConfig()
        self.newest_stamp_ns: int | None = None

    @property
    def token_count(self) -> int:
        """Tokens (or points) in memory."""
        return self.memory.count

    @property
    def memory_bytes(self) -> int:
        """Bytes of the tokens in memory."""
        return self.memory.nbytes

    def observe(self, frame: RgbdFrame) -> Observation:
        """Fit a sensor frame to the generation size and remember it.

        Raises:
            FrameError: the frame has no depth: a depth source is needed to place what it shows.
        """
        if frame.depth is None:
            raise FrameError(
                "a frame to remember must have depth: configure a depth source. Got none"
            )
        start = time.perf_counter()
        fitted = fit_frame(frame, self.config.generation_width, self.config.generation_height)
        fit_end = time.perf_counter()
        update = self.memory.observe(fitted)
        stored = time.perf_counter()
        self.newest_stamp_ns = max(frame.stamp_ns, self.newest_stamp_ns or frame.stamp_ns)
        return Observation(
            update, self.token_count, {"fit": fit_end - start, "store": stored - fit_end}
        )

    def imagine(
        self,
        T_world_camera: NDArray[np.float64],  # (T, 4, 4)
        camera: PinholeCamera,
        *,
        seed: int | None = None,
        cancelled: Callable[[], bool] = lambda: False,
        branch: MemoryBranch | None = None,
    ) -> Iterator[PredictedView]:
        """Predicted views along a camera path, one per pose, as soon as their chunk is ready.

        The path is cut into chunks; the last latent frame of a chunk is the first of the next, and
        its views come once. All chunks see the memory as it is at this call. What a generator
        invents goes into a branch of it, so that later chunks agree with earlier ones, and is gone
        with the rollout unless the caller gave the branch and commits it.

        Args:
            T_world_camera: poses to imagine; with a codec of temporal stride s every s-th of
                them, from the first on, becomes a latent frame.
            camera: the robot's camera, of any size; fitted as observed frames are.
            seed: of all randomness (default: the configuration's).
            cancelled: asked between chunks and inside the generator.
            branch: of this model's memory, to read from and to write what is invented to (default:
                a new one).

        Raises:
            PoseError: no pose, or one that is not rigid.
            GenerationCancelled: ``cancelled()`` became true.
        """
        path = np.asarray(T_world_camera, dtype=np.float64)
        if path.ndim != 3 or len(path) == 0:
            raise PoseError(f"a camera path must have shape (T, 4, 4), T >= 1. Got {path.shape}")
        for index, pose in enumerate(path):
            validate_pose(pose, f"camera pose {index}")
        fitted = fit_camera(camera, self.config.generation_width, self.config.generation_height)
        first_seed = self.config.seed if seed is None else seed
        memory = self.memory.branch() if branch is None else branch
        return self._chunks(path, fitted, first_seed, cancelled, memory)

    def reset(self) -> None:
        """Forget everything."""
        self.memory.clear()
        self.newest_stamp_ns = None

    def save(self, path: Path, frame_id: str) -> None:
        """Write the memory to a file; positions are in ``frame_id``.

        Raises:
            OSError: it cannot be written.
        """
        self.memory.save(path, frame_id)

    def load(self, path: Path, frame_id: str | None = None) -> dict[str, str]:
        """Remember what a file holds instead of what is remembered; the file's header.

        Raises:
            MemoryFormatError: the file does not fit the memory, or is in another frame than
                ``frame_id``; nothing has changed then.
            OSError: it cannot be read.
        """
        # Before the memory changes, since a header that cannot be read refuses the whole file.
        stamps = stamp_range(path, read_header(path))
        header = self.memory.load(path, frame_id)
        self.newest_stamp_ns = stamps[1] if self.token_count else None
        return header

    def warm_up(self) -> None:
        """Run every stage, so that the first real frame does not pay for set-up and compilation.

        Nothing is kept; a memory that holds something is only read.
        """
        width, height = self.config.generation_width, self.config.generation_height
        camera = PinholeCamera(width, height, width, width, width / 2, height / 2)
        empty = self.memory.count == 0
        if empty:
            image = np.zeros((height, width, 3), dtype=np.uint8)
            depth = np.full((height, width), 2.0, dtype=np.float32)
            for number in range(_WARM_UP_FRAMES):
                # Turning to and fro: what is stored is seen, seen again, and seen from aside.
                image[:, :: 2 + number] = 255
                turn = exp_twist([0.0, 0.0, 0.0], [0.0, 0.4 * (number % 2), 0.0], 1.0)
                self.observe(RgbdFrame(number, image, depth, camera, turn))
        for _ in self.imagine(np.eye(4)[None], camera):
            pass
        if empty:
            self.reset()

    def _chunks(
        self,
        path: NDArray[np.float64],  # (T, 4, 4)
        camera: PinholeCamera,
        seed: int,
        cancelled: Callable[[], bool],
        memory: MemoryBranch,
    ) -> Iterator[PredictedView]:
        stride = self.codec.temporal_stride
        # Pixel frames that a chunk adds: all but those of the latent frame it shares.
        step = (self.config.chunk_latent_frames - 1) * stride
        previous: GeneratedChunk | None = None
        for number, start in enumerate(range(0, max(len(path) - 1, 1), step)):
            # The last chunk stands still at the end of the path; what is past the end is dropped.
            frames = np.minimum(np.arange(start, start + step + 1), len(path) - 1)
            used = min(step + 1, len(path) - start)
            latent_count = 1 + -(-(used - 1) // stride)
            poses = path[frames[: 1 + (latent_count - 1) * stride : stride]]
            readout = memory.read(camera, poses)
            chunk = self.generator.generate(
                ChunkCondition(
                    readout=readout,
                    camera=camera,
                    T_world_camera=poses,
                    first_latents=None if previous is None else previous.latents[-1],
                    first_depth=None if previous is None else previous.depth[-1],
                    seed=seed + number,
                ),
                cancelled,
            )
            previous = chunk
            first_new = 0 if number == 0 else 1
            if self.generator.invents:
                unknown = torch.where(readout.coverage, 0.0, chunk.depth)[first_new:]
                memory.write(
                    chunk.latents[first_new:],
                    unknown,
                    camera,
                    poses[first_new:],
                    self.newest_stamp_ns or 0,
                )
            yield from self._views(chunk, readout, path, camera, start, first_new, used)

    def _views(
        self,
        chunk: GeneratedChunk,
        readout: Readout,
        path: NDArray[np.float64],
        camera: PinholeCamera,
        start: int,
        first_new: int,
        used: int,
    ) -> Iterator[PredictedView]:
        """The views of a chunk's pixel frames ``first_new`` to ``used`` (exclusive)."""
        images = self.codec.decode(chunk.latents)
        for frame in range(first_new, used):
            latent = -(-frame // self.codec.temporal_stride)
            coverage = readout.observed[latent]
            image = (images[frame].clamp(0.0, 1.0) * 255.0).round().byte().permute(1, 2, 0)
            yield PredictedView(
                index=start + frame,
                image=np.ascontiguousarray(image.cpu().numpy()),
                coverage=self._enlarged(coverage.cpu().numpy().astype(np.uint8) * np.uint8(255)),
                depth=self._enlarged(chunk.depth[latent].cpu().numpy()),
                T_world_camera=path[start + frame].copy(),
                camera=camera,
                known_fraction=float(coverage.float().mean()),
            )

    def _enlarged(self, cells: NDArray[_Scalar]) -> NDArray[_Scalar]:  # (h, w) -> (H, W)
        stride = self.codec.spatial_stride
        return cells.repeat(stride, axis=0).repeat(stride, axis=1)

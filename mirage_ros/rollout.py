"""One rollout: a camera path cut into chunks, what each is told and what becomes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.codec.pixels import as_codec_frames
from mirage_ros.frames import RgbdFrame
from mirage_ros.generation.base import ChunkCondition, GeneratedChunk, Generator, Preceding
from mirage_ros.generation.readout_generator import fill_depth
from mirage_ros.generation.references import ReferenceBank
from mirage_ros.geometry import PinholeCamera, rotation_angle, translation_distance
from mirage_ros.memory.backprojection import CellDepthConfig, cell_depth
from mirage_ros.memory.base import MemoryBranch, Readout
from mirage_ros.stages import StageClock, measured

_Scalar = TypeVar("_Scalar", bound=np.generic)

#: A frame may stand for a path's first pose if it was seen from no farther away than this, metres
#: and radians. What it shows is then shifted by a latent cell or two against what the memory shows
#: (at a focal length of 640 px, 5 cm are 16 px at 2 m, and 3 degrees are 33 px), which the frames
#: after it can make up for. From farther off, the rollout would begin with a jump.
FIRST_FRAME_DISTANCE = 0.05
FIRST_FRAME_ANGLE = math.radians(3.0)


@dataclass(frozen=True)
class PredictedView:
    """One predicted frame.

    Attributes:
        index: along the path, from 0.
        image: (H, W, 3) uint8 RGB.
        coverage: (H, W) uint8, 255 remembered, 0 invented; constant over a latent cell.
        depth: (H, W) float32 z-depth, metres, completed over holes; 0 where nothing is known of
            the whole frame; constant over a latent cell.
        cell: side of a latent cell, pixels.
        T_world_camera: (4, 4) its pose.
        camera: its intrinsics.
        known_fraction: share of remembered cells.
        nearest_surface: distance from the camera to the nearest remembered surface in view,
            metres; infinite where none is.
    """

    index: int
    image: NDArray[np.uint8]
    coverage: NDArray[np.uint8]
    depth: NDArray[np.float32]
    cell: int
    T_world_camera: NDArray[np.float64]
    camera: PinholeCamera
    known_fraction: float
    nearest_surface: float


@dataclass(frozen=True)
class RolloutRequest:
    """What is to be imagined.

    Attributes:
        path: (T, 4, 4) valid camera poses.
        camera: pixel camera, of the generation size.
        seed: of all randomness.
        stamp_ns: of what is imagined.
        chunk_latent_frames: latent frames a chunk, the overlap included.
        first_frame: fitted to the generation size, seen at the first pose (:func:`stands_for`), or
            None.
        prompt: text to generate with; empty: the generator's own.
    """

    path: NDArray[np.float64]
    camera: PinholeCamera
    seed: int
    stamp_ns: int
    chunk_latent_frames: int
    first_frame: RgbdFrame | None
    prompt: str = ""


def stands_for(
    frame: RgbdFrame,
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (4, 4)
    stride: int,
) -> bool:
    """Whether a frame shows what ``camera`` sees at a pose, to within about a latent cell."""
    differences = np.abs(frame.camera.matrix - camera.matrix)
    return bool(
        translation_distance(frame.T_world_camera, T_world_camera) <= FIRST_FRAME_DISTANCE
        and rotation_angle(frame.T_world_camera, T_world_camera) <= FIRST_FRAME_ANGLE
        and differences.max() <= stride / 2
    )


def chunk_seed(seed: int, number: int) -> int:
    """Seed of chunk ``number`` of a rollout, in [0, 2^63).

    Neighbouring seeds share no chunk: seed + number would give chunk 1 of seed 0 and chunk 0 of
    seed 1 the same noise.
    """
    sequence = np.random.SeedSequence(seed % (1 << 64), spawn_key=(number,))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


class Rollout:
    """One path: what its chunks are told, what becomes of them.

    :class:`RolloutGroup` goes through the chunks.

    Args:
        codec: pixels to latents and back.
        generator: completes what the memory knows.
        memory: to read from, and to write what is invented to.
        references: past frames to choose from; what is imagined is added.
        depth: how a first frame's depth is brought to the latent grid.
        device: where latents are worked on.
        stages: takes the time.
        request: what is to be imagined.
    """

    def __init__(
        self,
        codec: Codec,
        generator: Generator,
        memory: MemoryBranch,
        references: ReferenceBank,
        depth: CellDepthConfig,
        device: torch.device,
        stages: StageClock,
        request: RolloutRequest,
    ) -> None:
        self.memory = memory
        self.request = request
        self._codec = codec
        self._generator = generator
        self._references = references
        self._cell_depth = depth
        self._device = device
        self._stages = stages
        self._stream = codec.stream()
        # Pixel frames that a chunk adds: all but those of the latent frame it shares.
        self._step = (request.chunk_latent_frames - 1) * codec.temporal_stride
        # The newest latent frames of this rollout: those that may precede the overlap, and it.
        self._latents: Tensor | None = None
        self._depth: Tensor | None = None
        self._poses = np.empty((0, 4, 4))

    @property
    def chunk_count(self) -> int:
        """Chunks that the path is cut into."""
        return max(-(-(len(self.request.path) - 1) // self._step), 1)

    def poses(self, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Camera poses of chunk ``number``'s latent frames, and of those that precede it.

        The last chunk stands still at the end of the path; what is past the end is dropped.
        """
        stride = self._codec.temporal_stride
        frames = self._frames(number)
        latent_count = 1 + -(-(self._used(number) - 1) // stride)
        targets = self.request.path[frames[: 1 + (latent_count - 1) * stride : stride]]
        return targets, self._poses[:-1]

    def condition(self, number: int, readout: Readout) -> ChunkCondition:
        """What the generator is told about chunk ``number``.

        Args:
            number: of the chunk.
            readout: of both kinds of :meth:`poses`, one after the other.
        """
        generator, camera = self._generator, self.request.camera
        poses, before = self.poses(number)
        preceding = None
        if len(before) and self._latents is not None:
            preceding = Preceding(self._latents[:-1], readout.part(slice(len(poses), None)))
            readout = readout.part(slice(0, len(poses)))
        first_latents: Tensor | None
        first_depth: Tensor | None
        if self._latents is not None:
            first_latents, first_depth = self._latents[-1], self._depth
        else:
            first_latents, first_depth = self._first_frame(readout)
        return ChunkCondition(
            readout=readout,
            camera=camera,
            T_world_camera=poses,
            first_latents=first_latents,
            first_depth=first_depth,
            seed=chunk_seed(self.request.seed, number),
            references=self._chosen(readout, poses) if generator.reference_count else None,
            preceding=preceding,
            stages=self._stages,
            prompt=self.request.prompt,
        )

    def decoded(self, chunk: GeneratedChunk, number: int) -> Tensor:  # (T, 3, H, W)
        """The pictures that a chunk adds."""
        with measured(self._stages, "decode", self._device):
            return self._stream.decode(chunk.latents[_first_new(number) :])

    def take(
        self,
        number: int,
        condition: ChunkCondition,
        chunk: GeneratedChunk,
        images: Tensor,  # (T, 3, H, W) as decoded
    ) -> Iterator[PredictedView]:
        """Write back and remember a chunk; its views."""
        first_new = _first_new(number)
        self._write_back(chunk, condition, first_new)
        self._remember(chunk, condition.T_world_camera, first_new)
        return self._views(images, chunk, condition.readout, number)

    def _frames(self, number: int) -> NDArray[np.int64]:
        first = number * self._step
        return np.minimum(np.arange(first, first + self._step + 1), len(self.request.path) - 1)

    def _used(self, number: int) -> int:
        """Pixel frames of a chunk that the path has, the shared one included."""
        return min(self._step + 1, len(self.request.path) - number * self._step)

    def _chosen(self, readout: Readout, poses: NDArray[np.float64]) -> Tensor | None:
        """References for a chunk."""
        # The chunk's own first frame would be the best reference of all, and tell nothing.
        begun_with = self.request.first_frame if self._latents is None else None
        with measured(self._stages, "references", self._device):
            chosen = self._references.select(
                readout.depth,
                self.request.camera,
                poses,
                self._generator.reference_count,
                without_stamp_ns=None if begun_with is None else begun_with.stamp_ns,
            )
            if self._latents is not None and self._depth is not None:
                # Only now, for the same reason.
                self._references.add(
                    self._latents[-1],
                    self._depth,
                    self.request.camera,
                    self._poses[-1],
                    self.request.stamp_ns,
                    observed=False,
                )
        return chosen

    def _first_frame(self, readout: Readout) -> tuple[Tensor | None, Tensor | None]:
        """Latents (C, h, w) and depth (h, w) of the frame that the path begins with, if any."""
        frame = self.request.first_frame
        if frame is None:
            return None, None
        with measured(self._stages, "encode", self._device), torch.no_grad():
            latents = self._codec.encode(as_codec_frames(frame.image, self._device))[0]
        depth = readout.depth[:1]
        if frame.depth is not None:
            pixels = torch.from_numpy(frame.depth).to(self._device)
            seen = cell_depth(pixels, self._codec.spatial_stride, self._cell_depth)[0][None]
            depth = torch.where(seen > 0.0, seen, depth)
        return latents, fill_depth(depth, depth > 0.0)[0]

    def _write_back(self, chunk: GeneratedChunk, condition: ChunkCondition, first_new: int) -> None:
        """Write what was invented into the branch, so that later chunks agree with this one."""
        if not self._generator.invents:
            return
        with measured(self._stages, "write_back", self._device):
            unknown = torch.where(condition.readout.coverage, 0.0, chunk.depth)[first_new:]
            self.memory.write(
                chunk.latents[first_new:],
                unknown,
                condition.camera,
                condition.T_world_camera[first_new:],
                self.request.stamp_ns,
            )

    def _remember(self, chunk: GeneratedChunk, poses: NDArray[np.float64], first_new: int) -> None:
        """Keep the end of what has been generated for the next chunk's condition."""
        count = self._generator.preceding_count + 1
        new = chunk.latents[first_new:]
        before = [] if self._latents is None else [self._latents]
        self._latents = torch.cat([*before, new])[-count:]
        self._poses = np.concatenate([self._poses, poses[first_new:]])[-count:]
        self._depth = chunk.depth[-1]

    def _views(
        self,
        images: Tensor,  # (T, 3, H, W)
        chunk: GeneratedChunk,
        readout: Readout,
        number: int,
    ) -> Iterator[PredictedView]:
        """The views of the pixel frames that a chunk adds."""
        start, first_new = number * self._step, _first_new(number)
        nearest = self._nearest(readout)
        for frame in range(first_new, self._used(number)):
            latent = -(-frame // self._codec.temporal_stride)
            coverage = readout.observed[latent]
            image = images[frame - first_new].clamp(0.0, 1.0) * 255.0
            yield PredictedView(
                index=start + frame,
                image=np.ascontiguousarray(image.round().byte().permute(1, 2, 0).cpu().numpy()),
                coverage=self._enlarged(coverage.cpu().numpy().astype(np.uint8) * np.uint8(255)),
                depth=self._enlarged(chunk.depth[latent].cpu().numpy()),
                cell=self._codec.spatial_stride,
                T_world_camera=self.request.path[start + frame].copy(),
                camera=self.request.camera,
                known_fraction=float(coverage.float().mean()),
                nearest_surface=float(nearest[latent]),
            )

    def _nearest(self, readout: Readout) -> NDArray[np.float32]:  # (T,)
        """Distance to the nearest remembered surface in each view, infinite without one."""
        grid = self.request.camera.latent(self._codec.spatial_stride)
        centres = grid.pixel_centres()
        rays = grid.unproject(centres, np.ones(centres.shape[:2]))
        lengths = torch.from_numpy(np.linalg.norm(rays, axis=-1)).to(readout.depth)
        seen = readout.observed & (readout.depth > 0.0)
        distances = torch.where(seen, readout.depth * lengths, torch.inf)
        nearest: NDArray[np.float32] = distances.flatten(1).amin(dim=1).cpu().numpy()
        return nearest

    def _enlarged(self, cells: NDArray[_Scalar]) -> NDArray[_Scalar]:  # (h, w) -> (H, W)
        stride = self._codec.spatial_stride
        return cells.repeat(stride, axis=0).repeat(stride, axis=1)


def _first_new(number: int) -> int:
    """Of chunk ``number``, the first frame that the chunk before has not made."""
    return 0 if number == 0 else 1

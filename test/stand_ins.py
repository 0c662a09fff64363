"""Stand-ins for codec, memory and generator whose every number is known, for tests of rollouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.frames import RgbdFrame
from mirage_ros.generation import ChunkCondition, GeneratedChunk, ReadoutGenerator
from mirage_ros.geometry import PinholeCamera
from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.base import MemoryUpdate, Readout
from mirage_ros.world_model import WorldModel, WorldModelConfig

#: Four cells wide, two high.
CAMERA = PinholeCamera(64, 32, 50.0, 50.0, 32.0, 16.0)


class MeanCodec:
    """A cell's latent is its mean colour; a latent frame after the first decodes to ``stride``
    frames that all look like it.

    With ``fading``, frames are a running mean instead: each is for the most part like the one
    before it, so that what is decoded depends on all that was decoded before.
    """

    name = "mean"
    channels = 3
    spatial_stride = 16
    channel_gain = (1.0, 1.0, 1.0)

    def __init__(self, temporal_stride: int = 1, *, fading: bool = False) -> None:
        self.temporal_stride = temporal_stride
        self.fading = fading
        self.encoded: list[int] = []
        self.streams: list[MeanStream] = []

    def encode(self, frames: Tensor) -> Tensor:  # (T, 3, H, W) -> (T, 3, h, w)
        self.encoded.append(len(frames))
        return torch.nn.functional.avg_pool2d(frames, 16)

    def decode(self, latents: Tensor) -> Tensor:  # (T', 3, h, w) -> (T, 3, H, W)
        return MeanStream(self).decode(latents)

    def stream(self) -> MeanStream:
        self.streams.append(MeanStream(self))
        return self.streams[-1]

    def mean_colour(self, features: Tensor) -> Tensor:
        return features.clamp(0.0, 1.0)


class MeanStream:
    def __init__(self, codec: MeanCodec) -> None:
        self.codec = codec
        self.counts: list[int] = []
        self.last: Tensor | None = None

    def decode(self, latents: Tensor) -> Tensor:
        frames = []
        for latent in latents:
            for _ in range(1 if self.last is None else self.codec.temporal_stride):
                fades = self.codec.fading and self.last is not None
                self.last = 0.1 * latent + 0.9 * self.last if fades else latent
                frames.append(self.last)
        self.counts.append(len(frames))
        return torch.stack(frames).repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)


class PoseMemory:
    """Knows of every view only where its camera is: red and depth say its x. The left half of a
    view counts as covered."""

    device = torch.device("cpu")
    cell_depth = CellDepthConfig()

    def __init__(self) -> None:
        self.frames: list[RgbdFrame] = []
        self.given: list[Tensor | None] = []
        self.reads: list[NDArray[np.float64]] = []
        self.written: list[tuple[Tensor, Tensor, NDArray[np.float64], int]] = []

    @property
    def count(self) -> int:
        return 8 * len(self.frames)

    @property
    def nbytes(self) -> int:
        return 100 * len(self.frames)

    def observe(self, frame: RgbdFrame, latents: Tensor | None = None) -> MemoryUpdate:
        self.frames.append(frame)
        self.given.append(latents)
        return MemoryUpdate(added=8)

    def branch(self) -> PoseMemory:
        return self

    def read(
        self,
        camera: PinholeCamera,
        T_world_camera: NDArray[np.float64],
        *,
        placed: bool = False,
    ) -> Readout:
        self.reads.append(np.asarray(T_world_camera)[:, 0, 3].copy())
        latent = camera.latent(16)
        count = len(T_world_camera)
        x = torch.tensor(np.asarray(T_world_camera)[:, 0, 3], dtype=torch.float32)
        coverage = torch.zeros(count, latent.height, latent.width, dtype=torch.bool)
        coverage[:, :, : latent.width // 2] = True
        latents = torch.zeros(count, 3, latent.height, latent.width)
        latents[:, 0] = x[:, None, None] / 255.0
        depth = (1.0 + x)[:, None, None] * coverage
        return Readout(latents * coverage[:, None], coverage, depth, coverage)

    def write(
        self,
        latents: Tensor,
        depth: Tensor,
        camera: PinholeCamera,
        T_world_camera: NDArray[np.float64],
        stamp_ns: int,
    ) -> MemoryUpdate:
        self.written.append((latents, depth, T_world_camera[:, 0, 3].copy(), stamp_ns))
        return MemoryUpdate()

    def clear(self) -> None:
        self.frames.clear()


class RecordingGenerator(ReadoutGenerator):
    def __init__(self) -> None:
        self.conditions: list[ChunkCondition] = []
        self.chunks: list[GeneratedChunk] = []

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        self.conditions.append(condition)
        self.chunks.append(super().generate(condition, cancelled))
        return self.chunks[-1]

    def generate_together(
        self, conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
    ) -> list[GeneratedChunk]:
        return [self.generate(condition, cancelled) for condition in conditions]


class DemandingGenerator(RecordingGenerator):
    """Wants all there is, and pretends to invent."""

    invents = True
    reference_count = 3
    preceding_count = 2
    starts_from_frame = True


def model(
    temporal_stride: int = 1,
    chunk: int = 4,
    generator: RecordingGenerator | None = None,
    *,
    fading: bool = False,
) -> WorldModel:
    config = WorldModelConfig(64, 32, chunk_latent_frames=chunk, seed=11)
    codec = MeanCodec(temporal_stride, fading=fading)
    return WorldModel(codec, PoseMemory(), generator or RecordingGenerator(), config)


def path(count: int) -> NDArray[np.float64]:
    poses = np.stack([np.eye(4)] * count)
    poses[:, 0, 3] = np.arange(count)
    return poses

"""Conditioning a chunk and writing it back, by itself: latent tokens against coloured points."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage_ros.codec.wan import WanCodec
from mirage_ros.evaluation.benchmark_wan_rollout import LATENT_FRAMES, NEW_FRAMES, Remembered
from mirage_ros.memory import RgbMemory


@dataclass(frozen=True)
class ConditioningCosts:
    """Seconds a chunk, medians.

    Attributes:
        latent_read: nine latent views read out.
        latent_write: eight of them written back.
        published_read: 33 pictures rasterised, and encoded by the VAE as one video.
        published_raster: the share of rasterising in that.
        fair_read: nine pictures rasterised, each encoded alone.
        rgb_write: eight pictures written back as points, decoding not counted.
    """

    latent_read: float
    latent_write: float
    published_read: float
    published_raster: float
    fair_read: float
    rgb_write: float

    @property
    def read_ratio(self) -> float:
        """Conditioning, points as published over latent tokens."""
        return self.published_read / self.latent_read

    @property
    def ratio(self) -> float:
        """Conditioning and writing back, likewise."""
        return (self.published_read + self.rgb_write) / (self.latent_read + self.latent_write)

    @property
    def fair_read_ratio(self) -> float:
        """Conditioning, points read as cheaply as can be over latent tokens."""
        return self.fair_read / self.latent_read

    @property
    def fair_ratio(self) -> float:
        """Conditioning and writing back, likewise."""
        return (self.fair_read + self.rgb_write) / (self.latent_read + self.latent_write)


def measure(
    codec: WanCodec, latent: Remembered, rgb: Remembered, repeats: int, device: torch.device
) -> ConditioningCosts:
    """Time both memories at the poses of one chunk.

    Args:
        codec: encodes and decodes with the VAE itself.
        latent: the scene in latent tokens.
        rgb: the same in coloured points.
        repeats: runs of each, after one that is not counted.
        device: of the codec.
    """
    scene = latent.scene
    pixels = scene.path[NEW_FRAMES : 2 * NEW_FRAMES + 1]
    poses = pixels[:: codec.temporal_stride]
    grid = scene.camera.latent(codec.spatial_stride)
    # Everything is written: the more of a view is unknown, the more there is to do.
    depth = torch.full((LATENT_FRAMES - 1, grid.height, grid.width), 1.0, device=device)
    generator = torch.Generator().manual_seed(0)
    imagined = torch.randn(
        LATENT_FRAMES - 1, codec.channels, *depth.shape[1:], generator=generator
    ).to(device)
    frames = codec.decode(imagined)
    points = rgb.memory
    assert isinstance(points, RgbMemory)
    decoded = _Decoded(codec, frames)

    def rasterise() -> Tensor:
        pictures = points.render(scene.camera, pixels)[0]
        planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
        return planes.to(device).float() / 255.0

    def write(memory: Any) -> None:
        memory.branch().write(imagined, depth, scene.camera, poses[1:], 0)

    def timed(work: Callable[[], object]) -> float:
        return _timed(work, repeats, device)

    return ConditioningCosts(
        latent_read=timed(lambda: latent.memory.branch().read(scene.camera, poses)),
        latent_write=timed(lambda: write(latent.memory)),
        published_read=timed(lambda: codec.encode_video(rasterise())),
        published_raster=timed(rasterise),
        fair_read=timed(lambda: points.branch().read(scene.camera, poses)),
        rgb_write=_with_codec(points, decoded, lambda: timed(lambda: write(points))),
    )


class _Decoded:
    """A codec whose pictures are there already: a rollout has decoded them to show them."""

    def __init__(self, codec: WanCodec, frames: Tensor) -> None:
        self._codec, self._frames = codec, frames

    def decode(self, latents: Tensor) -> Tensor:
        return self._frames

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)


def _with_codec(memory: RgbMemory, codec: Any, work: Callable[[], float]) -> float:
    before, memory.codec = memory.codec, codec
    try:
        return work()
    finally:
        memory.codec = before


def _timed(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median seconds of a call, to the end of what the device does for it."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])

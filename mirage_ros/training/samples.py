"""Draws samples from a simulated drive: a memory built on the way, and a chunk to be generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.codec.pixels import as_codec_frames
from mirage_ros.frames import RgbdFrame
from mirage_ros.generation.references import ReferenceBank
from mirage_ros.generation.scene import scene_of
from mirage_ros.geometry import exp_twist
from mirage_ros.keyframes import chosen_keyframes
from mirage_ros.memory import LatentMemory, RgbMemory, RgbMemoryConfig, SpatialMemory
from mirage_ros.memory.backprojection import cell_depth
from mirage_ros.sources.simulator import RenderedSequence, robot_tour
from mirage_ros.sources.simulator.splits import Variation
from mirage_ros.training.data_config import DataConfig

#: Where a chunk begins, and how often: at the newest view; at an earlier one, among what is
#: remembered; or some way ahead, where little of it is.
_AHEAD, _BACK, _BEYOND = "ahead", "back", "beyond"
_SHARES = {_AHEAD: 0.5, _BACK: 0.3, _BEYOND: 0.2}

#: Seconds of the drive before the first chunk.
_FIRST_S = 3.0
#: Most seconds that a chunk may begin ahead.
_BEYOND_S = 5.0
#: Pictures between two frames of a chunk, at least and at most.
_STRIDES = (1, 5)

#: How far from the robot's way a chunk may be seen, metres and radians (standard deviations).
_ASIDE = np.array([0.12, 0.04, 0.12])
_TURNED = np.array([0.03, 0.10, 0.01])


@dataclass(frozen=True)
class Sample:
    """One chunk with all that a model may be told about it. F frames: targets, then preceding.

    Attributes:
        latents: (F, C, h, w) of the true pictures.
        draft: (F, C, h, w), see :class:`mirage_ros.generation.scene.Scene`.
        known: (F, h, w) bool.
        about: (F, 48, h, w).
        references: (R, C, h, w) whole past frames, best first; zero where there are fewer.
        reference_count: how many there are.
    """

    latents: Tensor
    draft: Tensor
    known: Tensor
    about: Tensor
    references: Tensor
    reference_count: int


@dataclass(frozen=True)
class _Plan:
    """One chunk to be drawn: after which picture, which pictures, seen from how far beside."""

    now: int
    pictures: NDArray[np.int64]
    aside: NDArray[np.float64]  # (4, 4)


def draw_samples(seed: int, config: DataConfig) -> Iterator[Sample]:
    """Samples of one apartment; the same on every machine that renders the same pictures.

    Raises:
        ConfigurationError: this machine has no library to render with.
    """
    variation = Variation.drawn(
        seed, (config.width, config.height), config.duration_s, config.imperfect
    )
    sequence = robot_tour(
        seed,
        camera=variation.camera,
        rate_hz=config.rate_hz,
        duration_s=config.duration_s,
        drift=variation.drift,
        lighting=variation.lighting,
    )
    try:
        yield from _Drive(sequence, variation, seed, config).samples()
    finally:
        sequence.close()


class _Drive:
    """A drive as it is remembered, and what is drawn from it."""

    def __init__(
        self, sequence: RenderedSequence, variation: Variation, seed: int, config: DataConfig
    ) -> None:
        self._sequence = sequence
        self._variation = variation
        self._seed = seed
        self._config = config
        self._codec = DctCodec()
        self._memory: SpatialMemory
        if config.memory == "latent":
            self._memory = LatentMemory(self._codec)
        else:
            self._memory = RgbMemory(self._codec, RgbMemoryConfig(policy="voxel"))
        self._references = ReferenceBank()
        self._true, self._believed = sequence.poses, sequence.odometry_poses

    def samples(self) -> Iterator[Sample]:
        plans = self._plans(np.random.default_rng((self._seed, 11)))
        keyframes = set(chosen_keyframes(self._believed, self._sequence.stamps_ns))
        done = 0
        for plan in plans:
            for picture in range(done, plan.now + 1):
                if picture in keyframes:
                    self._remember(picture)
            done = plan.now + 1
            yield self._sample(plan)

    def _plans(self, rng: np.random.Generator) -> list[_Plan]:
        """Chunks in the order of the pictures that they come after."""
        config, last = self._config, len(self._sequence) - 1
        first = round(_FIRST_S * config.rate_hz)
        plans: list[_Plan] = []
        while len(plans) < config.samples:
            stride = int(rng.integers(_STRIDES[0], _STRIDES[1] + 1))
            before, after = config.preceding * stride, (config.targets - 1) * stride
            now = int(rng.integers(first, last - after))
            kind = rng.choice(list(_SHARES), p=list(_SHARES.values()))
            start = now
            if kind == _BACK:
                start = int(rng.integers(0, now + 1))
            elif kind == _BEYOND:
                start = now + int(rng.integers(0, round(_BEYOND_S * config.rate_hz)))
            start = min(max(start, before), last - after)
            targets = start + stride * np.arange(config.targets)
            preceding = start + stride * np.arange(-config.preceding, 0)
            aside = np.eye(4)
            if rng.random() < config.moved:
                aside = exp_twist(
                    _ASIDE * rng.standard_normal(3), _TURNED * rng.standard_normal(3), 1.0
                )
            plans.append(_Plan(now, np.concatenate([targets, preceding]), aside))
        return sorted(plans, key=lambda plan: plan.now)

    def _remember(self, picture: int) -> None:
        frame = self._sequence[picture]
        depth, errors = frame.depth, self._variation.depth_errors
        if errors is not None and depth is not None:
            depth = errors.apply(depth, np.random.default_rng((self._seed, 13, picture)))
        frame = replace(frame, depth=depth, T_world_camera=self._believed[picture].copy())
        latents = self._encoded(frame)
        self._memory.observe(frame, latents)
        if frame.depth is not None and self._config.references:
            cells, _ = cell_depth(
                torch.from_numpy(frame.depth),
                self._codec.spatial_stride,
                self._memory.cell_depth,
            )
            self._references.add(
                latents, cells, frame.camera, frame.T_world_camera, frame.stamp_ns, observed=True
            )

    def _sample(self, plan: _Plan) -> Sample:
        config, camera = self._config, self._sequence.camera
        poses = self._believed[plan.pictures] @ plan.aside
        readout = self._memory.read(camera, poses, placed=config.placed)
        scene = scene_of(readout, self._codec)
        pictures = [
            self._sequence.seen_from(self._true[picture] @ plan.aside, int(picture))
            for picture in plan.pictures
        ]
        chosen = self._references.select(
            readout.depth[: config.targets], camera, poses[: config.targets], config.references
        )
        latents = torch.stack([self._encoded(picture) for picture in pictures])
        references = latents.new_zeros(config.references, *latents.shape[1:])
        count = 0 if chosen is None else len(chosen)
        if chosen is not None:
            references[:count] = chosen
        return Sample(latents, scene.draft, scene.known, scene.about, references, count)

    def _encoded(self, frame: RgbdFrame) -> Tensor:  # (C, h, w)
        return self._codec.encode(as_codec_frames(frame.image, torch.device("cpu")))[0]

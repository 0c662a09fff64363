"""What the side branch of a diffusion model is given, and the units the model works in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.base import ChunkCondition
from mirage_ros.generation.scene import Scene, SceneScales, Units, control_of, scene_of, units_of
from mirage_ros.memory.base import Readout

#: Shapes whose constant latents are kept: a whole chunk and a shorter last one, with and without
#: preceding frames.
_CONSTANTS = 4

#: What stands beside the readout in the side branch: what it knows about its cells, or, as the
#: published model has it, a constant.
TOLD = ("placement", "constant")


@dataclass(frozen=True)
class SideChunk:
    """The side branch's part of a batch of chunks.

    Attributes:
        control: (B, 2 C, T + P, h, w) of the targets and the preceding frames.
        units: what the model's latents are measured in; None: as they are.
    """

    control: Tensor
    units: Units | None


class SideInput(Protocol):
    """Draws up the side branch's input.

    Attributes:
        needs_placement: whether readouts must tell how tokens lie in their cells.
    """

    needs_placement: bool

    def of(self, batch: Sequence[ChunkCondition]) -> SideChunk:
        """For chunks of one layout, on the device of their readouts."""
        ...


class WhiteVideo:
    """Latents of a constant white video: they never change for a shape, so they are encoded once.

    Args:
        codec: encodes it.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._kept: dict[tuple[int, int, int], Tensor] = {}

    def latents(self, frames: int, rows: int, columns: int) -> Tensor:  # (frames, C, h, w) float32
        """The video of so many latent frames."""
        key = (frames, rows, columns)
        if key not in self._kept:
            while len(self._kept) >= _CONSTANTS:
                self._kept.pop(next(iter(self._kept)))
            stride, cell = self._codec.temporal_stride, self._codec.spatial_stride
            white = torch.ones(1, 3, rows * cell, columns * cell)
            video = white.expand(1 + (frames - 1) * stride, -1, -1, -1)
            self._kept[key] = self._codec.encode_video(video)
        return self._kept[key]


class ConstantSide:
    """As published: the readout, zero in holes, beside the constant video.

    Args:
        codec: encodes the constant video.
    """

    needs_placement = False

    def __init__(self, codec: Codec) -> None:
        self._white = WhiteVideo(codec)

    def of(self, batch: Sequence[ChunkCondition]) -> SideChunk:
        """For chunks of one layout."""
        scene = torch.stack(
            [torch.cat([readout.latents for readout in _readouts(c)]) for c in batch]
        )
        frames, _, rows, columns = scene.shape[1:]
        white = self._white.latents(frames, rows, columns).to(scene)
        return SideChunk(torch.cat([scene, white.expand_as(scene)], dim=2).transpose(1, 2), None)


class SceneSide:
    """A draft of the chunk beside what the readout knows about its cells.

    Args:
        codec: of the latents.
        scales: what the model was trained with.
        told: one of :data:`TOLD`.

    Raises:
        ConfigurationError: ``told`` is none of these, or the scales are of other channels than the
            codec's.
    """

    def __init__(self, codec: Codec, scales: SceneScales, told: str = "placement") -> None:
        if told not in TOLD:
            raise ConfigurationError(f"told must be one of {', '.join(TOLD)}. Got '{told}'")
        if len(scales.picture) != codec.channels:
            raise ConfigurationError(
                f"scales must be of the codec's {codec.channels} channels. "
                f"Got {len(scales.picture)}"
            )
        self._codec = codec
        self._scales = scales
        self._white = WhiteVideo(codec) if told == "constant" else None
        self.needs_placement = told == "placement"

    def of(self, batch: Sequence[ChunkCondition]) -> SideChunk:
        """For chunks of one layout."""
        scenes = [scene_of(_joined(_readouts(condition)), self._codec) for condition in batch]
        draft = torch.stack([scene.draft for scene in scenes])
        known = torch.stack([scene.known for scene in scenes])
        about = torch.stack([self._about(scene) for scene in scenes])
        return SideChunk(
            control_of(draft, known, about, self._scales), units_of(draft, known, self._scales)
        )

    def _about(self, scene: Scene) -> Tensor:
        if self._white is None:
            return scene.about
        frames, _, rows, columns = scene.draft.shape
        return self._white.latents(frames, rows, columns).to(scene.draft)


def _readouts(condition: ChunkCondition) -> list[Readout]:
    """What is remembered of the targets, and of the preceding frames where there are any."""
    preceding = condition.preceding
    return [condition.readout] if preceding is None else [condition.readout, preceding.readout]


def _joined(readouts: Sequence[Readout]) -> Readout:
    return readouts[0] if len(readouts) == 1 else Readout.joined(readouts)

"""What is remembered of a chunk, drawn up for a small model that finishes it.

The model is given a draft, which is what can be said without it: remembered blocks put where they
belong, holes filled smoothly. It is left with what the draft is off by, in units of how far off
drafts usually are: little where something is remembered, a whole picture's contrast in holes. Next
to the draft it is told what the readout knows about every cell besides.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.codec.dct import DctCodec
from mirage_ros.codec.dct_blend import PARTS, blend_blocks
from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.fill import fade_with_distance, fill_holes
from mirage_ros.memory.base import Readout

#: Channels that say what the readout knows about a cell.
ABOUT_CHANNELS = 48

# Factors that bring what is told to about one.
_TURN, _SUPPORT, _SPREAD = 4.0, 0.5, 10.0
_MOST_INVERSE_DEPTH, _MOST_SUPPORT = 4.0, 4.0


@dataclass(frozen=True)
class Scene:
    """What is remembered of F frames.

    Attributes:
        draft: (F, C, h, w) float32 latents without holes; zero in frames of which nothing is known.
        known: (F, h, w) bool, cells that were read.
        about: (F, 48, h, w) float32 what the readout knows about them, each about one and zero in
            holes: whether it was read (1 channel), the offset in its cell (2), the stretch less the
            identity (4), the turn (1), the inverse depth (1), support (16) and spread (16) of the
            blocks blended; the others are zero.
    """

    draft: Tensor
    known: Tensor
    about: Tensor


@dataclass(frozen=True)
class SceneScales:
    """How large things are, channel by channel, measured on the data that a model was trained on.

    Attributes:
        picture: (C,) standard deviation of pictures' latents: the unit where nothing is known.
        draft_error: (C,) standard deviation of what drafts are off by in known cells.

    Raises:
        ConfigurationError: not two equally long lists of positive numbers.
    """

    picture: tuple[float, ...]
    draft_error: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.picture) != len(self.draft_error):
            raise ConfigurationError(
                "scales of pictures and of drafts' errors must be for the same channels. Got "
                f"{len(self.picture)} and {len(self.draft_error)}"
            )
        if not all(0.0 < value < float("inf") for value in (*self.picture, *self.draft_error)):
            raise ConfigurationError("scales must be finite, positive numbers. Got others")


@dataclass(frozen=True)
class Units:
    """Latents as a model sees them: what a draft is off by, in units of what drafts are off by.

    Attributes:
        origin: (B, F, C, h, w) float32 the drafts.
        scale: (B, F, C, h, w) float32 the units.
        picture: (C, 1, 1) float32 the unit of frames that have no draft.
    """

    origin: Tensor
    scale: Tensor
    picture: Tensor

    def to(self, device: torch.device) -> Units:
        """The same on a device."""
        return Units(self.origin.to(device), self.scale.to(device), self.picture.to(device))

    def inside(
        self,
        latents: Tensor,  # (B, N, C, h, w), the frames of ``frames``
        frames: slice,
    ) -> Tensor:
        """Latents in the model's units."""
        return (latents - self.origin[:, frames]) / self.scale[:, frames]

    def outside(self, values: Tensor, frames: slice) -> Tensor:
        """The inverse of :meth:`inside`."""
        return values * self.scale[:, frames] + self.origin[:, frames]

    def whole(self, latents: Tensor) -> Tensor:  # (B, R, C, h, w)
        """Frames without a draft, such as references, in the model's units."""
        return latents / self.picture


@torch.no_grad()
def scene_of(readout: Readout, codec: Codec) -> Scene:
    """The scene that a readout draws; its blocks are put in place where their placement is known.

    Raises:
        ConfigurationError: there is a placement, but the codec is not the one of linear blocks.
    """
    known, placement = readout.coverage, readout.placement
    latents = torch.where(known[:, None], readout.latents, 0.0)
    told = [known[:, None].float()]
    inverse_depth = (1.0 / readout.depth.clamp(min=1.0 / _MOST_INVERSE_DEPTH))[:, None]
    if placement is not None:
        if not isinstance(codec, DctCodec):
            raise ConfigurationError(
                f"only blocks of '{DctCodec.name}' can be put in place. Got codec '{codec.name}'"
            )
        blended = blend_blocks(codec, latents, known, placement.offset, placement.stretch)
        latents = blended.latents
        identity = torch.eye(2, device=latents.device)
        told += [
            placement.offset.permute(0, 3, 1, 2),
            (placement.stretch - identity).flatten(3).permute(0, 3, 1, 2),
            placement.turn[:, None] * _TURN,
            inverse_depth,
            blended.support.clamp(max=_MOST_SUPPORT) * _SUPPORT,
            blended.spread * _SPREAD,
        ]
    else:
        support = torch.ones_like(inverse_depth).expand(-1, PARTS**2, -1, -1) * _SUPPORT
        nothing = torch.zeros_like(inverse_depth)
        told += [nothing.expand(-1, 7, -1, -1), inverse_depth, support]
    about = torch.cat(told, dim=1) * known[:, None]
    rest = about.new_zeros(len(about), ABOUT_CHANNELS - about.shape[1], *about.shape[2:])
    draft = fade_with_distance(fill_holes(latents, known), known)
    return Scene(draft, known, torch.cat([about, rest], dim=1))


def control_of(
    draft: Tensor,  # (B, F, C, h, w)
    known: Tensor,  # (B, F, h, w) bool
    about: Tensor,  # (B, F, C', h, w)
    scales: SceneScales,
) -> Tensor:  # (B, C + C', F, h, w)
    """What the side branch is given: what is remembered, zero in holes, and what is told of it."""
    picture = torch.tensor(scales.picture, device=draft.device)[:, None, None]
    remembered = torch.where(known[:, :, None], draft / picture, 0.0)
    return torch.cat([remembered, about], dim=2).transpose(1, 2)


def units_of(
    draft: Tensor,  # (B, F, C, h, w)
    known: Tensor,  # (B, F, h, w) bool
    scales: SceneScales,
) -> Units:
    """The units that latents of these frames are modelled in."""
    picture = torch.tensor(scales.picture, device=draft.device)[:, None, None]
    error = torch.tensor(scales.draft_error, device=draft.device)[:, None, None]
    return Units(draft, torch.where(known[:, :, None], error, picture), picture)

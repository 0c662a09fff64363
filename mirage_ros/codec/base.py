"""What every codec offers: pixels to latents and back, on a grid of fixed stride."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Codec(Protocol):
    """Maps RGB frames to latents and back.

    Attributes:
        name: identifies codec and normalisation in files and messages.
        channels: latent channels C.
        spatial_stride: pixels per latent cell along each axis.
        temporal_stride: pixel frames per latent frame after the first (1 = one to one).
        channel_gain: (C,) by how much a unit change of each channel changes a pixel, root mean
            square over the pixels of a cell and its colours. Errors of channels weigh by it.
    """

    name: str
    channels: int
    spatial_stride: int
    temporal_stride: int
    channel_gain: tuple[float, ...]

    def encode(
        self,
        frames: Tensor,  # (T, 3, H, W) float32 RGB in [0, 1]
    ) -> Tensor:  # (T', C, h, w) float32, roughly unit variance per channel
        """Latents of ``frames``; h = H / stride, w = W / stride.

        Raises:
            CodecError: shape, type or size (not a multiple of the stride) does not fit.
        """
        ...

    def decode(
        self,
        latents: Tensor,  # (T', C, h, w) float32
    ) -> Tensor:  # (T, 3, H, W) float32 RGB, not clamped
        """Frames of ``latents``.

        Raises:
            CodecError: shape or type does not fit.
        """
        ...

    def mean_colour(
        self,
        features: Tensor,  # (N, C) float32
    ) -> Tensor:  # (N, 3) float32 RGB in [0, 1]
        """About the mean colour of what each latent shows, without decoding: for displays.

        Raises:
            CodecError: shape or type does not fit.
        """
        ...

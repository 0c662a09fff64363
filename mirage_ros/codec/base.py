"""What every codec offers: pixels to latents and back, on a grid of fixed stride."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class DecodeStream(Protocol):
    """Decodes one video chunk by chunk, without a seam between the chunks.

    It holds whatever the frames to come depend on, and its size does not grow with the number of
    chunks. Streams of one codec know nothing of each other, so they may take turns.
    """

    def decode(
        self,
        latents: Tensor,  # (T', C, h, w) float32, those that follow the ones of the calls before
    ) -> Tensor:  # (T, 3, H, W) float32 RGB, not clamped
        """Frames of the next latents.

        The first call gives ``1 + (T' - 1) * temporal_stride`` frames, because the first latent
        frame of a video stands for a single image; later calls give ``T' * temporal_stride``.

        Raises:
            CodecError: shape or type does not fit, or the size is not that of the calls before.
        """
        ...


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
    ) -> Tensor:  # (T, C, h, w) float32, roughly unit variance per channel
        """Latents of ``frames``, each encoded alone; h = H / stride, w = W / stride.

        Whatever the temporal stride: T frames are T images here, not a video of T frames. That is
        how a sensor's keyframes are stored.

        Raises:
            CodecError: shape, type or size (not a multiple of the stride) does not fit.
        """
        ...

    def encode_video(
        self,
        frames: Tensor,  # (1 + k * temporal_stride, 3, H, W) float32 RGB in [0, 1]
    ) -> Tensor:  # (1 + k, C, h, w) float32
        """Latents of ``frames`` as one video, which :meth:`decode` turns back.

        Raises:
            CodecError: as :meth:`encode`, or the number of frames does not fit.
        """
        ...

    def decode(
        self,
        latents: Tensor,  # (T', C, h, w) float32
    ) -> Tensor:  # (1 + (T' - 1) * temporal_stride, 3, H, W) float32 RGB, not clamped
        """Frames of ``latents`` as one video: what the first call of a new stream gives.

        Raises:
            CodecError: shape or type does not fit.
        """
        ...

    def stream(self) -> DecodeStream:
        """A new video to be decoded chunk by chunk."""
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

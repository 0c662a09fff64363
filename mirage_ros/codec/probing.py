"""What is learnt of a codec by trying it on synthetic pictures: colours and channel gains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mirage_ros.codec.base import Codec

#: Pictures that the map of colours is fitted to, and their side: 131 072 pixels in all, a seventh
#: of a frame of 1280x704.
_PICTURES, _SIDE = 8, 128
#: Ridge of the fit, per sample of unit variance: it keeps channels that say nothing of the colour
#: from being used to fit the last of the noise.
_RIDGE = 1e-3

#: Side of the picture around which gains are measured, and the step, in units of a channel.
_GAIN_SIDE, _GAIN_STEP = 64, 0.25
#: Significant digits of a measured gain: files compare them as text.
_GAIN_DIGITS = 3

#: Pixel standard deviation of pictures of the world, in [0, 1], taken for granted where gains have
#: not been measured. It is a round figure: indoor photographs lie between 0.2 and 0.3.
PICTURE_DEVIATION = 0.25


def uniform_gain(channels: int) -> tuple[float, ...]:  # (channels,)
    """The gain of channels of unit variance that share the variance of a picture evenly."""
    return (PICTURE_DEVIATION / channels**0.5,) * channels


def synthetic_pictures(
    count: int,
    side: int,  # pixels, a multiple of 16
    seed: int = 0,
) -> Tensor:  # (count, 3, side, side) float32 RGB in [0.05, 0.95]
    """Pictures with flat patches, colour gradients and noise at several scales.

    Kept off black and white, where decoders clip and differences are lost.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(cells: int, mode: str) -> Tensor:
        coarse = torch.rand(count, 3, cells, cells, generator=generator) - 0.5
        corners = True if mode == "bilinear" else None
        return functional.interpolate(coarse, size=(side, side), mode=mode, align_corners=corners)

    flat = noise(max(side // 32, 2), "nearest")
    gradient = noise(2, "bilinear")
    # Every octave has half the amplitude of the one before: about the spectrum of the world.
    rough = sum(
        (noise(side // size, "bilinear") * (size / 32.0) for size in (16, 8, 4, 2)),
        start=torch.zeros(()),
    )
    # Each of these matters in some pictures more than in others.
    share = torch.rand(3, count, 1, 1, 1, generator=generator) + 0.25
    mixed = (share[0] * flat + share[1] * gradient + share[2] * rough) / share.sum(dim=0)
    return (0.5 + 1.2 * mixed).clamp(0.05, 0.95)


@dataclass(frozen=True)
class ColourMap:
    """An affine map from latents to the mean colour of what they show.

    Attributes:
        weight: (C, 3) float32.
        offset: (3,) float32.
    """

    weight: Tensor
    offset: Tensor

    def __call__(
        self,
        features: Tensor,  # (N, C) any floating type
    ) -> Tensor:  # (N, 3) float32 RGB in [0, 1], on the device of the map
        """Mean colours, without decoding."""
        there = features.to(self.weight.device, torch.float32)
        return (there @ self.weight + self.offset).clamp(0.0, 1.0)


@torch.no_grad()
def fit_colour_map(codec: Codec, seed: int = 0) -> ColourMap:
    """The map that fits synthetic pictures best (ridge regression), on the codec's device.

    Encodes 8 pictures of 128x128 pixels, a seventh of the pixels of one frame of 1280x704.
    """
    pictures = synthetic_pictures(_PICTURES, _SIDE, seed)
    latents = codec.encode(pictures)
    colours = functional.avg_pool2d(pictures, codec.spatial_stride)
    inputs = latents.double().cpu().permute(0, 2, 3, 1).flatten(0, 2)  # (N, C)
    targets = colours.double().permute(0, 2, 3, 1).flatten(0, 2)  # (N, 3)
    input_mean, target_mean = inputs.mean(dim=0), targets.mean(dim=0)
    centred = inputs - input_mean
    normal = centred.T @ centred + _RIDGE * len(inputs) * torch.eye(codec.channels).double()
    weight = torch.linalg.solve(normal, centred.T @ (targets - target_mean))
    offset = target_mean - input_mean @ weight
    return ColourMap(weight.float().to(latents.device), offset.float().to(latents.device))


@torch.no_grad()
def measure_channel_gain(codec: Codec, seed: int = 0) -> tuple[float, ...]:  # (C,)
    """By how much a unit change of each channel changes a pixel, by finite differences.

    One channel at a time is moved by a quarter, up or down by chance in each cell, around the
    latents of a synthetic picture of 64x64 pixels; all that changes in the decoded picture, spread
    over the pixels and colours, is the channel's. That is one decode a channel and one more, so
    this is for once per set of weights. Three significant digits are kept.

    Args:
        codec: to measure, with the decoder that it uses.
        seed: of the picture and the signs.
    """
    latents = codec.encode(synthetic_pictures(1, _GAIN_SIDE, seed))
    signs = torch.rand(latents.shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    steps = torch.where(signs, -_GAIN_STEP, _GAIN_STEP).to(latents.device)
    base = codec.decode(latents)
    gains = []
    for channel in range(codec.channels):
        moved = latents.clone()
        moved[:, channel] += steps[:, channel]
        change = (codec.decode(moved) - base).double().square().mean().sqrt()
        gains.append(float(f"{float(change) / _GAIN_STEP:.{_GAIN_DIGITS}g}"))
    return tuple(gains)

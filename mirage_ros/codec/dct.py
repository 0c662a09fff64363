"""A linear codec without weights: YCbCr, and the lowest DCT-II coefficients of 16x16 blocks.

Being linear it has an exact adjoint and needs no files, so it runs on every platform and lets tests
compare against closed forms. Forty-eight numbers stand for the 768 of a block: 36 of luma (every
frequency pair with u + v <= 7) and 6 of each chroma (u + v <= 2), in zig-zag order.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mirage_ros.codec.checks import check_features, check_planes

#: Pixels per block side, coefficients kept of Y, Cb and Cr.
BLOCK = 16
COEFFICIENTS = (36, 6, 6)

#: ITU-R BT.601 full-range luma weights of R, G, B (as in JFIF), from which the chroma rows follow.
_LUMA = np.array([0.299, 0.587, 0.114])

# Normalisation: std = scale / f ** FALLOFF with f = (u^2 + v^2)^(1/2). Pictures of the world have
# an amplitude spectrum near 1/f (Field 1987, J. Opt. Soc. Am. A 4); lenses and JPEG take a little
# more from the high end. The mean of a block, whose f is 0, counts as f = DC_FREQUENCY.
_LUMA_MEAN = 0.45
_LUMA_SCALE = 0.7
_CHROMA_SCALE = 0.16
_FALLOFF = 1.15
_DC_FREQUENCY = 0.25


def zigzag(count: int) -> list[tuple[int, int]]:
    """The first ``count`` frequency pairs (row, column) in zig-zag order, lowest diagonal first."""
    pairs: list[tuple[int, int]] = []
    diagonal = 0
    while len(pairs) < count:
        rows = range(diagonal + 1)
        ordered = rows if diagonal % 2 else reversed(rows)
        pairs.extend((row, diagonal - row) for row in ordered)
        diagonal += 1
    return pairs[:count]


def dct_basis(size: int) -> NDArray[np.float64]:  # (size, size), one frequency a row
    """Orthonormal DCT-II: row k holds cos(pi k (2n + 1) / (2 size)), scaled to unit norm."""
    k, n = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    basis: NDArray[np.float64] = np.cos(np.pi * k * (2 * n + 1) / (2 * size))
    basis *= math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    return basis


def _ycbcr_matrix() -> NDArray[np.float64]:  # (3, 3), RGB in [0, 1] to Y in [0, 1], Cb, Cr centred
    red, _, blue = np.eye(3)
    return np.stack(
        [_LUMA, (blue - _LUMA) / (2 * (1 - _LUMA[2])), (red - _LUMA) / (2 * (1 - _LUMA[0]))]
    )


class DctCodec:
    """Linear block codec; implements :class:`mirage_ros.codec.base.Codec`.

    Latents are ``(A x - mean) / std`` per channel: ``A`` picks the coefficients, and mean and
    std are a fixed law of a few constants (see the source), not fitted to any one sequence.
    ``encode(decode(z)) == z`` up to rounding. Results live on the device of the input.

    Attributes:
        mean: (48,) float64 subtracted from the coefficients.
        std: (48,) float64 the coefficients are divided by.
        channel_gain: exact; the channels are orthogonal up to the mixing of colours.
    """

    name = "dct16-ycbcr-36-6-6-v1"
    channels = sum(COEFFICIENTS)
    spatial_stride = BLOCK
    temporal_stride = 1

    def __init__(self) -> None:
        basis = dct_basis(BLOCK)
        to_ycbcr = _ycbcr_matrix()
        from_ycbcr = np.linalg.inv(to_ycbcr)
        rows, columns, std = [], [], []
        for plane, count in enumerate(COEFFICIENTS):
            scale = _LUMA_SCALE if plane == 0 else _CHROMA_SCALE
            for u, v in zigzag(count):
                patch = np.outer(basis[u], basis[v])
                rows.append(np.multiply.outer(to_ycbcr[plane], patch).ravel())
                columns.append(np.multiply.outer(from_ycbcr[:, plane], patch).ravel())
                std.append(scale / (math.hypot(u, v) or _DC_FREQUENCY) ** _FALLOFF)
        self.std: NDArray[np.float64] = np.array(std)
        self.mean: NDArray[np.float64] = np.zeros(self.channels)
        self.mean[0] = BLOCK * _LUMA_MEAN
        # (48, 768) and (768, 48): latents from pixels of a block, and back, normalisation included.
        self._analysis = torch.from_numpy(np.stack(rows) / self.std[:, None]).float()
        self._synthesis = torch.from_numpy(np.stack(columns, axis=1) * self.std).float()
        self.channel_gain = tuple(self._synthesis.double().square().mean(dim=0).sqrt().tolist())
        self._offset = torch.from_numpy(self.mean / self.std).float()
        self._colour = torch.from_numpy(
            from_ycbcr * self.std[self._dc_channels] / BLOCK
        ).float()  # (3, 3), RGB of a block from its three DC latents
        self._grey = torch.tensor(_LUMA_MEAN)

    @property
    def _dc_channels(self) -> list[int]:
        return [0, COEFFICIENTS[0], COEFFICIENTS[0] + COEFFICIENTS[1]]

    def encode(
        self,
        frames: Tensor,  # (T, 3, H, W) float32 RGB in [0, 1]
    ) -> Tensor:  # (T, 48, H / 16, W / 16) float32
        """Latents of ``frames``.

        Raises:
            CodecError: not float32, not (T, 3, H, W), or H or W no multiple of 16.
        """
        return self.analysis(frames) - self._offset.to(frames.device)[:, None, None]

    def decode(
        self,
        latents: Tensor,  # (T, 48, h, w) float32
    ) -> Tensor:  # (T, 3, 16 h, 16 w) float32 RGB, not clamped
        """Frames of ``latents``.

        Raises:
            CodecError: not float32 or not (T, 48, h, w).
        """
        check_planes(latents, self.channels, "latents")
        shifted = latents + self._offset.to(latents.device)[:, None, None]
        return _shuffle(self._synthesis, shifted)

    def encode_video(
        self,
        frames: Tensor,  # (T, 3, H, W) float32 RGB in [0, 1]
    ) -> Tensor:  # (T, 48, H / 16, W / 16) float32
        """Latents of ``frames``: the same as of single pictures.

        Raises:
            CodecError: as :meth:`encode`.
        """
        return self.encode(frames)

    def stream(self) -> DctCodec:
        """The codec itself: latent frames decode one by one, so a stream has nothing to hold."""
        return self

    def analysis(
        self,
        frames: Tensor,  # (T, 3, H, W) float32
    ) -> Tensor:  # (T, 48, H / 16, W / 16) float32
        """The linear part of :meth:`encode`: without the constant offset.

        Raises:
            CodecError: as :meth:`encode`.
        """
        check_planes(frames, 3, "frames", BLOCK)
        blocks = functional.pixel_unshuffle(frames, BLOCK)  # (T, 768, h, w)
        return _mix(self._analysis.to(frames.device), blocks)

    def adjoint(
        self,
        latents: Tensor,  # (T, 48, h, w) float32
    ) -> Tensor:  # (T, 3, 16 h, 16 w) float32
        """Frames that ``latents`` pull back to under the transpose of :meth:`analysis`.

        That is, ``<analysis(x), z> == <x, adjoint(z)>`` for all x and z.

        Raises:
            CodecError: as :meth:`decode`.
        """
        check_planes(latents, self.channels, "latents")
        return _shuffle(self._analysis.T, latents)

    def mean_colour(
        self,
        features: Tensor,  # (N, 48) any floating type
    ) -> Tensor:  # (N, 3) float32 RGB in [0, 1]
        """Mean colour of each token's block, from its three constant coefficients alone.

        Raises:
            CodecError: not (N, 48).
        """
        check_features(features, self.channels)
        constant = features[:, self._dc_channels].float()
        colour = constant @ self._colour.to(features.device).T + self._grey.to(features.device)
        return colour.clamp(0.0, 1.0)


def _mix(matrix: Tensor, planes: Tensor) -> Tensor:
    """``matrix`` (M, C) applied to the channels of ``planes`` (T, C, h, w): (T, M, h, w)."""
    t, c, h, w = planes.shape
    return torch.matmul(matrix, planes.reshape(t, c, h * w)).reshape(t, matrix.shape[0], h, w)


def _shuffle(matrix: Tensor, latents: Tensor) -> Tensor:
    """Blocks ``matrix`` (768, 48) makes of ``latents``, laid out as frames."""
    return functional.pixel_shuffle(_mix(matrix.to(latents.device), latents), BLOCK)

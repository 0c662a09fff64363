"""Decoding with Wan2.2's VAE as latents come, and how its pictures are laid out.

The decoder is causal in time: every convolution along it looks back two frames. diffusers keeps
those frames in a list that the model owns and empties after every call; here every stream owns the
list, so a video can go on in the next call, and several videos can take turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mirage_ros.codec.checks import check_planes, check_same_size
from mirage_ros.codec.wan_config import CHANNELS, PATCH, SPATIAL_STRIDE

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan


def patched(
    video: Tensor,  # (B, 3, T, H, W)
) -> Tensor:  # (B, 12, T, H / 2, W / 2)
    """Stack 2x2 pixels into channels: colour first, then column, then row, as Wan2.2 does."""
    batch, colours, frames, height, width = video.shape
    rows, columns = height // PATCH, width // PATCH
    blocks = video.reshape(batch, colours, frames, rows, PATCH, columns, PATCH)
    stacked = blocks.permute(0, 1, 6, 4, 2, 3, 5)
    return stacked.reshape(batch, colours * PATCH**2, frames, rows, columns)


def unpatched(
    planes: Tensor,  # (B, 12, T, h, w)
) -> Tensor:  # (B, 3, T, 2 h, 2 w)
    """The inverse of :func:`patched`."""
    batch, channels, frames, rows, columns = planes.shape
    colours = channels // PATCH**2
    blocks = planes.reshape(batch, colours, PATCH, PATCH, frames, rows, columns)
    spread = blocks.permute(0, 1, 4, 5, 3, 6, 2)
    return spread.reshape(batch, colours, frames, rows * PATCH, columns * PATCH)


def empty_cache(network: nn.Module) -> list[Any]:
    """A feature cache for the VAE's encoder or decoder: a place for each of its convolutions."""
    return [None] * sum(isinstance(layer, nn.Conv3d) for layer in network.modules())


class WanDecodeStream:
    """One video decoded by Wan2.2's VAE; implements :class:`mirage_ros.codec.base.DecodeStream`.

    What is held is two frames of the input of every convolution, whatever the length of the video.

    Args:
        vae: whose decoder is used; nothing in it changes.
        mean: (48, 1, 1) float32 of the raw latents, on the device to work on.
        std: (48, 1, 1) float32 likewise.
        dtype: to work in.
    """

    def __init__(
        self, vae: AutoencoderKLWan, mean: Tensor, std: Tensor, dtype: torch.dtype
    ) -> None:
        self._vae, self._mean, self._std, self._dtype = vae, mean, std, dtype
        self._cache: list[Any] = empty_cache(vae.decoder)
        self._size: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the frames that are held."""
        return sum(entry.nbytes for entry in self._cache if isinstance(entry, Tensor))

    @torch.no_grad()
    def decode(
        self,
        latents: Tensor,  # (T', 48, h, w) float32
    ) -> Tensor:  # (T, 3, 16 h, 16 w) float32 RGB, clamped to [0, 1] as the VAE does
        """Frames of the next latents: 1 for the first of the video, 4 for each later one.

        Raises:
            CodecError: shape or type does not fit, or the size is not that of the calls before.
        """
        check_planes(latents, CHANNELS, "latents")
        rows, columns = latents.shape[2:]
        if self._size is not None:
            check_same_size(self._size, (rows, columns))
        raw = latents.to(self._mean.device) * self._std + self._mean
        parts = [
            torch.empty((0, 3, rows * SPATIAL_STRIDE, columns * SPATIAL_STRIDE), device=raw.device)
        ]
        for latent in raw.to(self._dtype).unbind(0):
            # One video of one latent frame, which is what the cache is laid out for.
            video = self._vae.post_quant_conv(latent[None, :, None])
            planes = self._vae.decoder(
                video, feat_cache=self._cache, feat_idx=[0], first_chunk=self._size is None
            )
            self._size = (rows, columns)
            frames = unpatched(planes)[0].transpose(0, 1).float().clamp(-1.0, 1.0)
            parts.append(0.5 * frames + 0.5)
        return torch.cat(parts)

"""Wan2.2's VAE as a codec: 48 channels, 16 pixels a cell, 4 frames a latent frame.

Needs diffusers, whose ``AutoencoderKLWan`` is the network; all that keeps state is done here, so
that the model itself is never changed by use. Facts of the model: :mod:`.wan_config`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mirage_ros.codec.base import DecodeStream
from mirage_ros.codec.checks import check_features, check_planes
from mirage_ros.codec.probing import ColourMap, fit_colour_map, uniform_gain
from mirage_ros.codec.tiling import TiledDecodeStream, Tiling, in_tiles
from mirage_ros.codec.tiny_decoder import TinyDecoder
from mirage_ros.codec.wan_config import (
    CHANNELS,
    NAME,
    SPATIAL_STRIDE,
    TEMPORAL_STRIDE,
    check_vae_config,
    require_diffusers,
)
from mirage_ros.codec.wan_stream import WanDecodeStream, empty_cache, patched
from mirage_ros.errors import CodecError, ConfigurationError, UnavailableError

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan

_WEIGHTS = "diffusion_pytorch_model"


class WanCodec:
    """Wan2.2's VAE; implements :class:`mirage_ros.codec.base.Codec`.

    Latents are ``(mode - mean) / std`` per channel, with the mean and standard deviation of the
    VAE's configuration, in float32. Frames and latents of any device are taken; results are
    float32 on the codec's.

    Args:
        vae: the network, with a configuration like Wan2.2's. It is moved to ``device`` and
            ``dtype``; with a tiny decoder only its encoder is.
        device: to work on.
        dtype: of the network's weights and activations.
        tiling: work in tiles, for pictures that are too large for the device's memory.
        tiny_decoder: decodes instead of the VAE; moved likewise.
        channel_gain: (48,) as :func:`mirage_ros.codec.probing.measure_channel_gain` gives it.
            By default uniform: channels of unit variance that share a picture's variance evenly,
            0.25 / sqrt(48) each.
        encode_batch: frames that :meth:`encode` gives the network at once, at most.

    Attributes:
        name: ends in a digest of the VAE's statistics and of its last encoding layer, so that a
            memory made with another VAE is refused.
        vae: the network.
        tiny_decoder: as given.
        tiling: as given.
        device: as given.
        dtype: as given.

    Raises:
        ConfigurationError: the VAE is not like Wan2.2's, or gains or batch are out of range.
    """

    channels = CHANNELS
    spatial_stride = SPATIAL_STRIDE
    temporal_stride = TEMPORAL_STRIDE

    def __init__(
        self,
        vae: AutoencoderKLWan,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        tiling: Tiling | None = None,
        tiny_decoder: TinyDecoder | None = None,
        channel_gain: Sequence[float] | None = None,
        encode_batch: int = 4,
    ) -> None:
        check_vae_config(vae.config, "VAE")
        if encode_batch < 1:
            raise ConfigurationError(f"encode_batch must be at least 1. Got {encode_batch}")
        gain = uniform_gain(CHANNELS) if channel_gain is None else tuple(channel_gain)
        if len(gain) != CHANNELS or not all(math.isfinite(g) and g > 0.0 for g in gain):
            raise ConfigurationError(
                f"channel_gain must be {CHANNELS} positive finite numbers. Got {list(gain)}"
            )
        self.name = f"{NAME}{_digest(vae)}"
        self.channel_gain: tuple[float, ...] = gain
        self.device, self.dtype = torch.device(device), dtype
        self.tiling, self.tiny_decoder = tiling, tiny_decoder
        self.vae = vae.eval().requires_grad_(False)
        # The VAE's decoder is the larger half: it is not moved where it is not needed.
        decoding = [vae.post_quant_conv, vae.decoder] if tiny_decoder is None else [tiny_decoder]
        for network in (vae.encoder, vae.quant_conv, *decoding):
            network.to(device=self.device, dtype=dtype)
        self._encode_batch = encode_batch
        shape = (CHANNELS, 1, 1)
        self._mean = torch.tensor(vae.config["latents_mean"], device=self.device).reshape(shape)
        self._std = torch.tensor(vae.config["latents_std"], device=self.device).reshape(shape)
        self._colours: ColourMap | None = None

    @torch.no_grad()
    def encode(
        self,
        frames: Tensor,  # (T, 3, H, W) float32 RGB in [0, 1]
    ) -> Tensor:  # (T, 48, H / 16, W / 16) float32
        """Latents of ``frames``, each encoded as a single image.

        Raises:
            CodecError: not float32, not (T, 3, H, W), or H or W no multiple of 16.
        """
        check_planes(frames, 3, "frames", SPATIAL_STRIDE)
        rows, columns = (side // SPATIAL_STRIDE for side in frames.shape[2:])
        parts = [torch.empty((0, CHANNELS, rows, columns), device=self.device)]
        if len(frames):
            parts += [
                self._tiled(self._images, part) for part in torch.split(frames, self._encode_batch)
            ]
        return torch.cat(parts)

    @torch.no_grad()
    def encode_video(
        self,
        frames: Tensor,  # (1 + 4 k, 3, H, W) float32 RGB in [0, 1]
    ) -> Tensor:  # (1 + k, 48, H / 16, W / 16) float32
        """Latents of ``frames`` as one video: the first alone, then four to a latent frame.

        A latent frame depends on all frames before it, but not on later ones.

        Raises:
            CodecError: as :meth:`encode`, or the number of frames is not one more than a multiple
                of 4.
        """
        check_planes(frames, 3, "frames", SPATIAL_STRIDE)
        if len(frames) % TEMPORAL_STRIDE != 1:
            raise CodecError(
                f"a video must have 1 + {TEMPORAL_STRIDE} k frames. Got {len(frames)} frames"
            )
        return self._tiled(self._video, frames)

    def decode(
        self,
        latents: Tensor,  # (T', 48, h, w) float32
    ) -> Tensor:  # (1 + 4 (T' - 1), 3, 16 h, 16 w) float32 RGB, clamped to [0, 1] by the decoder
        """Frames of ``latents`` as one video.

        Raises:
            CodecError: not float32 or not (T', 48, h, w).
        """
        return self.stream().decode(latents)

    def stream(self) -> DecodeStream:
        """A new video to be decoded chunk by chunk; streams do not share anything."""
        if self.tiling is not None:
            return TiledDecodeStream(self._new_stream, self.tiling, CHANNELS)
        return self._new_stream()

    def mean_colour(
        self,
        features: Tensor,  # (N, 48) any floating type
    ) -> Tensor:  # (N, 3) float32 RGB in [0, 1]
        """About the mean colour of each token's cell: an affine map of its latent.

        The map is fitted when it is first asked for, by encoding 131 072 pixels of synthetic
        pictures (:func:`mirage_ros.codec.probing.fit_colour_map`).

        Raises:
            CodecError: not (N, 48).
        """
        check_features(features, CHANNELS)
        if self._colours is None:
            self._colours = fit_colour_map(self)
        return self._colours(features)

    def _new_stream(self) -> DecodeStream:
        if self.tiny_decoder is not None:
            return self.tiny_decoder.stream()
        return WanDecodeStream(self.vae, self._mean, self._std, self.dtype)

    def _tiled(self, work: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
        return work(frames) if self.tiling is None else in_tiles(work, frames, self.tiling)

    def _network_input(self, frames: Tensor) -> Tensor:  # [0, 1] to [-1, 1], the network's type
        return (2.0 * frames.to(self.device) - 1.0).to(self.dtype)

    def _images(self, frames: Tensor) -> Tensor:  # (T, 3, H, W) -> (T, 48, h, w)
        planes = patched(self._network_input(frames)[:, :, None])
        # Without a cache the layers along time do nothing, which is what a first frame gets.
        return self._normalised(self.vae.encoder(planes))[:, :, 0]

    def _video(self, frames: Tensor) -> Tensor:  # (1 + 4 k, 3, H, W) -> (1 + k, 48, h, w)
        planes = patched(self._network_input(frames).transpose(0, 1)[None])
        cache = empty_cache(self.vae.encoder)
        groups = [planes[:, :, :1], *torch.split(planes[:, :, 1:], TEMPORAL_STRIDE, dim=2)]
        parts = [
            self.vae.encoder(group, feat_cache=cache, feat_idx=[0])
            for group in groups
            if group.shape[2]
        ]
        return self._normalised(torch.cat(parts, dim=2))[0].transpose(0, 1)

    def _normalised(self, encoded: Tensor) -> Tensor:  # (B, 96, T, h, w) -> (B, 48, T, h, w)
        mode: Tensor = self.vae.quant_conv(encoded)[:, :CHANNELS].float()
        return (mode - self._mean[:, None]) / self._std[:, None]


def load_wan_codec(
    folder: Path | str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    tiling: Tiling | None = None,
    tiny_decoder: TinyDecoder | None = None,
    channel_gain: Sequence[float] | None = None,
    encode_batch: int = 4,
    allow_pickle: bool = False,
) -> WanCodec:
    """The codec of a VAE on disk, in diffusers' layout; nothing is fetched.

    Args:
        folder: with ``config.json`` and ``diffusion_pytorch_model.safetensors`` (or shards of it).
        device: of the codec, as are the arguments that follow.
        dtype: likewise.
        tiling: likewise.
        tiny_decoder: likewise.
        channel_gain: likewise.
        encode_batch: likewise.
        allow_pickle: also take weights in a ``.bin`` file, which is a pickle, if there are no
            others. Only tensors are loaded from it.

    Raises:
        UnavailableError: diffusers, the folder, its configuration or its weights are missing.
        ConfigurationError: configuration or weights cannot be read, or are not of a VAE like
            Wan2.2's.
    """
    require_diffusers()
    from diffusers import AutoencoderKLWan

    folder = Path(folder)
    safetensors = _is_safe(folder, allow_pickle)
    try:
        vae, info = AutoencoderKLWan.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=safetensors,
            torch_dtype=torch.float32,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigurationError(f"{folder}: the VAE cannot be loaded: {error}") from error
    strange = sorted(info["missing_keys"]) or sorted(info["unexpected_keys"])
    if strange:
        kind = "lack" if info["missing_keys"] else "have more than"
        raise ConfigurationError(
            f"{folder}: weights {kind} what the configuration describes. Got a difference of "
            f"{len(strange)} tensors, the first is {strange[0]}"
        )
    return WanCodec(
        vae,
        device=device,
        dtype=dtype,
        tiling=tiling,
        tiny_decoder=tiny_decoder,
        channel_gain=channel_gain,
        encode_batch=encode_batch,
    )


def _is_safe(folder: Path, allow_pickle: bool) -> bool:
    """Whether the weights are safetensors; raise unless they and a configuration are there."""
    if not folder.is_dir():
        raise UnavailableError(f"no VAE: expected a folder at {folder}. Got none")
    path = folder / "config.json"
    if not path.is_file():
        raise UnavailableError(f"no VAE: expected {path}. Got none")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigurationError(f"{path}: expected JSON. Got {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path}: expected a JSON object. Got {type(config).__name__}")
    # What the file leaves out has diffusers' defaults.
    defaults = {"dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]}
    check_vae_config({**defaults, **config}, str(path))
    safe = [folder / f"{_WEIGHTS}.safetensors{suffix}" for suffix in ("", ".index.json")]
    if any(file.is_file() for file in safe):
        return True
    if not any((folder / f"{_WEIGHTS}.bin{suffix}").is_file() for suffix in ("", ".index.json")):
        raise UnavailableError(f"no weights of the VAE: expected {safe[0]}. Got none")
    if not allow_pickle:
        raise ConfigurationError(
            f"{folder}: expected weights as {safe[0].name}. Got only a .bin file, which is a "
            "pickle: convert it, or allow pickles if you trust where it comes from"
        )
    return False


def _digest(vae: AutoencoderKLWan) -> str:
    """Eight characters that differ between VAEs whose latents do not mean the same."""
    statistics = json.dumps([list(vae.config["latents_mean"]), list(vae.config["latents_std"])])
    # Rounded to bfloat16, so that weights stored so have the digest of the originals.
    weights = vae.quant_conv.weight.detach().to("cpu", torch.bfloat16).view(torch.int16)
    content = statistics.encode() + weights.numpy().astype("<i2").tobytes()
    return hashlib.sha256(content).hexdigest()[:8]

"""Puts the Wan2.2 backend together: codec and generator from what is on disk."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from mirage_ros.codec.tiling import Tiling
from mirage_ros.codec.tiny_decoder import TinyDecoder, load_tiny_decoder
from mirage_ros.codec.wan import WanCodec, load_wan_codec
from mirage_ros.codec.wan_config import WAN22_VAE
from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer, stated_config
from mirage_ros.generation.diffusion import DiffusionConfig, DiffusionGenerator
from mirage_ros.generation.hub import locate
from mirage_ros.generation.memory_estimate import (
    MIB,
    ChunkSize,
    MemoryEstimate,
    estimate_memory,
)
from mirage_ros.generation.model_config import read_json
from mirage_ros.generation.model_folder import channel_gain_of
from mirage_ros.generation.prompt import encode_prompt
from mirage_ros.generation.runtime import RuntimeOptions, prepare
from mirage_ros.generation.schedule import Schedule
from mirage_ros.wan_settings import WanSettings

_LOGGER = logging.getLogger(__name__)

#: Tiles overlap by this share of their side.
_OVERLAP = 0.25


def build_wan(
    settings: WanSettings,
    device: torch.device | str,
    *,
    size: tuple[int, int] = (1280, 704),
) -> tuple[WanCodec, DiffusionGenerator]:
    """Codec and generator of the Wan2.2 backend; the memory needs the codec, too.

    What they will take of the device's memory is logged before the weights are loaded, with a
    warning where that is more than is free.

    Args:
        settings: which weights, and how to run them.
        device: where they run.
        size: width and height of what will be generated, for the estimate of memory.

    Raises:
        ConfigurationError: settings that do not go together, or do not fit the weights.
        UnavailableError: weights or packages that are not there; the message says how to get them.
        CheckpointError: files that are not what they should be.
    """
    schedule = Schedule(
        settings.steps, settings.shift, settings.solver, tuple(settings.noise_levels)
    )
    config = DiffusionConfig(
        schedule,
        settings.guidance,
        settings.references,
        settings.preceding,
        batch=settings.batch,
    )
    runtime = RuntimeOptions(
        settings.dtype,
        settings.attention,
        settings.compile,
        settings.quantization,
        settings.offload,
    )
    folder = _folder(settings)
    # The encoder of prompts is the largest part; it is gone before the others come.
    encoded = _encoder(settings, folder, device, runtime.torch_dtype)
    text = encoded(settings.prompt)
    negative_text = encoded(settings.negative_prompt) if settings.guidance != 1.0 else None
    gc.collect()
    files = model_files(settings, folder)
    tiny_decoder, tiling = _tiny_decoder(settings), _tiling(settings.tile)
    vae_config = folder / "vae" / "config.json"
    estimate = estimate_memory(
        stated_config(files),
        ChunkSize(
            *size,
            references=settings.references,
            preceding=settings.preceding,
            text_tokens=len(text),
            batch=settings.batch,
        ),
        runtime,
        vae_config=read_json(vae_config) if vae_config.is_file() else WAN22_VAE,
        tiny_decoder=tiny_decoder,
        tiling=tiling,
        guidance=negative_text is not None,
    )
    _announce(estimate, size, torch.device(device))
    _LOGGER.info("loading the VAE from %s", folder)
    codec = load_wan_codec(
        folder / "vae",
        device=device,
        dtype=runtime.torch_dtype,
        tiling=tiling,
        tiny_decoder=tiny_decoder,
        channel_gain=channel_gain_of(folder),
        allow_pickle=settings.allow_pickle,
    )
    _LOGGER.info("loading the transformer from %s", folder)
    stays_away = settings.offload != "none"
    transformer = load_transformer(
        files,
        dtype=runtime.torch_dtype,
        device="cpu" if stays_away else device,
    )
    if not transformer.has_side_branch:
        _LOGGER.info(
            "the model has no side branch: what is remembered reaches its pictures only through "
            "reference frames (set wan.side_branch)"
        )
    placement = prepare(transformer, runtime, device)
    generator = DiffusionGenerator(
        transformer,
        codec,
        text,
        config,
        negative_text=negative_text,
        device=device,
        dtype=runtime.torch_dtype,
        placement=placement,
        # Kept keys would be left behind on the GPU by a model that comes and goes.
        keep_text_keys=not stays_away,
        # On the CPU: beside the transformer there is no room for it on the GPU.
        encode=_encoder(settings, folder, "cpu", runtime.torch_dtype),
    )
    return codec, generator


def model_files(settings: WanSettings, folder: Path) -> ModelFiles:
    """What the transformer is made of, its base in ``folder``.

    Raises:
        ConfigurationError: another number of scales than of LoRAs, or an unknown mode.
    """
    return ModelFiles(
        str(folder),
        side_branch=settings.side_branch,
        lora=tuple(settings.lora),
        lora_scales=tuple(settings.lora_scales),
        lora_mode=settings.lora_mode,
        side_branch_layers=tuple(settings.side_branch_layers) or None,
        offline=settings.offline,
        allow_pickle=settings.allow_pickle,
    )


def _announce(estimate: MemoryEstimate, size: tuple[int, int], device: torch.device) -> None:
    """Log what will be needed, and warn where that is more than there is."""
    _LOGGER.info("estimated memory at %dx%d:\n%s", *size, estimate.lines())
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if estimate.total > free:
        _LOGGER.warning(
            "the model will need about %.0f MiB at %dx%d, but only %.0f MiB are free on %s: choose "
            "a smaller size, wan.tiny_decoder, wan.quantization, wan.offload or wan.tile",
            estimate.total / MIB,
            *size,
            free / MIB,
            device,
        )


def _folder(settings: WanSettings) -> Path:
    """The model's folder, fetched where that is allowed."""
    parts = ["transformer", "vae", "prompts"]
    if settings.prompt or (settings.guidance != 1.0 and settings.negative_prompt):
        parts += ["text_encoder", "tokenizer"]
    folder = locate(settings.model, parts, offline=settings.offline)
    if not folder.is_dir():
        raise ConfigurationError(f"wan.model must be a folder or a hub's name. Got {folder}")
    return folder


def _encoder(
    settings: WanSettings, folder: Path, device: torch.device | str, dtype: torch.dtype
) -> Callable[[str], Tensor]:
    """Encodes prompts, or takes them from where they were kept."""
    return lambda prompt: encode_prompt(
        folder, prompt, device=device, dtype=dtype, cache_directory=_cache_directory(settings)
    )


def _cache_directory(settings: WanSettings) -> Path:
    if settings.cache_directory:
        return Path(settings.cache_directory).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mirage_ros" / "prompts"


def _tiling(tile: int) -> Tiling | None:
    if not tile:
        return None
    return Tiling(tile, round(tile * _OVERLAP / 16) * 16)


def _tiny_decoder(settings: WanSettings) -> TinyDecoder | None:
    if not settings.tiny_decoder:
        return None
    path = locate(settings.tiny_decoder, offline=settings.offline)
    return load_tiny_decoder(path, allow_pickle=settings.allow_pickle)

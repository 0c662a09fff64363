"""The small model on disk: transformer in diffusers' layout, and what it was trained with.

A folder holds ``transformer/config.json`` and its safetensors file, and ``nano.json``: codec,
scales of what it sees, what its side branch is told.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mirage_ros.codec.dct import DctCodec
from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
from mirage_ros.generation.diffusion import DiffusionConfig, DiffusionGenerator
from mirage_ros.generation.model_config import read_json
from mirage_ros.generation.scene import SceneScales
from mirage_ros.generation.schedule import Schedule
from mirage_ros.generation.side_input import TOLD, SceneSide
from mirage_ros.generation.transformer import WanWorldTransformer

_SETTINGS, _TRANSFORMER = "nano.json", "transformer"
_FORMAT, _VERSION = "mirage_ros_nano", 1


@dataclass(frozen=True)
class NanoModel:
    """A small model.

    Attributes:
        transformer: predicts clean latents, in the units of :class:`mirage_ros.generation.scene`.
        scales: of those units.
        told: what its side branch is told, see :data:`mirage_ros.generation.side_input.TOLD`.
    """

    transformer: WanWorldTransformer
    scales: SceneScales
    told: str = "placement"


def save_nano(directory: Path, model: NanoModel) -> None:
    """Write a model into a folder, its weights in half precision.

    Raises:
        CheckpointError: weights are not finite in half precision; nothing is written then.
        OSError: it cannot be written.
    """
    transformer = WanWorldTransformer.from_config(model.transformer.config)
    transformer.load_state_dict(model.transformer.state_dict())
    transformer.half()
    for name, tensor in transformer.state_dict().items():
        count = int((~torch.isfinite(tensor)).sum())
        if count:
            raise CheckpointError(
                f"{name}: expected weights that half precision can hold, finite and up to 65504. "
                f"Got {count} of {tensor.numel()} that are not"
            )
    transformer.save_pretrained(directory / _TRANSFORMER)
    settings = {
        "format": _FORMAT,
        "version": _VERSION,
        "codec": DctCodec.name,
        "told": model.told,
        "scales": asdict(model.scales),
    }
    (directory / _SETTINGS).write_text(json.dumps(settings, indent=1) + "\n")


def load_nano(directory: Path, device: torch.device | str = "cpu") -> NanoModel:
    """A model that :func:`save_nano` wrote, in float32, ready for inference.

    Raises:
        UnavailableError: there is no such folder.
        CheckpointError: its files are not what they should be: names, shapes, values, codec.
    """
    if not directory.is_dir():
        raise UnavailableError(f"{directory}: expected a folder of a small model. Got none")
    path = directory / _SETTINGS
    settings = read_json(path)
    if settings.get("format") != _FORMAT or settings.get("version") != _VERSION:
        raise CheckpointError(
            f"{path}: expected format {_FORMAT}, version {_VERSION}. "
            f"Got {settings.get('format')}, version {settings.get('version')}"
        )
    if settings.get("codec") != DctCodec.name or settings.get("told") not in TOLD:
        raise CheckpointError(
            f"{path}: expected codec {DctCodec.name} and told one of {', '.join(TOLD)}. "
            f"Got codec {settings.get('codec')} and told {settings.get('told')}"
        )
    scales = _scales(settings.get("scales"), path)
    folder = directory / _TRANSFORMER
    if not (folder / "config.json").is_file():
        got = "one without config.json" if folder.is_dir() else "none"
        raise CheckpointError(
            f"{folder}: expected a folder of config.json and safetensors. Got {got}"
        )
    try:
        transformer = load_transformer(
            ModelFiles(str(folder), offline=True), dtype=torch.float32, device=device
        )
    except (ConfigurationError, UnavailableError) as error:
        raise CheckpointError(str(error)) from error
    _check_channels(transformer, folder)
    return NanoModel(transformer, scales, settings["told"])


def _check_channels(transformer: WanWorldTransformer, folder: Path) -> None:
    config, channels = transformer.config, DctCodec.channels
    if (config.in_channels, config.out_channels) != (channels, channels):
        raise CheckpointError(
            f"{folder}: expected a transformer that takes and makes {channels} channels. "
            f"Got {config.in_channels} in and {config.out_channels} out"
        )
    if transformer.has_side_branch and config.vace_in_channels != 2 * channels:
        raise CheckpointError(
            f"{folder}: expected a side branch that takes {2 * channels} channels. "
            f"Got {config.vace_in_channels}"
        )


def _scales(said: Any, path: Path) -> SceneScales:
    try:
        scales = SceneScales(
            *(tuple(float(value) for value in said[name]) for name in ("picture", "draft_error"))
        )
    except (ConfigurationError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path}: expected scales of channels. Got {error}") from error
    if len(scales.picture) != DctCodec.channels:
        raise CheckpointError(
            f"{path}: expected scales of {DctCodec.channels} channels. Got {len(scales.picture)}"
        )
    return scales


def nano_generator(
    model: NanoModel,
    codec: DctCodec,
    *,
    steps: int = 1,
    references: int | None = None,
    preceding: int = 2,
    batch: int = 4,
) -> DiffusionGenerator:
    """A generator that finishes drafts with a small model.

    Args:
        model: what it runs.
        codec: of the latents.
        steps: evaluations of the model for a chunk. One gives the mean of what may be there, which
            is blurred where much may be; several give a sample of it, which is sharp.
        references: whole past frames that it is shown at most (None: as many as it may see).
        preceding: frames before a chunk that it is shown at most.
        batch: chunks of different rollouts that go through it at once, at most.

    Raises:
        ConfigurationError: a value is out of range.
    """
    config = model.transformer.config
    return DiffusionGenerator(
        model.transformer,
        codec,
        torch.zeros(1, config.text_dim),
        DiffusionConfig(
            Schedule(steps, shift=1.0, solver="euler"),
            references=config.max_reference_frames if references is None else references,
            preceding=preceding,
            batch=batch,
            prediction="clean",
        ),
        name="nano",
        side=SceneSide(codec, model.scales, model.told),
    )

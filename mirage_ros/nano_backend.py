"""Puts the small model together from settings: the folder, its codec, its generator."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_ros.errors import UnavailableError
from mirage_ros.nano_settings import NanoSettings

if TYPE_CHECKING:
    import torch

    from mirage_ros.codec import DctCodec
    from mirage_ros.generation.diffusion import DiffusionGenerator

_LOGGER = logging.getLogger(__name__)

#: The model that ships with the package.
SHIPPED = Path(__file__).parent / "models" / "nano"

_OTHERWISE = "Backend readout needs none."


def build_nano(
    settings: NanoSettings, device: torch.device | str
) -> tuple[DctCodec, DiffusionGenerator]:
    """Codec and generator of the backend nano; the memory needs the codec, too.

    Args:
        settings: which weights, and how to run them.
        device: where they run.

    Raises:
        ConfigurationError: settings do not fit the model.
        UnavailableError: weights or packages that are not there; the message says how to get them.
        CheckpointError: files that are not what they should be.
    """
    folder = model_folder(settings)
    try:
        from mirage_ros.codec import DctCodec
        from mirage_ros.generation.nano_model import load_nano, nano_generator
    except ImportError as error:
        raise UnavailableError(
            "backend nano needs the packages diffusers, accelerate and safetensors "
            f"(pip install diffusers accelerate safetensors): {error}. {_OTHERWISE}"
        ) from error
    model = load_nano(folder, device)
    codec = DctCodec()
    generator = nano_generator(
        model,
        codec,
        steps=settings.evaluations,
        references=None if settings.references < 0 else settings.references,
        preceding=settings.preceding,
        batch=settings.batch,
    )
    parameters = sum(tensor.numel() for tensor in model.transformer.parameters())
    _LOGGER.info(
        "small model of %.1f M parameters from %s, steps a chunk: %d",
        parameters / 1e6,
        folder,
        settings.evaluations,
    )
    return codec, generator


def model_folder(settings: NanoSettings) -> Path:
    """Where the model is.

    Raises:
        UnavailableError: it is not there.
    """
    if settings.model:
        folder = Path(settings.model).expanduser()
        if not folder.is_dir():
            raise UnavailableError(
                f"nano.model: expected a folder of a small model at {folder}. Got none"
            )
        return folder
    if not SHIPPED.is_dir():
        raise UnavailableError(
            f"no weights of backend nano: expected the folder {SHIPPED}. Got none. `make "
            f"train-nano` makes it; nano.model names another. {_OTHERWISE}"
        )
    return SHIPPED

"""Folders of a whole model: diffusers' layout, and our own, which is the same with a header.

::

    mirage_model.json   format, version, what is in the folder
    transformer/        config.json, diffusion_pytorch_model*.safetensors
    vae/  scheduler/    as in Wan2.2-TI2V-5B-Diffusers; also text_encoder/ and tokenizer/
    prompts/            encoded prompts, so that the text encoder can be left out
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from torch import Tensor

import mirage_ros
from mirage_ros.atomic import directory_atomically
from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.hub import PARTS, missing_part
from mirage_ros.generation.model_config import read_json
from mirage_ros.generation.prompt import clean_prompt
from mirage_ros.generation.prompt_files import write_prompt

FORMAT = "mirage_ros/model"
VERSION = 1
HEADER = "mirage_model.json"


def save_model(
    folder: Path,
    transformer: Any,
    *,
    components: Path | None = None,
    parts: Sequence[str] = ("vae", "scheduler"),
    prompts: Mapping[str, Tensor] | None = None,
    channel_gain: Sequence[float] | None = None,
    shard_size: str = "5GB",
) -> None:
    """Write a model folder, whole or not at all.

    Args:
        folder: it must not exist yet, or be empty.
        transformer: a WanWorldTransformer whose LoRAs are fused.
        components: a folder of diffusers' layout that the other parts are copied from.
        parts: which ones.
        prompts: (rows, text_dim) embeddings by prompt, as ``encode_prompt`` gives them.
        channel_gain: of the VAE's channels, as ``measure_channel_gain`` gives it; None: unknown.
        shard_size: of the transformer's files.

    Raises:
        ConfigurationError: the folder holds something, or the transformer has adapters.
        UnavailableError: ``components`` lacks one of the parts.
        OSError: it cannot be written; no part of it stays then.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(f"{folder}: expected a new or an empty folder. Got one in use")
    adapters = [name for name, _ in transformer.named_parameters() if ".lora_" in name]
    if adapters:
        raise ConfigurationError(
            f"expected a transformer whose LoRAs are fused. Got {len(adapters)} tensors of "
            f"adapters, such as {adapters[0]}"
        )
    copied = list(parts) if components is not None else []
    for part in copied:
        assert components is not None
        if part not in PARTS or not (components / part).is_dir():
            raise UnavailableError(
                missing_part(components, part)
                if part in PARTS
                else f"expected parts among {', '.join(PARTS)}. Got {part!r}"
            )
    with directory_atomically(folder) as unfinished:
        transformer.save_pretrained(unfinished / "transformer", max_shard_size=shard_size)
        for part in copied:
            assert components is not None
            # The hub's cache is made of links.
            shutil.copytree(components / part, unfinished / part, symlinks=False)
        for prompt, embedding in (prompts or {}).items():
            write_prompt(unfinished / "prompts", clean_prompt(prompt), embedding, encoder="")
        holds = sorted(place.name for place in unfinished.iterdir())
        header = {
            "format": FORMAT,
            "version": VERSION,
            "package": mirage_ros.__version__,
            "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "holds": holds,
            "side_branch_layers": list(transformer.config.vace_layers),
        }
        if channel_gain is not None:
            header["channel_gain"] = list(channel_gain)
        (unfinished / HEADER).write_text(json.dumps(header, indent=1) + "\n")


def channel_gain_of(folder: Path) -> tuple[float, ...] | None:
    """What a folder says of its VAE's channels; None if it says nothing.

    Raises:
        CheckpointError: what it says are no numbers.
    """
    path = folder / HEADER
    said = read_json(path).get("channel_gain") if path.is_file() else None
    if said is None:
        return None
    if not isinstance(said, list) or not all(isinstance(gain, (int, float)) for gain in said):
        raise CheckpointError(f"{path}: expected numbers as channel_gain. Got {said!r}")
    return tuple(float(gain) for gain in said)


def check_header(folder: Path) -> None:
    """Check the header of a folder, if it has one.

    Raises:
        CheckpointError: it is not of this format and version, or a part is missing.
    """
    path = folder / HEADER
    if not path.is_file():
        return
    header = read_json(path)
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: expected format {FORMAT}, version {VERSION}. "
            f"Got {header.get('format')!r}, version {header.get('version')!r}"
        )
    holds = header.get("holds")
    if not isinstance(holds, list) or not all(isinstance(part, str) for part in holds):
        raise CheckpointError(f"{path}: expected a list of parts as holds. Got {holds!r}")
    missing = [part for part in holds if not (folder / part).is_dir()]
    if missing:
        raise CheckpointError(
            f"{folder}: expected the parts {', '.join(holds)}. Missing: {', '.join(missing)}"
        )


def transformer_weights(path: Path) -> tuple[Path, Path | None]:
    """Where the weights of a model's transformer are, and the config.json that belongs to them.

    Args:
        path: a file, a folder of a whole model, or a folder of a transformer alone.

    Raises:
        UnavailableError: there is nothing, or a whole model's folder has no transformer.
        CheckpointError: a header that does not fit, a whole model's folder without configuration,
            or a model of two transformers.
    """
    inner = path / "transformer"
    whole = inner.is_dir() or (path / "model_index.json").is_file() or (path / HEADER).is_file()
    if not whole:
        return path, config_beside(path)
    check_header(path)
    if (path / "transformer_2").is_dir():
        raise CheckpointError(
            f"{path}: expected a model of one transformer, such as Wan2.2-TI2V-5B. Got two, one "
            "for high and one for low noise"
        )
    if not inner.is_dir():
        raise UnavailableError(missing_part(path, "transformer"))
    config = config_beside(inner)
    if config is None:
        raise CheckpointError(f"{inner}: expected a config.json. Got a folder without one")
    return inner, config


def config_beside(path: Path) -> Path | None:
    """The config.json in a folder, or beside a file."""
    config = (path if path.is_dir() else path.parent) / "config.json"
    return config if config.is_file() else None

"""Text prompts as the transformer wants them: umt5 embeddings, made once and kept on disk.

The text encoder is larger than the transformer and idle after its one run. So it is loaded when a
prompt is new, and let go again.
"""

from __future__ import annotations

import hashlib
import html
import logging
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.hub import missing_part
from mirage_ros.generation.model_config import read_config
from mirage_ros.generation.prompt_files import (
    StoredPrompt,
    prompt_path,
    read_prompt,
    stored_prompts,
    write_prompt,
)

_LOGGER = logging.getLogger(__name__)

#: How much of both ends of a weight file tells it from another one.
_SAMPLE = 1 << 20


def encode_prompt(
    folder: Path,
    prompt: str,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    cache_directory: Path | None = None,
    max_length: int = 512,
    text_dim: int | None = None,
) -> Tensor:  # (max_length, text_dim)
    """The embedding of a prompt, rows after its last token zero, as diffusers' WanPipeline has it.

    It comes from the folder's ``prompts/``, from the cache, or from the folder's ``text_encoder/``
    and ``tokenizer/``, in this order. The empty prompt can do without any of them: its rows
    are zero then, which is not what the encoder would say, and a warning tells.

    Args:
        folder: a model's folder.
        prompt: any text; it is cleaned as the pipeline does it.
        device: where the encoder runs, and where the embedding is.
        dtype: type of the encoder's weights and of the embedding.
        cache_directory: where embeddings are kept; None: nowhere.
        max_length: tokens, longer prompts are cut.
        text_dim: channels, if the folder does not tell.

    Raises:
        UnavailableError: the prompt is new, and the encoder, the tokenizer or a package is missing.
        CheckpointError: the encoder lacks weights, or gives other channels than ``text_dim``.
        ConfigurationError: no length, or the empty prompt with nothing that tells the channels.
    """
    if max_length < 1:
        raise ConfigurationError(f"max_length: expected at least 1 token. Got {max_length}")
    text = clean_prompt(prompt)
    channels = text_dim if text_dim is not None else _stated_channels(folder)
    has_encoder = (folder / "text_encoder" / "config.json").is_file()
    encoder = _identity(folder, dtype, max_length) if has_encoder else ""
    stored = _stored(folder, cache_directory, text, encoder, max_length, channels)
    if stored is None:
        stored = _encoded(folder, text, device, dtype, max_length) if has_encoder else None
        if stored is not None and cache_directory is not None:
            write_prompt(cache_directory, text, stored, encoder)
    if stored is None:
        if text:
            raise UnavailableError(
                f"The prompt {_shortened(text)!r} has not been encoded yet, and the text encoder "
                f"is missing. {missing_part(folder, 'text_encoder')}"
            )
        if channels is None:
            raise ConfigurationError(
                f"{folder}: expected a transformer/config.json that states text_dim, or text_dim "
                "given. Got neither, for the empty prompt without a text encoder"
            )
        _LOGGER.warning(
            "No text encoder in %s and no stored embedding of the empty prompt: zeros stand in for "
            "it, which is not what the encoder gives",
            folder,
        )
        stored = torch.zeros(0, channels)
    if channels is not None and stored.shape[1] != channels:
        raise CheckpointError(
            f"{folder}: expected a text encoder of {channels} channels, as the transformer takes. "
            f"Got {stored.shape[1]}"
        )
    embedding = torch.zeros(max_length, stored.shape[1], device=device, dtype=dtype)
    embedding[: len(stored)] = stored.to(device=device, dtype=dtype)
    return embedding


def clean_prompt(prompt: str) -> str:
    """The prompt as the encoder gets it: mojibake and HTML undone, white space in single blanks.

    Broken characters are mended by the package ftfy where it is installed, as in the pipeline.
    """
    try:
        import ftfy

        prompt = ftfy.fix_text(prompt)
    except ImportError:
        pass
    # Twice, as the pipeline does it: text from the web has often been escaped twice.
    return " ".join(html.unescape(html.unescape(prompt)).split())


def _stated_channels(folder: Path) -> int | None:
    """What the folder's transformer takes."""
    path = folder / "transformer" / "config.json"
    stated = read_config(path).get("text_dim") if path.is_file() else None
    return stated if isinstance(stated, int) else None


def _identity(folder: Path, dtype: torch.dtype, max_length: int) -> str:
    """Tells encoders apart without reading all of their weights."""
    digest = hashlib.sha256(f"{dtype} {max_length}".encode())
    for part in ("text_encoder", "tokenizer"):
        for path in sorted((folder / part).glob("*")):
            if not path.is_file():
                continue
            size = path.stat().st_size
            digest.update(f"\n{part}/{path.name} {size}\n".encode())
            with path.open("rb") as file:
                digest.update(file.read(_SAMPLE))
                file.seek(max(0, size - _SAMPLE))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:32]


def _stored(
    folder: Path,
    cache_directory: Path | None,
    text: str,
    encoder: str,
    max_length: int,
    channels: int | None,
) -> Tensor | None:
    """The embedding as an earlier run left it."""

    def fits(found: StoredPrompt | None) -> bool:
        return (
            found is not None
            and found.prompt == text
            and len(found.rows) <= max_length
            and channels in (None, found.rows.shape[1])
        )

    own = _read(prompt_path(folder / "prompts", text, ""))
    if own is not None and fits(own):
        return own.rows
    if cache_directory is None:
        return None
    if encoder:
        cached = _read(prompt_path(cache_directory, text, encoder))
        return cached.rows if cached is not None and fits(cached) else None
    # Without an encoder to compare with, what the cache has is taken if it is of one encoder.
    every = [_read(path) for path in stored_prompts(cache_directory)]
    fitting = [found for found in every if found is not None and fits(found)]
    return fitting[0].rows if len({found.encoder for found in fitting}) == 1 else None


def _read(path: Path) -> StoredPrompt | None:
    if not path.is_file():
        return None
    try:
        return read_prompt(path)
    except (CheckpointError, OSError) as error:
        _LOGGER.warning("Encoded prompt left aside: %s", error)
        return None


def _encoded(
    folder: Path,
    text: str,
    device: torch.device | str,
    dtype: torch.dtype,
    max_length: int,
) -> Tensor:  # (tokens, text_dim)
    """Run the encoder; nothing of it is left afterwards."""
    try:
        from transformers import AutoTokenizer, UMT5EncoderModel
    except ImportError as error:
        raise UnavailableError(
            f"Prompts are encoded by the package transformers, which cannot be imported ({error}): "
            "pip install transformers"
        ) from error
    if not any((folder / "tokenizer").glob("*.json")):
        raise UnavailableError(missing_part(folder, "tokenizer"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'tokenizer'}: expected a tokenizer. Got {error}"
        ) from error
    tokens = tokenizer(
        text,
        truncation=True,
        max_length=max_length,
        padding="max_length",
        add_special_tokens=True,
        return_tensors="pt",
    )
    count = int(tokens.attention_mask.sum())
    encoder = _load_encoder(UMT5EncoderModel, folder / "text_encoder", dtype).to(device)
    with torch.inference_mode():
        states = encoder(
            tokens.input_ids.to(device), tokens.attention_mask.to(device)
        ).last_hidden_state
    rows: Tensor = states[0, :count].cpu().clone()
    del encoder, states
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
    return rows


def _load_encoder(kind: Any, path: Path, dtype: torch.dtype) -> Any:
    try:
        encoder, report = kind.from_pretrained(
            path, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: expected a umt5 encoder. Got {error}") from error
    # It would go on with random numbers in their place.
    missing = sorted(report["missing_keys"])
    if missing:
        raise CheckpointError(
            f"{path}: expected all weights of a umt5 encoder. Missing: {', '.join(missing[:8])}"
        )
    return encoder.eval()


def _shortened(text: str) -> str:
    return re.sub(r"(?<=^.{40}).+", "...", text)

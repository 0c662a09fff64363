"""Encoded prompts on disk: one small safetensors file each, only the rows that the prompt fills."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import CheckpointError

FORMAT = "mirage_ros/prompt"
VERSION = "1"


@dataclass(frozen=True)
class StoredPrompt:
    """What a file holds.

    Attributes:
        prompt: the text, cleaned.
        encoder: which encoder made it; empty: the one that belongs to the folder.
        rows: (n, text_dim), one for each of its tokens.
    """

    prompt: str
    encoder: str
    rows: Tensor


def prompt_path(directory: Path, prompt: str, encoder: str) -> Path:
    """The file of a prompt, which begins like the prompt for whoever looks into the folder."""
    key = hashlib.sha256(f"{VERSION}\n{encoder}\n{prompt}".encode()).hexdigest()[:24]
    beginning = re.sub(r"[^a-z0-9]+", "_", prompt.lower())[:24].strip("_") or "empty"
    return directory / f"{beginning}-{key}.safetensors"


def write_prompt(
    directory: Path,
    prompt: str,
    embedding: Tensor,  # (L, text_dim), rows after the prompt's tokens zero
    encoder: str,
) -> Path:
    """Write an embedding, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    filled = embedding.detach().cpu().ne(0).any(dim=1).nonzero()
    rows = embedding[: int(filled[-1]) + 1 if len(filled) else 0]
    metadata = {"format": FORMAT, "version": VERSION, "prompt": prompt, "encoder": encoder}
    path = prompt_path(directory, prompt, encoder)
    write_atomically(path, save({"rows": rows.detach().cpu().contiguous()}, metadata))
    return path


def read_prompt(path: Path) -> StoredPrompt:
    """Read a file.

    Raises:
        CheckpointError: it is damaged or no such file.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            rows = file.get_tensor("rows").clone()
    except SafetensorError as error:
        raise CheckpointError(f"{path}: expected an encoded prompt. Got {error}") from error
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: expected format {FORMAT}, version {VERSION}. "
            f"Got {metadata.get('format')!r}, version {metadata.get('version')!r}"
        )
    if rows.ndim != 2 or not bool(torch.isfinite(rows).all()):
        raise CheckpointError(
            f"{path}: expected finite rows (n, text_dim). Got shape {tuple(rows.shape)}"
        )
    return StoredPrompt(metadata.get("prompt", ""), metadata.get("encoder", ""), rows)


def stored_prompts(directory: Path) -> list[Path]:
    """All files of a folder, which need not exist."""
    return sorted(directory.glob("*.safetensors"))

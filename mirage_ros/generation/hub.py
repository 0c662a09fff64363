"""Where a model's files are: a path, or a repository of the Hugging Face hub and its local cache.

Names are ``path``, ``owner/name`` or, for one file of a repository, ``owner/name:file``; a revision
goes behind the name, ``owner/name@revision``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mirage_ros.errors import UnavailableError

#: The model that the names and sizes below are about.
REPOSITORY = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"

_HUB_NAME = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(:(?P<file>[\w./-]+))?")

#: Parts of a model's folder: what to fetch, and what it is in Wan2.2-TI2V-5B-Diffusers.
PARTS = {
    "transformer": (
        # The second is the layout of Wan's own repositories.
        ("transformer/*.json", "transformer/*.safetensors", "config.json",
         "diffusion_pytorch_model*.safetensors*"),
        "transformer/: config.json and diffusion_pytorch_model*.safetensors, 20 GB",
    ),
    "vae": (
        ("vae/*.json", "vae/*.safetensors"),
        "vae/: config.json and diffusion_pytorch_model.safetensors, 2.8 GB",
    ),
    "text_encoder": (
        ("text_encoder/*.json", "text_encoder/*.safetensors"),
        "text_encoder/: config.json and model*.safetensors, 11.4 GB",
    ),
    "tokenizer": (
        ("tokenizer/*",),
        "tokenizer/: tokenizer.json, tokenizer_config.json, spiece.model, 20 MB",
    ),
    "scheduler": (("scheduler/*.json",), "scheduler/: scheduler_config.json"),
    "prompts": (("prompts/*.safetensors",), "prompts/: encoded prompts"),
}  # fmt: skip

#: Small files that say what a folder is.
_ALWAYS = ("model_index.json", "mirage_model.json")


def fetch_command(repository: str, patterns: Sequence[str]) -> str:
    """The shell command that fetches these files."""
    return f"hf download {repository} --include " + " ".join(f'"{name}"' for name in patterns)


def missing_part(folder: Path, part: str) -> str:
    """Says that a part of a model's folder is missing, what it is and how to get it."""
    patterns, description = PARTS[part]
    command = fetch_command(REPOSITORY, [pattern for pattern in patterns if "/" in pattern])
    # The hub's cache is filled by the command itself.
    place = "" if folder.parent.name == "snapshots" else f" --local-dir {folder}"
    return f"{folder}: expected {description}. Not there; {command}{place} fetches it"


def locate(
    name: str,
    parts: Sequence[str] = ("transformer",),
    *,
    revision: str = "",
    offline: bool = False,
) -> Path:
    """The local path of a model, fetched from the hub where that is allowed.

    A path that exists is taken as it is. Of a repository only the parts asked for are fetched, or
    the one file that the name ends with. ``HF_HUB_OFFLINE`` counts as ``offline``.

    Args:
        name: path, ``owner/name``, ``owner/name:file``.
        parts: of :data:`PARTS`.
        revision: of the repository, where the name does not say one.
        offline: use only what is in the local cache.

    Raises:
        UnavailableError: it is neither on this machine nor to be had; the message says what is
            missing, how large it is and which command fetches it.
    """
    patterns = tuple(pattern for part in parts for pattern in PARTS[part][0])
    told = "; ".join(PARTS[part][1] for part in parts)
    return locate_files(
        name,
        patterns,
        also=_ALWAYS,
        description=f"As {REPOSITORY} has it: {told}",
        revision=revision,
        offline=offline,
    )


def locate_files(
    name: str,
    patterns: Sequence[str],
    *,
    also: Sequence[str] = (),
    description: str = "",
    revision: str = "",
    offline: bool = False,
) -> Path:
    """:func:`locate` for a model of any kind, by the names of its files.

    Args:
        name: path, ``owner/name``, ``owner/name:file``.
        patterns: of the files that are needed of a repository.
        also: of files that are taken where it has them.
        description: what the files are and how large, for messages.
        revision: of the repository, where the name does not say one.
        offline: use only what is in the local cache.

    Raises:
        UnavailableError: as :func:`locate`.
    """
    path = Path(name).expanduser()
    if name and path.exists():
        return path
    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise UnavailableError(
            f"{name or 'the model'}: expected a file, a folder, or a repository of the hub as "
            f"owner/name or owner/name:file. Got {name!r}, which is none of them"
        )
    repository, file = match["id"], match["file"]
    if file:
        patterns, description = (file,), ""
    folder = _snapshot(
        name,
        repository,
        match["revision"] or revision,
        (*patterns, *also),
        patterns,
        description,
        offline,
    )
    if file and not (folder / file).is_file():
        raise UnavailableError(
            f"{name}: expected the file {file}. Not in {folder}; "
            f"{fetch_command(repository, (file,))} fetches it, if the repository has it"
        )
    return folder / file if file else folder


def _snapshot(
    name: str,
    repository: str,
    revision: str,
    allowed: Sequence[str],
    patterns: Sequence[str],
    description: str,
    offline: bool,
) -> Path:
    command = fetch_command(repository, patterns)
    if revision:
        command += f" --revision {revision}"
    told = f". {description}" if description else ""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise UnavailableError(
            f"{name}: no such path, and the package huggingface_hub, which fetches models, is "
            "not installed: pip install huggingface_hub"
        ) from error
    try:
        folder = snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=list(allowed),
            local_files_only=offline,
        )
    except Exception as error:
        # Its client also raises what its HTTP library and its Rust parts raise.
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnavailableError(
            f"{name}: neither a path nor in the local cache of the hub, and not to be fetched "
            f"({first}). Where the hub can be reached, this fetches it: {command}{told}"
        ) from error
    return Path(folder)

"""Memory files: safetensors with a versioned header, written whole or not at all.

A file holds arrays and a header of plain strings, so reading one runs no code. What is in the
header is checked against what the reader expects before any array is looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import mirage_ros
from mirage_ros.atomic import write_atomically
from mirage_ros.errors import MemoryFormatError

FORMAT = "mirage_ros/memory"
VERSION = "1"

#: What the 32-bit seconds of a ROS stamp can hold.
_LAST_STAMP_NS = 2**31 * 10**9 - 1


def write_memory(
    path: Path,
    kind: str,
    header: Mapping[str, str],
    arrays: Mapping[str, Tensor],
) -> None:
    """Write a memory file, whole or not at all.

    Raises:
        OSError: the file cannot be written; the old one is untouched then.
    """
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "package": mirage_ros.__version__,
        "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **header,
    }
    on_cpu = {name: array.detach().cpu().contiguous() for name, array in arrays.items()}
    write_atomically(path, save(on_cpu, metadata))


def read_header(path: Path) -> dict[str, str]:
    """The header of a memory file.

    Raises:
        MemoryFormatError: not a memory file of this version.
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        return _checked(path, dict(file.metadata() or {}), {})


def stamp_range(path: Path, header: Mapping[str, str]) -> tuple[int, int]:
    """First and last stamp that a header states, nanoseconds; zeros for an empty memory.

    Raises:
        MemoryFormatError: it states none.
    """
    try:
        first, last = int(header["first_stamp_ns"]), int(header["last_stamp_ns"])
    except (KeyError, ValueError) as error:
        raise MemoryFormatError(
            f"{path}: expected a first and a last stamp. Got {error}"
        ) from error
    if not 0 <= first <= last <= _LAST_STAMP_NS:
        raise MemoryFormatError(
            f"{path}: expected stamps in order, from 0 to {_LAST_STAMP_NS}. Got {first} to {last}"
        )
    return first, last


def read_memory(
    path: Path,
    expected: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and arrays of a memory file whose header says what is expected.

    Raises:
        MemoryFormatError: not a memory file of this version, cut off, or other than expected.
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        header = _checked(path, dict(file.metadata() or {}), expected)
        try:
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError, RuntimeError) as error:
            raise MemoryFormatError(f"{path}: expected arrays in full. Got {error}") from error


@contextlib.contextmanager
def _opened(path: Path):  # type: ignore[no-untyped-def]
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory, expected a memory file")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if not path.is_file():
        # A pipe would be waited for, for ever.
        raise MemoryFormatError(f"{path} is no regular file, expected a memory file")
    try:
        file = safe_open(path, framework="pt")
    except SafetensorError as error:
        raise MemoryFormatError(
            f"{path}: expected a {FORMAT} file (safetensors). Got {path.stat().st_size} bytes "
            f"that are not one, or only part of one: {error}"
        ) from error
    with file as content:
        yield content


def _checked(path: Path, header: dict[str, str], expected: Mapping[str, str]) -> dict[str, str]:
    wanted = {"format": FORMAT, "version": VERSION, **expected}
    for name, value in wanted.items():
        got = header.get(name)
        if got != value:
            raise MemoryFormatError(
                f"{path}: expected {name} '{_short(value)}'. "
                f"Got {'none' if got is None else repr(_short(got))}"
            )
    return header


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."

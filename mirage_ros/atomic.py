"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under another name, then rename it.

    So a reader, and whoever comes after a crash at any moment, finds the old file or the new one,
    each of them whole.

    Raises:
        OSError: the file cannot be written; the old one is untouched then.
    """
    # In the same folder, since a rename is atomic only within a file system.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
    _sync_directory(path.parent)


@contextlib.contextmanager
def directory_atomically(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes ``path`` once the block has ended without an error.

    Raises:
        OSError: the folder cannot be written, or ``path`` exists and is not an empty folder.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for place in [*unfinished.rglob("*"), unfinished]:
            if place.is_dir():
                _sync_directory(place)
            else:
                with place.open("rb") as file:
                    os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make the rename itself last; not every file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

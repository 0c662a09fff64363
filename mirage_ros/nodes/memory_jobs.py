"""Saving and loading what is remembered, on the engine's thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from mirage_ros.nodes.engine import Engine
from mirage_ros.nodes.statistics import StageTimer
from mirage_ros.nodes.worker import Worker


class MemoryJobs:
    """Commands of the worker.

    Args:
        engine: the world model.
        worker: owns it.
        timer: takes the time.
        world_frame: of positions in files.
        loaded: told, on the engine's thread, that something else is remembered now.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        timer: StageTimer,
        world_frame: str,
        loaded: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._timer = timer
        self._world_frame = world_frame
        self._loaded = loaded

    def save(self, path: Path) -> Future[tuple[int, int]]:
        """Write the memory to a file; the tokens in it and its size in bytes, once it is there.

        The future raises OSError where the file cannot be written.
        """
        return self._worker.submit(lambda: self._save(path))

    def load(self, path: Path) -> Future[tuple[int, int]]:
        """Remember what a file holds instead; the tokens and their bytes, once that is done.

        The future raises MemoryFormatError or OSError, and nothing has changed then.
        """
        return self._worker.submit(lambda: self._load(path))

    def _save(self, path: Path) -> tuple[int, int]:
        from mirage_ros.memory.files import read_header

        if path.exists():
            # Refuses what is not a memory file: a slip in a path must not cost other data.
            read_header(path)
        with self._timer.measure("save"):
            self._engine.model.save(path, self._world_frame)
        return self._engine.model.token_count, path.stat().st_size

    def _load(self, path: Path) -> tuple[int, int]:
        with self._timer.measure("load"):
            self._engine.model.load(path, self._world_frame)
        self._loaded()
        return self._engine.model.token_count, self._engine.model.memory_bytes

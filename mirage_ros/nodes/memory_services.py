"""The services that reset, save and load what the world model remembers.

The work is the engine thread's, which a long file can keep busy for seconds. Meanwhile the executor
goes on: a callback here is a coroutine that waits for the engine, and its callback group is of its
own, so that only the other services here wait for it. They are there as long as the node is: one
that was taken down with a configuration could be gone before it has answered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from mirage_ros.errors import ConfigurationError, MirageError
from mirage_ros.nodes.awaiting import finished
from mirage_ros.nodes.session import Session
from mirage_ros.srv import LoadMemory, SaveMemory


def memory_path(text: str, directory: str) -> Path:
    """The file that a request or the parameter ``memory_file`` names.

    Args:
        text: absolute, or relative to ``directory``; ~ is the home directory.
        directory: the parameter ``memory_directory``; empty: mirage_ros in ROS_HOME.

    Raises:
        ConfigurationError: no path.
    """
    if not text or "\0" in text:
        raise ConfigurationError(f"path must name a memory file. Got {text!r}")
    home = Path(os.environ.get("ROS_HOME") or "~/.ros", "mirage_ros")
    return (Path(directory) if directory else home).expanduser() / Path(text).expanduser()


def reason(error: BaseException, path: Path | None = None) -> str:
    """What went wrong, for an answer or the log.

    Args:
        error: what was raised.
        path: the file it was about; an error of the system may name a temporary one.
    """
    if isinstance(error, CancelledError):
        return "the node stopped before it came to this; nothing was changed"
    if isinstance(error, MirageError):
        return str(error)
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    text = error.strerror or str(error)
    return text if path is None or str(path) in text else f"{text}: {path}"


class MemoryServices:
    """``~/reset_memory``, ``~/save_memory`` and ``~/load_memory``.

    Args:
        node: the node.
        session: what is active now, if anything.
        directory: value of the parameter ``memory_directory``.
    """

    def __init__(
        self, node: Node, session: Callable[[], Session | None], directory: Callable[[], str]
    ) -> None:
        self._node = node
        self._session = session
        self._directory = directory
        group = MutuallyExclusiveCallbackGroup()
        for kind, name, callback in (
            (Trigger, "~/reset_memory", self._on_reset),
            (SaveMemory, "~/save_memory", self._on_save),
            (LoadMemory, "~/load_memory", self._on_load),
        ):
            node.create_service(kind, name, callback, callback_group=group)

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            tokens = await finished(self._node, self._active().reset_memory())
            response.success, response.message = True, f"forgot {tokens} tokens"
        except Exception as error:
            response.success, response.message = False, reason(error)
        return response

    async def _on_save(
        self, request: SaveMemory.Request, response: SaveMemory.Response
    ) -> SaveMemory.Response:
        def work(path: Path) -> Future[tuple[int, int]]:
            session = self._active()
            if not Path(request.path).expanduser().is_absolute():
                memory_path(".", self._directory()).mkdir(parents=True, exist_ok=True)
            return session.memory.save(path)

        await self._answer(request.path, response, work, "wrote {} tokens, {} bytes, to {}")
        return response

    async def _on_load(
        self, request: LoadMemory.Request, response: LoadMemory.Response
    ) -> LoadMemory.Response:
        def work(path: Path) -> Future[tuple[int, int]]:
            return self._active().memory.load(path)

        await self._answer(request.path, response, work, "loaded {} tokens, {} bytes, from {}")
        return response

    async def _answer(
        self,
        text: str,
        response: Any,
        work: Callable[[Path], Future[tuple[int, int]]],
        done: str,
    ) -> None:
        """Fill the response in with what came of the work on the file that ``text`` names."""
        path: Path | None = None
        try:
            path = memory_path(text, self._directory())
            tokens, size = await finished(self._node, work(path))
        except Exception as error:
            response.success, response.message = False, reason(error, path)
            return
        response.success, response.message = True, done.format(tokens, size, path)
        response.token_count, response.byte_count = tokens, size

    def _active(self) -> Session:
        session = self._session()
        if session is None:
            raise ConfigurationError("the node is not active: activate it first")
        return session

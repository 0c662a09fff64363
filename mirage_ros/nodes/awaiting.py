"""Coroutines that wait for the engine's thread while the executor goes on."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from rclpy.node import Node
from rclpy.task import Future as RosFuture

_T = TypeVar("_T")


async def finished(node: Node, work: Future[_T]) -> _T:
    """The engine's answer; the executor goes on until it is there.

    Raises:
        Exception: whatever the work raised.
    """
    resumed: RosFuture[None] = RosFuture()

    def resume(_: Future[_T]) -> None:
        resumed.set_result(None)
        # A coroutine is looked after when something else happens; this makes it happen.
        executor = node.executor
        if executor is not None:
            executor.wake()

    work.add_done_callback(resume)
    await resumed
    return work.result()

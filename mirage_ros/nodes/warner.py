"""Warnings that name the topic and the reason, once in a while instead of at every message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any


class ThrottledWarner:
    """Logs the first warning of a kind at once, then at most one every ``period_s``.

    Safe to use from several threads.

    Args:
        logger: a ROS logger.
        period_s: seconds between two warnings of the same kind.
        clock: monotonic seconds.
    """

    def __init__(
        self, logger: Any, period_s: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], float] = {}
        self._held_back: dict[tuple[str, str], int] = {}

    def warn(self, topic: str, reason: str, kind: str = "") -> None:
        """Warn about ``topic``; warnings of one (topic, ``kind``) are throttled together."""
        key = (topic, kind)
        now = self._clock()
        with self._lock:
            last = self._last.get(key)
            if last is not None and now - last < self._period_s:
                self._held_back[key] = self._held_back.get(key, 0) + 1
                return
            self._last[key] = now
            repeats = self._held_back.pop(key, 0)
        suffix = f" ({repeats} more since the last warning)" if repeats else ""
        self._logger.warning(f"{topic}: {reason}{suffix}")

    def guard(self, topic: str, handler: Callable[[Any], None]) -> Callable[[Any], None]:
        """``handler``, whose exceptions become warnings: the executor must go on spinning."""

        def guarded(message: Any) -> None:
            try:
                handler(message)
            except Exception as error:
                kind = type(error).__name__
                self.warn(topic, f"unexpected {kind}: {error}", kind)

        return guarded

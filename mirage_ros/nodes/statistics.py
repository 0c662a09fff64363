"""Rates and percentiles over recent history, for status messages; safe to use from two threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StageSummary:
    """Runs so far, and median and 99th percentile of the recent ones, seconds."""

    stage: str
    count: int
    p50: float
    p99: float


class StageTimer:
    """Durations per named stage, the most recent ``window`` of each."""

    def __init__(self, window: int = 2000) -> None:
        self._window = window
        self._lock = threading.Lock()
        self._recent: dict[str, deque[float]] = {}
        self._counts: dict[str, int] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Record one run of ``stage``."""
        with self._lock:
            if stage not in self._recent:
                self._recent[stage] = deque(maxlen=self._window)
                self._counts[stage] = 0
            self._recent[stage].append(seconds)
            self._counts[stage] += 1

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Record how long the body takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def summaries(self) -> list[StageSummary]:
        """One summary a stage, in the order in which the stages first ran."""
        with self._lock:
            snapshot = [(s, self._counts[s], np.array(d)) for s, d in self._recent.items()]
        return [
            StageSummary(stage, count, *(float(q) for q in np.percentile(values, [50, 99])))
            for stage, count, values in snapshot
        ]


class RateMeter:
    """Events a second over the last ``span_s`` seconds of a monotonic clock."""

    def __init__(self, span_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._span_s = span_s
        self._clock = clock
        self._lock = threading.Lock()
        self._times: deque[float] = deque()
        self._start = self._last = clock()
        self.total = 0

    def tick(self, count: int = 1) -> None:
        """Count ``count`` events that happened now."""
        now = self._clock()
        with self._lock:
            self.total += count
            self._last = now
            self._times.extend([now] * count)
            self._forget(now)

    @property
    def rate(self) -> float:
        """Events a second; over a shorter span right after the start."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            span = min(self._span_s, max(now - self._start, 1e-3))
            return len(self._times) / span

    @property
    def silence_s(self) -> float:
        """Seconds since the last event, or since the start if there was none."""
        with self._lock:
            return self._clock() - self._last

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] > self._span_s:
            self._times.popleft()

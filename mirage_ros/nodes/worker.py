"""One thread that owns the engine: commands first, then one pending job per slot, newest wins."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

Job = Callable[[], None]


class Worker:
    """Runs jobs on a thread of its own so that callbacks never wait for the engine.

    Args:
        slots: names of the job slots, most urgent first. Each holds at most one pending job.
        on_error: told of an exception that a job let out; the thread goes on.
    """

    def __init__(self, slots: Sequence[str], on_error: Callable[[str, Exception], None]) -> None:
        self._order = tuple(slots)
        self._on_error = on_error
        self._pending: dict[str, Job] = {}
        self._commands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._condition = threading.Condition()
        self._running: str | None = None
        self._preempted = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; pending jobs begin to run.

        Raises:
            RuntimeError: the thread of before still runs: two must not own the engine.
        """
        if self._thread is not None and self._thread.is_alive():
            raise RuntimeError("the engine's last job has not ended yet")
        with self._condition:
            self._stopping = False
        self._thread = threading.Thread(target=self._run, name="mirage_engine", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> bool:
        """Interrupt the running job, drop the pending ones and end the thread; True if it ended."""
        with self._condition:
            self._stopping = True
            self._pending.clear()
            abandoned = [future for _, future in self._commands]
            self._commands.clear()
            self._condition.notify_all()
        for future in abandoned:
            future.cancel()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended:
            self._thread = None
        return ended

    def offer(self, slot: str, job: Job, *, preempts: Sequence[str] = ()) -> bool:
        """Make ``job`` the slot's pending one; True if that superseded a job not yet begun.

        A running job of one of the slots that it ``preempts`` is told to stop through
        :meth:`interrupted`.
        """
        with self._condition:
            superseded = slot in self._pending
            self._pending[slot] = job
            if self._running in preempts:
                self._preempted = True
            self._condition.notify_all()
        return superseded

    def discard(self, slot: str) -> None:
        """Drop the slot's pending job; a running one goes on."""
        with self._condition:
            self._pending.pop(slot, None)

    def run_pending(self, slot: str) -> None:
        """Run the slot's pending job now; called from inside a job that can wait for it."""
        with self._condition:
            job = None if self._stopping else self._pending.pop(slot, None)
        if job is not None:
            self._run_job(slot, job)

    def submit(self, command: Callable[[], Any]) -> Future[Any]:
        """Run ``command`` before any slot's job; the running job is interrupted for it."""
        future: Future[Any] = Future()
        with self._condition:
            self._commands.append((command, future))
            self._condition.notify_all()
        return future

    def busy_with(self, slot: str) -> bool:
        """Whether a job of ``slot`` is running or pending."""
        with self._condition:
            return self._running == slot or slot in self._pending

    @property
    def is_stopping(self) -> bool:
        """Whether the thread is to end."""
        with self._condition:
            return self._stopping

    def interrupted(self) -> bool:
        """Whether the running job should stop: shutdown, a command, or a newer job preempts it."""
        with self._condition:
            return self._stopping or self._preempted or bool(self._commands)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(self._has_work)
                if self._stopping:
                    return
                if self._commands:
                    command, future = self._commands.popleft()
                    slot, job = None, None
                else:
                    slot = next(name for name in self._order if name in self._pending)
                    job = self._pending.pop(slot)
                    self._running, self._preempted = slot, False
            if job is None:
                self._answer(command, future)
                continue
            self._run_job(str(slot), job)
            with self._condition:
                self._running, self._preempted = None, False

    def _run_job(self, slot: str, job: Job) -> None:
        try:
            job()
        except Exception as error:
            self._on_error(slot, error)

    def _has_work(self) -> bool:
        return self._stopping or bool(self._commands) or bool(self._pending)

    @staticmethod
    def _answer(command: Callable[[], Any], future: Future[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(command())
        except Exception as error:
            future.set_exception(error)

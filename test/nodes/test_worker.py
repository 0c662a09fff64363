from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")

from mirage_ros.nodes.worker import Worker


@pytest.fixture
def errors() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def worker(errors: list[tuple[str, str]]) -> Iterator[Worker]:
    made = Worker(("first", "second"), lambda slot, error: errors.append((slot, str(error))))
    yield made
    assert made.stop()


def test_urgent_slots_come_first_and_the_newest_job_wins(worker: Worker) -> None:
    done: list[str] = []
    finished = threading.Event()
    assert not worker.offer("second", lambda: (done.append("second"), finished.set())[0])
    assert not worker.offer("first", lambda: done.append("old"))
    assert worker.offer("first", lambda: done.append("new"))
    worker.start()
    assert finished.wait(5.0)
    assert done == ["new", "second"]


def test_a_command_interrupts_the_running_job_and_comes_next(worker: Worker) -> None:
    order: list[str] = []
    running = threading.Event()

    def job() -> None:
        running.set()
        while not worker.interrupted():
            pass
        order.append("interrupted")

    worker.start()
    worker.offer("second", job)
    assert running.wait(5.0)
    future = worker.submit(lambda: order.append("command") or 42)
    assert future.result(5.0) == 42
    assert order == ["interrupted", "command"]


def test_only_a_preempting_job_of_the_same_slot_interrupts(worker: Worker) -> None:
    running, release, finished = threading.Event(), threading.Event(), threading.Event()
    seen: list[bool] = []

    def job() -> None:
        running.set()
        release.wait(5.0)
        seen.append(worker.interrupted())

    for preempts in ((), ("second",)):
        running.clear()
        release.clear()
        finished.clear()
        worker.start()
        worker.offer("second", job)
        assert running.wait(5.0)
        assert worker.busy_with("second")
        worker.offer("first", lambda: None, preempts=("first",))
        worker.offer("second", finished.set, preempts=preempts)
        release.set()
        assert finished.wait(5.0)
        assert worker.stop()
    assert seen == [False, True]


def test_an_exception_is_reported_and_the_thread_goes_on(
    worker: Worker, errors: list[tuple[str, str]]
) -> None:
    finished = threading.Event()

    def fail() -> None:
        raise RuntimeError("no luck")

    worker.offer("first", fail)
    worker.offer("second", finished.set)
    worker.start()
    assert finished.wait(5.0)
    assert errors == [("first", "no luck")]
    with pytest.raises(RuntimeError, match="no luck"):
        worker.submit(fail).result(5.0)


def test_more_urgent_jobs_can_run_within_a_long_one(
    worker: Worker, errors: list[tuple[str, str]]
) -> None:
    order: list[str] = []
    finished = threading.Event()

    def fail() -> None:
        raise RuntimeError("no luck")

    def long_job() -> None:
        worker.offer("first", lambda: order.append("urgent"))
        worker.run_pending("first")
        worker.offer("first", fail)
        worker.run_pending("first")
        worker.run_pending("first")
        order.append("long")
        finished.set()

    worker.start()
    worker.offer("second", long_job)
    assert finished.wait(5.0)
    assert order == ["urgent", "long"]
    assert errors == [("first", "no luck")]


def test_a_discarded_job_never_runs(worker: Worker) -> None:
    done: list[str] = []
    worker.offer("first", lambda: done.append("first"))
    worker.discard("first")
    worker.discard("second")
    worker.start()
    assert worker.submit(lambda: list(done)).result(5.0) == []
    assert worker.submit(lambda: list(done)).result(5.0) == []


def test_two_threads_never_own_the_engine(worker: Worker) -> None:
    running, release = threading.Event(), threading.Event()

    def job() -> None:
        running.set()
        release.wait(5.0)

    worker.start()
    worker.offer("first", job)
    assert running.wait(5.0)
    assert not worker.stop(timeout_s=0.01)
    with pytest.raises(RuntimeError, match="has not ended"):
        worker.start()
    release.set()


def test_stopping_drops_what_is_pending(worker: Worker) -> None:
    done: list[str] = []
    worker.offer("first", lambda: done.append("late"))
    future = worker.submit(lambda: done.append("command"))
    assert worker.stop()
    worker.start()
    assert worker.submit(lambda: "alive").result(5.0) == "alive"
    assert future.cancelled()
    assert done == []

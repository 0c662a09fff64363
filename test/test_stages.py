"""Stages are timed to the end of what they started, and nobody waits for an unwatched device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from mirage_ros.stages import UNTIMED, measured


class Log:
    def __init__(self) -> None:
        self.events: list[str] = []

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        self.events.append(f"begin {stage}")
        yield
        self.events.append(f"end {stage}")


@pytest.mark.parametrize(
    ("device", "waits"), [("cpu", []), ("cuda", ["wait cuda"]), ("cuda:1", ["wait cuda:1"])]
)
def test_a_cuda_device_is_waited_for_inside_the_stage(
    monkeypatch: pytest.MonkeyPatch, device: str, waits: list[str]
) -> None:
    log = Log()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda d: log.events.append(f"wait {d}"))
    with measured(log, "read", torch.device(device)):
        log.events.append("body")
    assert log.events == ["begin read", "body", *waits, "end read"]
    log.events.clear()
    with measured(UNTIMED, "read", torch.device(device)):
        log.events.append("body")
    assert log.events == ["body"]


def test_a_stage_that_fails_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda d: log.events.append("wait"))
    with pytest.raises(KeyError), measured(log, "read", torch.device("cuda")):
        raise KeyError
    assert "wait" not in log.events

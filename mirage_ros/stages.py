"""What takes the time of the stages of the work. Importable without torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


class StageClock(Protocol):
    """Takes the time of named stages."""

    def measure(self, stage: str) -> AbstractContextManager[None]:
        """Take the time of the body as one run of ``stage``."""
        ...


class _Untimed:
    """Takes no time."""

    def measure(self, stage: str) -> AbstractContextManager[None]:
        return nullcontext()


#: The clock for who does not want to know.
UNTIMED: StageClock = _Untimed()


@contextmanager
def measured(stages: StageClock, stage: str, device: torch.device) -> Iterator[None]:
    """Take the time of the body, and of the work on ``device`` that it started.

    A CUDA device works on after the call that gave it work has returned, so it is waited for, but
    only where somebody takes the time: waiting keeps the device from being given more work.
    """
    with stages.measure(stage):
        yield
        if stages is not UNTIMED and device.type == "cuda":
            import torch

            torch.cuda.synchronize(device)

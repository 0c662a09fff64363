"""The frames of the last moment, by which a keyframe's motion is seen."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from mirage_ros.nodes.pairing import PairedFrame

#: Optical flow is not looked for over more, seconds.
_LONGEST_S = 0.25

#: Within less, what moves does not get far enough to be told from noise, seconds.
_BEST_S = 0.1


class PrecedingFrames:
    """Keeps the images of the last quarter of a second, as messages.

    Not thread-safe: called from one executor thread.
    """

    def __init__(self) -> None:
        self._frames: deque[PairedFrame] = deque()

    def clear(self) -> None:
        """Forget them: time or pose jumped."""
        self._frames.clear()

    def add(self, frame: PairedFrame) -> None:
        """A frame came; those that are not of the moment before it are forgotten."""
        self._frames.append(replace(frame, depth=None, mask=None))
        while not 0.0 <= self._age(self._frames[0], frame) <= _LONGEST_S:
            self._frames.popleft()

    def before(self, frame: PairedFrame) -> PairedFrame | None:
        """The one that shows best what has moved until a frame, None if none does."""
        earlier = [f for f in self._frames if 0.0 < self._age(f, frame) <= _LONGEST_S]
        return min(earlier, key=lambda f: abs(self._age(f, frame) - _BEST_S), default=None)

    @staticmethod
    def _age(earlier: PairedFrame, frame: PairedFrame) -> float:
        return (frame.stamp_ns - earlier.stamp_ns) * 1e-9

"""Holds predictions until the frame they predicted arrives: what was said against what came."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """A predicted view.

    Attributes:
        stamp_ns: the time it predicts.
        horizon_ns: how far ahead of its newest observation that is.
        index: which frame of its rollout.
        image: (H, W, 3) uint8.
        coverage: (H, W) bool, True where remembered.
    """

    stamp_ns: int
    horizon_ns: int
    index: int
    image: NDArray[np.uint8]
    coverage: NDArray[np.bool_]


@dataclass(frozen=True)
class Outcome:
    """A prediction, the frame that came, and the frame at the time of the prediction.

    Attributes:
        prediction: what was predicted.
        actual: (H, W, 3) uint8, the frame nearest to the predicted time.
        before: (H, W, 3) uint8, the frame the robot saw when it predicted: the trivial forecast.
    """

    prediction: Prediction
    actual: NDArray[np.uint8]
    before: NDArray[np.uint8]


class OutcomeMatcher:
    """Matches predictions with frames by stamp.

    Args:
        tolerance_ns: largest difference between the predicted time and the frame's.
        history_ns: how long frames are kept.
    """

    def __init__(self, tolerance_ns: int, history_ns: int) -> None:
        self._tolerance_ns = tolerance_ns
        self._history_ns = history_ns
        self._frames: deque[tuple[int, NDArray[np.uint8]]] = deque()
        self._pending: list[Prediction] = []
        self.outcomes: list[Outcome] = []

    def add_prediction(self, prediction: Prediction) -> None:
        """A prediction arrived."""
        self._pending.append(prediction)

    def add_frame(self, stamp_ns: int, image: NDArray[np.uint8]) -> None:
        """A frame arrived; settles the predictions whose time has passed by the tolerance."""
        self._frames.append((stamp_ns, image))
        while stamp_ns - self._frames[0][0] > self._history_ns:
            self._frames.popleft()
        due = [p for p in self._pending if p.stamp_ns + self._tolerance_ns <= stamp_ns]
        if not due:
            return
        self._pending = [p for p in self._pending if p.stamp_ns + self._tolerance_ns > stamp_ns]
        for prediction in due:
            actual = self._nearest(prediction.stamp_ns)
            before = self._nearest(prediction.stamp_ns - prediction.horizon_ns)
            if actual is not None and before is not None:
                self.outcomes.append(Outcome(prediction, actual, before))

    def _nearest(self, stamp_ns: int) -> NDArray[np.uint8] | None:
        stamp, image = min(self._frames, key=lambda entry: abs(entry[0] - stamp_ns))
        return image if abs(stamp - stamp_ns) <= self._tolerance_ns else None

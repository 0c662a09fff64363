from __future__ import annotations

import numpy as np

from mirage_ros.evaluation.outcomes import OutcomeMatcher, Prediction

MS = 1_000_000


def _image(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def _prediction(stamp_ms: int, horizon_ms: int) -> Prediction:
    known = np.ones((2, 2), dtype=bool)
    return Prediction(stamp_ms * MS, horizon_ms * MS, 0, _image(0), known)


def test_a_prediction_meets_the_frames_nearest_to_then_and_to_its_making() -> None:
    matcher = OutcomeMatcher(tolerance_ns=20 * MS, history_ns=2000 * MS)
    matcher.add_prediction(_prediction(510, 300))
    for stamp in range(0, 900, 30):
        matcher.add_frame(stamp * MS, _image(stamp // 30))
    (outcome,) = matcher.outcomes
    assert outcome.actual[0, 0, 0] == 510 // 30
    assert outcome.before[0, 0, 0] == 210 // 30


def test_without_a_frame_near_enough_there_is_no_outcome() -> None:
    matcher = OutcomeMatcher(tolerance_ns=20 * MS, history_ns=2000 * MS)
    matcher.add_prediction(_prediction(500, 300))
    for stamp in (200, 400, 600, 800):
        matcher.add_frame(stamp * MS, _image(1))
    assert matcher.outcomes == []


def test_a_frame_forgotten_by_then_gives_no_outcome() -> None:
    matcher = OutcomeMatcher(tolerance_ns=20 * MS, history_ns=100 * MS)
    matcher.add_prediction(_prediction(500, 300))
    for stamp in range(0, 700, 10):
        matcher.add_frame(stamp * MS, _image(1))
    assert matcher.outcomes == []

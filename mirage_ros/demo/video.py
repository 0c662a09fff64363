"""Predicted against actual views: panels with captions, a contact sheet and a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.outcomes import Outcome

_CAPTION_HEIGHT = 22
_GAP = 4
_BACKGROUND = 24
#: What the memory does not know is tinted with this colour in the coverage panel (RGB).
_INVENTED = np.array([214, 68, 120], dtype=np.float32)


def outcome_panels(outcome: Outcome) -> NDArray[np.uint8]:  # (H', W', 3)
    """Three views side by side: what came, what was predicted, and where that was invented."""
    horizon = outcome.prediction.horizon_ns * 1e-9
    known = float(outcome.prediction.coverage.mean())
    panels = [
        (outcome.actual, "actual"),
        (outcome.prediction.image, f"predicted {horizon:.2f} s before"),
        (tinted(outcome), f"remembered {known:.0%}, tinted: invented"),
    ]
    return _row([_captioned(image, text) for image, text in panels])


def tinted(outcome: Outcome) -> NDArray[np.uint8]:  # (H, W, 3)
    """The prediction, tinted where it was invented."""
    image = outcome.prediction.image.astype(np.float32)
    invented = ~outcome.prediction.coverage
    image[invented] = 0.35 * image[invented] + 0.65 * _INVENTED
    return image.astype(np.uint8)


def contact_sheet(outcomes: Sequence[Outcome], rows: int) -> NDArray[np.uint8]:
    """``rows`` outcomes, evenly over time, under each other."""
    picked = np.unique(np.linspace(0, len(outcomes) - 1, rows).round().astype(int))
    strips = [outcome_panels(outcomes[index]) for index in picked]
    gap = np.full((_GAP, strips[0].shape[1], 3), _BACKGROUND, dtype=np.uint8)
    return np.vstack([part for strip in strips for part in (strip, gap)][:-1])


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB picture; the suffix says the format.

    Raises:
        OSError: the file cannot be written.
    """
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise OSError(f"cannot write {path}")


def _captioned(image: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    bar = np.full((_CAPTION_HEIGHT, image.shape[1], 3), _BACKGROUND, dtype=np.uint8)
    cv2.putText(bar, text, (6, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([bar, image])


def _row(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    gap = np.full((panels[0].shape[0], _GAP, 3), _BACKGROUND, dtype=np.uint8)
    return np.hstack([part for panel in panels for part in (panel, gap)][:-1])

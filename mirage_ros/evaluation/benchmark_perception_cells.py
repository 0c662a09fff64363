"""Cells and targets of the perception benchmark's sections."""

from __future__ import annotations

import math

from mirage_ros.evaluation.perception_runs import ViewsScore
from mirage_ros.evaluation.results import Cell, Target


def percent(share: float) -> float:
    """A share in percent, rounded; NaN stays."""
    return share if math.isnan(share) else round(100.0 * share, 2)


def decibels(value: float) -> float:
    """Rounded; NaN and infinity stay."""
    return round(value, 2) if math.isfinite(value) else value


def score_cells(figures: ViewsScore, common_psnr_db: float) -> list[Cell]:
    """PSNR, coverage in percent, PSNR over common pixels."""
    return [decibels(figures.psnr_db), percent(figures.coverage), decibels(common_psnr_db)]


def bounded(name: str, value: float, wanted: str, met: bool | None, comment: str = "") -> Target:
    """A target; not measured where the value is not finite or ``met`` is None."""
    if met is None or not math.isfinite(value):
        return Target(name, None, wanted, None, comment)
    return Target(name, round(value, 2), wanted, met, comment)

"""What a training run writes down on its way: losses, and scores on validation samples."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from mirage_ros.training.validation import Scores

LOSSES, SCORES = "losses.csv", "scores.csv"

#: A line of losses is their mean over so many steps.
_EVERY = 25


class RunLog:
    """Two tables in a run's folder, added to line by line.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._losses: list[float] = []

    def loss(self, seconds: float, stage: str, step: int, loss: float, rate: float) -> float | None:
        """Note the loss of a step; the mean of the last ones where a line was written."""
        self._losses.append(loss)
        if len(self._losses) < _EVERY:
            return None
        mean = sum(self._losses) / len(self._losses)
        self._losses = []
        values = [f"{seconds:.0f}", stage, step, f"{mean:.5g}", f"{rate:.4g}"]
        self._add(LOSSES, ["seconds", "stage", "step", "loss", "learning_rate"], values)
        return mean

    def scores(self, seconds: float, stage: str, step: int, name: str, found: Scores) -> None:
        """Note the scores of what was made in one way."""
        names = [field.name for field in fields(found)]
        values = [f"{getattr(found, name):.4f}" for name in names]
        self._add(
            SCORES,
            ["seconds", "stage", "step", "of", *names],
            [f"{seconds:.0f}", stage, step, name, *values],
        )

    def _add(self, file: str, header: Sequence[str], values: Sequence[object]) -> None:
        path = self._directory / file
        new = not path.exists()
        with path.open("a", newline="") as table:
            writer = csv.writer(table)
            if new:
                writer.writerow(header)
            writer.writerow(values)

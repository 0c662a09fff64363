"""What a scene in which nothing moves loses by the filter of moving things."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mirage_ros.evaluation import benchmark_perception_scenes as scenes
from mirage_ros.evaluation.benchmark_perception_cells import bounded, percent, score_cells
from mirage_ros.evaluation.perception_runs import (
    AskedView,
    Progress,
    Sensor,
    ask_views,
    common_psnr,
    drive,
    score,
)
from mirage_ros.evaluation.results import Cell, Section, Table
from mirage_ros.frames import RgbdFrame

#: Wanted: at most so many dB lost, and so much of the coverage.
LOST_DB, LOST_COVERAGE = 0.1, 0.01


@dataclass(frozen=True)
class StaticRun:
    """One drive.

    Attributes:
        tokens: in memory in the end.
        views: of what was seen.
        wrong: mean share of a keyframe that is marked; NaN where nothing is.
        perceive_ms: median for a keyframe.
        removed: tokens forgotten because they were seen through.
    """

    tokens: int
    views: list[AskedView]
    wrong: float
    perceive_ms: float
    removed: int


def measure(
    sensor: Sensor,
    keyframes: Sequence[int],
    targets: Sequence[RgbdFrame],
    size: tuple[int, int],
    progress: Progress,
) -> tuple[StaticRun, StaticRun]:
    """The filter off and on over frames of a scene in which nothing moves.

    Args:
        sensor: gives frames by their numbers.
        keyframes: numbers of those that are remembered.
        targets: whose views are asked for.
        size: of what is remembered and asked for.
        progress: wraps loops.
    """
    runs = []
    for what, settings in (("off", scenes.OFF), ("on", scenes.ON)):
        driven = drive(
            sensor,
            keyframes,
            scenes.perception(settings),
            size,
            progress=lambda numbers, what=what: progress(numbers, f"static, filter {what}"),  # type: ignore[misc]
        )
        masks = [seen.perceived.frame.dynamic for seen in driven.observations]
        wrong = [float(mask.mean()) for mask in masks if mask is not None]
        runs.append(
            StaticRun(
                driven.memory.count,
                ask_views(driven.model, targets),
                float(np.mean(wrong)) if wrong else math.nan,
                driven.perceive_ms,
                driven.removed,
            )
        )
    return runs[0], runs[1]


def section(found: Mapping[str, tuple[StaticRun, StaticRun]]) -> Section:
    """Of every scene by name, the run with the filter off held against the one with it on."""
    rows: list[list[Cell]] = []
    targets = []
    for name, pair in found.items():
        scores = [score(run.views) for run in pair]
        common = common_psnr([run.views for run in pair])
        for what, run, figures, same in zip(("off", "on"), pair, scores, common, strict=True):
            rows.append(
                [
                    name, what, run.tokens, *score_cells(figures, same), percent(run.wrong),
                    run.removed, round(run.perceive_ms, 1),
                ]
            )  # fmt: skip
        loss = scores[0].psnr_db - scores[1].psnr_db
        uncovered = scores[0].coverage - scores[1].coverage
        targets += [
            bounded(
                f"{name}: dB lost by the filter", loss, f"at most {LOST_DB}", loss <= LOST_DB,
                f"on common pixels {common[0] - common[1]:.2f}",
            ),
            bounded(
                f"{name}: coverage lost by the filter, % of the pixels", 100.0 * uncovered,
                f"at most {100.0 * LOST_COVERAGE:.0f}", uncovered <= LOST_COVERAGE,
            ),
        ]  # fmt: skip
    return Section(
        title="Static scenes",
        text=(
            "Nothing moves. What the filter of moving things takes away from the same frames: "
            "whatever it marks is marked without reason."
        ),
        tables=(
            Table(
                [
                    "scene", "filter", "tokens", "dB", "covered %", "common dB",
                    "wrongly marked %", "tokens forgotten", "perceive ms",
                ],
                rows,
                "views of what was seen; the common dB over pixels that both cover",
            ),
        ),
        targets=targets,
    )  # fmt: skip

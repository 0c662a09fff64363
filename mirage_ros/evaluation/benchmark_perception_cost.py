"""What the perception takes of a keyframe's time, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mirage_ros.evaluation import benchmark_perception_scenes as scenes
from mirage_ros.evaluation.benchmark_perception_cells import bounded
from mirage_ros.evaluation.benchmark_perception_drift import DRIFT
from mirage_ros.evaluation.perception_runs import Progress, drive
from mirage_ros.evaluation.results import Cell, Plot, Section, Series, Table
from mirage_ros.frames import RgbdFrame
from mirage_ros.perception.settings import PerceptionSettings

#: Pictures and memory are of this size.
SIZE = (640, 480)

#: Parts in the order in which they run, and those whose sum is bounded.
PARTS = ("depth", "registration", "quarantine", "flow", "carving")
BOUNDED = ("registration", "quarantine", "flow", "carving")

#: Wanted: median for a keyframe on two threads, milliseconds.
MILLISECONDS = 50.0

#: The first keyframes have next to nothing to look at.
_FIRST = 10


@dataclass(frozen=True)
class Costs:
    """Times of keyframes after the first few.

    Attributes:
        seed: of the apartment.
        size: of the pictures.
        parts: of each part, (K,) milliseconds.
        beside: of fitting and storing, likewise.
        tokens: (K,) in memory after each keyframe.
    """

    seed: int
    size: tuple[int, int]
    parts: dict[str, list[float]]
    beside: dict[str, list[float]]
    tokens: list[int]

    def together(self, names: Sequence[str]) -> list[float]:
        """(K,) milliseconds of several parts."""
        return [sum(times) for times in zip(*(self.parts[name] for name in names), strict=True)]


def measure(
    seed: int, size: tuple[int, int], duration_s: float | None, progress: Progress
) -> Costs:
    """Drive with odometry that drifts, past somebody who walks, with everything on.

    Args:
        seed: of the apartment.
        size: of pictures and memory, multiples of 32.
        duration_s: simulated seconds of the tour; None = all of it.
        progress: wraps loops.
    """
    tour = scenes.walked_tour(seed, size, duration_s, drift=DRIFT)
    sequence = tour.frames.sequence
    with sequence:
        poses = sequence.odometry_poses

        def sensor(number: int) -> RgbdFrame:
            return replace(sequence[number], T_world_camera=poses[number])

        driven = drive(
            sensor,
            tour.frames.keyframes(),
            scenes.perception(PerceptionSettings(registration=True)),
            size,
            progress=lambda numbers: progress(numbers, "cost"),
        )
    counted = driven.observations[_FIRST:]
    return Costs(
        seed,
        size,
        {name: [1e3 * seen.perceived.seconds.get(name, 0.0) for seen in counted] for name in PARTS},
        {name: [1e3 * seen.seconds[name] for seen in counted] for name in ("fit", "store")},
        [seen.token_count for seen in counted],
    )


def section(costs: Costs, threads: int) -> Section:
    """Table, curve and target."""
    rows: list[list[Cell]] = [_row(name, times) for name, times in costs.parts.items()]
    bounded_parts = costs.together(BOUNDED)
    rows += [
        _row("together", costs.together(PARTS)),
        _row("filter and registration", bounded_parts),
        *(_row(f"beside: {name}", times) for name, times in costs.beside.items()),
    ]
    median = float(np.median(bounded_parts)) if bounded_parts else np.nan
    width, height = costs.size
    return Section(
        title="Cost",
        text=(
            f"Apartment {costs.seed}, {width}x{height}, everything on: a sensor's depth, "
            "registration against drifting odometry, the filter while somebody walks about. "
            f"{len(costs.tokens)} keyframes after the first {_FIRST}, {threads} threads, up to "
            f"{max(costs.tokens, default=0)} tokens in memory. Quarantine is the looking at what "
            "earlier keyframes saw of free space, and keeping it."
        ),
        tables=(
            Table(["part", "median", "95 % below", "largest"], rows, "milliseconds a keyframe"),
        ),
        plots=(
            Plot(
                "Filter and registration",
                "keyframe",
                "ms",
                [Series("together", range(_FIRST, _FIRST + len(bounded_parts)), bounded_parts)],
            ),
        )
        if bounded_parts
        else (),
        targets=(
            bounded(
                f"filter and registration of a keyframe at {width}x{height}, median ms",
                median,
                f"at most {MILLISECONDS:.0f}",
                median <= MILLISECONDS if bounded_parts else None,
                f"{threads} threads",
            ),
        ),
    )


def _row(name: str, times: Sequence[float]) -> list[Cell]:
    if not times:
        return [name, None, None, None]
    return [
        name,
        round(float(np.median(times)), 1),
        round(float(np.percentile(times, 95.0)), 1),
        round(max(times), 1),
    ]

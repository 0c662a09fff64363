"""A thousand chunks along a closed tour: what a memory that lives long costs, and forgets."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirage_ros.codec.base import Codec
from mirage_ros.evaluation.benchmark_tour import CHUNK, Progress
from mirage_ros.evaluation.image_metrics import means, psnr
from mirage_ros.evaluation.picture import as_unit
from mirage_ros.evaluation.readout_view import readout_view
from mirage_ros.evaluation.results import Cell, Plot, Section, Series, Table, Target
from mirage_ros.frames import RgbdFrame
from mirage_ros.memory import BoundsConfig, LatentMemory, LatentMemoryConfig

#: Chunks before time is looked at: the first lap fills the memory.
SETTLED = 50


@dataclass(frozen=True)
class Growth:
    """A memory fed lap after lap.

    Attributes:
        lap_chunks: chunks in a lap.
        count: tokens after each chunk.
        seconds: storing and conditioning of each chunk.
        capacity: of the memory.
    """

    lap_chunks: int
    count: list[int]
    seconds: list[float]
    capacity: int


def laps(
    codec: Codec, frames: Sequence[RgbdFrame], chunks: int, capacity: int, progress: Progress
) -> Growth:
    """Store a closed tour again and again, reading every chunk's views before they are stored.

    Args:
        codec: of the memory.
        frames: of one lap, a multiple of 8; the frame after the last is the first.
        chunks: how many chunks to go.
        capacity: of the memory, tokens.
        progress: wraps the loop over chunks.
    """
    memory = LatentMemory(codec, LatentMemoryConfig(bounds=BoundsConfig(capacity=capacity)))
    step = CHUNK - 1
    growth = Growth(len(frames) // step, [], [], capacity)
    for chunk in progress(range(chunks), f"growth, capacity {capacity}"):
        first = chunk % growth.lap_chunks * step
        views = [frames[(first + number) % len(frames)] for number in range(CHUNK)]
        poses = np.stack([view.T_world_camera for view in views])
        start = time.perf_counter()
        memory.read(views[0].camera, poses)
        for view in views[1:]:
            memory.observe(view)
        growth.seconds.append(time.perf_counter() - start)
        growth.count.append(memory.count)
    return growth


def recall(
    codec: Codec,
    stored: Sequence[RgbdFrame],
    asked: Sequence[RgbdFrame],
    capacity: int,
    progress: Progress,
) -> tuple[float, float, float, float]:
    """What a memory of that capacity still knows after a lap, of views between the stored ones.

    Returns:
        PSNR in dB and coverage over all views asked for at the end of the lap, and over those of
        the last chunk's part of the tour alone.
    """
    memory = LatentMemory(codec, LatentMemoryConfig(bounds=BoundsConfig(capacity=capacity)))
    for number in progress(range(len(stored)), f"eviction, capacity {capacity}"):
        memory.observe(stored[number])
    decibels, covered = [], []
    for frame in asked:
        shown, mask = readout_view(memory, codec, frame)
        decibels.append(psnr(shown, as_unit(frame.image), mask))
        covered.append(float(mask.mean()))

    def over(part: slice) -> tuple[float, float]:
        (mean,) = means([(value,) for value in decibels[part]])
        return mean, statistics.fmean(covered[part])

    return (*over(slice(None)), *over(slice(-(CHUNK - 1), None)))


def section(
    growth: Growth, at_capacity: Growth, kept: dict[str, tuple[int, float, float, float, float]]
) -> Section:
    """Tables, plots and targets of the figures of this module.

    Args:
        growth: with capacity far from reached.
        at_capacity: with a capacity well below what one lap would fill.
        kept: by name, capacity and :func:`recall`'s figures; the first is the one without bound.
    """
    lap = growth.lap_chunks
    numbers = list(range(1, len(growth.count) + 1))
    medians = [
        statistics.median(growth.seconds[start : start + lap])
        for start in range(0, len(numbers) - lap + 1, lap)
    ]
    first_settled = -(-SETTLED // lap)
    settled = medians[first_settled:]
    flat = max(settled) / min(settled) - 1.0 if settled else math.nan
    # The slope is what growth would show as; a busy machine shows in single laps.
    slope = _change(settled)
    laps_count = [growth.count[(number + 1) * lap - 1] for number in range(len(medians))]
    second = laps_count[1] / laps_count[0] - 1.0 if len(laps_count) > 1 else math.nan
    later = laps_count[-1] / laps_count[0] - 1.0
    rows: list[list[Cell]] = [
        [name, capacity, round(whole, 2), round(cover, 4), round(near, 2), round(near_cover, 4)]
        for name, (capacity, whole, cover, near, near_cover) in kept.items()
    ]
    over = max(at_capacity.count) / at_capacity.capacity
    return Section(
        title="Growth: a long life along a closed tour",
        text=(
            f"{len(numbers)} chunks of {CHUNK - 1} new views in laps of {lap} chunks, every chunk "
            "read before it is stored. Time is compared as the median of each lap from chunk "
            f"{SETTLED} on. What eviction costs: views between the stored ones, over covered "
            "pixels, after a lap; 'near' are those about where the robot is then."
        ),
        tables=(
            Table(
                ["memory", "capacity", "PSNR, whole tour", "covered", "PSNR, near", "covered"],
                rows,
                "What eviction costs",
            ),
        ),
        plots=(
            Plot(
                "Tokens",
                "chunk",
                "tokens",
                [
                    Series("far from capacity", numbers, growth.count),
                    Series(
                        f"capacity {at_capacity.capacity}",
                        list(range(1, len(at_capacity.count) + 1)),
                        at_capacity.count,
                    ),
                ],
            ),
            Plot(
                "Time of a chunk",
                "lap",
                "ms, median",
                [
                    Series(
                        "storing and reading",
                        list(range(1, len(medians) + 1)),
                        [1e3 * value for value in medians],
                    )
                ],
            ),
        ),
        targets=(
            Target(
                f"time of a chunk from chunk {SETTLED} on, change over the run",
                round(slope, 4) if not math.isnan(slope) else None,
                "within 10 %",
                None if math.isnan(slope) else bool(abs(slope) <= 0.10),
                f"lap medians differ by {100.0 * flat:.1f} % at most",
            ),
            Target(
                "tokens that a second identical lap adds",
                round(second, 4) if not math.isnan(second) else None,
                "less than 2 %",
                None if math.isnan(second) else bool(second < 0.02),
                f"all laps after the first together {100.0 * later:.2f} %",
            ),
            Target("largest share of the capacity", round(over, 4), "at most 1", over <= 1.0),
        ),
    )


def _change(values: Sequence[float]) -> float:
    """Change over the whole series of the straight line through it (Theil and Sen's slope)."""
    if len(values) < 2:
        return math.nan
    slopes = [
        (values[j] - values[i]) / (j - i)
        for i in range(len(values))
        for j in range(i + 1, len(values))
    ]
    return statistics.median(slopes) * (len(values) - 1) / statistics.median(values)

"""What bad depth costs, and what a model in the place of a sensor does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.benchmark_perception_cells import bounded, decibels, percent
from mirage_ros.evaluation.depth_degradation import DEGRADATIONS, TOGETHER, Degradation
from mirage_ros.evaluation.depth_quality import (
    ALIGNED,
    AS_MEASURED,
    BELIEVED,
    HALF,
    NOT_ALIGNED,
    SENSOR,
    DepthFigures,
    measure_monocular,
    measure_sensor,
)
from mirage_ros.evaluation.protocol import Progress, Size
from mirage_ros.evaluation.results import Cell, Plot, Section, Series, Table
from mirage_ros.sources.frame_source import FrameSource

#: Wanted: at most so many dB for a model's wrong scale, and how wrong it is.
SCALE_DB, SCALE = 0.5, 1.2

#: Factors on a model's depth, and how much of everything that can be wrong with a sensor.
_SCALES = (0.8, 0.9, 1.0, 1.1, SCALE)
_STRENGTHS = (0.5, 2.0)


@dataclass(frozen=True)
class DepthRuns:
    """What was measured on one sequence.

    Attributes:
        sensor: of a sensor that is worse.
        model: of a model in its place from the middle on.
    """

    sensor: Sequence[DepthFigures]
    model: Sequence[DepthFigures]


def measure(
    sequence: FrameSource,
    remembered: Sequence[int],
    targets: Sequence[int],
    size: Size,
    progress: Progress,
) -> DepthRuns:
    """Views from memories of the same frames, each with other depth.

    Args:
        sequence: of frames with good depth.
        remembered: positions of the frames that go into memory.
        targets: positions of the frames whose views are predicted.
        size: of the views.
        progress: wraps loops over frames.

    Raises:
        ConfigurationError: nothing to remember, or no target.
    """
    codec = DctCodec()
    more = [Degradation(TOGETHER, strength) for strength in _STRENGTHS]
    return DepthRuns(
        measure_sensor(
            sequence,
            remembered,
            targets,
            size,
            codec,
            degradations=[*DEGRADATIONS, *more],
            progress=progress,
        ),
        measure_monocular(
            sequence, remembered, targets, size, codec, scales=_SCALES, progress=progress
        ),
    )


def section(found: DepthRuns, name: str, how: str) -> Section:
    """Tables, curves and the target of one sequence.

    Args:
        found: what was measured.
        name: of the sequence.
        how: which frames of it were taken.
    """
    aligned, unaligned = (_by_scale(found.model, source) for source in (ALIGNED, NOT_ALIGNED))
    sensor = next(figures for figures in found.model if figures.source == SENSOR)
    half = next(figures for figures in found.model if figures.source == HALF)
    cost = aligned[1.0] - aligned[SCALE]
    told = (
        f"a sensor all along {sensor.common_psnr_db:.2f} dB, aligned to the memory "
        f"{aligned[1.0]:.2f} at the right scale and {aligned[SCALE]:.2f} at the wrong one, not "
        f"aligned {unaligned[1.0]:.2f} and {unaligned[SCALE]:.2f}"
    )
    return Section(
        title=f"Depth: {name}",
        text=(
            f"{how} A sensor is made worse: twice the noise of a Kinect, 30 % holes, 5 % wrong "
            "scale, 20 ms between its clock and that of the poses, and all of them together, half, "
            "as much and twice as strong. Depth is stored as measured, or as far as its noise and "
            "edges let it be believed. Then a model takes the place of the sensor for the second "
            "half of the frames: the truth with blurred edges, smooth errors of 3 % and a wrong "
            "scale, aligned to what is remembered or not. Errors are added to the frames' own, so "
            "what a recording itself has wrong is in all rows. The common dB are over the pixels "
            "that all memories of a table cover."
        ),
        tables=(
            _table(found.sensor, "depth of a sensor that is worse"),
            _table(found.model, "a model in the place of the sensor, from the middle on"),
        ),
        plots=(
            Plot(
                "All errors of a sensor together",
                "strength",
                "common dB",
                [_curve(found.sensor, source) for source in (AS_MEASURED, BELIEVED)],
            ),
            Plot(
                "A model from the middle on",
                "factor on its depth",
                "common dB",
                [
                    Series(ALIGNED, list(aligned), list(aligned.values())),
                    Series(NOT_ALIGNED, list(unaligned), list(unaligned.values())),
                    Series(SENSOR, _SCALES, [sensor.common_psnr_db] * len(_SCALES)),
                    Series(HALF, _SCALES, [half.common_psnr_db] * len(_SCALES)),
                ],
            ),
        ),
        targets=(
            bounded(
                f"{name}: dB that a model's scale wrong by {100.0 * (SCALE - 1.0):.0f} % costs, "
                "aligned",
                cost,
                f"less than {SCALE_DB}",
                cost < SCALE_DB,
                told,
            ),
        ),
    )


def _by_scale(figures: Sequence[DepthFigures], source: str) -> dict[float, float]:
    return {each.strength: each.common_psnr_db for each in figures if each.source == source}


def _curve(figures: Sequence[DepthFigures], source: str) -> Series:
    """All errors together over their strength, the clean sensor as strength 0."""
    together = {Degradation(TOGETHER, s).name for s in (0.0, 1.0, *_STRENGTHS)}
    points = sorted(
        (each.strength, each.common_psnr_db)
        for each in figures
        if each.source == source and each.case in together
    )
    return Series(source, [x for x, _ in points], [y for _, y in points])


def _table(figures: Sequence[DepthFigures], caption: str) -> Table:
    best = figures[0].common_psnr_db
    rows: list[list[Cell]] = [
        [
            each.case, each.source, percent(each.covered), decibels(each.psnr_db),
            decibels(each.common_psnr_db), decibels(each.common_psnr_db - best), each.tokens,
        ]
        for each in figures
    ]  # fmt: skip
    return Table(
        ["depth", "source", "covered %", "dB", "common dB", "against the first row", "tokens"],
        rows,
        caption,
    )

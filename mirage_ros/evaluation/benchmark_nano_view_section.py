"""Tables and targets of the chunks that contenders show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mirage_ros.evaluation.benchmark_nano_rows import DRAFT, MEAN, NO_MEMORY, READOUT, SAMPLE
from mirage_ros.evaluation.benchmark_nano_scenes import AHEAD, BACK
from mirage_ros.evaluation.benchmark_nano_views import (
    ALL,
    BLURRED,
    COVERED,
    HOLES,
    RowScores,
)
from mirage_ros.evaluation.benchmark_perception_cells import bounded, decibels, percent
from mirage_ros.evaluation.protocol import CODEC
from mirage_ros.evaluation.results import Cell, Picture, Section, Table, Target

#: Wanted in apartments, dB over the readout: of the mean over all pixels and in holes; of the
#: sample over all pixels, at a sharpness.
MEAN_DB, MEAN_HOLES_DB, SAMPLE_DB, SAMPLE_SHARPNESS = 2.5, 4.0, 0.5, 0.8

#: Columns of contact sheets, beside the truth and what of it is remembered.
SHOWN = (READOUT, DRAFT, MEAN, SAMPLE, NO_MEMORY)

_REGIONS = (ALL, COVERED, HOLES)
_RULE = (
    "The first view of a chunk is given to those that start from a frame, as the camera's newest "
    "frame is in the node; the readout and the draft take no notice of it, and it is scored for "
    "nobody. Which pixels are covered and which are holes is what the memory of latent tokens "
    "says, for all rows alike. PSNR in dB is a mean of the views', which count by their share of "
    "such pixels; sharpness is the gradient energy of all views as a share of that of what the "
    "codec makes of the true ones, so its own row has 1. The mean is one step, the sample several."
)


def view_section(
    title: str,
    text: str,
    scores: Mapping[str, RowScores],
    targets: Sequence[Target],
    pictures: Sequence[Picture],
) -> Section:
    """Everyone's figures over all questions, and by their kind."""
    names = in_order(scores)
    rows: list[list[Cell]] = []
    for name in names:
        row = scores[name]
        rows.append(
            [
                name,
                *(decibels(row.psnr_db(region)) for region in _REGIONS),
                *(_three(row.ssim(region)) for region in _REGIONS),
                *(_three(row.sharpness(region)) for region in _REGIONS),
            ]
        )
    some = scores[READOUT]
    holes = 100.0 * some.share(HOLES)
    heads = [f"{figure} {where}" for figure in ("dB", "SSIM", "sharp") for where in _WHERE]
    kinds = {kind: {n: scores[n].of_kind(kind) for n in names} for kind in (AHEAD, BACK)}
    by_kind: list[list[Cell]] = [
        [
            name,
            *(
                decibels(kinds[kind][name].psnr_db(region))
                for kind in (AHEAD, BACK)
                for region in _REGIONS
            ),
        ]
        for name in names
    ]
    shares = ", ".join(
        f"{kind} {percent(kinds[kind][READOUT].share(HOLES)):.0f} %" for kind in (AHEAD, BACK)
    )
    return Section(
        title=title,
        text=f"{text}\n\n{_RULE}",
        tables=(
            Table(["row", *heads], rows, f"{len(some.views)} views, {holes:.0f} % of them holes"),
            Table(
                ["row", *(f"{kind}: dB {where}" for kind in (AHEAD, BACK) for where in _WHERE)],
                by_kind,
                f"by kind of chunk; holes: {shares}",
            ),
        ),
        pictures=pictures,
        targets=targets,
    )


_WHERE = ("all", "covered", "holes")


def simulated_targets(scores: Mapping[str, RowScores]) -> list[Target]:
    """What is wanted in apartments."""
    readout, mean, sample = scores[READOUT], scores[MEAN], scores[SAMPLE]
    over = mean.psnr_db() - readout.psnr_db()
    holes = mean.psnr_db(HOLES) - readout.psnr_db(HOLES)
    sampled, sharp = sample.psnr_db() - readout.psnr_db(), sample.sharpness()
    return [
        bounded(
            "mean over readout, all pixels, dB", over, f"at least {MEAN_DB}", over >= MEAN_DB,
            f"blurred readout {scores[BLURRED].psnr_db() - readout.psnr_db():+.2f}, "
            f"draft {scores[DRAFT].psnr_db() - readout.psnr_db():+.2f}",
        ),
        bounded(
            "mean over smooth fill in holes, dB", holes, f"at least {MEAN_HOLES_DB}",
            holes >= MEAN_HOLES_DB,
        ),
        bounded(
            "sample: sharpness against the codec's own", sharp, f"at least {SAMPLE_SHARPNESS}",
            sharp >= SAMPLE_SHARPNESS, f"mean {mean.sharpness():.2f}",
        ),
        bounded(
            "sample over readout, all pixels, dB", sampled, f"at least {SAMPLE_DB}",
            sampled >= SAMPLE_DB,
        ),
    ]  # fmt: skip


def recorded_targets(scores: Mapping[str, RowScores]) -> list[Target]:
    """What is wanted of real frames."""
    readout, targets = scores[READOUT], []
    for name in (MEAN, SAMPLE):
        covered = scores[name].psnr_db(COVERED) - readout.psnr_db(COVERED)
        holes = scores[name].psnr_db(HOLES) - readout.psnr_db(HOLES)
        targets += [
            bounded(
                f"real frames: {name} over readout, covered pixels, dB", covered, "at least 0",
                covered >= 0.0,
            ),
            bounded(
                f"real frames: {name} over readout in holes, dB", holes, "more than 0", holes > 0.0
            ),
        ]  # fmt: skip
    return targets


def in_order(scores: Mapping[str, RowScores]) -> list[str]:
    """Rows as they stand in tables: what needs no network first, the codec last."""
    front = [name for name in (READOUT, BLURRED, DRAFT) if name in scores]
    rest = [name for name in scores if name not in (*front, CODEC)]
    return [*front, *rest, *([CODEC] if CODEC in scores else [])]


def _three(value: float) -> float:
    return round(value, 3) if math.isfinite(value) else value

"""Steps against quality and time: one model, asked the same with 1, 2, 4 and 8 steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mirage_ros.evaluation import benchmark_nano_views as views
from mirage_ros.evaluation.benchmark_nano_rows import READOUT, Cast, Company
from mirage_ros.evaluation.benchmark_nano_scenes import CHUNK, Moment
from mirage_ros.evaluation.benchmark_nano_views import ALL, COVERED, HOLES, RowScores
from mirage_ros.evaluation.benchmark_perception_cells import bounded, decibels
from mirage_ros.evaluation.benchmark_wan_rollout import STAGES, StageTimes
from mirage_ros.evaluation.protocol import Size
from mirage_ros.evaluation.results import Cell, Plot, Section, Series, Table

#: Evaluations of the model for a chunk.
STEPS = (1, 2, 4, 8)

#: Wanted: predicted frames a second with the fewest steps.
FRAMES_PER_SECOND = 8.0


@dataclass(frozen=True)
class StepFigures:
    """What a number of steps is worth.

    Attributes:
        scores: of the views, and the time that they took.
        stages: seconds a frame by stage, means.
    """

    scores: RowScores
    stages: Mapping[str, float]


def measure(
    cast: Cast, moments: Iterable[Moment], size: Size, *, seed: int, steps: Sequence[int] = STEPS
) -> dict[int, StepFigures]:
    """Figures by steps."""
    contenders = [cast.in_steps(count, _name(count)) for count in steps]
    company = Company([cast.readout, *contenders], size)
    company.warm_up()
    clocks: dict[int, StageTimes] = {}
    for count in steps:
        # Only now: what is made ready beforehand does not count.
        company.models[_name(count)].stages = clocks[count] = StageTimes()
    scores: dict[str, RowScores] = {READOUT: RowScores()}
    views.measure(company, moments, scores, seed=seed)
    found = {}
    for count in steps:
        row = scores[_name(count)]
        frames = len(row.seconds) * (CHUNK - 1)
        spent = clocks[count].take()
        found[count] = StepFigures(row, {name: spent.get(name, 0.0) / frames for name in STAGES})
    return found


def section(found: Mapping[int, StepFigures], size: Size, threads: int) -> Section:
    """Table and plots of what steps are worth."""
    rows: list[list[Cell]] = []
    for count, figures in found.items():
        row = figures.scores
        rows.append(
            [
                count,
                *(decibels(row.psnr_db(region)) for region in (ALL, COVERED, HOLES)),
                row.ssim(),
                row.sharpness(),
                1e3 * row.seconds_per_frame,
                1.0 / row.seconds_per_frame,
            ]
        )
    stages: list[list[Cell]] = [
        [count, *(1e3 * figures.stages[name] for name in STAGES)]
        for count, figures in found.items()
    ]
    fewest = min(found)
    rate = 1.0 / found[fewest].scores.seconds_per_frame
    on = f"{size.width}x{size.height}, torch with {threads} threads"
    heads = ["steps", "dB all", "dB covered", "dB holes", "SSIM", "sharp", "ms a frame"]
    return Section(
        title="Steps",
        text=(
            f"The same chunks with more and more evaluations of the model, {on}. The time is that "
            f"of whole chunks of {CHUNK - 1} predicted frames, from reading the memory to decoded "
            "pictures, medians; remembering frames is left out."
        ),
        tables=(
            Table([*heads, "frames/s"], rows, "views in apartments"),
            Table(
                ["steps", *STAGES], stages,
                "ms a frame by stage, means; conditioning and denoising are parts of generating",
            ),
        ),
        plots=(
            _plot("Error against steps", "PSNR, dB", found, lambda row: row.psnr_db()),
            _plot("Sharpness against steps", "of the codec's own", found, lambda r: r.sharpness()),
            _plot("Time against steps", "ms a frame", found, lambda r: 1e3 * r.seconds_per_frame),
        ),
        targets=(
            bounded(
                f"predicted frames a second, {fewest} steps, end to end" if fewest > 1
                else "predicted frames a second, 1 step, end to end",
                rate, f"at least {FRAMES_PER_SECOND:g}", rate >= FRAMES_PER_SECOND, on,
            ),
        ),
    )  # fmt: skip


def _plot(title: str, label: str, found: Mapping[int, StepFigures], of: object) -> Plot:
    assert callable(of)
    values = [float(of(figures.scores)) for figures in found.values()]
    return Plot(title, "steps", label, [Series("nano", list(found), values)])


def _name(steps: int) -> str:
    return f"nano, {steps} steps"

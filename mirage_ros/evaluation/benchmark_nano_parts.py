"""Runs the parts of the benchmark of the small model, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mirage_ros.evaluation import benchmark_nano_episodes as episodes
from mirage_ros.evaluation import benchmark_nano_long as long
from mirage_ros.evaluation import benchmark_nano_loops as loops
from mirage_ros.evaluation import benchmark_nano_steps as steps
from mirage_ros.evaluation import benchmark_nano_views as views
from mirage_ros.evaluation.benchmark_nano_pictures import Sheet
from mirage_ros.evaluation.benchmark_nano_rows import Cast, Company
from mirage_ros.evaluation.benchmark_nano_scenes import (
    DriveScale,
    long_way,
    recorded_moments,
    simulated_moments,
)
from mirage_ros.evaluation.benchmark_nano_view_section import (
    SHOWN,
    recorded_targets,
    simulated_targets,
    view_section,
)
from mirage_ros.evaluation.datasets import open_dataset
from mirage_ros.evaluation.episode_apartment import EpisodeSizes
from mirage_ros.evaluation.protocol import Size
from mirage_ros.evaluation.results import Section
from mirage_ros.sources.simulator.splits import split_seeds

#: Wraps a loop, told what it does.
Progress = Callable[[Iterable[Any], str], Iterable[Any]]


@dataclass(frozen=True)
class Amounts:
    """How much is measured.

    Attributes:
        drive: of every simulated drive.
        apartments: whose views are asked for.
        few: of them, where rollouts are long or many: loops, long rollouts, steps, episodes.
        recorded: moments of the recording.
        loop_chunks: of closed ways.
        long_chunks: of long rollouts.
        steps: that are compared.
        episodes: in every one of the few apartments.
        shown: views of a contact sheet.
    """

    drive: DriveScale
    apartments: int
    few: int
    recorded: int
    loop_chunks: int
    long_chunks: int
    steps: Sequence[int]
    episodes: episodes.EpisodeScale
    shown: int


FULL = Amounts(
    drive=DriveScale(Size(320, 256)),
    apartments=6,
    few=2,
    recorded=6,
    loop_chunks=loops.LOOP_CHUNKS,
    long_chunks=long.CHUNKS,
    steps=steps.STEPS,
    episodes=episodes.EpisodeScale(6, EpisodeSizes()),
    shown=8,
)
QUICK = Amounts(
    drive=DriveScale(Size(160, 128), duration_s=8.0, moments=1, stride=2),
    apartments=1,
    few=1,
    recorded=1,
    loop_chunks=3,
    long_chunks=2,
    steps=(1, 2),
    episodes=episodes.EpisodeScale(
        1, EpisodeSizes(width=96, height=64, tour_s=12.0, spacing=1.5, headings=4)
    ),
    shown=2,
)


def measured(
    cast: Cast,
    parts: Sequence[str],
    amounts: Amounts,
    folder: Path,
    *,
    model: Path,
    split: str,
    sequence: str | None,
    seed: int,
    progress: Progress,
) -> list[Section]:
    """Sections of the parts that are asked for, in the order of the benchmark.

    Args:
        cast: who takes part.
        parts: some of :data:`mirage_ros.evaluation.benchmark_nano_command.PARTS`.
        amounts: how much.
        folder: for pictures.
        model: folder of the model, for episodes.
        split: of the apartments.
        sequence: the recording of part ``real``.
        seed: of noise and tasks.
        progress: wraps loops.

    Raises:
        MirageError: a drive is too short, a recording cannot be read, this machine cannot render.
        OSError: a picture cannot be written.
    """
    seeds = list(split_seeds(split, amounts.apartments))
    few = seeds[: amounts.few]
    made = []
    if "views" in parts:
        made.append(_views(cast, seeds, amounts, folder, split, seed, progress))
    if "real" in parts and sequence is not None:
        made.append(_real(cast, sequence, amounts, folder, seed, progress))
    if "loops" in parts:
        contenders = loops.contenders_of(cast)
        found = [
            loops.measure(
                contenders, number, amounts.drive, loop_chunks=amounts.loop_chunks,
                progress=progress,
            )
            for number in progress(few, "loops")
        ]  # fmt: skip
        made.append(loops.section(found, folder))
    if "steps" in parts:
        with simulated_moments(few[0], amounts.drive) as moments:
            told = progress(moments, "steps")
            figures = steps.measure(cast, told, amounts.drive.size, seed=seed, steps=amounts.steps)
        made.append(steps.section(figures, amounts.drive.size, torch.get_num_threads()))
    if "long" in parts:
        company = long.contenders_of(cast, amounts.drive.size)
        curves = [
            long.measure(company, long_way(number, amounts.drive, amounts.long_chunks), seed=seed)
            for number in progress(few, "long rollouts")
        ]
        made.append(long.section(curves))
    if "episodes" in parts:
        outcomes = episodes.measure(model, few, amounts.episodes, seed)
        made.append(episodes.section(outcomes))
    return made


def _company(cast: Cast, size: Size) -> Company:
    no_memory, _ = cast.without_memory
    rows = [cast.readout, cast.draft, cast.mean, cast.sample, cast.rgb, no_memory, *cast.others]
    return Company(rows, size)


def _views(
    cast: Cast,
    seeds: Sequence[int],
    amounts: Amounts,
    folder: Path,
    split: str,
    seed: int,
    progress: Progress,
) -> Section:
    company, scores = _company(cast, amounts.drive.size), dict[str, views.RowScores]()
    chunks = 2 * amounts.drive.moments
    # An odd number, so that both kinds of chunks are shown.
    every = max(1, len(seeds) * chunks // amounts.shown) // 2 * 2 + 1
    sheet = Sheet(SHOWN, amounts.shown, every)
    for place, number in enumerate(progress(seeds, "views")):
        with simulated_moments(number, amounts.drive) as moments:
            views.measure(company, moments, scores, seed=seed + place * chunks, seen=sheet.see)
    return view_section(
        "Views in apartments",
        f"{len(seeds)} apartments of the split '{split}', seeds from {seeds[0]}. At "
        f"{amounts.drive.moments} moments of a tour, its keyframes until then are remembered. Two "
        "chunks are asked for: the way ahead of the newest view, where holes are, and a stretch of "
        "the way before, seen from a bit beside.",
        scores,
        simulated_targets(scores),
        sheet.write(folder, "pictures/views.png"),
    )


def _real(
    cast: Cast, sequence: str, amounts: Amounts, folder: Path, seed: int, progress: Progress
) -> Section:
    size = amounts.drive.size
    company, scores = _company(cast, size), dict[str, views.RowScores]()
    sheet = Sheet(SHOWN, amounts.shown, max(1, 2 * amounts.recorded // amounts.shown))
    with open_dataset(sequence) as dataset:
        moments = recorded_moments(dataset.frames, size, amounts.recorded)
        views.measure(company, progress(moments, "real frames"), scores, seed=seed, seen=sheet.see)
        name = dataset.name
    return view_section(
        "Views of real frames",
        f"The recording {name}, whose every tenth frame is remembered. Asked for are the frames "
        "after the newest one remembered (ahead), and, when all are remembered, consecutive frames "
        "between two of them.",
        scores,
        recorded_targets(scores),
        sheet.write(folder, "pictures/real.png"),
    )

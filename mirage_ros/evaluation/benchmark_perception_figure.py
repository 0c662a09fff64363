"""What is left in memory of somebody who walked through the view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mirage_ros.evaluation import benchmark_perception_scenes as scenes
from mirage_ros.evaluation.benchmark_perception_cells import bounded, percent, score_cells
from mirage_ros.evaluation.benchmark_perception_static import StaticRun
from mirage_ros.evaluation.perception_runs import (
    AskedView,
    Progress,
    Sensor,
    ask_views,
    common_psnr,
    drive,
    ghosts,
    score,
)
from mirage_ros.evaluation.results import Cell, Picture, Section, Table
from mirage_ros.evaluation.strips import tinted, write_strip
from mirage_ros.frames import RgbdFrame
from mirage_ros.perception.settings import PerceptionSettings
from mirage_ros.world_model import Observation, WorldModel

#: Rows of the tables.
NOBODY_OFF, NOBODY_ON = "nobody, filter off", "nobody, filter on"
OFF, ON, WITHOUT_FLOW = "figure, filter off", "figure, filter on", "figure, filter without flow"
TRUE_MASK = "figure, true mask given"

#: Wanted: share of the ghosts that go, share of tokens that are ghosts, and dB of the empty room.
GONE, GHOST_SHARE, EMPTY_ROOM_DB = 0.95, 0.01, 0.3

#: The figure counts as seen if it fills more than this share of the view.
_SEEN = 0.01

#: Views asked for along the tour, and strips drawn, at most.
_TARGETS, _STRIPS = 60, 4


@dataclass(frozen=True)
class FigureRun:
    """One drive.

    Attributes:
        tokens: in memory in the end.
        ghosts: of them, those in space that is free in truth.
        along: views of the empty room all along the tour.
        there: views from where the figure was seen.
        recall: mean share of the figure that is marked, over the keyframes that see it; NaN where
            nothing is marked or nobody is seen.
        wrong: mean share of a keyframe that is marked without reason; NaN where nothing is marked.
        perceive_ms: median for a keyframe.
        removed: tokens forgotten because they were seen through.
    """

    tokens: int
    ghosts: int
    along: list[AskedView]
    there: list[AskedView]
    recall: float
    wrong: float
    perceive_ms: float
    removed: int

    @property
    def as_static(self) -> StaticRun:
        """The same, without what movers have to do with."""
        return StaticRun(self.tokens, self.along, self.wrong, self.perceive_ms, self.removed)


@dataclass(frozen=True)
class FigureRuns:
    """All drives of one apartment.

    Attributes:
        seed: of the apartment.
        keyframes: how many there are.
        seen: numbers of those that see the figure.
        runs: by their names.
        live: what the camera saw where ``there`` of the runs was asked for.
    """

    seed: int
    keyframes: int
    seen: list[int]
    runs: dict[str, FigureRun]
    live: list[RgbdFrame]


def measure(
    seed: int,
    size: tuple[int, int],
    duration_s: float | None,
    progress: Progress,
    *,
    with_figure: bool = True,
) -> FigureRuns:
    """Drive through an apartment once for every row.

    Args:
        seed: of the apartment.
        size: of pictures and views, multiples of 32.
        duration_s: simulated seconds of the tour; None = all of it.
        progress: wraps loops.
        with_figure: False leaves only the rows in which nobody walks.
    """
    tour = scenes.walked_tour(seed, size, duration_s)
    frames = tour.frames
    with frames.sequence:
        keyframes = frames.keyframes()
        for number in progress(keyframes, "render"):
            for each in (number - 1, number):
                if each >= 0:
                    frames.still(each)
                    if with_figure:
                        frames.live(each)
        seen = []
        if with_figure:
            seen = [number for number in keyframes if frames.movers(number).mean() > _SEEN]
        # Between keyframes, so that no view was remembered as it is asked for.
        step = max(1, len(frames) // _TARGETS)
        along = [frames.still(number) for number in range(step // 2, len(frames), step)]
        there = [frames.still(number) for number in seen]

        def masked(number: int) -> RgbdFrame:
            return replace(frames.live(number), dynamic=frames.movers(number))

        rows: dict[str, tuple[Sensor, PerceptionSettings]] = {
            NOBODY_OFF: (frames.still, scenes.OFF),
            NOBODY_ON: (frames.still, scenes.ON),
        }
        if with_figure:
            rows |= {
                OFF: (frames.live, scenes.OFF),
                ON: (frames.live, scenes.ON),
                WITHOUT_FLOW: (frames.live, scenes.WITHOUT_FLOW),
                TRUE_MASK: (masked, scenes.OFF),
            }
        runs = {}
        for name, (sensor, settings) in rows.items():
            marks = _Marks(frames, seen if sensor != frames.still else [])
            driven = drive(
                sensor,
                keyframes,
                scenes.perception(settings),
                size,
                watch=marks.take,
                progress=lambda numbers, name=name: progress(numbers, name),  # type: ignore[misc]
            )
            runs[name] = FigureRun(
                driven.memory.count,
                int(ghosts(driven.memory, frames.still_at, size).sum()),
                ask_views(driven.model, along),
                ask_views(driven.model, there),
                marks.recall,
                marks.wrong,
                driven.perceive_ms,
                driven.removed,
            )
        live = [frames.live(number) for number in seen]
    return FigureRuns(seed, len(keyframes), seen, runs, live)


class _Marks:
    """Holds what is marked against the movers that are there."""

    def __init__(self, frames: scenes.SharedFrames, seen: Sequence[int]) -> None:
        self._frames = frames
        self._seen = frozenset(seen)
        self._recalls: list[float] = []
        self._wrongs: list[float] = []

    def take(self, number: int, _: WorldModel, observation: Observation) -> None:
        """Look at a frame that was remembered."""
        mask = observation.perceived.frame.dynamic
        if mask is None:
            return
        true = np.zeros_like(mask)
        if number in self._seen:
            true = self._frames.movers(number)
            self._recalls.append(float((mask & true).sum() / true.sum()))
        self._wrongs.append(float((mask & ~true).mean()))

    @property
    def recall(self) -> float:
        """Mean share of the movers that is marked."""
        return float(np.mean(self._recalls)) if self._recalls else math.nan

    @property
    def wrong(self) -> float:
        """Mean share of a view that is marked without reason."""
        return float(np.mean(self._wrongs)) if self._wrongs else math.nan


def section(found: FigureRuns, folder: Path, prefix: str = "") -> Section:
    """Tables, targets and pictures of somebody who walked through the view.

    Raises:
        OSError: a picture cannot be written.
    """
    runs = found.runs
    names = list(runs)
    along, there = ({name: score(_views(runs[name], at)) for name in names} for at in (0, 1))
    common = [
        dict(zip(names, common_psnr([_views(runs[name], at) for name in names]), strict=True))
        for at in (0, 1)
    ]
    rows: list[list[Cell]] = [
        [
            name,
            run.tokens,
            run.ghosts,
            percent(run.ghosts / max(1, run.tokens)),
            *score_cells(along[name], common[0][name]),
            *score_cells(there[name], common[1][name]),
            percent(run.recall),
            percent(run.wrong),
            run.removed,
            round(run.perceive_ms, 1),
        ]
        for name, run in runs.items()
    ]
    off, on, alone = runs[OFF], runs[ON], along[NOBODY_ON]
    gone = 1.0 - on.ghosts / off.ghosts if off.ghosts else math.nan
    share = on.ghosts / max(1, on.tokens)
    loss = alone.psnr_db - along[ON].psnr_db
    common_loss = common[0][NOBODY_ON] - common[0][ON]
    was_seen = bool(found.seen)
    return Section(
        title=f"{prefix}Somebody walks through the view",
        text=(
            f"Apartment {found.seed}: the robot drives its tour while a figure walks through the "
            f"first rooms and leaves; {len(found.seen)} of {found.keyframes} keyframes see it. A "
            "ghost is a token whose cell, in the empty room and from where it was seen, is farther "
            "away than the token by more than 10 cm and 3 %. Views of the empty room are asked for "
            "in the end: along the tour between keyframes, and from the very poses from which the "
            "figure was seen, where part of the room may never have been seen without it. What can "
            "be had there says the row in which the true mask is given. PSNR is over the pixels "
            "that a run covers, or over those that all runs cover."
        ),
        tables=(
            Table(
                [
                    "run", "tokens", "ghosts", "ghosts %", "tour dB", "tour covered %",
                    "tour common dB", "there dB", "there covered %", "there common dB",
                    "figure marked %", "wrongly marked %", "tokens forgotten", "perceive ms",
                ],
                rows,
                "what is remembered, and views of the empty room",
            ),
        ),
        pictures=_strips(found, folder),
        targets=(
            bounded(
                "ghosts gone, of those without the filter, %",
                100.0 * gone,
                f"at least {100 * GONE:.0f}",
                gone >= GONE if was_seen and off.ghosts else None,
                f"{off.ghosts} without the filter, {on.ghosts} with it, "
                f"{runs[TRUE_MASK].ghosts} with the true mask, "
                f"{runs[NOBODY_ON].ghosts} with nobody",
            ),
            bounded(
                "ghosts among the tokens, %",
                100.0 * share,
                f"less than {100 * GHOST_SHARE:.0f}",
                share < GHOST_SHARE if was_seen else None,
                f"{100.0 * off.ghosts / max(1, off.tokens):.2f} without the filter",
            ),
            bounded(
                "views of the empty room, dB below those with nobody",
                loss,
                f"at most {EMPTY_ROOM_DB}",
                loss <= EMPTY_ROOM_DB if was_seen else None,
                f"on common pixels {common_loss:.2f}; without the filter "
                f"{alone.psnr_db - along[OFF].psnr_db:.2f}",
            ),
        ),
    )  # fmt: skip


def _views(run: FigureRun, at: int) -> list[AskedView]:
    return (run.along, run.there)[at]


def _strips(found: FigureRuns, folder: Path) -> list[Picture]:
    """What was seen, what is remembered of it without the filter and with it, and the truth."""
    pictures = []
    count = min(_STRIPS, len(found.seen))
    folder.mkdir(parents=True, exist_ok=True)
    for place, at in enumerate(np.linspace(0, len(found.seen) - 1, count).round().astype(int)):
        off, on, mask = (found.runs[name].there[at] for name in (OFF, ON, TRUE_MASK))
        path = folder / f"figure_{found.seed}_{place}.png"
        write_strip(
            path,
            [found.live[at].image, off.image, on.image, tinted(on.image, on.covered),
             mask.image, on.truth],
        )  # fmt: skip
        pictures.append(
            Picture(
                f"{folder.name}/{path.name}",
                "what the camera saw; what is remembered without the filter, with it (and what of "
                "that is not remembered, orange), with the true mask; the empty room",
            )
        )
    return pictures

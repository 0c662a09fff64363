"""The measurements of ``mirage plan-episodes``, one apartment after the other or side by side."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation.episode_apartment import Apartment, EpisodeSizes, Task, readout_model
from mirage_ros.evaluation.episode_methods import IMAGINATION
from mirage_ros.evaluation.episode_sheet import episode_frames, episode_strip
from mirage_ros.evaluation.episodes import Outcome, run_episode
from mirage_ros.evaluation.exploration import EXPLORERS, ExploredArea, explore
from mirage_ros.evaluation.video_file import write_video
from mirage_ros.world_model import WorldModel

#: Poses of a trace, 50 ms apart, for a picture of a video, and pictures a second: twice real time.
_VIDEO_EVERY, _VIDEO_RATE = 4, 10.0


@dataclass(frozen=True)
class Questions:
    """What is measured.

    Attributes:
        seeds: of the apartments.
        episodes: of every apartment, as many numbers as seeds.
        methods: compared.
        explorations: random starts in every apartment; 0 = none.
        explore_s: simulated seconds of each.
        sizes: of views, tours and galleries.
        seed: of tasks and of all that methods draw.
        strips: episodes of every apartment that are shown.
        videos: folder for a video of those of every apartment; None = none.
        build: makes the world model that imagines; must pickle, for workers.
    """

    seeds: tuple[int, ...]
    episodes: tuple[int, ...]
    methods: tuple[str, ...]
    explorations: int
    explore_s: float
    sizes: EpisodeSizes
    seed: int
    strips: int
    videos: Path | None = None
    build: Callable[[EpisodeSizes], WorldModel] = readout_model


@dataclass(frozen=True)
class ApartmentFindings:
    """What one apartment gave.

    Attributes:
        seed: of the apartment.
        outcomes: of all episodes and methods, without what was imagined.
        explored: areas.
        strips: (H, W, 3) pictures of episodes with imagination.
        setup_s: seconds that tour, memory and map took.
        seconds: that everything took.
    """

    seed: int
    outcomes: tuple[Outcome, ...]
    explored: tuple[ExploredArea, ...]
    strips: tuple[NDArray[np.uint8], ...]
    setup_s: float
    seconds: float


def measure(questions: Questions, workers: int) -> list[ApartmentFindings]:
    """All apartments, in the order of the seeds; with several workers in processes of their own.

    Raises:
        MirageError: an apartment gives too few tasks, or this machine cannot render.
    """
    from tqdm import tqdm

    jobs = list(zip(questions.seeds, questions.episodes, strict=True))
    if workers == 1:
        return [_measure_apartment(questions, seed, count, True) for seed, count in jobs]
    # Not forked: neither a GL context nor torch's threads survive that.
    context = multiprocessing.get_context("spawn")
    found: dict[int, ApartmentFindings] = {}
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        futures = [
            pool.submit(_measure_apartment, questions, seed, count, False) for seed, count in jobs
        ]
        for future in tqdm(as_completed(futures), total=len(futures), unit="apartment"):
            findings = future.result()
            found[findings.seed] = findings
    return [found[seed] for seed in questions.seeds]


def _measure_apartment(
    questions: Questions, seed: int, count: int, bars: bool
) -> ApartmentFindings:
    import torch

    # Views are small: with more threads they wait for each other.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure(questions, seed, count, bars)
    finally:
        torch.set_num_threads(threads)


def _measure(questions: Questions, seed: int, count: int, bars: bool) -> ApartmentFindings:
    from tqdm import tqdm

    def progress(items: Iterable[int], what: str) -> Iterable[int]:
        bar: Iterable[int] = tqdm(items, desc=f"{what:32}", leave=False, disable=not bars)
        return bar

    begin = time.perf_counter()
    apartment = Apartment(seed, questions.sizes, progress, questions.build)
    try:
        setup_s = time.perf_counter() - begin
        tasks = apartment.tasks(count, questions.seed)
        outcomes: list[Outcome] = []
        strips: list[NDArray[np.uint8]] = []
        shown: list[tuple[Outcome, Task]] = []
        for method in questions.methods:
            for number in progress(range(count), f"apartment {seed}: {method}"):
                task = tasks[number]
                outcome = run_episode(
                    method, apartment, task, number, questions.seed * 1000 + number
                )
                if method == IMAGINATION and len(strips) < questions.strips:
                    strips.append(episode_strip(outcome, task, apartment.simulator))
                    shown.append((outcome, task))
                outcomes.append(replace(outcome, searches=()))
        if questions.videos is not None and shown:
            frames = (
                frame
                for outcome, task in shown
                for frame in episode_frames(outcome, task, apartment.simulator, _VIDEO_EVERY)
            )
            write_video(questions.videos / f"episodes_{seed}.mp4", frames, _VIDEO_RATE)
        explored = _explore(questions, apartment)
        spent = time.perf_counter() - begin
        return ApartmentFindings(
            seed, tuple(outcomes), tuple(explored), tuple(strips), setup_s, spent
        )
    finally:
        apartment.close()


def _explore(questions: Questions, apartment: Apartment) -> list[ExploredArea]:
    return [
        explore(method, apartment, number, questions.explore_s)
        for method in EXPLORERS
        for number in range(questions.explorations)
    ]


def of_method(findings: Sequence[ApartmentFindings], method: str) -> list[Outcome]:
    """The outcomes of a method over all apartments."""
    return [o for apartment in findings for o in apartment.outcomes if o.method == method]

"""How often a planner finds where an image was taken, with the small model beside the readout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.benchmark_nano_rows import MEAN, READOUT
from mirage_ros.evaluation.episode_apartment import EpisodeSizes, readout_model
from mirage_ros.evaluation.episode_methods import IMAGINATION
from mirage_ros.evaluation.episodes import Outcome, rate_of
from mirage_ros.evaluation.plan_episodes_measure import Questions
from mirage_ros.evaluation.plan_episodes_measure import measure as measure_episodes
from mirage_ros.evaluation.results import Cell, Section, Table
from mirage_ros.generation.nano_model import load_nano, nano_generator
from mirage_ros.memory import LatentMemory
from mirage_ros.world_model import WorldModel, WorldModelConfig


@dataclass(frozen=True)
class EpisodeScale:
    """How many episodes.

    Attributes:
        episodes: in every apartment.
        sizes: of views, tours and galleries.
    """

    episodes: int
    sizes: EpisodeSizes


def nano_world_model(folder: Path, sizes: EpisodeSizes) -> WorldModel:
    """A world model with the small model's mean that remembers nothing yet.

    Raises:
        CheckpointError: the folder's files are not what they should be.
    """
    codec = DctCodec()
    return WorldModel(
        codec,
        LatentMemory(codec),
        nano_generator(load_nano(folder), codec, steps=1),
        WorldModelConfig(sizes.width, sizes.height),
    )


def measure(
    folder: Path, seeds: Sequence[int], scale: EpisodeScale, seed: int
) -> dict[str, list[Outcome]]:
    """Outcomes of the same episodes by who imagines.

    Raises:
        MirageError: an apartment gives too few tasks, or this machine cannot render.
    """
    found = {}
    for name, build in ((READOUT, readout_model), (MEAN, partial(nano_world_model, folder))):
        questions = Questions(
            seeds=tuple(seeds),
            episodes=(scale.episodes,) * len(seeds),
            methods=(IMAGINATION,),
            explorations=0,
            explore_s=0.0,
            sizes=scale.sizes,
            seed=seed,
            strips=0,
            build=build,
        )
        found[name] = [
            outcome
            for apartment in measure_episodes(questions, workers=1)
            for outcome in apartment.outcomes
        ]
    return found


def section(found: Mapping[str, Sequence[Outcome]]) -> Section:
    """Success rates side by side."""
    rows: list[list[Cell]] = []
    for name, outcomes in found.items():
        rate, low, high = rate_of(outcomes)
        rows.append(
            [
                name,
                len(outcomes),
                100.0 * rate,
                100.0 * low,
                100.0 * high,
                float(np.median([outcome.distance for outcome in outcomes])),
                float(np.degrees(np.median([outcome.turn for outcome in outcomes]))),
                float(np.mean([outcome.views for outcome in outcomes])),
                float(np.mean([outcome.thought for outcome in outcomes])),
            ]
        )
    heads = ["who imagines", "episodes", "success, %", "95 % from", "to", "error, m", "error, deg"]
    return Section(
        title="Planning episodes",
        text=(
            "The robot is given an image and drives to where it was taken, by views imagined from "
            "the memory of a tour (mirage plan-episodes says how). The same tasks and the same "
            "planner, once with the readout's views and once with the model's mean, one view at a "
            "time. The tour is loaded from a file, which holds no whole frames, so the model has "
            "for references only what it meets on its way."
        ),
        tables=(
            Table(
                [*heads, "views imagined", "planning, real s"],
                rows,
                "medians of the errors at the end, means of views and time",
            ),
        ),
    )

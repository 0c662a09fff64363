"""What registering keyframes to the memory does against odometry that drifts."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.evaluation import benchmark_perception_scenes as scenes
from mirage_ros.evaluation.benchmark_perception_cells import bounded, decibels, percent
from mirage_ros.evaluation.perception_runs import (
    AskedView,
    Progress,
    ask_views,
    common_psnr,
    drive,
    score,
)
from mirage_ros.evaluation.results import Cell, Picture, Plot, Section, Series, Table
from mirage_ros.evaluation.strips import write_strip
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import inverse, rotation_angle, translation_distance
from mirage_ros.perception.settings import PerceptionSettings
from mirage_ros.sources.simulator.odometry import OdometryDrift
from mirage_ros.sources.simulator.rendered import robot_tour
from mirage_ros.sources.simulator.robot import RobotCamera
from mirage_ros.world_model import Observation, WorldModel

#: Rows of the table.
OFF, ON = "drift, registration off", "drift, registration on"
TRUE_OFF, TRUE_ON = "true poses, registration off", "true poses, registration on"

#: How odometry errs: 2 % of the way and a degree a metre, always to the same side.
DRIFT = OdometryDrift(distance_error=0.02, heading_error=math.radians(1.0), roll_length=math.inf)

Poses = NDArray[np.float64]  # (N, 4, 4) T_world_camera

#: Wanted: dB of revisits with registration above those without.
BETTER_DB = 2.0

#: The tour takes about three seconds a metre, and no more than this.
_LONGEST = 8.0

#: Views asked for along the way, and strips drawn, at most.
_TARGETS, _STRIPS = 40, 3


@dataclass
class DriftRun:
    """One drive.

    Attributes:
        way: (K,) metres driven until each keyframe.
        metres: (K,) distance of the believed pose from the true one.
        degrees: (K,) angle between them.
        views: of all the way, asked for in the end from where the robot then believes to be.
        registered: share of the keyframes whose registration was accepted; NaN without.
        tokens: in memory in the end.
        perceive_ms: median for a keyframe.
    """

    way: list[float]
    metres: list[float]
    degrees: list[float]
    views: list[AskedView]
    registered: float = math.nan
    tokens: int = 0
    perceive_ms: float = math.nan


@dataclass(frozen=True)
class DriftRuns:
    """All drives of one apartment.

    Attributes:
        seed: of the apartment.
        runs: by their names.
        asked_at: (T,) metres driven where each of the views was seen.
    """

    seed: int
    runs: dict[str, DriftRun]
    asked_at: list[float]


def measure(seed: int, size: tuple[int, int], length: float, progress: Progress) -> DriftRuns:
    """Drive with odometry that drifts and with true poses, registration off and on.

    Args:
        seed: of the apartment.
        size: of pictures and views, multiples of 32.
        length: of the tour, metres.
        progress: wraps loops.
    """
    sequence = robot_tour(
        seed,
        camera=RobotCamera(*size),
        rate_hz=scenes.RATE_HZ,
        duration_s=_LONGEST * length,
        drift=DRIFT,
    )
    with sequence:
        frames = scenes.SharedFrames(sequence)
        way = frames.way()
        keyframes = [number for number in frames.keyframes() if way[number] <= length]
        true, drifted = frames.poses, sequence.odometry_poses
        between = [(a + b) // 2 for a, b in itertools.pairwise(keyframes)]
        between = between[:: max(1, len(between) // _TARGETS)]
        for number in progress(keyframes, "render"):
            frames.still(number)
        targets = [frames.still(number) for number in between]
        runs = {}
        for name, poses, registration in (
            (OFF, drifted, False),
            (ON, drifted, True),
            (TRUE_OFF, true, False),
            (TRUE_ON, true, True),
        ):
            run = DriftRun([], [], [], [])

            def sensor(number: int, poses: Poses = poses) -> RgbdFrame:
                return replace(frames.still(number), T_world_camera=poses[number])

            def watch(
                number: int,
                model: WorldModel,
                _: Observation,
                run: DriftRun = run,
                poses: Poses = poses,
            ) -> None:
                believed = model.T_memory_world @ poses[number]
                run.way.append(float(way[number]))
                run.metres.append(translation_distance(believed, true[number]))
                run.degrees.append(math.degrees(rotation_angle(believed, true[number])))

            driven = drive(
                sensor,
                keyframes,
                scenes.perception(PerceptionSettings(registration=registration)),
                size,
                watch=watch,
                progress=lambda numbers, name=name: progress(numbers, name),  # type: ignore[misc]
            )
            # Back to where it was, as a planner would ask: relative to where the robot is now.
            last = keyframes[-1]
            now = poses[last] @ inverse(true[last])
            run.views = ask_views(driven.model, targets, now @ true[between])
            found = [seen.perceived.registration for seen in driven.observations]
            accepted = [each.accepted for each in found if each is not None]
            run.registered = float(np.mean(accepted)) if accepted else math.nan
            run.tokens = driven.memory.count
            run.perceive_ms = driven.perceive_ms
            runs[name] = run
    return DriftRuns(seed, runs, way[between].tolist())


def section(found: DriftRuns, folder: Path, prefix: str = "") -> Section:
    """Table, curves, target and pictures.

    Raises:
        OSError: a picture cannot be written.
    """
    runs = found.runs
    common = dict(zip(runs, common_psnr([run.views for run in runs.values()]), strict=True))
    scores = {name: score(run.views) for name, run in runs.items()}
    rows: list[list[Cell]] = [
        [
            name, round(float(np.mean(run.metres)), 3), round(max(run.metres), 3),
            round(run.metres[-1], 3), round(float(np.mean(run.degrees)), 2),
            round(max(run.degrees), 2), round(run.degrees[-1], 2), percent(run.registered),
            decibels(scores[name].psnr_db), percent(scores[name].coverage),
            decibels(common[name]), run.tokens, round(run.perceive_ms, 1),
        ]
        for name, run in runs.items()
    ]  # fmt: skip
    better = scores[ON].psnr_db - scores[OFF].psnr_db
    length = runs[ON].way[-1]
    return Section(
        title=f"{prefix}Odometry that drifts",
        text=(
            f"Apartment {found.seed}: {length:.1f} m of the tour, {len(runs[ON].way)} keyframes. "
            "Odometry errs by 2 % of the way and 1 degree a metre, always to the same side. "
            "Errors are those of the pose in the memory's frame against the truth. In the end the "
            "robot asks for views all along its way, each where it truly was relative to where it "
            "truly is now: what it would see if it drove back. PSNR is over covered pixels, the "
            "common one over those that all runs cover."
        ),
        tables=(
            Table(
                [
                    "run", "error, mean m", "largest m", "in the end m", "angle, mean deg",
                    "largest deg", "in the end deg", "registered %", "revisits dB", "covered %",
                    "common dB", "tokens", "perceive ms",
                ],
                rows,
                "errors of the pose, and views of where the robot was",
            ),
        ),
        plots=(
            Plot(
                "Position error", "metres driven", "m",
                [Series(name, run.way, run.metres) for name, run in runs.items()],
            ),
            Plot(
                "Heading error", "metres driven", "degrees",
                [Series(name, run.way, run.degrees) for name, run in runs.items()],
            ),
            Plot(
                "Revisits in the end", "metres along the way where the view was seen", "dB",
                [
                    Series(name, found.asked_at, [view.psnr_db() for view in run.views])
                    for name, run in runs.items()
                ],
            ),
        ),
        pictures=_strips(found, folder),
        targets=(
            bounded(
                "dB of revisits, registration on against off", better, f"at least {BETTER_DB}",
                better >= BETTER_DB,
                f"{scores[OFF].psnr_db:.2f} off, {scores[ON].psnr_db:.2f} on, "
                f"{scores[TRUE_OFF].psnr_db:.2f} with true poses; on common pixels "
                f"{common[ON] - common[OFF]:.2f} better",
            ),
        ),
    )  # fmt: skip


def _strips(found: DriftRuns, folder: Path) -> list[Picture]:
    """Views of places on the way: the truth, without registration, with it, and with true poses."""
    pictures = []
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.linspace(0, len(found.asked_at) - 1, _STRIPS + 2).astype(int)[1:-1].tolist()
    for place, at in enumerate(numbers):
        path = folder / f"drift_{found.seed}_{place}.png"
        views = [found.runs[name].views[at] for name in (OFF, ON, TRUE_OFF)]
        write_strip(path, [views[0].truth, *(view.image for view in views)])
        pictures.append(
            Picture(
                f"{folder.name}/{path.name}",
                f"{found.asked_at[at]:.0f} m along the way: the truth, without registration, with "
                "it, with true poses",
            )
        )
    return pictures

"""``mirage benchmark perception``: what people, bad depth and drift do to the memory.

Each with the filter or the correction on against off, in one run.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.progress_bar import progress_bar

if TYPE_CHECKING:
    from mirage_ros.evaluation.benchmark_perception_static import StaticRun
    from mirage_ros.evaluation.datasets import Dataset
    from mirage_ros.evaluation.results import Section
    from mirage_ros.sources.frame_source import FrameSource

#: Parts of the benchmark, in order.
PARTS = ("figure", "chair", "static", "depth", "drift", "cost")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        size: width x height, unless said otherwise.
        figure_s: simulated seconds of the tour on which somebody walks; None = all of it.
        chair_s: likewise of the one past the chair.
        depth_s: likewise of the frames with bad depth.
        drift_metres: of the way with drifting odometry.
        cost_size: width x height where time is taken.
        cost_s: simulated seconds of that tour.
    """

    size: str = "320x256"
    figure_s: float | None = None
    chair_s: float | None = None
    depth_s: float = 20.0
    drift_metres: float = 30.0
    cost_size: tuple[int, int] = (640, 480)
    cost_s: float | None = None


FULL = Scale()
QUICK = Scale("160x128", 12.0, 12.0, 4.0, 3.0, (160, 128), 12.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark_perception_out"), metavar="DIR",
        help="where benchmark.json, report.html and pictures go (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--parts", default=",".join(PARTS), metavar="LIST",
        help="which parts to run, with commas (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--seeds", default="100", metavar="LIST",
        help="of the simulated apartments, with commas (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sequence", metavar="DATASET",
        help="recording for bad depth, and as a static scene: a folder or a bag. Without one the "
        "simulator stands in",
    )  # fmt: skip
    parser.add_argument("--memory", default="0:190:10", help="frames of it that are remembered")
    parser.add_argument("--targets", default="4:184:20", help="frames of it that are asked for")
    parser.add_argument(
        "--size", metavar="WxH",
        help=f"of simulated pictures, multiples of 32 (default {FULL.size})",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a check, not a figure")


def run(options: argparse.Namespace) -> int:
    """Measure, write results, pictures and page, print the targets; 0 even where one is missed.

    Raises:
        ConfigurationError: an unknown part, a value out of range, or frames that the recording
            does not have.
        OSError: results cannot be written.
    """
    parts = _listed(options.parts)
    if not parts or (unknown := [part for part in parts if part not in PARTS]):
        told = f"'{unknown[0]}'" if parts else "none"
        raise ConfigurationError(f"parts are some of {', '.join(PARTS)}. Got {told}")
    seeds = _seeds(options.seeds)
    scale = QUICK if options.quick else FULL
    size = _size(options.size or scale.size)
    if options.threads < 1:
        raise ConfigurationError(f"threads must be at least 1. Got {options.threads}")
    import cv2
    import torch

    from mirage_ros.evaluation.benchmark_output import write
    from mirage_ros.evaluation.results import Result

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    sections = _measured(options, parts, seeds, scale, size)
    result = Result(
        title="Perception benchmark" + (" (quick: a check, not a figure)" if options.quick else ""),
        command=_command(options),
        inputs={
            "apartment seeds": ", ".join(map(str, seeds)),
            "recording": Path(options.sequence).name if options.sequence else None,
            "size": f"{size[0]}x{size[1]}",
            "threads": options.threads,
        },
        sections=sections,
    )
    write(result, options.out)
    return 0


def _measured(
    options: argparse.Namespace,
    parts: list[str],
    seeds: list[int],
    scale: Scale,
    size: tuple[int, int],
) -> list[Section]:
    from mirage_ros.evaluation import benchmark_perception_chair as chair
    from mirage_ros.evaluation import benchmark_perception_cost as cost
    from mirage_ros.evaluation import benchmark_perception_drift as drift
    from mirage_ros.evaluation import benchmark_perception_figure as figure
    from mirage_ros.evaluation import benchmark_perception_static as static

    folder = options.out / "pictures"
    made: dict[str, list[Section]] = {}
    still: dict[str, tuple[static.StaticRun, static.StaticRun]] = {}
    for seed in seeds:
        prefix = f"Apartment {seed}: " if len(seeds) > 1 else ""
        if "figure" in parts or "static" in parts:
            walked = figure.measure(
                seed, size, scale.figure_s, progress_bar, with_figure="figure" in parts
            )
            still[f"apartment {seed}"] = (
                walked.runs[figure.NOBODY_OFF].as_static,
                walked.runs[figure.NOBODY_ON].as_static,
            )
            if "figure" in parts:
                section = figure.section(walked, folder, prefix)
                made.setdefault("figure", []).append(section)
        if "chair" in parts:
            moved = chair.measure(seed, size, scale.chair_s, progress_bar)
            made.setdefault("chair", []).append(chair.section(moved, folder, prefix))
        if "drift" in parts:
            drifted = drift.measure(seed, size, scale.drift_metres, progress_bar)
            made.setdefault("drift", []).append(drift.section(drifted, folder, prefix))
    if "static" in parts:
        if options.sequence:
            name = Path(options.sequence).name
            still[name] = _static_recording(options)
        made["static"] = [static.section(still)]
    if "depth" in parts:
        made["depth"] = [_depth(options, scale, seeds[0], size)]
    if "cost" in parts:
        costs = cost.measure(seeds[0], scale.cost_size, scale.cost_s, progress_bar)
        made["cost"] = [cost.section(costs, options.threads)]
    return [section for part in PARTS for section in made.get(part, [])]


def _static_recording(options: argparse.Namespace) -> tuple[StaticRun, StaticRun]:
    """The filter off and on over a recording in which nothing moves."""
    from mirage_ros.evaluation import benchmark_perception_static as static
    from mirage_ros.evaluation.datasets import open_dataset

    with open_dataset(options.sequence) as dataset:
        return static.measure(
            dataset.frames.__getitem__,
            _positions(dataset, options.memory),
            dataset.numbered(options.targets),
            _whole_cells(dataset),
            progress_bar,
        )


def _depth(options: argparse.Namespace, scale: Scale, seed: int, size: tuple[int, int]) -> Section:
    """Bad depth, on the recording where there is one."""
    from mirage_ros.evaluation import benchmark_perception_depth as depth
    from mirage_ros.evaluation.datasets import open_dataset
    from mirage_ros.evaluation.protocol import Size

    if options.sequence:
        with open_dataset(options.sequence) as dataset:
            found = depth.measure(
                # All readers of recordings are.
                cast("FrameSource", dataset.frames),
                _positions(dataset, options.memory),
                _positions(dataset, options.targets),
                Size(*_whole_cells(dataset)),
                progress_bar,
            )
        how = f"Frames {options.memory} are remembered, {options.targets} asked for."
        return depth.section(found, Path(options.sequence).name, how)
    from mirage_ros.evaluation.benchmark_perception_scenes import RATE_HZ
    from mirage_ros.sources.simulator.rendered import robot_tour
    from mirage_ros.sources.simulator.robot import RobotCamera

    tour = robot_tour(seed, camera=RobotCamera(*size), rate_hz=RATE_HZ, duration_s=scale.depth_s)
    with tour:
        count = len(tour)
        found = depth.measure(
            tour, range(0, count, 8), range(4, count - 4, 16), Size(*size), progress_bar
        )
    how = (
        f"No recording was given, so simulated apartment {seed} stands in, whose depth is exact: "
        f"of {scale.depth_s:.0f} s at {RATE_HZ:.0f} Hz every eighth frame is remembered, and "
        "every sixteenth asked for, between those."
    )
    return depth.section(found, f"simulated apartment {seed}", how)


def _positions(dataset: Dataset, text: str) -> list[int]:
    """Where in a dataset the frames of these numbers are."""
    from mirage_ros.evaluation.datasets import frame_numbers

    places = {int(number): place for place, number in enumerate(dataset.frames.frame_numbers)}
    wanted = frame_numbers(text)
    missing = [number for number in wanted if number not in places]
    if missing:
        raise ConfigurationError(f"{dataset.name} has no frame {missing[0]}, asked for by '{text}'")
    return [places[number] for number in wanted]


def _whole_cells(dataset: Dataset) -> tuple[int, int]:
    camera = dataset.frames.camera
    return camera.width // 32 * 32, camera.height // 32 * 32


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _seeds(text: str) -> list[int]:
    seeds = _listed(text)
    if not seeds or not all(seed.isdigit() for seed in seeds):
        raise ConfigurationError(f"seeds must be whole numbers with commas. Got '{text}'")
    return [int(seed) for seed in seeds]


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigurationError(f"size must be WIDTHxHEIGHT. Got '{text}'")
    if not int(width) or not int(height) or int(width) % 32 or int(height) % 32:
        raise ConfigurationError(f"size must be positive multiples of 32. Got '{text}'")
    return int(width), int(height)


def _command(options: argparse.Namespace) -> str:
    """The line that measures it again, without this machine's folders."""
    given = [f"--parts {options.parts}", f"--seeds {options.seeds}"]
    if options.size:
        given.append(f"--size {options.size}")
    given.append(f"--threads {options.threads}")
    if options.sequence:
        given.append(f"--sequence {shlex.quote(Path(options.sequence).name)}")
        given.append(f"--memory {options.memory} --targets {options.targets}")
    if options.quick:
        given.append("--quick")
    return f"mirage benchmark perception {' '.join(given)}"

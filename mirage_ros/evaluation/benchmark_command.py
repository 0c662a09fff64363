"""``mirage benchmark``: what the memories cost and keep, measured side by side in one run."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.progress_bar import progress_bar
from mirage_ros.frames import RgbdFrame, fit_frame
from mirage_ros.sources.frame_source import FrameSource

#: Parts of the benchmark, in order.
PARTS = ("tour", "growth", "readout", "quality")


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        tour_size: width x height of the efficiency tour.
        chunks: of the efficiency tour.
        growth_size: width x height of the long run.
        lap_chunks: chunks of one of its laps.
        growth_chunks: chunks of all of it.
    """

    tour_size: tuple[int, int] = (1280, 704)
    chunks: int = 5
    growth_size: tuple[int, int] = (320, 256)
    lap_chunks: int = 25
    growth_chunks: int = 1000


FULL = Scale()
QUICK = Scale((320, 256), 5, (160, 128), 6, 30)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "--out", type=Path, default=Path("benchmark_out"), metavar="DIR",
        help="where benchmark.json and report.html go (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--parts", default=",".join(PARTS), metavar="LIST",
        help="which parts to run, with commas (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--sequence", metavar="DATASET",
        help="recording for the quality part beside the simulator: a folder or a bag",
    )  # fmt: skip
    parser.add_argument("--memory", default="0:190:10", help="frames of it that are remembered")
    parser.add_argument("--targets", default="4:184:20", help="frames of it that are read")
    parser.add_argument("--seed", type=int, default=3, help="of the simulated apartment")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="small sizes: a check, not a figure")


def run(options: argparse.Namespace) -> int:
    """Measure, write results and page, print the targets; 0 even where one is missed.

    Raises:
        ConfigurationError: an unknown part, or frames that the sequence does not have.
        OSError: results cannot be written.
    """
    parts = [part.strip() for part in options.parts.split(",") if part.strip()]
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise ConfigurationError(f"parts are some of {', '.join(PARTS)}. Got '{options.parts}'")
    if options.threads < 1:
        raise ConfigurationError(f"threads must be at least 1. Got {options.threads}")
    import torch

    from mirage_ros.atomic import write_atomically
    from mirage_ros.codec import DctCodec
    from mirage_ros.evaluation.html_report import html_page
    from mirage_ros.evaluation.result_file import write_result
    from mirage_ros.evaluation.results import Result

    torch.set_num_threads(options.threads)
    scale = QUICK if options.quick else FULL
    codec = DctCodec()
    options.out.mkdir(parents=True, exist_ok=True)
    sections = []
    if "tour" in parts or "readout" in parts:
        sections += _tour_parts(codec, scale, options, parts)
    if "growth" in parts:
        sections.append(_growth_part(codec, scale, options))
    if "quality" in parts:
        sections += _quality_parts(codec, options)
    result = Result(
        title="Memory benchmark" + (" (quick: a check, not a figure)" if options.quick else ""),
        command=_command(options),
        inputs={
            "apartment seed": options.seed,
            "recording": Path(options.sequence).name if options.sequence else None,
            "threads": options.threads,
        },
        sections=sections,
    )
    path = options.out / "benchmark.json"
    write_result(result, path)
    write_atomically(options.out / "report.html", html_page([(result, options.out)]).encode())
    for target in result.targets:
        mark = {True: "met", False: "MISSED", None: "not measured"}[target.met]
        print(f"{mark:>12}  {target.name}: {target.measured} ({target.wanted}) {target.comment}")
    print(f"{path} and {options.out / 'report.html'}")
    return 0


def _tour_parts(codec, scale: Scale, options: argparse.Namespace, parts: list[str]) -> list:  # type: ignore[no-untyped-def, type-arg]
    from mirage_ros.evaluation import benchmark_readout, benchmark_tour
    from mirage_ros.sources.simulator.closed_tour import closed_loop_tour

    width, height = scale.tour_size
    step = benchmark_tour.CHUNK - 1
    count = (scale.chunks + 1) * step + 1
    tour = closed_loop_tour(options.seed, count, width=width, height=height)
    frames = _rendered(tour.frames, count, "render the tour")
    sections = []
    if "tour" in parts:
        costs = []
        for name, memory in benchmark_tour.contenders(codec).items():
            costs.append(benchmark_tour.follow(name, memory, frames, scale.chunks, progress_bar))
            memory.clear()
        told = (
            f"The tour: simulated apartment {options.seed}, {tour.metres_per_chunk:.2f} m and "
            f"{tour.degrees_per_chunk:.1f} degrees a chunk, through {', '.join(tour.rooms)}."
        )
        sections.append(benchmark_tour.section(costs, scale.tour_size, told))
    if "readout" in parts:
        sections.append(benchmark_readout.measure(codec, frames, options.threads))
    return sections


def _growth_part(codec, scale: Scale, options: argparse.Namespace):  # type: ignore[no-untyped-def]
    from mirage_ros.evaluation import benchmark_growth as growth
    from mirage_ros.evaluation.benchmark_tour import CHUNK
    from mirage_ros.memory import BoundsConfig
    from mirage_ros.sources.simulator.closed_tour import closed_loop_tour

    width, height = scale.growth_size
    lap = scale.lap_chunks * (CHUNK - 1)
    # Twice as dense as it is stored, so that there are views between to be asked for.
    tour = closed_loop_tour(
        options.seed, 2 * lap + 1, width=width, height=height,
        metres_per_chunk=0.5, degrees_per_chunk=7.5,
    )  # fmt: skip
    frames = _rendered(tour.frames, 2 * lap, "render the laps")
    stored, between = frames[::2], frames[1::2]
    free = growth.laps(codec, stored, scale.growth_chunks, BoundsConfig().capacity, progress_bar)
    filled = free.count[scale.lap_chunks - 1]
    few = 3 * scale.lap_chunks
    at_capacity = growth.laps(
        codec, stored, min(few, scale.growth_chunks), filled // 2, progress_bar
    )
    kept = {}
    for name, capacity in (
        ("no bound", BoundsConfig().capacity),
        ("three quarters of that", filled * 3 // 4),
        ("half", filled // 2),
        ("a quarter", filled // 4),
    ):
        kept[name] = (capacity, *growth.recall(codec, stored, between, capacity, progress_bar))
    return growth.section(free, at_capacity, kept)


def _quality_parts(codec, options: argparse.Namespace) -> list:  # type: ignore[no-untyped-def, type-arg]
    from mirage_ros.evaluation import benchmark_quality as quality
    from mirage_ros.evaluation.datasets import open_dataset
    from mirage_ros.sources.simulator.closed_tour import closed_loop_tour

    sections = []
    if options.sequence:
        with open_dataset(options.sequence) as dataset:
            sources = dataset.numbered(options.memory)
            targets = dataset.numbered(options.targets)
        camera = sources[0].camera
        size = (camera.width // 32 * 32, camera.height // 32 * 32)
        sources = [fit_frame(frame, *size) for frame in sources]
        targets = [fit_frame(frame, *size) for frame in targets]
        name = Path(options.sequence).name
        sections.append(
            quality.section(name, quality.measure(codec, sources, targets, progress_bar))
        )
    tour = closed_loop_tour(options.seed, 49 if not options.quick else 17)
    frames = _rendered(tour.frames, len(tour.frames), "render")
    simulated = quality.measure(codec, frames[::2], frames[1::2], progress_bar)
    sections.append(quality.section(f"simulated apartment {options.seed}", simulated))
    return sections


def _rendered(frames: FrameSource, count: int, what: str) -> list[RgbdFrame]:
    """The first frames of a simulated tour, whose renderer is not needed afterwards."""
    with frames:
        return [frames[number] for number in progress_bar(range(count), what)]


def _command(options: argparse.Namespace) -> str:
    given = [f"--parts {options.parts}", f"--seed {options.seed}", f"--threads {options.threads}"]
    if options.sequence:
        given.append(f"--sequence {shlex.quote(Path(options.sequence).name)}")
        given.append(f"--memory {options.memory} --targets {options.targets}")
    if options.quick:
        given.append("--quick")
    return f"mirage benchmark {' '.join(given)}"

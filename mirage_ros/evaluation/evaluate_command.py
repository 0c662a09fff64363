"""``mirage evaluate DATASET``: the quality of predicted views, for all memories in one report.

Three things are asked of every memory: single views (``protocol.py``), closed loops
(``closed_loop.py``) and a path of consecutive frames (``path_quality.py``). Their docstrings and
the report say what exactly is done.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.datasets import (
    FrameSequence,
    frame_numbers,
    load,
    open_dataset,
    simulator_seed,
)
from mirage_ros.evaluation.progress_bar import progress_bar

if TYPE_CHECKING:
    pass

#: Simulated frames a second of the robot's tour.
_SIMULATED_HZ = 5.0


@dataclass(frozen=True)
class Amounts:
    """How much is measured where nothing else is asked for.

    Attributes:
        memory: frames remembered, FIRST:LAST:STEP.
        targets: frames predicted, likewise.
        simulated_size: width and height of simulated views, pixels.
        largest_size: of views of recordings, likewise; None = any.
        tour_frames: of the simulator's closed tour.
        rollout_views: of the closed rollout, at most.
        path_frames: consecutive frames of the path.
        pictures: targets that are shown in the report.
    """

    memory: str
    targets: str
    simulated_size: tuple[int, int]
    largest_size: tuple[int, int] | None
    tour_frames: int
    rollout_views: int
    path_frames: int
    pictures: int


FULL = Amounts("0:190:10", "4:184:20", (320, 256), None, 161, 33, 33, 4)
QUICK = Amounts("0:20:4", "2:18:8", (160, 128), (160, 128), 25, 9, 4, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "dataset", help="folder in 7-Scenes or TUM RGB-D layout, rosbag2 recording, or sim:SEED"
    )
    span = "FIRST:LAST:STEP"
    parser.add_argument(
        "--memory", metavar=span, help=f"frame numbers remembered (default {FULL.memory})"
    )
    parser.add_argument(
        "--targets", metavar=span, help=f"frame numbers predicted (default {FULL.targets})"
    )
    parser.add_argument(
        "--path",
        metavar=span,
        help="frame numbers of the path whose consistency is measured (default: "
        f"{FULL.path_frames} consecutive frames in the middle of those remembered)",
    )
    parser.add_argument(
        "--size",
        metavar="WIDTHxHEIGHT",
        help="of the views, multiples of 32 (default: the largest within the frames' own; "
        f"simulated {FULL.simulated_size[0]}x{FULL.simulated_size[1]})",
    )
    parser.add_argument(
        "--grids",
        type=int,
        default=1,
        help="cell grids that the latent memory encodes a frame on: 1, 2 or 4 (default 1)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("evaluate_out"),
        metavar="DIR",
        help="folder for evaluate.json, report.html and pictures (default %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small views and few of them, to see that it works"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, write ``evaluate.json``, ``report.html`` and pictures, print a table; 0.

    Raises:
        ConfigurationError: a number, span or size is not allowed, or the dataset lacks a frame.
        MirageError: a frame cannot be read or used.
        OSError: the folder cannot be written to.
    """
    from mirage_ros.evaluation.closed_way import recorded_way, simulated_way
    from mirage_ros.evaluation.contenders import contenders
    from mirage_ros.evaluation.evaluate_measure import Questions, measure
    from mirage_ros.evaluation.evaluate_report import document, short_table
    from mirage_ros.evaluation.html_report import html_page
    from mirage_ros.evaluation.protocol import Size
    from mirage_ros.evaluation.result_file import write_result

    amounts = QUICK if options.quick else FULL
    memory, targets = options.memory or amounts.memory, options.targets or amounts.targets
    remembered, predicted = frame_numbers(memory), frame_numbers(targets)
    path = None if options.path is None else frame_numbers(options.path)
    memories = contenders(options.grids)
    seed = simulator_seed(options.dataset)
    size = None if options.size is None else Size(*_size(options.size))
    if size is None and seed is not None:
        size = Size(*amounts.simulated_size)
    rendered = size or Size(*amounts.simulated_size)
    # The simulator's tour is driven no further than it is needed.
    last = max(remembered[-1], predicted[-1], path[-1] if path else 0)
    with ExitStack() as stack:
        dataset = stack.enter_context(
            open_dataset(
                options.dataset,
                width=rendered.width,
                height=rendered.height,
                rate_hz=_SIMULATED_HZ,
                duration_s=max(last, 1) / _SIMULATED_HZ,
            )
        )
        frames = dataset.frames
        if size is None:
            size = Size(*_own_size(frames, amounts.largest_size))
        if path is None:
            path = _middle(frames, remembered, amounts.path_frames)
        if seed is None:
            way = recorded_way(frames, remembered[0], remembered[-1], amounts.rollout_views)
        else:
            way = stack.enter_context(
                simulated_way(seed, amounts.tour_frames, size, amounts.rollout_views)
            )
        findings = measure(
            Questions(
                sources=load(frames, remembered),
                targets=load(frames, predicted),
                numbers=predicted,
                way=way,
                path=load(frames, path),
                size=size,
                pictures=amounts.pictures,
            ),
            memories,
            options.out,
            progress_bar,
        )
    result = document(
        findings,
        title=f"Quality of predicted views: {dataset.name}",
        command=_command(options),
        inputs={
            "dataset": dataset.origin,
            "frames remembered": memory,
            "targets": targets,
            "path": f"{len(path)} frames from {path[0]} to {path[-1]}",
            "size of views": f"{size.width}x{size.height}",
            "cell grids": options.grids,
        },
    )
    write_result(result, options.out / "evaluate.json")
    write_atomically(options.out / "report.html", html_page([(result, options.out)]).encode())
    print(short_table(findings))
    print(f"\n{options.out / 'report.html'}")
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text, flags=re.ASCII)
    if match is None:
        raise ConfigurationError(f"a size is given as WIDTHxHEIGHT, such as 320x256. Got '{text}'")
    return int(match[1]), int(match[2])


def _own_size(frames: FrameSequence, largest: tuple[int, int] | None) -> tuple[int, int]:
    """The largest size of views within the frames' own and another one.

    Raises:
        ConfigurationError: the frames are too small for any.
    """
    from mirage_ros.world_model import SIZE_MULTIPLE

    width, height = frames.camera.width, frames.camera.height
    if largest is not None:
        width, height = min(width, largest[0]), min(height, largest[1])
    if min(width, height) < SIZE_MULTIPLE:
        raise ConfigurationError(
            f"frames must be at least {SIZE_MULTIPLE}x{SIZE_MULTIPLE}, unless --size is given. "
            f"Got {width}x{height}"
        )
    return width // SIZE_MULTIPLE * SIZE_MULTIPLE, height // SIZE_MULTIPLE * SIZE_MULTIPLE


def _middle(frames: FrameSequence, remembered: Sequence[int], count: int) -> list[int]:
    """Numbers of consecutive frames around the middle of those remembered."""
    numbers = [int(number) for number in frames.frame_numbers]
    within = [n for n in numbers if remembered[0] <= n <= remembered[-1]] or numbers
    start = max(0, (len(within) - count) // 2)
    return within[start : start + count]


def _command(options: argparse.Namespace) -> str:
    """The line that measures the same again."""
    words = ["mirage", "evaluate", options.dataset]
    for name in ("memory", "targets", "path", "size"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name}", value]
    words += ["--grids", str(options.grids)] if options.grids != 1 else []
    words += ["--quick"] if options.quick else []
    return shlex.join([*words, "--out", str(options.out)])

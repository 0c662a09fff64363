"""``mirage benchmark nano``: what the small model adds to what is remembered.

Apartments that nothing was trained or tuned on, real frames beside them, all rows in one run.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.progress_bar import progress_bar
from mirage_ros.nano_backend import SHIPPED

if TYPE_CHECKING:
    from mirage_ros.evaluation.benchmark_nano_parts import Amounts

#: Parts of the benchmark, in order.
PARTS = ("views", "real", "loops", "steps", "long", "episodes")

#: Splits of apartments that may be looked at.
SPLITS = ("test", "validation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("benchmark_nano_out"), metavar="DIR",
        help="where benchmark.json, report.html and pictures go (default %(default)s)")  # fmt: skip
    add("--parts", default=",".join(PARTS), metavar="LIST",
        help="which parts to run, with commas (default %(default)s)")  # fmt: skip
    add("--model", type=Path, default=SHIPPED, metavar="FOLDER",
        help="of the model (default: the one that is shipped)")  # fmt: skip
    add("--ablation", action="append", default=[], metavar="NAME=FOLDER",
        help="another model to stand beside it; may be given several times")  # fmt: skip
    add("--rgb-ablation", action="append", default=[], metavar="NAME=FOLDER",
        help="likewise, one that remembers coloured points")  # fmt: skip
    add("--apartments", type=int, metavar="N", help="simulated apartments (default 6)")
    add("--split", choices=SPLITS, default="test",
        help="which apartments; nothing may be chosen by what the test shows "
        "(default %(default)s)")  # fmt: skip
    add("--sequence", metavar="DATASET",
        help="recording for the part of real frames, which is left out without one")  # fmt: skip
    add("--steps-sample", type=int, default=8, metavar="K",
        help="steps of the sample (default %(default)s)")  # fmt: skip
    add("--size", metavar="WxH", help="of pictures, multiples of 32 (default 320x256)")
    add("--seed", type=int, default=0, help="of the noise and the tasks (default %(default)s)")
    add("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    add("--quick", action="store_true", help="small sizes: a check, not a figure")


@dataclass(frozen=True)
class _Named:
    name: str
    folder: Path
    points: bool


def run(options: argparse.Namespace) -> int:
    """Measure, write results, pictures and page, print the targets; 0 even where one is missed.

    Raises:
        ConfigurationError: an unknown part, or a value out of range.
        UnavailableError: there is no such model.
        CheckpointError: a model's files are not what they should be.
        OSError: results cannot be written.
    """
    parts = _parts(options)
    named = _ablations(options)
    if options.threads < 1 or options.steps_sample < 2 or options.seed < 0:
        raise ConfigurationError(
            "threads must be at least 1, steps-sample at least 2 and seed not negative. "
            f"Got {options.threads}, {options.steps_sample} and {options.seed}"
        )
    import cv2
    import torch

    from mirage_ros.evaluation.benchmark_nano_parts import FULL, QUICK, measured
    from mirage_ros.evaluation.benchmark_nano_rows import Ablation, Cast
    from mirage_ros.evaluation.benchmark_output import write
    from mirage_ros.evaluation.results import Result
    from mirage_ros.generation.nano_model import load_nano

    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    cast = Cast(
        load_nano(options.model),
        options.steps_sample,
        [Ablation(one.name, load_nano(one.folder), one.points) for one in named],
    )
    amounts = _amounts(options, QUICK if options.quick else FULL)
    options.out.mkdir(parents=True, exist_ok=True)
    sections = measured(
        cast,
        parts,
        amounts,
        options.out,
        model=options.model,
        split=options.split,
        sequence=options.sequence,
        seed=options.seed,
        progress=progress_bar,
    )
    numbers = sum(parameter.numel() for parameter in cast.model.transformer.parameters())
    result = Result(
        title="Small model benchmark" + (" (quick: a check, not a figure)" * options.quick),
        command=_command(options),
        inputs={
            "model": options.model.name,
            "parameters, millions": round(numbers / 1e6, 2),
            "ablations": ", ".join(one.name for one in named) or None,
            "apartments": f"{amounts.apartments} of split {options.split}",
            "recording": Path(options.sequence).name if options.sequence else None,
            "size": f"{amounts.drive.size.width}x{amounts.drive.size.height}",
            "steps of the sample": options.steps_sample,
            "seed": options.seed,
            "threads": torch.get_num_threads(),
        },
        sections=sections,
    )
    write(result, options.out)
    return 0


def _parts(options: argparse.Namespace) -> list[str]:
    parts = [item.strip() for item in options.parts.split(",") if item.strip()]
    if not parts or (unknown := [part for part in parts if part not in PARTS]):
        told = f"'{unknown[0]}'" if parts else "none"
        raise ConfigurationError(f"parts are some of {', '.join(PARTS)}. Got {told}")
    if options.sequence is None:
        parts = [part for part in parts if part != "real"]
        if not parts:
            raise ConfigurationError("part 'real' needs a recording: --sequence. Got none")
    return parts


def _ablations(options: argparse.Namespace) -> list[_Named]:
    named = []
    for texts, points in ((options.ablation, False), (options.rgb_ablation, True)):
        for text in texts:
            name, _, folder = text.partition("=")
            if not name.strip() or not folder:
                raise ConfigurationError(
                    f"an ablation is NAME=FOLDER, such as constant=runs/constant. Got '{text}'"
                )
            named.append(_Named(name.strip(), Path(folder), points))
    names = [one.name for one in named]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"ablations must have different names. Got {', '.join(names)}")
    return named


def _amounts(options: argparse.Namespace, usual: Amounts) -> Amounts:
    from dataclasses import replace

    from mirage_ros.evaluation.protocol import Size
    from mirage_ros.sources.simulator.splits import split_seeds

    amounts = usual
    if options.apartments is not None:
        amounts = replace(amounts, apartments=options.apartments)
    split_seeds(options.split, amounts.apartments)
    if options.size:
        width, _, height = options.size.partition("x")
        sides = [int(side) if side.isdigit() else 0 for side in (width, height)]
        if any(side < 32 or side % 32 for side in sides):
            raise ConfigurationError(
                f"size must be WIDTHxHEIGHT, multiples of 32. Got '{options.size}'"
            )
        size = Size(*sides)
        amounts = replace(amounts, drive=replace(amounts.drive, size=size))
    return amounts


def _command(options: argparse.Namespace) -> str:
    """The line that measures it again, without this machine's folders."""
    words = ["mirage", "benchmark", "nano", "--parts", options.parts, "--split", options.split]
    if options.model != SHIPPED:
        words += ["--model", options.model.name]
    for option, texts in (("ablation", options.ablation), ("rgb-ablation", options.rgb_ablation)):
        for text in texts:
            name, _, folder = text.partition("=")
            words += [f"--{option}", f"{name}={Path(folder).name}"]
    for name in ("apartments", "size", "seed", "threads", "steps_sample"):
        value = getattr(options, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    words += ["--sequence", Path(options.sequence).name] if options.sequence else []
    return shlex.join([*words, *(["--quick"] if options.quick else [])])

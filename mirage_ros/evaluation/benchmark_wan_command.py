"""``mirage benchmark wan``: what the Wan2.2 pipeline costs, measured with random weights."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.progress_bar import progress_bar
from mirage_ros.wan_settings import DTYPES, OFFLOADS, QUANTIZATIONS

if TYPE_CHECKING:
    from mirage_ros.evaluation.benchmark_wan_models import Models
    from mirage_ros.evaluation.results import Section

#: Parts of the benchmark, in order.
PARTS = ("forward", "rollout", "rgb", "equalities")

#: Side-branch layers of the published models, by their number.
SIDE_LAYERS = {15: tuple(range(0, 30, 2)), 8: tuple(range(0, 30, 4))}


@dataclass(frozen=True)
class Scale:
    """What is run unless said otherwise.

    Attributes:
        sizes: width x height, with commas.
        steps: likewise.
        chunks: measured, after the first.
        repeats: of a single forward, and of conditioning.
    """

    sizes: str
    steps: str
    chunks: int
    repeats: int


SCALES = {
    "full": Scale("1280x704,832x480", "4,20", 3, 5),
    "tiny": Scale("192x96,128x64", "2,4", 2, 3),
    "quick": Scale("64x64", "2", 1, 1),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    add = parser.add_argument
    add(
        "--out", type=Path, default=Path("benchmark_wan_out"), metavar="DIR",
        help="where benchmark.json and report.html go (default %(default)s)",
    )  # fmt: skip
    add("--parts", default=",".join(PARTS), metavar="LIST", help="default %(default)s")
    add("--size", choices=("full", "tiny"), help="of the networks (default: full on a CUDA GPU)")
    add("--side-layers", type=int, choices=sorted(SIDE_LAYERS), default=15, metavar="N",
        help="blocks of the full side branch, 15 or 8 (default %(default)s)")  # fmt: skip
    add("--sizes", metavar="LIST", help="of pictures, such as 1280x704,832x480")
    add("--steps", metavar="LIST", help="of denoising, such as 4,20")
    add("--chunks", type=int, help="measured in a rollout, after the first one")
    add("--references", choices=("both", "with", "without"), default="both",
        help="with references and preceding frames, or without (default %(default)s)")  # fmt: skip
    add(
        "--decoders", choices=("both", "full", "tiny"), default="both", help="(default %(default)s)"
    )
    add("--device", help="torch device (default: cuda where there is one)")
    add("--dtype", choices=DTYPES, help="(default: bfloat16 on a GPU, float32 on a CPU)")
    add("--compile", action="store_true", help="compile the transformer's blocks")
    add("--attention", default="", metavar="NAME", help="attention backend of diffusers")
    add("--quantization", choices=QUANTIZATIONS, default="none", help="(default %(default)s)")
    add("--offload", choices=OFFLOADS, default="none", help="(default %(default)s)")
    add("--scene", default="auto", metavar="NAME",
        help="apartment (needs MuJoCo), room, or auto: whichever there is")  # fmt: skip
    add("--seed", type=int, default=3, help="of the apartment and the weights")
    add("--peak-tflops", type=float, help="of the GPU, dense, where its name does not tell")
    add("--golden", type=Path, metavar="DIR", help="reference outputs of another implementation")
    add("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")
    add("--quick", action="store_true", help="tiny networks and pictures: a check, not a figure")


def run(options: argparse.Namespace) -> int:
    """Measure, write results and page, print the targets; 0 even where one is missed.

    Raises:
        ConfigurationError: an option out of range, or one that does not go with another or with
            this machine.
        UnavailableError: a package that an option needs is missing.
        OSError: results cannot be written.
    """
    parts = _listed(options.parts, "parts")
    if unknown := [part for part in parts if part not in PARTS]:
        raise ConfigurationError(f"parts are some of {', '.join(PARTS)}. Got '{unknown[0]}'")
    import torch

    from mirage_ros.evaluation.benchmark_output import write
    from mirage_ros.evaluation.results import Result

    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"device '{device}' cannot be used: torch sees no CUDA GPU")
    size = "tiny" if options.quick else options.size
    size = size or ("full" if device.type == "cuda" else "tiny")
    scale = SCALES["quick" if options.quick else size]
    sizes = [_picture(text) for text in _listed(options.sizes or scale.sizes, "sizes")]
    steps = [_positive(text, "steps") for text in _listed(options.steps or scale.steps, "steps")]
    chunks = _positive(str(options.chunks or scale.chunks), "chunks")
    options.out.mkdir(parents=True, exist_ok=True)
    is_figure = size == "full" and device.type == "cuda"
    sections: list[Section] = []
    inputs: dict[str, Any] = {"networks": f"{size}, random weights"}
    if set(parts) - {"equalities"}:
        models = _models(options, size, device)
        inputs |= _inputs(options, models)
        sections += _measured(
            options, parts, models, sizes, steps, chunks, scale.repeats, is_figure, inputs
        )
    if "equalities" in parts:
        from mirage_ros.evaluation import benchmark_wan_equalities, benchmark_wan_sections

        found = benchmark_wan_equalities.measure(options.golden)
        name = options.golden.name if options.golden else None
        sections.append(benchmark_wan_sections.equality_section(found, name))
    note = "" if is_figure else " (tiny or on a CPU: a check, not a figure)"
    write(Result(f"Wan2.2 benchmark{note}", _command(options), inputs, sections), options.out)
    return 0


def _models(options: argparse.Namespace, size: str, device: Any) -> Models:
    from dataclasses import replace

    from mirage_ros.evaluation.benchmark_wan_models import SIZES, build_models
    from mirage_ros.generation.runtime import RuntimeOptions

    chosen = SIZES[size]
    if size == "full":
        side = {"vace_layers": list(SIDE_LAYERS[options.side_layers])}
        chosen = replace(chosen, transformer={**chosen.transformer, **side})
    runtime = RuntimeOptions(
        options.dtype or ("bfloat16" if device.type == "cuda" else "float32"),
        options.attention,
        options.compile,
        options.quantization,
        options.offload,
    )
    return build_models(chosen, runtime, device, options.seed)


def _measured(
    options: argparse.Namespace,
    parts: list[str],
    models: Models,
    sizes: list[tuple[int, int]],
    steps: list[int],
    chunks: int,
    repeats: int,
    is_figure: bool,
    inputs: dict[str, Any],
) -> list[Section]:
    """Sections of everything that needs the networks."""
    import torch

    from mirage_ros.evaluation import benchmark_wan_forward as forward
    from mirage_ros.evaluation import benchmark_wan_runs as runs
    from mirage_ros.evaluation import benchmark_wan_sections as sections
    from mirage_ros.evaluation.wan_flops import Sequence, peak_tflops

    made: list[Section] = []
    if "forward" in parts:
        tokens = len(models.text)
        sequences = [
            Sequence(*size, references=r, preceding=p, text_tokens=tokens)
            for size in sizes
            for r, p in ((0, 0), (4, 2))
        ]
        costs = [
            forward.measure(models, sequence, repeats)
            for sequence in progress_bar(sequences, "forward")
        ]
        peak = options.peak_tflops
        if peak is None and models.device.type == "cuda":
            peak = peak_tflops(torch.cuda.get_device_name(models.device))
        made.append(sections.forward_section(costs, peak, is_figure))
    if {"rollout", "rgb"} & set(parts):
        plan = runs.Plan(
            sizes,
            steps,
            _both(options.references, "with"),
            _both(options.decoders, "tiny"),
            chunks,
            repeats,
            options.scene,
            options.seed,
            "rollout" in parts,
            "rgb" in parts,
        )
        made += runs.sections(models, plan, progress_bar, is_figure, inputs)
    return made


def _inputs(options: argparse.Namespace, models: Models) -> dict[str, Any]:
    """What the figures depend on beside the machine."""
    import diffusers

    numbers = sum(parameter.numel() for parameter in models.transformer.parameters())
    side = len(models.transformer.config.vace_layers)
    return {
        "transformer": f"{numbers / 1e9:.3f} G parameters, side branch of {side} blocks",
        "type": models.options.dtype,
        "attention": options.attention or "torch's own",
        "compiled": options.compile,
        "quantization": options.quantization,
        "offload": options.offload,
        "seed": options.seed,
        "diffusers": str(diffusers.__version__),
    }


def _both(chosen: str, yes: str) -> tuple[bool, ...]:
    return (True, False) if chosen == "both" else (chosen == yes,)


def _listed(text: str, what: str) -> list[str]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise ConfigurationError(f"{what} must be a list with commas. Got '{text}'")
    return items


def _positive(text: str, what: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ConfigurationError(f"{what} must be whole numbers of at least 1. Got '{text}'")
    return int(text)


def _picture(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    size = (_positive(width, "sizes"), _positive(height, "sizes"))
    if size[0] % 32 or size[1] % 32:
        raise ConfigurationError(f"sizes must be multiples of 32. Got '{text}'")
    return size


def _command(options: argparse.Namespace) -> str:
    """The line that measures it again, without this machine's folders."""
    given = []
    for name, value in vars(options).items():
        if name in ("command", "subject", "out") or value in (None, False, "", 0):
            continue
        text = value.name if isinstance(value, Path) else value
        option = f"--{name.replace('_', '-')}"
        given.append(option if value is True else f"{option} {text}")
    return " ".join(["mirage benchmark wan", *given])

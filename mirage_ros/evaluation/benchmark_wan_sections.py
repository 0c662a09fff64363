"""Tables and targets of the Wan2.2 benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from mirage_ros.evaluation.benchmark_wan_conditioning import ConditioningCosts
from mirage_ros.evaluation.benchmark_wan_equalities import Equality
from mirage_ros.evaluation.benchmark_wan_forward import ForwardCosts
from mirage_ros.evaluation.benchmark_wan_rollout import NEW_FRAMES, STAGES, ChunkCosts
from mirage_ros.evaluation.results import Cell, Section, Table, Target

_GIB = 2.0**30

#: Wanted: seconds a chunk at 1280x704 with 4 steps and the tiny decoder (16 Hz is real time);
#: share of the GPU's peak; conditioning, points over tokens; end to end likewise, as published for
#: latent memory against coloured points; and GiB of tensors on a GPU of 24 GiB, CUDA's context and
#: work spaces left out.
SECONDS, PEAK_SHARE, CONDITIONING_RATIO, END_TO_END_RATIO, GIB = 2.0, 0.6, 100.0, 10.57, 23.0
LARGE, SMALL = (1280, 704), (832, 480)


def rollout_section(costs: Sequence[ChunkCosts], how: str, is_figure: bool) -> Section:
    """Seconds and stages of every setting; ``is_figure``: the full model on a GPU."""
    rows: list[list[Cell]] = []
    for cost in costs:
        stages = cost.stages or {}
        rows.append(
            [
                _size(cost.setting.size),
                cost.setting.steps,
                f"{cost.references} and 2" if cost.setting.context else "none",
                "tiny" if cost.setting.tiny else "full",
                _rounded(cost.seconds),
                _rounded(cost.first_seconds),
                *[_rounded(stages.get(name)) for name in STAGES],
                cost.failure,
            ]
        )
    heads = ["size", "steps", "references, preceding", "decoder", "chunk", "first chunk"]
    fast = [
        cost
        for cost in costs
        if cost.setting.size == LARGE and cost.setting.steps == 4 and cost.setting.tiny
    ]
    seconds = [cost.seconds for cost in fast if cost.seconds is not None]
    wanted = f"at most {SECONDS}"
    if is_figure and seconds:
        told = ", ".join(
            f"{'with' if c.setting.context else 'without'} references {c.seconds:.2f}"
            for c in fast
            if c.seconds is not None
        )
        target = Target(_REAL_TIME, round(min(seconds), 2), wanted, min(seconds) <= SECONDS, told)
    else:
        target = _missing(_REAL_TIME, wanted, is_figure)
    return Section(
        title="Rollouts end to end",
        text=(
            f"{how} A chunk adds {NEW_FRAMES} frames; the first one has {NEW_FRAMES + 1}. Seconds "
            "are medians over the chunks after the first. Conditioning and the denoising steps "
            "are parts of generating."
        ),
        tables=(
            Table([*heads, *STAGES, "note"], rows, "seconds a chunk, and of its stages"),
            _memory_table(costs),
        ),
        targets=(target, _memory_target(costs, is_figure)),
    )


_REAL_TIME = f"seconds for {NEW_FRAMES} new frames, 1280x704, 4 steps, tiny decoder"


def rgb_section(
    pairs: Sequence[tuple[ChunkCosts, ChunkCosts]],
    alone: Sequence[tuple[tuple[int, int], ConditioningCosts]],
    points: int,
    tokens: int,
    is_figure: bool,
) -> Section:
    """Latent tokens against coloured points: whole chunks, and conditioning by itself."""
    by_size = dict(alone)
    whole: list[list[Cell]] = []
    ratios: list[tuple[float, int]] = []
    for latent, rgb in pairs:
        ratio = None
        if latent.seconds is not None and rgb.seconds is not None:
            ratio = rgb.seconds / latent.seconds
            ratios.append((ratio, latent.setting.steps))
        published = _published(latent, by_size.get(latent.setting.size))
        row: list[Cell] = [_size(latent.setting.size), latent.setting.steps]
        times: list[float | None] = [latent.seconds, rgb.seconds, published, ratio]
        if latent.seconds is not None and published is not None:
            times.append(published / latent.seconds)
        else:
            times.append(None)
        whole.append([*row, *map(_rounded, times)])
    parts: list[list[Cell]] = [
        [
            _size(size), 1e3 * c.latent_read, 1e3 * c.latent_write, 1e3 * c.published_read,
            1e3 * c.published_raster, 1e3 * c.fair_read, 1e3 * c.rgb_write, c.read_ratio,
            c.ratio, c.fair_read_ratio, c.fair_ratio,
        ]
        for size, c in alone
    ]  # fmt: skip
    targets = [
        _missing(_CONDITIONING, f"at least {CONDITIONING_RATIO:.0f}", is_figure),
        _missing(_END_TO_END, f"at least {END_TO_END_RATIO}", is_figure),
    ]
    if is_figure and alone:
        size, best = alone[0]
        targets[0] = Target(
            _CONDITIONING, round(best.read_ratio, 1), f"at least {CONDITIONING_RATIO:.0f}",
            best.read_ratio >= CONDITIONING_RATIO,
            f"{_size(size)}; with writing back {best.ratio:.1f}; if points are read as cheaply as "
            f"can be {best.fair_read_ratio:.1f} and {best.fair_ratio:.1f}",
        )  # fmt: skip
    if is_figure and ratios:
        largest = max(ratios)
        targets[1] = Target(
            _END_TO_END, round(largest[0], 2), f"at least {END_TO_END_RATIO}",
            largest[0] >= END_TO_END_RATIO,
            ", ".join(f"{steps} steps: {ratio:.2f}" for ratio, steps in ratios),
        )  # fmt: skip
    return Section(
        title="Latent tokens against coloured points",
        text=(
            f"The same frames in both memories: {tokens} tokens and {points} points, one for every "
            "pixel of every frame, as published. In whole chunks points are read as cheaply as "
            "can be: nine pictures, each encoded alone. As published, all 33 pictures of a chunk "
            "are rasterised and encoded as a video; 'as published' is a latent chunk with its own "
            "readout and writing replaced by that. A chunk with points decodes once more to write "
            "them; for conditioning alone, and in 'as published', decoding does not count, since "
            "pictures are decoded anyway to be shown."
        ),
        tables=(
            Table(
                [
                    "size", "steps", "latent, s", "points, s", "points as published, s", "ratio",
                    "ratio as published",
                ],
                whole,
                "whole chunks with references, the VAE's own decoder",
            ),
            Table(
                [
                    "size", "latent read", "latent write", "points read, as published",
                    "of it rasterised", "points read, cheaply", "points write", "read ratio",
                    "read and write ratio", "cheap read ratio", "cheap read and write ratio",
                ],
                parts, "conditioning and writing back alone, ms a chunk",
            ),
        ),
        targets=targets,
    )  # fmt: skip


def _published(latent: ChunkCosts, alone: ConditioningCosts | None) -> float | None:
    """Seconds of a chunk whose memory are points, read as published."""
    if latent.seconds is None or latent.stages is None or alone is None:
        return None
    rest = latent.seconds - latent.stages["readout"] - latent.stages["write_back"]
    return rest + alone.published_read + alone.rgb_write


_CONDITIONING = "conditioning a chunk, points as published / latent tokens"
_END_TO_END = "a chunk end to end, points / latent tokens"


def forward_section(costs: Sequence[ForwardCosts], peak: float | None, is_figure: bool) -> Section:
    """The transformer alone; ``peak`` of the GPU in TFLOP/s."""
    rows: list[list[Cell]] = []
    for cost in costs:
        at = cost.sequence
        share = None if peak is None else 100.0 * cost.tflops / peak
        rows.append(
            [
                _size((at.width, at.height)), at.references, at.preceding, 1e3 * cost.seconds,
                cost.flops / 1e12, cost.tflops, share,
            ]
        )  # fmt: skip
    name, wanted = "one forward, share of the GPU's peak", f"at least {PEAK_SHARE:.0%}"
    target = _missing(name, wanted, is_figure)
    if is_figure and costs and peak is None:
        target = Target(name, None, wanted, None, "unknown GPU: give its peak (--peak-tflops)")
    elif is_figure and costs and peak is not None:
        best = max(costs, key=lambda c: c.tflops)
        share = best.tflops / peak
        told = ", ".join(
            f"{_size((c.sequence.width, c.sequence.height))} with {c.sequence.references} "
            f"references {c.tflops / peak:.0%}"
            for c in costs
        )
        target = Target(name, f"{share:.1%}", wanted, share >= PEAK_SHARE, told)
    peak_text = "unknown" if peak is None else f"{peak:.0f} TFLOP/s (dense, 16 bits)"
    return Section(
        title="The transformer alone",
        text=(
            "One forward as in a denoising step, 9 target frames: the text's keys and the side "
            "branch's embedding are there, noise levels come by latent frame. Operations are "
            f"counted exactly. The GPU's peak: {peak_text}."
        ),
        tables=(
            Table(
                [
                    "size", "references", "preceding", "ms", "TFLOP", "TFLOP/s",
                    "% of the peak",
                ],
                rows, "one forward, medians",
            ),
        ),
        targets=(target,),
    )  # fmt: skip


def equality_section(found: Sequence[Equality], golden: str | None) -> Section:
    """Differences to what must be equal."""
    how = "A tiny model in float32 on the CPU; the largest difference over the largest value."
    beside = f" Reference outputs: {golden}." if golden else ""
    worst = max(found, key=lambda e: e.difference)
    failed = [e.name for e in found if not e.holds]
    return Section(
        title="Equalities",
        text=how + beside,
        tables=(
            Table(
                ["what, against what", "difference", "allowed"],
                [[e.name, e.difference, e.allowed] for e in found],
            ),
        ),
        targets=(
            Target(
                "largest relative difference", worst.difference, "all as allowed", not failed,
                f"beyond: {', '.join(failed)}" if failed else worst.name,
            ),
        ),
    )  # fmt: skip


def _memory_table(costs: Sequence[ChunkCosts]) -> Table:
    rows: list[list[Cell]] = []
    for c in costs:
        ratio = None if c.peak is None else c.estimated / c.peak
        rows.append(
            [
                _size(c.setting.size),
                "with" if c.setting.context else "without",
                "tiny" if c.setting.tiny else "full",
                c.setting.steps,
                c.estimated / _GIB,
                _gib(c.peak),
                _gib(c.reserved),
                ratio,
            ]
        )
    heads = ["size", "references", "decoder", "steps", "estimated", "measured", "reserved"]
    return Table([*heads, "estimated / measured"], rows, "GPU memory at the peak, GiB")


def _memory_target(costs: Sequence[ChunkCosts], is_figure: bool) -> Target:
    name, wanted = "GiB of tensors at the peak, 832x480", f"at most {GIB:.0f} of a GPU of 24 GiB"
    small = [c for c in costs if c.setting.size == SMALL]
    peaks = [c.peak / _GIB for c in small if c.peak is not None]
    if not (is_figure and peaks):
        return _missing(name, wanted, is_figure)
    failed = any(c.failure for c in small)
    tiny = [c.peak / _GIB for c in small if c.peak is not None and c.setting.tiny]
    told = f"with the tiny decoder {max(tiny):.1f}" if tiny else ""
    return Target(name, round(max(peaks), 1), wanted, max(peaks) <= GIB and not failed, told)


def _missing(name: str, wanted: str, is_figure: bool) -> Target:
    why = "not among what was run" if is_figure else "needs the full model on a CUDA GPU"
    return Target(name, None, wanted, None, why)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _gib(size: int | None) -> float | None:
    return None if size is None else size / _GIB


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

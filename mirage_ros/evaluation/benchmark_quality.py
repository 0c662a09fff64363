"""What compact storage and merging cost in quality: the same views read from each memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mirage_ros.codec.base import Codec
from mirage_ros.evaluation.benchmark_tour import MIB, Progress
from mirage_ros.evaluation.image_metrics import psnr, sharpness, ssim
from mirage_ros.evaluation.picture import as_unit
from mirage_ros.evaluation.readout_view import readout_view
from mirage_ros.evaluation.results import Cell, Section, Table, Target
from mirage_ros.frames import RgbdFrame
from mirage_ros.memory import BoundsConfig, LatentMemory, LatentMemoryConfig

_ALL = BoundsConfig(merge=False, capacity=10**9)

#: Memories that are compared; the first is what the others are held against.
CONFIGURATIONS: dict[str, LatentMemoryConfig] = {
    "every cell, float32": LatentMemoryConfig(bounds=_ALL, features="float32"),
    "every cell, float16": LatentMemoryConfig(bounds=_ALL, features="float16"),
    "every cell, int8": LatentMemoryConfig(bounds=_ALL, features="int8"),
    "every cell, compact": LatentMemoryConfig(bounds=_ALL, features="compact"),
    "merged, compact (default)": LatentMemoryConfig(),
    "merged with half the error": LatentMemoryConfig(
        bounds=BoundsConfig(same_error=0.003, same_error_flat=0.0002, same_error_contrast=1.25)
    ),
    "merged with twice the error": LatentMemoryConfig(
        bounds=BoundsConfig(same_error=0.012, same_error_flat=0.0008, same_error_contrast=5.0)
    ),
    "default at half its tokens": LatentMemoryConfig(),
}
DEFAULT = "merged, compact (default)"
_HALVED = "default at half its tokens"


@dataclass(frozen=True)
class Quality:
    """One memory's figures, averaged over the targets.

    Attributes:
        name: of the memory.
        count: tokens.
        nbytes: of all of it.
        covered: share of pixels.
        psnr_db: over covered pixels.
        ssim: likewise.
        sharpness: gradient energy over that of the codec's reconstruction of the truth.
        store_seconds: a view.
    """

    name: str
    count: int
    nbytes: int
    covered: float
    psnr_db: float
    ssim: float
    sharpness: float
    store_seconds: float


def measure(
    codec: Codec, sources: Sequence[RgbdFrame], targets: Sequence[RgbdFrame], progress: Progress
) -> list[Quality]:
    """Every configuration's figures; views are read from memory, nothing is generated."""
    results: list[Quality] = []
    names = list(CONFIGURATIONS)
    for number in progress(range(len(names)), "compaction and merging"):
        name = names[number]
        config = CONFIGURATIONS[name]
        if name == _HALVED:
            tokens = next(r.count for r in results if r.name == DEFAULT)
            config = LatentMemoryConfig(bounds=BoundsConfig(capacity=max(1, tokens // 2)))
        results.append(_quality(name, LatentMemory(codec, config), codec, sources, targets))
    return results


def _quality(
    name: str,
    memory: LatentMemory,
    codec: Codec,
    sources: Sequence[RgbdFrame],
    targets: Sequence[RgbdFrame],
) -> Quality:
    start = time.perf_counter()
    for frame in sources:
        memory.observe(frame)
    seconds = (time.perf_counter() - start) / len(sources)
    figures = []
    for frame in targets:
        shown, mask = readout_view(memory, codec, frame)
        truth = as_unit(frame.image)
        figures.append(
            (
                float(mask.mean()),
                psnr(shown, truth, mask),
                ssim(shown, truth, mask),
                sharpness(shown, truth, mask),
            )
        )
    covered, decibels, likeness, sharp = (
        statistics.fmean(column) for column in zip(*figures, strict=True)
    )
    return Quality(name, memory.count, memory.nbytes, covered, decibels, likeness, sharp, seconds)


def section(name: str, results: Sequence[Quality]) -> Section:
    """Table and target of :func:`measure`'s figures on data of that name."""
    exact = results[0]
    rows: list[list[Cell]] = [
        [
            r.name,
            r.count,
            round(r.nbytes / MIB, 2),
            round(r.nbytes / max(1, r.count), 1),
            round(r.covered, 4),
            round(r.psnr_db, 2),
            round(r.psnr_db - exact.psnr_db, 3),
            round(r.ssim, 3),
            round(r.sharpness, 2),
        ]
        for r in results
    ]
    default = next(r for r in results if r.name == DEFAULT)
    loss = exact.psnr_db - default.psnr_db
    return Section(
        title=f"What compaction and merging cost: {name}",
        text=(
            "The same views read from memories that keep the same frames differently; nothing is "
            "generated. PSNR and SSIM over covered pixels, sharpness as gradient energy over the "
            "true frame's."
        ),
        tables=(
            Table(
                ["memory", "tokens", "MiB", "bytes a token", "covered", "PSNR, dB", "change, dB",
                 "SSIM", "sharpness"],
                rows,
            ),
        ),
        targets=(
            Target(
                f"loss of the default memory on {name}, dB", round(loss, 3), "at most 0.2",
                loss <= 0.2,
            ),
        ),
    )  # fmt: skip

"""Whether long rollouts drift away: quality over chunks, with the memory and without."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.benchmark_nano_rows import (
    MEAN,
    READOUT,
    SAMPLE,
    Cast,
    Company,
)
from mirage_ros.evaluation.benchmark_nano_scenes import CHUNK, LongWay
from mirage_ros.evaluation.benchmark_perception_cells import bounded, decibels
from mirage_ros.evaluation.image_metrics import gradient_energy, psnr
from mirage_ros.evaluation.picture import as_unit
from mirage_ros.evaluation.protocol import Image, Size, through_codec
from mirage_ros.evaluation.results import Cell, Plot, Section, Series, Table, Target
from mirage_ros.frames import RgbdFrame

#: Chunks of a rollout, and how many of them at its beginning and its end are compared.
CHUNKS, ENDS = 20, 5

#: Wanted: at most so many dB lost from the first chunks to the last, beyond what the readout loses.
LOST_DB = 1.0


@dataclass(frozen=True)
class Curve:
    """One rollout.

    Attributes:
        psnr_db: of every chunk, the mean over its views.
        sharpness: of every chunk, against what the codec makes of the truth.
        seconds: for a frame, mean.
    """

    psnr_db: Sequence[float]
    sharpness: Sequence[float]
    seconds: float


def contenders_of(cast: Cast, size: Size) -> Company:
    """Who goes the long way."""
    return Company([cast.readout, cast.mean, cast.sample, *cast.without_memory], size)


def measure(company: Company, way: LongWay, *, seed: int) -> dict[str, Curve]:
    """Everyone's rollout along a way, by name; all is forgotten in the end."""
    for frame in way.seen:
        company.remember(frame)
    poses = np.stack([frame.T_world_camera for frame in way.truth])
    curves = {}
    for name, model in company.models.items():
        first = way.truth[0]
        start = time.perf_counter()
        images = [v.image for v in model.imagine(poses, first.camera, seed=seed, first_frame=first)]
        seconds = (time.perf_counter() - start) / (len(images) - 1)
        curves[name] = curve(images[1:], way.truth[1:], seconds)
    company.forget()
    return curves


def curve(images: Sequence[Image], truth: Sequence[RgbdFrame], seconds: float) -> Curve:
    """Figures chunk by chunk of views after the first one."""
    codec, step = DctCodec(), CHUNK - 1
    errors, energies, references = [], [], []
    for image, frame in zip(images, truth, strict=True):
        mask = np.ones(image.shape[:2], dtype=np.bool_)
        errors.append(psnr(as_unit(image), as_unit(frame.image), mask))
        energies.append(gradient_energy(as_unit(image), mask))
        reference = through_codec(codec, frame.image)
        references.append(gradient_energy(as_unit(reference), mask))
    starts = range(0, len(images), step)
    return Curve(
        [float(np.mean(errors[start : start + step])) for start in starts],
        [_ratio(energies[s : s + step], references[s : s + step]) for s in starts],
        seconds,
    )


def section(found: Sequence[Mapping[str, Curve]]) -> Section:
    """Curves, means over the ways."""
    names = list(found[0])
    quality = {name: _mean(curves[name].psnr_db for curves in found) for name in names}
    sharp = {name: _mean(curves[name].sharpness for curves in found) for name in names}
    chunks = len(quality[READOUT])
    ends = max(1, min(ENDS, chunks // 2))
    rows: list[list[Cell]] = [
        [
            name,
            decibels(float(np.mean(quality[name][:ends]))),
            decibels(float(np.mean(quality[name][-ends:]))),
            decibels(lost(quality[name], quality[READOUT], ends)),
            float(np.mean(sharp[name][:ends])),
            float(np.mean(sharp[name][-ends:])),
            1.0 / float(np.mean([curves[name].seconds for curves in found])),
        ]
        for name in names
    ]
    heads = ["row", f"dB, first {ends}", f"dB, last {ends}", "dB lost beside the readout"]
    heads += [f"sharp, first {ends}", f"sharp, last {ends}", "frames/s"]
    numbers = list(range(1, chunks + 1))
    return Section(
        title="Long rollouts",
        text=(
            f"After a tour, rollouts of {chunks} chunks along its way, seen from a bit beside, "
            "begin with the true first frame; nothing is observed on the way. Some stretches are "
            "harder to show than others. The readout, every view of which comes from the memory "
            "alone, cannot drift: so what a rollout loses from its first chunks to its last counts "
            f"beyond what the readout loses there. Means over {len(found)} ways."
        ),
        tables=(Table(heads, rows, f"the first {ends} chunks against the last {ends}"),),
        plots=(
            Plot(
                "Quality over chunks", "chunk", "PSNR, dB",
                [Series(name, numbers, quality[name]) for name in names],
            ),
            Plot(
                "Sharpness over chunks", "chunk", "of the codec's own",
                [Series(name, numbers, sharp[name]) for name in names],
            ),
        ),
        targets=[_target(name, lost(quality[name], quality[READOUT], ends), chunks)
                 for name in (MEAN, SAMPLE)],
    )  # fmt: skip


def lost(quality: Sequence[float], readout: Sequence[float], ends: int) -> float:
    """How many dB more than the readout a rollout loses from its first chunks to its last."""
    ahead = np.asarray(quality) - np.asarray(readout)
    return float(ahead[:ends].mean() - ahead[-ends:].mean())


def _target(name: str, value: float, chunks: int) -> Target:
    return bounded(
        f"rollouts of {chunks} chunks, {name}: dB lost beside the readout",
        value,
        f"at most {LOST_DB:g}",
        value <= LOST_DB,
    )


def _ratio(energies: Sequence[float], references: Sequence[float]) -> float:
    total = math.fsum(references)
    return math.fsum(energies) / total if total > 0.0 else math.nan


def _mean(curves: Iterable[Sequence[float]]) -> list[float]:
    return [float(value) for value in np.mean(list(curves), axis=0)]

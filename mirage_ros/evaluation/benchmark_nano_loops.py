"""Closed loops, consistency and camera control of the small model beside the readout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.benchmark_nano_rows import (
    MEAN,
    NO_MEMORY,
    NO_MEMORY_SAMPLE,
    READOUT,
    RGB_MEMORY,
    SAMPLE,
    Cast,
)
from mirage_ros.evaluation.benchmark_nano_scenes import CHUNK, DriveScale, long_way
from mirage_ros.evaluation.benchmark_perception_cells import bounded, decibels
from mirage_ros.evaluation.camera_control import POSE_METHOD
from mirage_ros.evaluation.closed_loop import Recall, Rollout, recall, rollout
from mirage_ros.evaluation.closed_way import simulated_way
from mirage_ros.evaluation.consistency import FLOW_METHOD, REPROJECTION_METHOD
from mirage_ros.evaluation.image_metrics import means
from mirage_ros.evaluation.path_quality import PathQuality, path_pictures, path_quality
from mirage_ros.evaluation.protocol import Contender, Image, Progress, no_progress
from mirage_ros.evaluation.results import Cell, Picture, Section, Table, Target
from mirage_ros.evaluation.strips import write_strip
from mirage_ros.frames import RgbdFrame

#: Wanted of closed loops: dB over the model without memory, and over it with coloured points.
OVER_NO_MEMORY_DB, OVER_RGB_DB = 4.0, 0.0

#: Chunks of the closed way, and of the path whose consistency is measured.
LOOP_CHUNKS, PATH_CHUNKS = 8, 2


@dataclass(frozen=True)
class LoopFigures:
    """What one contender made of an apartment.

    Attributes:
        rollout: the last view of a closed way imagined from its first frame.
        recall: the first view, asked for after the way.
    """

    rollout: Rollout
    recall: Recall


@dataclass(frozen=True)
class LoopFindings:
    """What an apartment gave.

    Attributes:
        loops: by contender.
        paths: by who made the pictures, the true ones and the codec's among them.
        truth: the closed way's first view.
        way: what it is, a sentence.
    """

    loops: dict[str, LoopFigures]
    paths: dict[str, PathQuality]
    truth: Image
    way: str


def contenders_of(cast: Cast) -> list[Contender]:
    """Who closes loops."""
    return [cast.readout, cast.mean, cast.sample, cast.rgb, *cast.without_memory, *cast.others]


def measure(
    contenders: Sequence[Contender],
    seed: int,
    scale: DriveScale,
    *,
    loop_chunks: int = LOOP_CHUNKS,
    path_chunks: int = PATH_CHUNKS,
    progress: Progress = no_progress,
) -> LoopFindings:
    """Both closed loops and a path, in one apartment.

    Raises:
        ConfigurationError: the drive is too short, or this machine cannot render.
    """
    codec, size = DctCodec(), scale.size
    frames = 1 + (CHUNK - 1) * loop_chunks
    with simulated_way(seed, frames, size, frames) as way:
        seen: list[RgbdFrame] = list(way.frames)
        loops = {
            one.name: LoopFigures(
                rollout(one, codec, seen[0], way.T_world_camera, size),
                recall(one, codec, seen, size, progress=progress),
            )
            for one in contenders
        }
        told = way.way
    path = long_way(seed, scale, path_chunks)
    pictures = path_pictures(contenders, codec, path.seen, path.truth, size, progress)
    paths = {name: path_quality(name, made, path.truth, size) for name, made in pictures.items()}
    return LoopFindings(loops, paths, seen[0].image, told)


def section(found: Sequence[LoopFindings], folder: Path) -> Section:
    """Tables, targets and a picture of the last views.

    Raises:
        OSError: the picture cannot be written.
    """
    loop_rows: list[list[Cell]] = []
    for name in found[0].loops:
        parts = [findings.loops[name] for findings in found]
        last = [part.rollout.last.metrics.everywhere for part in parts]
        back = [part.recall.at_end.metrics.everywhere for part in parts]
        loop_rows.append(
            [
                name,
                decibels(_mean(one.psnr_db for one in last)),
                _mean(one.ssim for one in last),
                _mean(one.sharpness for one in last),
                decibels(_mean(one.psnr_db for one in back)),
                _mean(one.ssim for one in back),
                100.0 * min(part.rollout.least_known for part in parts),
            ]
        )
    heads = ["row", "rollout: dB", "SSIM", "sharp", "recall: dB", "SSIM", "least known, %"]
    return Section(
        title="Closed loops, consistency, camera control",
        text=(
            "Rollout: remembered is the first frame of a closed way and nothing else; the way is "
            "imagined chunk by chunk without any observation, and its last view, which is the "
            f"first one again, compared with the true frame. The way: {found[0].way} Recall: the "
            "keyframes of the way are remembered, and the first view is asked for by itself.\n\n"
            f"The path is that of a tour, seen from a bit beside; the whole tour is remembered. "
            f"Measured with {FLOW_METHOD}, {REPROJECTION_METHOD} and {POSE_METHOD}. The true "
            "frames' row is what a perfect prediction would get. Means over apartments."
        ),
        tables=(
            Table(heads, loop_rows, "the last view against the first, all pixels"),
            _path_table(found),
        ),
        pictures=_pictures(found, folder),
        targets=_targets(found),
    )


def _path_table(found: Sequence[LoopFindings]) -> Table:
    rows: list[list[Cell]] = []
    for name in found[0].paths:
        parts = [findings.paths[name] for findings in found]
        control = [part.control for part in parts]
        rows.append(
            [
                name,
                _mean(part.photometric.error_px for part in parts),
                _mean(part.photometric.score for part in parts),
                _mean(part.reprojection.error_px for part in parts),
                _mean(part.reprojection.score for part in parts),
                _mean(one.rotation_deg for one in control),
                100.0 * _mean(one.translation_m for one in control),
                _mean(one.score for one in control),
                sum(one.recovered for one in control),
                sum(one.failed for one in control),
            ]
        )
    heads = ["row", "flow error, px", "photometric", "reprojection, px", "3D"]
    heads += ["rotation, deg", "translation, cm", "camera control", "poses found", "failed"]
    return Table(heads, rows, "a path through what is remembered; scores are 1 at best")


def _targets(found: Sequence[LoopFindings]) -> list[Target]:
    def last_db(name: str) -> float:
        return _mean(f.loops[name].rollout.last.metrics.everywhere.psnr_db for f in found)

    targets = []
    for name, without in ((MEAN, NO_MEMORY), (SAMPLE, NO_MEMORY_SAMPLE)):
        over = last_db(name) - last_db(without)
        targets.append(
            bounded(
                f"closed loop, {name}: dB over no memory", over,
                f"at least {OVER_NO_MEMORY_DB:g}", over >= OVER_NO_MEMORY_DB,
            )
        )  # fmt: skip
    over = last_db(MEAN) - last_db(RGB_MEMORY)
    targets.append(
        bounded(
            f"closed loop, {MEAN}: dB over RGB memory", over, f"at least {OVER_RGB_DB:g}",
            over >= OVER_RGB_DB,
        )
    )  # fmt: skip
    return targets


def _pictures(found: Sequence[LoopFindings], folder: Path) -> list[Picture]:
    names = [name for name in found[0].loops if name != READOUT]
    columns = [[findings.truth for findings in found]]
    columns += [[f.loops[name].rollout.image for f in found] for name in (READOUT, *names)]
    file = "pictures/closed_loops.png"
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    write_strip(folder / file, [np.concatenate(column, axis=0) for column in columns])
    told = "; ".join(["the true first view", READOUT, *names])
    return [Picture(file, f"Last views of closed rollouts, an apartment a row. From left: {told}.")]


def _mean(values: Iterable[float]) -> float:
    """Of those that are there; NaN without any."""
    return means([[value] for value in values])[0]

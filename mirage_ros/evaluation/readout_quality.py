"""How well views are read out of the memory alone, on a dataset.

    python -m mirage_ros.evaluation.readout_quality DATASET [--grids N] [--json FILE]
        [--pictures DIR]

The memory is filled from some frames and read at the poses of others; nothing is generated. Beside
it stand trivial and older ways of making the same pictures.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError, MirageError
from mirage_ros.evaluation.datasets import frame_numbers, load, open_dataset
from mirage_ros.evaluation.image_metrics import means, psnr, sharpness, ssim
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import rotation_angle, translation_distance
from mirage_ros.memory import LatentMemory, LatentMemoryConfig, RgbMemory

#: Metres of translation that count like a radian of rotation when looking for the nearest frame.
METRES_PER_RADIAN = 1.0

Picture = NDArray[np.float32]  # (H, W, 3) RGB in [0, 1]
Mask = NDArray[np.bool_]  # (H, W)


@dataclass(frozen=True)
class Row:
    """One way of making the target views, averaged over them.

    Attributes:
        name: what it is.
        covered: share of pixels it gives, in [0, 1].
        psnr_db: over the pixels given.
        ssim: likewise.
        sharpness: gradient energy over that of the codec's own reconstruction of the true frame.
        elements: tokens, points or frames stored; 0 where nothing is.
        mib: size of the store.
        seconds_per_view: reading and decoding, median.
    """

    name: str
    covered: float
    psnr_db: float
    ssim: float
    sharpness: float
    elements: int
    mib: float
    seconds_per_view: float


def measure(
    sources: Sequence[RgbdFrame],
    targets: Sequence[RgbdFrame],
    pictures: Path | None = None,
    config: LatentMemoryConfig | None = None,
    progress: Callable[[Iterable[RgbdFrame], str], Iterable[RgbdFrame]] = lambda frames, _: frames,
) -> list[Row]:
    """Every way's figures, the memory's first.

    Args:
        sources: frames that are remembered.
        targets: frames whose poses are read and whose images are the truth.
        pictures: where to write true / readout / coverage pictures of every target, if anywhere.
        config: of the memory; None = its defaults.
        progress: wraps a loop, told what it does.

    Raises:
        ConfigurationError: no source or no target.
        MirageError: a frame cannot be remembered.
    """
    if not sources or not targets:
        raise ConfigurationError(
            f"at least one source and one target are needed. Got {len(sources)} and {len(targets)}"
        )
    codec = DctCodec()
    memory, cloud = LatentMemory(codec, config), RgbMemory(codec)
    for frame in progress(sources, "remember"):
        memory.observe(frame)
        cloud.observe(frame)

    def truth_through_codec(frame: RgbdFrame) -> tuple[Picture, Mask]:
        image = torch.from_numpy(_unit(frame.image)).permute(2, 0, 1)[None]
        return _picture(codec.decode(codec.encode(image))), _everywhere(frame)

    def remembered(frame: RgbdFrame) -> tuple[Picture, Mask]:
        readout = memory.read(frame.camera, frame.T_world_camera[None])
        cells = readout.coverage[0].numpy()
        stride = codec.spatial_stride
        mask = cells.repeat(stride, axis=0).repeat(stride, axis=1)
        return _picture(codec.decode(readout.latents)) * mask[..., None], mask

    def nearest_source(frame: RgbdFrame) -> tuple[Picture, Mask]:
        return _unit(min(sources, key=lambda s: _distance(s, frame)).image), _everywhere(frame)

    def points(frame: RgbdFrame) -> tuple[Picture, Mask]:
        images, hit, _ = cloud.render(frame.camera, frame.T_world_camera[None])
        return _unit(images[0]), hit[0]

    image_bytes = sum(frame.image.nbytes for frame in sources)
    ways: list[tuple[str, Callable[[RgbdFrame], tuple[Picture, Mask]], int, int]] = [
        ("latent memory", remembered, memory.count, memory.nbytes),
        ("nearest source frame", nearest_source, len(sources), image_bytes),
        ("RGB point cloud", points, cloud.count, cloud.nbytes),
        ("codec on true frame", truth_through_codec, 0, 0),
    ]
    references = [truth_through_codec(frame)[0] for frame in targets]
    rows = []
    for name, render, elements, nbytes in ways:
        figures, times = [], []
        for number, frame in enumerate(progress(targets, name)):
            start = time.perf_counter()
            picture, mask = render(frame)
            times.append(time.perf_counter() - start)
            truth = _unit(frame.image)
            figures.append(
                (
                    float(mask.mean()),
                    psnr(picture, truth, mask),
                    ssim(picture, truth, mask),
                    sharpness(picture, references[number], mask),
                )
            )
            if pictures is not None and render is remembered:
                _write_picture(pictures / f"target_{number:03d}.png", truth, picture, mask)
        covered, psnr_db, similarity, sharp = means(figures)
        rows.append(
            Row(
                name,
                covered,
                psnr_db,
                similarity,
                sharp,
                elements,
                nbytes / 2**20,
                statistics.median(times),
            )
        )
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    lines = [
        f"{'':22}{'covered %':>10}{'PSNR dB':>9}{'SSIM':>7}{'sharp':>7}{'elements':>11}"
        f"{'MiB':>8}{'s/view':>9}"
    ]
    lines += [
        f"{r.name:22}{100 * r.covered:10.1f}{r.psnr_db:9.2f}{r.ssim:7.3f}{r.sharpness:7.2f}"
        f"{r.elements:11,d}{r.mib:8.1f}{r.seconds_per_view:9.4f}"
        for r in rows
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 0 on success, 2 on bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m mirage_ros.evaluation.readout_quality",
        description="Views read out of the latent memory alone, against the true frames.",
    )
    parser.add_argument(
        "dataset", help="directory of a recorded RGB-D sequence, rosbag2 recording, or sim:SEED"
    )
    parser.add_argument(
        "--memory", default="0:190:10", metavar="FIRST:LAST:STEP", help="frame numbers remembered"
    )
    parser.add_argument(
        "--targets", default="4:184:20", metavar="FIRST:LAST:STEP", help="frame numbers read"
    )
    parser.add_argument(
        "--grids",
        type=int,
        default=LatentMemoryConfig.grids,
        help="cell grids a frame is encoded on: 1, 2 or 4",
    )
    parser.add_argument("--json", type=Path, help="write the figures here as JSON")
    parser.add_argument(
        "--pictures", type=Path, help="write true | readout | coverage pictures into this directory"
    )
    options = parser.parse_args(arguments)
    try:
        with open_dataset(options.dataset) as dataset:
            sources = load(dataset.frames, frame_numbers(options.memory))
            targets = load(dataset.frames, frame_numbers(options.targets))
        if options.pictures is not None:
            options.pictures.mkdir(parents=True, exist_ok=True)
        rows = measure(
            sources,
            targets,
            options.pictures,
            LatentMemoryConfig(grids=options.grids),
            lambda frames, what: tqdm(frames, desc=f"{what:22}", unit="frame", leave=False),
        )
    except MirageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    if options.json is not None:
        report = {
            "memory": options.memory,
            "targets": options.targets,
            "grids": options.grids,
            "rows": [_finite(asdict(row)) for row in rows],
        }
        options.json.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    return 0


def _unit(image: NDArray[np.uint8]) -> Picture:
    return image.astype(np.float32) / np.float32(255.0)


def _picture(frames: torch.Tensor) -> Picture:  # of (1, 3, H, W)
    picture: Picture = frames[0].clamp(0.0, 1.0).permute(1, 2, 0).numpy()
    return picture


def _everywhere(frame: RgbdFrame) -> Mask:
    return np.ones(frame.image.shape[:2], dtype=np.bool_)


def _distance(a: RgbdFrame, b: RgbdFrame) -> float:
    turn = rotation_angle(a.T_world_camera, b.T_world_camera)
    return translation_distance(a.T_world_camera, b.T_world_camera) + METRES_PER_RADIAN * turn


def _finite(row: dict[str, object]) -> dict[str, object]:
    """JSON knows neither NaN nor infinity; null stands for both."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _write_picture(path: Path, truth: Picture, picture: Picture, mask: Mask) -> None:
    coverage = np.repeat(mask[..., None].astype(np.float32), 3, axis=2)
    strip = np.concatenate([truth, picture, coverage], axis=1)
    cv2.imwrite(str(path), np.rint(strip[..., ::-1] * 255.0).astype(np.uint8))


if __name__ == "__main__":
    sys.exit(main())

"""The layout of the Microsoft 7-Scenes dataset: one colour, depth and pose file per frame."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from mirage_ros.errors import SequenceError
from mirage_ros.sources.layout import (
    FrameFiles,
    Listing,
    nearest_rigid,
    read_intrinsics,
    read_matrix,
)

#: The camera recorded at this rate, and frame numbers count its frames.
RECORDED_HZ = 30

#: fx, fy, cx, cy that the dataset's page gives, pixels, pixel-centre convention.
DEFAULT_INTRINSICS = (585.0, 585.0, 320.0, 240.0)

#: Depth images hold millimetres.
DEPTH_UNITS_PER_METRE = 1000.0

_IMAGE_NAME = re.compile(r"frame-(\d+)\.color\.(?:jpg|png)")


def matches(directory: Path) -> bool:
    """Whether the directory holds at least one colour image of this layout."""
    return any(_IMAGE_NAME.fullmatch(path.name) for path in directory.iterdir())


def list_frames(directory: Path) -> Listing:
    """Every frame that has a finite pose.

    The dataset marks frames that its tracker lost by NaN or infinite poses: those are left out and
    counted.

    Raises:
        SequenceError: a depth or pose file is missing or malformed.
    """
    images = {
        int(match.group(1)): path
        for path in sorted(directory.iterdir())
        if (match := _IMAGE_NAME.fullmatch(path.name))
    }
    frames: list[FrameFiles] = []
    left_out = 0
    for number, image in sorted(images.items()):
        stem = image.name.split(".")[0]
        depth = directory / f"{stem}.depth.png"
        if not depth.is_file():
            raise SequenceError(f"{depth}: expected the depth image of {image.name}. Got no file")
        pose_file = directory / f"{stem}.pose.txt"
        pose = read_matrix(pose_file, 4, 4, "a camera-to-world pose")
        if not np.isfinite(pose).all():
            left_out += 1
            continue
        stamp_ns = number * 1_000_000_000 // RECORDED_HZ
        frames.append(FrameFiles(number, stamp_ns, image, depth, nearest_rigid(pose, pose_file)))
    return Listing(
        layout="7-Scenes",
        frames=frames,
        intrinsics=read_intrinsics(directory, DEFAULT_INTRINSICS),
        depth_units_per_metre=DEPTH_UNITS_PER_METRE,
        left_out=left_out,
    )

"""The layout of the TUM RGB-D benchmark: stamped lists of images, depth images and poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import PoseError, SequenceError
from mirage_ros.geometry.interpolation import interpolate_pose
from mirage_ros.geometry.poses import pose_from_quaternion
from mirage_ros.sources.layout import FrameFiles, Listing, read_intrinsics

#: Two recordings belong together when their stamps differ by at most this, nanoseconds.
ASSOCIATION_NS = 20_000_000

#: fx, fy, cx, cy that the benchmark gives for use with any of its cameras, pixel-centre convention.
DEFAULT_INTRINSICS = (525.0, 525.0, 319.5, 239.5)

#: Depth images hold 1/5000 m.
DEPTH_UNITS_PER_METRE = 5000.0

_LISTS = ("rgb.txt", "depth.txt", "groundtruth.txt")


def matches(directory: Path) -> bool:
    """Whether the directory holds the list of colour images of this layout."""
    return (directory / _LISTS[0]).is_file()


def list_frames(directory: Path) -> Listing:
    """Every colour image with a depth image and a pose near in time.

    Poses are interpolated at the colour image's stamp between the two around it, of which the
    nearer is at most :data:`ASSOCIATION_NS` away; before the first and after the last there are
    none. Colour images without depth or pose are left out and counted.

    Raises:
        SequenceError: a list or a listed file is missing or malformed.
    """
    image_stamps, images = _read_images(directory / _LISTS[0])
    depth_stamps, depths = _read_images(directory / _LISTS[1])
    pose_stamps, poses = _read_poses(directory / _LISTS[2])
    frames: list[FrameFiles] = []
    for number, (stamp, image) in enumerate(zip(image_stamps.tolist(), images, strict=True)):
        nearest = int(np.abs(depth_stamps - stamp).argmin())
        pose = _pose_at(stamp, pose_stamps, poses)
        if abs(int(depth_stamps[nearest]) - stamp) > ASSOCIATION_NS or pose is None:
            continue
        for path in (image, depths[nearest]):
            if not path.is_file():
                raise SequenceError(f"{path}: expected an image that a list names. Got no file")
        frames.append(FrameFiles(number, stamp, image, depths[nearest], pose))
    return Listing(
        layout="TUM RGB-D",
        frames=frames,
        intrinsics=read_intrinsics(directory, DEFAULT_INTRINSICS),
        depth_units_per_metre=DEPTH_UNITS_PER_METRE,
        left_out=len(images) - len(frames),
    )


def _read_rows(path: Path, columns: int, what: str) -> tuple[NDArray[np.int64], list[list[str]]]:
    """Stamps in nanoseconds and the other columns, in order of time."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SequenceError(f"{path}: expected lines of '{what}'. Got {error}") from error
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            stamp = _nanoseconds(words[0])
        except ValueError:
            stamp = -1
        if stamp < 0 or len(words) != columns:
            raise SequenceError(f"{path}:{number}: expected '{what}'. Got {line!r}")
        rows.append((stamp, words[1:]))
    if not rows:
        raise SequenceError(f"{path}: expected lines of '{what}'. Got none")
    rows.sort(key=lambda row: row[0])
    return np.array([row[0] for row in rows], dtype=np.int64), [row[1] for row in rows]


def _nanoseconds(seconds: str) -> int:
    """Exact: a double holds today's time in seconds only to about 200 ns."""
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 1_000_000_000 + int(f"{fraction:0<9.9}")


def _read_images(path: Path) -> tuple[NDArray[np.int64], list[Path]]:
    stamps, rows = _read_rows(path, 2, "timestamp filename")
    return stamps, [path.parent / row[0] for row in rows]


def _read_poses(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    stamps, rows = _read_rows(path, 8, "timestamp tx ty tz qx qy qz qw")
    poses = np.empty((len(rows), 4, 4))
    row: list[str] = []
    try:
        for index, row in enumerate(rows):
            values = [float(word) for word in row]
            poses[index] = pose_from_quaternion(values[:3], values[3:])
    except (ValueError, PoseError) as error:
        raise SequenceError(
            f"{path}: expected a pose 'tx ty tz qx qy qz qw'. Got {row}: {error}"
        ) from error
    return stamps, poses


def _pose_at(
    stamp: int,
    stamps: NDArray[np.int64],  # (N,) ascending
    poses: NDArray[np.float64],  # (N, 4, 4)
) -> NDArray[np.float64] | None:
    """Pose at a stamp, linear in translation and rotation angle; None where it would be a guess."""
    after = int(np.searchsorted(stamps, stamp))
    if after == len(stamps):
        return None
    if stamps[after] == stamp:
        exact: NDArray[np.float64] = poses[after]
        return exact
    if after == 0:
        return None
    before = after - 1
    if min(stamp - stamps[before], stamps[after] - stamp) > ASSOCIATION_NS:
        return None
    fraction = float(stamp - stamps[before]) / float(stamps[after] - stamps[before])
    return interpolate_pose(poses[before], poses[after], fraction)

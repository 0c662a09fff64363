"""Recorded RGB-D sequences on disk, in the layouts of 7-Scenes and of the TUM RGB-D benchmark."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError, SequenceError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.sources import seven_scenes, tum
from mirage_ros.sources.frame_source import FrameSource
from mirage_ros.sources.layout import FrameFiles, Listing

#: Depth values that mean 'unknown' in either layout.
_UNKNOWN_DEPTH = (0, 65535)


class RgbdSequence(FrameSource):
    """Frames of a recording, decoded when asked for; safe to index from several threads.

    Attributes:
        layout: name of the layout on disk.
        left_out: number of frames without a usable pose or depth, which are not counted in ``len``.
    """

    def __init__(self, directory: Path, listing: Listing) -> None:
        if not listing.frames:
            raise SequenceError(
                f"{directory}: expected at least one {listing.layout} frame with colour, depth and "
                f"a finite pose. Got none ({listing.left_out} were left out)"
            )
        self.layout = listing.layout
        self.left_out = listing.left_out
        self._directory = directory
        self._frames = listing.frames
        self._depth_units_per_metre = listing.depth_units_per_metre
        height, width = _read_colour(listing.frames[0].image).shape[:2]
        fx, fy, cx, cy = listing.intrinsics
        try:
            # On disk the centre of the top-left pixel is (0, 0); here it is (0.5, 0.5).
            self._camera = PinholeCamera(width, height, fx, fy, cx + 0.5, cy + 0.5)
        except CameraError as error:
            raise SequenceError(f"{directory}: expected usable intrinsics. Got {error}") from error

    @property
    def camera(self) -> PinholeCamera:
        """Intrinsics of every image, corner convention."""
        return self._camera

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> RgbdFrame:
        """The frame at a position, negative ones counted from the end.

        Raises:
            IndexError: outside the sequence.
            SequenceError: an image cannot be read, or differs in size from the first one.
        """
        files = self._frames[index]
        image = _read_colour(files.image)
        depth = _read_depth(files.depth, self._depth_units_per_metre)
        expected = (self.camera.height, self.camera.width)
        for path, shape in ((files.image, image.shape[:2]), (files.depth, depth.shape)):
            if shape != expected:
                raise SequenceError(
                    f"{path}: expected {expected[1]}x{expected[0]} pixels like the first image. "
                    f"Got {shape[1]}x{shape[0]}"
                )
        return RgbdFrame(files.stamp_ns, image, depth, self.camera, files.T_world_camera.copy())

    @property
    def frames(self) -> list[FrameFiles]:
        """Where the frames lie on disk, with numbers, stamps and poses."""
        return list(self._frames)

    @property
    def directory(self) -> Path:
        """Where the recording lies."""
        return self._directory

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) times of exposure, nanoseconds, ascending."""
        return np.array([frame.stamp_ns for frame in self._frames], dtype=np.int64)

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) the recording's own frame numbers, which may have gaps."""
        return np.array([frame.number for frame in self._frames], dtype=np.int64)

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera of every frame, optical convention; nothing is decoded."""
        return np.stack([frame.T_world_camera for frame in self._frames])


def open_sequence(directory: str | Path) -> RgbdSequence:
    """The recording in a directory; its layout is told from the files in it.

    7-Scenes: ``frame-NNNNNN.color.jpg`` (or ``.png``), ``.depth.png`` (16 bit, millimetres) and
    ``.pose.txt`` (4x4, camera to world) at 30 Hz by frame number. TUM RGB-D: ``rgb.txt``,
    ``depth.txt`` (16 bit, 1/5000 m) and ``groundtruth.txt``. ``camera-intrinsics.txt`` (3x3,
    pixel-centre convention) stands in for each dataset's documented intrinsics.

    Raises:
        SequenceError: not a directory, neither layout, or a file is missing, short or malformed.
    """
    path = Path(directory).expanduser()
    if not path.is_dir():
        raise SequenceError(
            f"{path}: expected the directory of an RGB-D sequence. Got no directory"
        )
    if seven_scenes.matches(path):
        return RgbdSequence(path, seven_scenes.list_frames(path))
    if tum.matches(path):
        return RgbdSequence(path, tum.list_frames(path))
    raise SequenceError(
        f"{path}: expected a 7-Scenes sequence (frame-NNNNNN.color.jpg or .png, .depth.png, "
        f".pose.txt) or a TUM RGB-D one (rgb.txt, depth.txt, groundtruth.txt). Got neither"
    )


def _read_colour(path: Path) -> NDArray[np.uint8]:  # (H, W, 3) RGB
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SequenceError(f"{path}: expected a colour image. Got a file that cannot be decoded")
    return np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _read_depth(path: Path, units_per_metre: float) -> NDArray[np.float32]:  # (H, W) metres
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise SequenceError(f"{path}: expected a depth image. Got a file that cannot be decoded")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise SequenceError(
            f"{path}: expected a depth image of 16 bit and one channel. "
            f"Got {pixels.dtype} of shape {pixels.shape}"
        )
    unknown = np.isin(pixels, _UNKNOWN_DEPTH)
    metres = pixels.astype(np.float32) / np.float32(units_per_metre)
    metres[unknown] = 0.0
    return metres

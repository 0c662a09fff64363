"""One way to open anything that frames come from: a recording, a bag, or the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.sources.bag_reader import STORAGE_SUFFIXES, is_bag
from mirage_ros.sources.rgbd_sequence import open_sequence
from mirage_ros.sources.rosbag import BagOptions, RosbagSequence

#: What a specification of the simulator begins with.
SIMULATOR = "sim"


class FrameSequence(Protocol):
    """What recorded and simulated sequences have in common."""

    @property
    def camera(self) -> PinholeCamera:
        """Intrinsics of every image, corner convention."""

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) times of exposure, nanoseconds, ascending."""

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) the source's own frame numbers, which may have gaps."""

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera of every frame; nothing is decoded."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbdFrame: ...

    def close(self) -> None:
        """Free what is held open."""


@dataclass(frozen=True)
class Dataset:
    """Frames, and where they come from. Close it, or use it as a context, when done with it.

    Attributes:
        name: short, for tables.
        origin: what and where it is, for reports.
        frames: the frames themselves.
    """

    name: str
    origin: str
    frames: FrameSequence

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[RgbdFrame]:
        return (self.frames[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> RgbdFrame:
        """The frame at a position, negative ones counted from the end.

        Raises:
            IndexError: outside the dataset.
            MirageError: the frame cannot be read or rendered.
        """
        return self.frames[index]

    def numbered(self, text: str) -> list[RgbdFrame]:
        """The frames numbered ``FIRST:LAST:STEP``, both ends included.

        Raises:
            ConfigurationError: not such a text, or the dataset lacks one of them.
            MirageError: a frame cannot be read or rendered.
        """
        return load(self.frames, frame_numbers(text))

    def close(self) -> None:
        """Close files and renderers; frames cannot be had afterwards."""
        self.frames.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_dataset(
    spec: str,
    *,
    bag: BagOptions | None = None,
    width: int = 320,
    height: int = 256,
    rate_hz: float = 5.0,
    duration_s: float | None = None,
) -> Dataset:
    """The dataset that a specification names.

    ``sim`` or ``sim:SEED`` is the simulator's apartment of that seed (0), driven along the
    scripted tour. Anything else is a path: a directory in 7-Scenes or TUM RGB-D layout, or a
    rosbag2 recording (its directory, or a .db3 or .mcap file). A directory called sim is ``./sim``.

    Args:
        spec: what to open.
        bag: how a bag is read; None = the defaults.
        width: of simulated images, pixels; recordings have their own size.
        height: likewise.
        rate_hz: simulated frames a second; recordings have their own rate.
        duration_s: simulated seconds; None = the whole tour.

    Raises:
        SequenceError: there is no such recording, or it cannot be used.
        ConfigurationError: the seed is not a number, the simulator's size or rate is not allowed,
            or the package that reads or renders is not installed.
    """
    seed = simulator_seed(spec)
    if seed is not None:
        return _simulated(seed, width, height, rate_hz, duration_s)
    path = Path(spec).expanduser()
    # A bag's directory whose metadata is missing is told as such, rather than as no sequence.
    storage = [file for suffix in STORAGE_SUFFIXES for file in path.glob(f"*{suffix}")]
    if is_bag(path) or path.is_file() or storage:
        recording = RosbagSequence(path, bag)
        return Dataset(path.resolve().name, f"{recording.layout} recording {path}", recording)
    sequence = open_sequence(path)
    return Dataset(path.resolve().name, f"{sequence.layout} sequence {path}", sequence)


def simulator_seed(spec: str) -> int | None:
    """Which apartment a specification names; None where it names no simulator.

    Raises:
        ConfigurationError: the seed is not a number.
    """
    kind, colon, seed = spec.partition(":")
    if kind != SIMULATOR:
        return None
    if colon and not (seed.isascii() and seed.isdigit()):
        raise ConfigurationError(
            f"the simulator is '{SIMULATOR}' or '{SIMULATOR}:SEED' with a seed such as 3. "
            f"Got '{spec}'"
        )
    return int(seed or 0)


def frame_numbers(text: str) -> list[int]:
    """The numbers of ``FIRST:LAST:STEP``, both ends included.

    Raises:
        ConfigurationError: not three integers with FIRST <= LAST and STEP > 0.
    """
    try:
        first, last, step = (int(part) for part in text.split(":"))
    except ValueError:
        first, last, step = 0, -1, 0
    if step < 1 or not 0 <= first <= last:
        raise ConfigurationError(
            f"frames are given as FIRST:LAST:STEP, such as 0:190:10. Got '{text}'"
        )
    return list(range(first, last + 1, step))


def load(sequence: FrameSequence, numbers: Sequence[int]) -> list[RgbdFrame]:
    """The frames of a sequence with these frame numbers.

    Raises:
        ConfigurationError: the sequence lacks one of them.
    """
    position = {int(number): index for index, number in enumerate(sequence.frame_numbers)}
    missing = [number for number in numbers if number not in position]
    if missing:
        raise ConfigurationError(
            f"frames must be in the sequence, whose numbers run from {min(position)} to "
            f"{max(position)}. Got {missing}, which are not"
        )
    return [sequence[position[number]] for number in numbers]


def _simulated(
    seed: int, width: int, height: int, rate_hz: float, duration_s: float | None
) -> Dataset:
    try:
        from mirage_ros.sources.simulator import RobotCamera, robot_tour
    except ImportError as error:
        raise ConfigurationError(
            f"the simulator needs the Python package mujoco: {error}"
        ) from error
    frames = robot_tour(
        seed, camera=RobotCamera(width, height), rate_hz=rate_hz, duration_s=duration_s
    )
    return Dataset(
        f"{SIMULATOR}:{seed}",
        f"simulated apartment {seed}, {width}x{height} at {rate_hz:g} Hz",
        frames,
    )

"""Ways on which a camera leaves its first pose, from recordings and from the simulator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.closed_loop import keyframes, some_poses, there_and_back
from mirage_ros.evaluation.datasets import FrameSequence
from mirage_ros.evaluation.protocol import Size
from mirage_ros.frames import RgbdFrame


@dataclass(frozen=True)
class ClosedWay:
    """What the closed loops need.

    Attributes:
        frames: the first and the keyframes after it.
        T_world_camera: (T, 4, 4) from the first pose away and back to it.
        way: what the frames are, a sentence.
        path: what the path is, to stand after "imagines".
    """

    frames: Sequence[RgbdFrame]
    T_world_camera: NDArray[np.float64]
    way: str
    path: str


def recorded_way(
    sequence: FrameSequence,
    first: int,  # frame number
    last: int,  # frame number
    most: int,
) -> ClosedWay:
    """The keyframes from one frame to another, and at most ``most`` poses there and back.

    Raises:
        ConfigurationError: the sequence has no frame between.
        MirageError: a frame cannot be read.
    """
    numbers = sequence.frame_numbers
    places = np.flatnonzero((numbers >= first) & (numbers <= last))
    if len(places) == 0:
        raise ConfigurationError(
            f"a closed loop needs frames. Got none numbered from {first} to {last}"
        )
    poses = sequence.poses[places]
    kept = keyframes(sequence.stamps_ns[places], poses)
    path = there_and_back(some_poses(poses, max(2, (most + 1) // 2)))
    return ClosedWay(
        [sequence[int(places[place])] for place in kept],
        path,
        f"the recording from frame {numbers[places[0]]} to frame {numbers[places[-1]]}, "
        "which is not gone back.",
        f"{len(path)} views along the recorded poses of these frames and the same poses back",
    )


@contextmanager
def simulated_way(seed: int, frames: int, size: Size, most: int) -> Iterator[ClosedWay]:
    """A closed tour through an apartment, and at most ``most`` of its poses.

    Raises:
        ConfigurationError: too few frames for a tour, or a size that cannot be rendered.
    """
    from mirage_ros.sources.simulator import closed_loop_tour

    tour = closed_loop_tour(seed, frames, width=size.width, height=size.height)
    with tour.frames as sequence:
        kept = [k for k in keyframes(sequence.stamps_ns, sequence.poses) if k < frames - 1]
        path = some_poses(sequence.poses, most)
        yield ClosedWay(
            [sequence[k] for k in kept],
            path,
            f"a closed tour of {frames} frames through the apartment ({', '.join(tour.rooms)}; "
            f"{tour.metres_per_chunk:.2f} m and {tour.degrees_per_chunk:.0f} degrees every "
            f"{tour.frames_per_chunk} frames), all but the last frame, which is the first view "
            "again.",
            f"{len(path)} views along that tour, back to its first pose",
        )

"""What the small model is asked: chunks along true poses, at moments of drives and recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.datasets import FrameSequence
from mirage_ros.evaluation.protocol import Size
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import exp_twist
from mirage_ros.keyframes import chosen_keyframes

if TYPE_CHECKING:
    from mirage_ros.sources.simulator import RenderedSequence

#: Where a chunk begins: at the newest view, where it goes on into what has not been seen; or at an
#: earlier place, among what is remembered.
AHEAD, BACK = "ahead", "back"

#: Frames of a chunk, the one that it begins with included.
CHUNK = 9

#: Pictures a simulated second, and pictures between two frames of a chunk: about the period at
#: which the node predicts, so a chunk looks about its horizon ahead.
RATE_HZ, STRIDE = 15.0, 4

#: How far beside the robot's way a chunk among what is remembered is seen, metres and radians
#: (standard deviations).
_ASIDE = np.array([0.10, 0.03, 0.10])
_TURNED = np.array([0.02, 0.08, 0.01])

#: Of a recording, every so many frames are remembered.
REMEMBERED_EVERY = 10

#: Share of a drive before its first moment.
_FIRST = 0.25


@dataclass(frozen=True)
class Question:
    """A chunk to be shown.

    Attributes:
        kind: :data:`AHEAD` or :data:`BACK`.
        truth: what its views truly show, of the size of the views; their poses are asked for. The
            first one is given to those who start from a frame, and counts for nobody.
    """

    kind: str
    truth: Sequence[RgbdFrame]

    @property
    def T_world_camera(self) -> NDArray[np.float64]:  # noqa: N802  (T, 4, 4)
        """Poses of the views."""
        return np.stack([frame.T_world_camera for frame in self.truth])


@dataclass(frozen=True)
class Moment:
    """Some way into a drive.

    Attributes:
        seen: frames to be remembered since the moment before.
        questions: asked then.
    """

    seen: Sequence[RgbdFrame]
    questions: Sequence[Question]


@dataclass(frozen=True)
class DriveScale:
    """How much is asked of a simulated drive.

    Attributes:
        size: of the pictures.
        duration_s: simulated seconds.
        moments: at which there are questions; one of either kind at each.
        stride: pictures between two frames of a chunk.
    """

    size: Size
    duration_s: float = 60.0
    moments: int = 5
    stride: int = STRIDE


@contextmanager
def simulated_moments(seed: int, scale: DriveScale) -> Iterator[Iterator[Moment]]:
    """Moments of the robot's tour of an apartment; nothing moves and nothing errs in it.

    The keyframes until a moment are remembered; asked for is the way ahead of it, and a stretch of
    the way before, seen from a bit beside. Camera and lighting differ between apartments.

    Raises:
        ConfigurationError: the drive is too short for a chunk, or this machine cannot render.
    """
    sequence = _tour(seed, scale)

    def moments() -> Iterator[Moment]:
        poses, rng = sequence.poses, np.random.default_rng((seed, 17))
        keyframes = chosen_keyframes(poses, sequence.stamps_ns)
        span = (CHUNK - 1) * scale.stride
        last = len(sequence) - 1 - span
        first = max(span, round(_FIRST * len(sequence)))
        if last < first:
            raise ConfigurationError(
                f"a drive must have {2 * span + 1} pictures at least. Got {len(sequence)}"
            )
        steps, done = scale.stride * np.arange(CHUNK), -1
        for now in np.linspace(first, last, scale.moments).round().astype(int).tolist():
            seen = [sequence[k] for k in keyframes if done < k <= now]
            done = now
            ahead = [sequence[k] for k in (now + steps).tolist()]
            aside = beside(rng)
            start = int(rng.integers(0, now - span + 1))
            back = [sequence.seen_from(poses[k] @ aside, k) for k in (start + steps).tolist()]
            yield Moment(seen, [Question(AHEAD, ahead), Question(BACK, back)])

    with sequence:
        yield moments()


@dataclass(frozen=True)
class LongWay:
    """A way through what is remembered.

    Attributes:
        seen: keyframes of the whole drive.
        truth: what the camera truly sees on the way, whose poses are asked for; the first one is
            given.
    """

    seen: Sequence[RgbdFrame]
    truth: Sequence[RgbdFrame]


def long_way(seed: int, scale: DriveScale, chunks: int) -> LongWay:
    """The way that the robot's tour took, from a bit beside, after the whole tour.

    Raises:
        ConfigurationError: the drive is too short, or this machine cannot render.
    """
    sequence = _tour(seed, scale)
    with sequence:
        count = 1 + (CHUNK - 1) * chunks
        stride = min(scale.stride, (len(sequence) - 1) // (count - 1))
        if stride < 1:
            raise ConfigurationError(
                f"a way of {chunks} chunks needs a drive of {count} pictures. Got {len(sequence)}"
            )
        poses, aside = sequence.poses, beside(np.random.default_rng((seed, 19)))
        keyframes = chosen_keyframes(poses, sequence.stamps_ns)
        return LongWay(
            [sequence[number] for number in keyframes],
            [
                sequence.seen_from(poses[number] @ aside, number)
                for number in range(0, count * stride, stride)
            ],
        )


def _tour(seed: int, scale: DriveScale) -> RenderedSequence:
    """A drive through an apartment with the camera and the lighting of its seed."""
    from mirage_ros.sources.simulator import robot_tour
    from mirage_ros.sources.simulator.splits import Variation

    size = (scale.size.width, scale.size.height)
    variation = Variation.drawn(seed, size, scale.duration_s, imperfect=0.0)
    return robot_tour(
        seed,
        camera=variation.camera,
        rate_hz=RATE_HZ,
        duration_s=scale.duration_s,
        lighting=variation.lighting,
    )


def beside(rng: np.random.Generator) -> NDArray[np.float64]:  # (4, 4)
    """A small motion of the camera, drawn."""
    return exp_twist(_ASIDE * rng.standard_normal(3), _TURNED * rng.standard_normal(3), 1.0)


def recorded_moments(frames: FrameSequence, size: Size, count: int) -> Iterator[Moment]:
    """Moments of a recording, whose every tenth frame is remembered.

    At ``count`` of them what comes next is asked for, frame by frame from one that is remembered
    on; at the end, as many chunks of consecutive frames between two that are remembered.

    Raises:
        ConfigurationError: the recording is too short.
        MirageError: a frame cannot be read.
    """
    places = range(0, len(frames), REMEMBERED_EVERY)
    starts = [place for place in places if place + REMEMBERED_EVERY < len(frames)]
    if len(starts) < 2:
        raise ConfigurationError(
            f"a recording must have {2 * REMEMBERED_EVERY + 1} frames at least. Got {len(frames)}"
        )
    count = min(count, len(starts) - 1)
    chosen = np.linspace(1, len(starts) - 1, count).round().astype(int).tolist()
    asked = [starts[number] for number in chosen]

    def chunk(first: int) -> list[RgbdFrame]:
        return [size.fit(frames[place]) for place in range(first, first + CHUNK)]

    done = -1
    for now in asked:
        yield Moment(
            [size.fit(frames[place]) for place in places if done < place <= now],
            [Question(AHEAD, chunk(now))],
        )
        done = now
    # From the frame after one that is remembered to the one before the next.
    yield Moment(
        [size.fit(frames[place]) for place in places if place > done],
        [Question(BACK, chunk(place + 1)) for place in asked],
    )

"""What is remembered of a drive, with parts of the perception on and off, held against the truth.

The simulator knows what an apartment looks like when nobody is in it. So a token can be told from a
ghost: what it shows stands, from where it was seen, in space that is free in truth.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.codec import DctCodec
from mirage_ros.errors import FrameError
from mirage_ros.evaluation.image_metrics import means, psnr
from mirage_ros.evaluation.picture import as_unit
from mirage_ros.frames import RgbdFrame, fit_frame
from mirage_ros.generation import ReadoutGenerator
from mirage_ros.memory import LatentMemory
from mirage_ros.perception.pipeline import Perception
from mirage_ros.sources.simulator.rendered import RenderedSequence
from mirage_ros.world_model import Observation, WorldModel, WorldModelConfig

#: A token in free space is one whose whole cell is, in truth, farther away by more than this share
#: of the depth and more than this many metres.
_GHOST_SHARE, _GHOST_METRES = 0.03, 0.10

#: Gives the frame that is observed for one of the sequence, and the one a moment before it.
Sensor = Callable[[int], RgbdFrame]

#: Wraps a loop over numbers of frames, told what it does.
Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class Drive:
    """What is left of a drive.

    Attributes:
        model: with what it remembers.
        keyframes: numbers of the frames that were to be remembered.
        observations: what became of those that were.
        dropped: keyframes that could not be remembered.
    """

    model: WorldModel
    keyframes: tuple[int, ...]
    observations: tuple[Observation, ...]
    dropped: int

    @property
    def memory(self) -> LatentMemory:
        """The memory."""
        assert isinstance(self.model.memory, LatentMemory)
        return self.model.memory

    @property
    def perceive_ms(self) -> float:
        """Median time of the perception for a keyframe, milliseconds."""
        return 1e3 * statistics.median(seen.seconds["perceive"] for seen in self.observations)

    @property
    def removed(self) -> int:
        """Tokens that were forgotten because views saw through them."""
        carvings = [seen.perceived.carving for seen in self.observations]
        return sum(carving.removed for carving in carvings if carving is not None)


def drive(
    sensor: Sensor,
    keyframes: Sequence[int],
    perception: Perception,
    size: tuple[int, int],
    *,
    memory: LatentMemory | None = None,
    watch: Callable[[int, WorldModel, Observation], None] | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> Drive:
    """Remember keyframes one after the other.

    Args:
        sensor: gives frames by their numbers.
        keyframes: numbers of those that are remembered.
        perception: prepares them.
        size: width and height of what is remembered, multiples of 32.
        memory: empty; None = the default one.
        watch: is told of every frame that was remembered, right after it.
        progress: wraps the loop.
    """
    codec = DctCodec()
    model = WorldModel(
        codec,
        LatentMemory(codec) if memory is None else memory,
        ReadoutGenerator(),
        WorldModelConfig(*size),
        perception,
    )
    model.warm_up()
    observations, dropped = [], 0
    for number in progress(keyframes):
        previous = sensor(number - 1) if number > 0 else None
        try:
            seen = model.observe(sensor(number), previous)
        except FrameError:
            dropped += 1
            continue
        observations.append(seen)
        if watch is not None:
            watch(number, model, seen)
    return Drive(model, tuple(keyframes), tuple(observations), dropped)


def ghosts(
    memory: LatentMemory,
    truth: Callable[[int], RgbdFrame],  # the empty room from where the frame of a stamp was seen
    size: tuple[int, int],
    among: NDArray[np.bool_] | None = None,  # (N,)
) -> NDArray[np.bool_]:  # (N,)
    """Which observed tokens show something that stands in space that is free in truth.

    Args:
        memory: holds the tokens.
        truth: gives the room without what moves.
        size: width and height of the frames that were remembered.
        among: only these are looked at; None = all.
    """
    stride = memory.codec.spatial_stride
    seen = memory.placed_tokens()
    result = np.zeros(len(seen.stamps_ns), dtype=np.bool_)
    asked = np.ones_like(result) if among is None else among
    for stamp in np.unique(seen.stamps_ns[asked]):
        depth = fit_frame(truth(int(stamp)), *size).depth
        assert depth is not None
        rows, columns = depth.shape[0] // stride, depth.shape[1] // stride
        cells = depth.reshape(rows, stride, columns, stride).transpose(0, 2, 1, 3)
        nearest = np.where(cells > 0.0, cells, np.inf).min(axis=(2, 3)).ravel()
        mine = np.flatnonzero((seen.stamps_ns == stamp) & asked)
        depths = seen.depths[mine]
        limit = depths + np.maximum(_GHOST_METRES, _GHOST_SHARE * depths)
        result[mine] = nearest[seen.cells[mine]] > limit
    return result


@dataclass(frozen=True)
class AskedView:
    """A predicted view and the truth.

    Attributes:
        image: (H, W, 3) uint8, as predicted.
        covered: (H, W) bool, which of its pixels are remembered.
        truth: (H, W, 3) uint8.
    """

    image: NDArray[np.uint8]
    covered: NDArray[np.bool_]
    truth: NDArray[np.uint8]

    def psnr_db(self, within: NDArray[np.bool_] | None = None) -> float:
        """Over the covered pixels, or over those of a mask; NaN where there are none."""
        mask = self.covered if within is None else within
        return psnr(as_unit(self.image), as_unit(self.truth), mask)


@dataclass(frozen=True)
class ViewsScore:
    """What predicted views are worth.

    Attributes:
        psnr_db: over covered pixels, mean over the views that have any; NaN where none has.
        coverage: mean share of the pixels.
    """

    psnr_db: float
    coverage: float


def ask_views(
    model: WorldModel,
    targets: Sequence[RgbdFrame],  # the truth
    asked: NDArray[np.float64] | None = None,  # (T, 4, 4) T_world_camera; None = the targets' own
) -> list[AskedView]:
    """Predicted views beside what they should show."""
    size = (model.config.generation_width, model.config.generation_height)
    poses = [target.T_world_camera for target in targets] if asked is None else list(asked)
    views = []
    for target, pose in zip(targets, poses, strict=True):
        view = next(model.imagine(pose[None], target.camera))
        views.append(AskedView(view.image, view.coverage > 0, fit_frame(target, *size).image))
    return views


def score(views: Sequence[AskedView]) -> ViewsScore:
    """What views are worth, each by the pixels that it covers.

    Raises:
        ConfigurationError: no views.
    """
    figures = [(view.psnr_db(), float(view.covered.mean())) for view in views]
    return ViewsScore(*means(figures))


def common_psnr(ways: Sequence[Sequence[AskedView]]) -> list[float]:
    """Mean PSNR of several ways of making the same views, dB, over pixels that all of them cover.

    NaN where there are no such pixels, or no views.
    """
    rows = []
    for same in zip(*ways, strict=True):
        common = np.logical_and.reduce([view.covered for view in same])
        rows.append([view.psnr_db(common) for view in same])
    return means(rows) if rows else [math.nan] * len(ways)


def empty_room(sequence: RenderedSequence) -> Callable[[int], RgbdFrame]:
    """The truth by stamp: frames of a sequence without what moves."""
    place = {int(stamp): number for number, stamp in enumerate(sequence.stamps_ns)}
    return lambda stamp_ns: sequence.still(place[stamp_ns])

"""What is remembered of a drive, with parts of the perception on and off, held against the truth.

The simulator knows what an apartment looks like when nobody is in it. So a token can be told from a
ghost: what it shows stands, from where it was seen, in space that is free in truth.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.codec import DctCodec
from mirage_ros.errors import FrameError
from mirage_ros.evaluation.image_metrics import psnr
from mirage_ros.frames import RgbdFrame, fit_frame
from mirage_ros.generation import ReadoutGenerator
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.memory import LatentMemory
from mirage_ros.perception.pipeline import Perception
from mirage_ros.sources.simulator.rendered import RenderedSequence
from mirage_ros.world_model import Observation, WorldModel, WorldModelConfig

#: A token in free space is one whose whole cell is, in truth, farther away by more than this share
#: of the depth and more than this many metres.
_GHOST_SHARE, _GHOST_METRES = 0.03, 0.10

#: Gives the frame that is observed for one of the sequence, and the one a moment before it.
Sensor = Callable[[int], RgbdFrame]


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


def chosen_keyframes(
    poses: NDArray[np.float64],  # (N, 4, 4)
    stamps_ns: NDArray[np.int64],  # (N,)
    policy: KeyframePolicy | None = None,
) -> list[int]:
    """Numbers of the frames that the node would remember."""
    rule, chosen = policy or KeyframePolicy(), list[int]()
    for number, (stamp, pose) in enumerate(zip(stamps_ns.tolist(), poses, strict=True)):
        last = chosen[-1] if chosen else None
        before = None if last is None else int(stamps_ns[last])
        if rule.wants(stamp, pose, before, None if last is None else poses[last]):
            chosen.append(number)
    return chosen


def drive(
    sensor: Sensor,
    keyframes: Sequence[int],
    perception: Perception,
    size: tuple[int, int],
    *,
    memory: LatentMemory | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> Drive:
    """Remember keyframes one after the other.

    Args:
        sensor: gives frames by their numbers.
        keyframes: numbers of those that are remembered.
        perception: prepares them.
        size: width and height of what is remembered, multiples of 32.
        memory: empty; None = the default one.
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
            observations.append(model.observe(sensor(number), previous))
        except FrameError:
            dropped += 1
    return Drive(model, tuple(keyframes), tuple(observations), dropped)


def ghosts(
    memory: LatentMemory,
    truth: Callable[[int], RgbdFrame],  # the empty room from where the frame of a stamp was seen
    size: tuple[int, int],
) -> NDArray[np.bool_]:  # (N,)
    """Which observed tokens show something that stands in space that is free in truth."""
    stride = memory.codec.spatial_stride
    seen = memory.placed_tokens()
    result = np.zeros(len(seen.stamps_ns), dtype=np.bool_)
    for stamp in np.unique(seen.stamps_ns):
        depth = fit_frame(truth(int(stamp)), *size).depth
        assert depth is not None
        rows, columns = depth.shape[0] // stride, depth.shape[1] // stride
        cells = depth.reshape(rows, stride, columns, stride).transpose(0, 2, 1, 3)
        nearest = np.where(cells > 0.0, cells, np.inf).min(axis=(2, 3)).ravel()
        mine = np.flatnonzero(seen.stamps_ns == stamp)
        depths = seen.depths[mine]
        limit = depths + np.maximum(_GHOST_METRES, _GHOST_SHARE * depths)
        result[mine] = nearest[seen.cells[mine]] > limit
    return result


@dataclass(frozen=True)
class ViewsScore:
    """What predicted views are worth.

    Attributes:
        psnr_db: over covered pixels, mean over the views.
        coverage: mean share of the pixels.
    """

    psnr_db: float
    coverage: float


def score_views(
    model: WorldModel,
    targets: Sequence[RgbdFrame],  # the truth, with the poses to ask for
) -> ViewsScore:
    """Predicted views against the truth."""
    size = (model.config.generation_width, model.config.generation_height)
    values, shares = [], []
    for target in targets:
        fitted = fit_frame(target, *size)
        view = next(model.imagine(target.T_world_camera[None], target.camera))
        covered = view.coverage > 0
        shares.append(float(covered.mean()))
        if covered.any():
            values.append(psnr(_unit(view.image), _unit(fitted.image), covered))
    return ViewsScore(statistics.fmean(values), statistics.fmean(shares))


def empty_room(sequence: RenderedSequence) -> Callable[[int], RgbdFrame]:
    """The truth by stamp: frames of a sequence without what moves."""
    place = {int(stamp): number for number, stamp in enumerate(sequence.stamps_ns)}
    return lambda stamp_ns: sequence.still(place[stamp_ns])


def _unit(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    return image.astype(np.float32) / np.float32(255.0)

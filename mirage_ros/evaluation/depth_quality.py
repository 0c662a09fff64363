"""What bad depth costs: views read from memories of the same frames, each with other depth.

Two questions. How much is lost when a sensor's depth is noisier, has holes, is off in scale or in
time; and whether an image's depth by a model, aligned to what the memory knows, can go on where a
sensor ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.depth_degradation import (
    DEGRADATIONS,
    Degradation,
    ErringModel,
    ModelErrors,
)
from mirage_ros.evaluation.protocol import (
    Progress,
    Size,
    Way,
    imagined,
    measure_views,
    no_progress,
)
from mirage_ros.frames import RgbdFrame
from mirage_ros.generation import ReadoutGenerator
from mirage_ros.memory import LatentMemory
from mirage_ros.perception.depth import DepthEstimate, DepthSource, KnownDepth, SensorDepth
from mirage_ros.perception.monocular import MonocularDepth
from mirage_ros.sources.degraded import DegradedSequence
from mirage_ros.sources.frame_source import FrameSource
from mirage_ros.world_model import WorldModel, WorldModelConfig

#: Names in tables.
AS_MEASURED, BELIEVED = "as measured", "as far as it is believed"
SENSOR, HALF = "sensor", "sensor, first half only"
ALIGNED, NOT_ALIGNED = "aligned", "not aligned"

#: A depth source for a case; None: depth is stored as it comes.
MakeSource = Callable[[], DepthSource] | None

#: What was wrong, what was done about it, and how wrong it was.
_Case = tuple[str, str, float]


#: Depth with what is believed of it taken into account, and without.
SENSOR_SOURCES: Mapping[str, MakeSource] = {AS_MEASURED: None, BELIEVED: SensorDepth}


@dataclass(frozen=True)
class DepthFigures:
    """Views from one memory, means over the targets.

    Attributes:
        case: what was wrong with the depth.
        source: what was done about it.
        strength: of what was wrong, for curves: a :class:`Degradation`'s, or a model's scale.
        covered: share of the pixels that are remembered.
        psnr_db: over these.
        common_psnr_db: over the pixels that all memories of the measurement remember.
        tokens: in memory.
    """

    case: str
    source: str
    strength: float
    covered: float
    psnr_db: float
    common_psnr_db: float
    tokens: int


def measure_sensor(
    sequence: FrameSource,
    remembered: Sequence[int],
    targets: Sequence[int],
    size: Size,
    codec: Codec,
    *,
    degradations: Sequence[Degradation] = DEGRADATIONS,
    sources: Mapping[str, MakeSource] = SENSOR_SOURCES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[DepthFigures]:
    """What worse sensors cost.

    Args:
        sequence: of frames with good depth.
        remembered: positions of the frames that go into memory.
        targets: positions of the frames whose views are predicted, at their true poses.
        size: of the views.
        codec: of the memories.
        degradations: of the sensor.
        sources: of depth, each with every degradation.
        seed: of the errors.
        progress: wraps loops over frames.

    Raises:
        ConfigurationError: nothing to remember, or no target.
    """
    cases: list[_Case] = []
    ways = []
    for degradation in degradations:
        worse = DegradedSequence(
            sequence,
            depth_errors=degradation.errors,
            seed=seed,
            time_offset_s=degradation.time_offset_s,
        )
        frames = [worse[index] for index in remembered]
        for name, make in sources.items():
            source = None if make is None else make()
            cases.append((degradation.name, name, degradation.strength))
            ways.append(perceived_way(degradation.name, frames, source, size, codec, progress))
    return _figures(cases, ways, [sequence[index] for index in targets], size, codec, progress)


def measure_monocular(
    sequence: FrameSource,
    remembered: Sequence[int],
    targets: Sequence[int],
    size: Size,
    codec: Codec,
    *,
    scales: Sequence[float] = (1.0, 1.2),
    errors: ModelErrors | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[DepthFigures]:
    """A sensor for the first half of the frames, a model for the second.

    With a sensor for all of them and for the first half only, that is what there is to win; with
    the model's depth aligned to the memory's and as it is, at every scale.

    Args:
        sequence: of frames with good depth.
        remembered: positions of the frames that go into memory.
        targets: positions of the frames whose views are predicted.
        size: of the views.
        codec: of the memories.
        scales: factors on the model's depth.
        errors: of the model beside the scale.
        seed: of the errors.
        progress: wraps loops over frames.

    Raises:
        ConfigurationError: nothing to remember, or no target.
    """
    errors = errors or ModelErrors()
    frames = [size.fit(sequence[index]) for index in remembered]
    half = (len(frames) + 1) // 2
    cases: list[_Case] = [("no model", SENSOR, 1.0), ("no model", HALF, 1.0)]
    ways = [
        perceived_way(SENSOR, frames, SensorDepth(), size, codec, progress),
        perceived_way(HALF, frames[:half], SensorDepth(), size, codec, progress),
    ]
    mixed = frames[:half] + [replace(frame, depth=None) for frame in frames[half:]]
    for scale in scales:
        model = ErringModel(frames, replace(errors, scale=scale), seed)
        for name in (ALIGNED, NOT_ALIGNED):
            source = _SensorThenModel(MonocularDepth(model), aligned=name == ALIGNED)
            cases.append((f"model's scale {scale:g}", name, scale))
            ways.append(perceived_way(name, mixed, source, size, codec, progress))
    return _figures(cases, ways, [sequence[index] for index in targets], size, codec, progress)


def perceived_way(
    name: str,
    frames: Sequence[RgbdFrame],
    source: DepthSource | None,
    size: Size,
    codec: Codec,
    progress: Progress = no_progress,
) -> Way:
    """Imagined from a memory of frames whose depth comes from a source.

    Frames that get no depth are left out.

    Args:
        name: in tables.
        frames: to remember.
        source: of depth; None: the frames' own, as it is.
        size: of the views.
        codec: of the memory.
        progress: wraps the loop over frames.

    Raises:
        ConfigurationError: no frame.
    """
    if not frames:
        raise ConfigurationError("at least one frame to remember is needed. Got none")
    config = WorldModelConfig(size.width, size.height)
    model = WorldModel(codec, LatentMemory(codec), ReadoutGenerator(), config)
    for frame in progress([size.fit(frame) for frame in frames], f"remember: {name}"):
        if source is None:
            model.observe(frame)
            continue
        estimate = source.estimate(frame, partial(known_depth, model, frame))
        if estimate.known:
            model.observe(replace(frame, depth=estimate.depth, confidence=estimate.confidence))
    return Way(
        name,
        lambda frame: imagined(model, frame),
        is_memory=True,
        elements=model.token_count,
        nbytes=model.memory_bytes,
    )


def known_depth(model: WorldModel, frame: RgbdFrame) -> NDArray[np.float32]:  # (h, w)
    """The memory's depth of a fitted frame's view, metres, 0 where nothing was observed."""
    readout = model.memory.read(frame.camera, frame.T_world_camera[None])
    known = readout.depth[0].where(readout.observed[0], 0.0)
    return np.asarray(known.cpu().numpy(), dtype=np.float32)


class _SensorThenModel:
    """A sensor while there is one, then a model, aligned to the memory or not."""

    def __init__(self, model: MonocularDepth, *, aligned: bool) -> None:
        self._sensor = SensorDepth()
        self._model = model
        self._aligned = aligned

    def estimate(self, frame: RgbdFrame, known: KnownDepth) -> DepthEstimate:
        if frame.depth is not None:
            return self._sensor.estimate(frame)
        nothing = np.zeros((1, 1), dtype=np.float32)
        return self._model.estimate(frame, known if self._aligned else lambda: nothing)

    def clear(self) -> None:
        self._sensor.clear()
        self._model.clear()


def _figures(
    cases: Sequence[_Case],
    ways: Sequence[Way],
    targets: Sequence[RgbdFrame],
    size: Size,
    codec: Codec,
    progress: Progress,
) -> list[DepthFigures]:
    measured = measure_views(ways, targets, size, codec, progress=progress)
    return [
        DepthFigures(
            case,
            source,
            strength,
            figures.metrics.covered.share,
            figures.metrics.covered.psnr_db,
            figures.common_psnr_db,
            figures.way.elements,
        )
        for (case, source, strength), figures in zip(cases, measured, strict=True)
    ]

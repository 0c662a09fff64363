"""Sources of depth by name, and the sensor's depth completed by a model's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.perception.depth import (
    DepthEstimate,
    DepthSource,
    KnownDepth,
    SensorDepth,
    SensorDepthConfig,
)
from mirage_ros.perception.depth_model import TransformersDepthModel
from mirage_ros.perception.depth_settings import DEPTH_KINDS, DepthModelSettings
from mirage_ros.perception.monocular import MonocularConfig, MonocularDepth


class CompletedDepth:
    """The sensor's depth where it is valid, a model's aligned to it in the holes.

    Implements :class:`mirage_ros.perception.depth.DepthSource`. A sensor that fails altogether
    leaves the model's depth, aligned to the memory.

    Args:
        sensor: believed first.
        monocular: fills holes.
        hole_confidence: factor on the confidence there: what a sensor does not see is often what
            a model does not know either (glass, mirrors, the far end of a corridor).

    Raises:
        ConfigurationError: the factor is not in [0, 1].
    """

    def __init__(
        self, sensor: SensorDepth, monocular: MonocularDepth, hole_confidence: float = 0.5
    ) -> None:
        if not 0.0 <= hole_confidence <= 1.0:
            raise ConfigurationError(f"hole_confidence must be in [0, 1]. Got {hole_confidence}")
        self._sensor = sensor
        self._monocular = monocular
        self._hole_confidence = hole_confidence

    def clear(self) -> None:
        """Forget earlier frames."""
        self._sensor.clear()
        self._monocular.clear()

    def estimate(self, frame: RgbdFrame, known: KnownDepth) -> DepthEstimate:
        """Depth from both; ``reason`` says what either of them lacked.

        Raises:
            GenerationError: the model's device has too little memory.
        """
        measured = self._sensor.estimate(frame)
        seen = measured.depth > 0.0
        if seen.all():
            return measured
        predicted = self._monocular.estimate_beside(frame, known, measured)
        reasons = [measured.reason, predicted.reason and f"holes: {predicted.reason}"]
        reason = "; ".join(text for text in reasons if text)
        if not predicted.known:
            return replace(measured, reason=reason)
        in_holes = predicted.confidence * np.float32(self._hole_confidence)
        return DepthEstimate(
            np.where(seen, measured.depth, predicted.depth),
            np.where(seen, measured.confidence, in_holes),
            reason,
        )


def depth_source(
    kind: str,
    *,
    sensor: SensorDepthConfig | None = None,
    model: DepthModelSettings | None = None,
    monocular: MonocularConfig | None = None,
) -> DepthSource:
    """A source of depth by name.

    Args:
        kind: one of :data:`mirage_ros.perception.depth_settings.DEPTH_KINDS`.
        sensor: what of a sensor's depth is believed.
        model: which model predicts; loaded only if the kind needs one.
        monocular: how its predictions are aligned.

    Raises:
        ConfigurationError: no such kind.
        UnavailableError: the model is not at hand.
        CheckpointError: its files are not those of a depth model.
    """
    if kind not in DEPTH_KINDS:
        raise ConfigurationError(f"depth must be one of {', '.join(DEPTH_KINDS)}. Got '{kind}'")
    measured = SensorDepth(sensor)
    if kind == "sensor":
        return measured
    predicted = MonocularDepth(TransformersDepthModel(model or DepthModelSettings()), monocular)
    return predicted if kind == "monocular" else CompletedDepth(measured, predicted)

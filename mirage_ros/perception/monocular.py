"""Depth predicted from one image, brought to the scale of what is known of the view."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.perception.depth import (
    DepthEstimate,
    KnownDepth,
    SensorDepth,
    SensorDepthConfig,
    belief,
)
from mirage_ros.perception.depth_fit import ScaleShift, ScaleShiftConfig, fit_scale_shift
from mirage_ros.perception.depth_model import DepthModel

#: About how many of a sensor's pixels a prediction is fitted to.
_SENSOR_SAMPLES = 5000
#: A cell whose farthest prediction is farther than its nearest by more than this factor lies on an
#: edge: its one known depth may be of either side.
_EDGE_FACTOR = 1.3
_EDGE_WEIGHT = 0.1
#: A shift is believed if it brings the residual below this share of a scale's alone, and if that
#: one is more than this share of the depth.
_MUCH_BETTER, _GOOD_ENOUGH = 0.6, 0.02
#: No spread is enough for a shift.
_ANY_SPREAD = 1e9
#: Fits of a metric model's scale that are averaged; how many it takes before another one is held
#: against them, and the factor that it may be off by.
_FITS_KEPT, _FITS_TO_COMPARE, _SCALE_FACTOR = 100, 3, 1.3


@dataclass(frozen=True)
class MonocularConfig:
    """How predictions are aligned, and how far they are believed.

    Attributes:
        min_depth: nearest depth believed, metres.
        max_depth: farthest depth believed, metres.
        fit: of predictions to what is known.
        least_error: share of the depth that a prediction is off by at least, however well it fits
            where something is known.
        unaligned_error: the same for a metric prediction that nothing was known to align to, and
            for a relative one whose shift could not be told.
        half_sigma: standard deviation at which a depth is half believed, metres.
        max_slope: metres of depth to a metre across, beyond which a surface is the smear that
            networks draw between two.
        edge_radius: pixels from there that count as beside it.
        edge_confidence: factor on the confidence there.

    Raises:
        ConfigurationError: a value is out of range.
    """

    min_depth: float = 0.1
    max_depth: float = 10.0
    fit: ScaleShiftConfig = field(default_factory=ScaleShiftConfig)
    least_error: float = 0.05
    unaligned_error: float = 0.2
    half_sigma: float = 0.1
    max_slope: float = 15.0
    edge_radius: int = 2
    edge_confidence: float = 0.1

    def __post_init__(self) -> None:
        if not 0.0 < self.min_depth < self.max_depth < math.inf:
            raise ConfigurationError(
                "0 < min_depth < max_depth must hold. "
                f"Got min_depth={self.min_depth}, max_depth={self.max_depth}"
            )
        for name in ("least_error", "unaligned_error", "half_sigma", "max_slope"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigurationError(
                    f"{name} must be positive and finite. Got {getattr(self, name)}"
                )
        if not 0.0 <= self.edge_confidence <= 1.0:
            raise ConfigurationError(
                f"edge_confidence must be in [0, 1]. Got {self.edge_confidence}"
            )
        if self.edge_radius < 0:
            raise ConfigurationError(f"edge_radius must be at least 0. Got {self.edge_radius}")


class MonocularDepth:
    """Depth by a model; implements :class:`mirage_ros.perception.depth.DepthSource`.

    Predictions are fitted to the sensor's valid pixels where there are some, else to what the
    memory knows of the view: depths with metric models, inverse depths with relative ones. A fit
    that is poor gives no depth. Where nothing is known yet, a metric model is believed as it is,
    though less, and a relative one is not.

    What is remembered of earlier predictions is fitted to as well, and a memory shows the nearest
    of what it holds: frame by frame, fits to it would shrink. A metric model's scale is its own and
    stays, so it is averaged over all fits to the memory, and a fit far from the others is refused.
    A shift is believed of a metric model only where a scale alone fits much worse.

    Args:
        model: predicts.
        config: of alignment and belief.
    """

    def __init__(self, model: DepthModel, config: MonocularConfig | None = None) -> None:
        self.model = model
        self.config = config or MonocularConfig()
        self._log_scales: list[float] = []
        self._sensor = SensorDepth(
            SensorDepthConfig(min_depth=self.config.min_depth, max_depth=self.config.max_depth)
        )

    def clear(self) -> None:
        """Forget the scales of earlier frames."""
        self._log_scales.clear()
        self._sensor.clear()

    def estimate(self, frame: RgbdFrame, known: KnownDepth) -> DepthEstimate:
        """The aligned prediction.

        Raises:
            GenerationError: the model's device has too little memory.
        """
        return self.estimate_beside(frame, known, self._sensor.estimate(frame))

    def estimate_beside(
        self, frame: RgbdFrame, known: KnownDepth, sensor: DepthEstimate
    ) -> DepthEstimate:
        """The prediction aligned to a sensor's depth, or to what is known where it has none.

        Raises:
            GenerationError: the model's device has too little memory.
        """
        predicted = self.model.predict(frame)
        if not np.isfinite(predicted).all():
            return DepthEstimate.none(frame, "expected a finite predicted depth. Got NaN or more")
        fit = self._fit(predicted, known, sensor)
        if fit.accepted:
            return self._believed(frame, fit, fit.apply(predicted))
        if fit.samples >= self.config.fit.min_samples:
            return DepthEstimate.none(frame, f"prediction does not fit what is known: {fit.reason}")
        if not self.model.metric:
            return DepthEstimate.none(
                frame, f"a relative prediction needs known depth to align to: {fit.reason}"
            )
        scale = math.exp(np.mean(self._log_scales)) if self._log_scales else 1.0
        return self._believed(frame, fit, np.float32(scale) * predicted)

    def _fit(
        self, predicted: NDArray[np.float32], known: KnownDepth, sensor: DepthEstimate
    ) -> ScaleShift:
        """The best fit that is to be had, or why there is none."""
        config = self.config.fit
        by_sensor = None
        if sensor.known:
            by_sensor = fit_scale_shift(*self._sensor_samples(predicted, sensor), config)
            if by_sensor.accepted:
                return by_sensor
        by_memory = self._fit_to_memory(predicted, known())
        if by_memory.accepted or by_sensor is None or by_memory.samples > by_sensor.samples:
            return by_memory
        return by_sensor

    def _fit_to_memory(
        self,
        predicted: NDArray[np.float32],  # (H, W)
        known: NDArray[np.float32],  # (h, w) metres
    ) -> ScaleShift:
        config = self.config.fit
        samples = self._memory_samples(predicted, known)
        fit = fit_scale_shift(*samples, config)
        if not self.model.metric:
            return fit
        alone = fit_scale_shift(*samples, replace(config, min_spread=_ANY_SPREAD))
        limit = _MUCH_BETTER * alone.residual if alone.residual > _GOOD_ENOUGH else 0.0
        if fit.accepted and fit.residual < limit:
            return fit
        if not alone.accepted:
            return alone
        newest = math.log(alone.scale)
        if len(self._log_scales) >= _FITS_TO_COMPARE:
            usual = float(np.median(self._log_scales))
            if abs(newest - usual) > math.log(_SCALE_FACTOR):
                return replace(
                    alone,
                    accepted=False,
                    reason=f"expected a scale near {math.exp(usual):.2f}, as in earlier frames. "
                    f"Got {alone.scale:.2f}",
                )
        self._log_scales.append(newest)
        del self._log_scales[:-_FITS_KEPT]
        return replace(alone, scale=math.exp(np.mean(self._log_scales)), reason="")

    def _sensor_samples(
        self, predicted: NDArray[np.float32], sensor: DepthEstimate
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # (N,) each
        step = max(1, math.isqrt(predicted.size // _SENSOR_SAMPLES))
        some = (slice(step // 2, None, step), slice(step // 2, None, step))
        return predicted[some], self._in_domain(sensor.depth[some]), sensor.confidence[some]

    def _memory_samples(
        self,
        predicted: NDArray[np.float32],  # (H, W)
        known: NDArray[np.float32],  # (h, w) metres
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:  # (h, w) each
        rows, columns = known.shape
        cells = predicted.reshape(rows, predicted.shape[0] // rows, columns, -1)
        middle = np.median(cells, axis=(1, 3)).astype(np.float32)
        edge = cells.max(axis=(1, 3)) > _EDGE_FACTOR * cells.min(axis=(1, 3))
        weights = np.where(edge, np.float32(_EDGE_WEIGHT), np.float32(1.0))
        return middle, self._in_domain(known), weights

    def _in_domain(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Depth as the model predicts it: metres, or their inverse; 0 where unknown."""
        if self.model.metric:
            return depth
        return np.where(depth > 0.0, 1.0 / np.maximum(depth, 1e-6), 0.0).astype(np.float32)

    def _believed(
        self, frame: RgbdFrame, fit: ScaleShift, fitted: NDArray[np.float32]
    ) -> DepthEstimate:
        """Depth within range, and how far to believe it."""
        config = self.config
        depth = fitted
        if not self.model.metric:
            depth = np.asarray(1.0 / np.maximum(fitted, 1e-6), dtype=np.float32)
        inside = (depth >= config.min_depth) & (depth <= config.max_depth)
        if not inside.any():
            return DepthEstimate.none(
                frame,
                f"expected predicted depth from {config.min_depth} to {config.max_depth} m. "
                f"Got {depth.min():.3g} to {depth.max():.3g} m",
            )
        reason = ""
        if not fit.accepted:
            whose = "the scale of earlier frames" if self._log_scales else "the model's own metres"
            reason = f"not aligned, {whose}: {fit.reason}"
        error = math.hypot(config.least_error, fit.residual if fit.accepted else 0.0)
        if not fit.accepted or (fit.reason and not self.model.metric):
            error = max(error, config.unaligned_error)
        confidence = belief(np.float32(error) * depth, config.half_sigma)
        confidence[self._beside_smear(frame, depth)] *= config.edge_confidence
        return DepthEstimate(
            np.where(inside, depth, np.float32(0.0)),
            np.where(inside, confidence, np.float32(0.0)),
            reason,
        )

    def _beside_smear(
        self, frame: RgbdFrame, depth: NDArray[np.float32]
    ) -> NDArray[np.bool_]:  # (H, W)
        """Pixels near a surface that is too steep to be one."""
        down, across = np.gradient(depth)
        # Metres of depth to a metre across, since a pixel is z / f wide.
        rise = np.hypot(across * frame.camera.fx, down * frame.camera.fy)
        slope = rise / np.maximum(depth, np.float32(self.config.min_depth))
        side = 2 * self.config.edge_radius + 1
        steep = (slope > self.config.max_slope).astype(np.uint8)
        near: NDArray[np.bool_] = cv2.dilate(steep, np.ones((side, side), np.uint8)) > 0
        return near

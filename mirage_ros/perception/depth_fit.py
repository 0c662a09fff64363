"""Scale and shift that bring a predicted depth to a known one, robustly.

A model's depth is right up to a scale (metric models, roughly) or up to a scale and a shift of its
inverse (relative models, `Ranftl et al. 2020 <https://arxiv.org/abs/1907.01341>`_). What is known
of a view, from memory or from a sensor, tells both; but some of it is wrong, or a thing moved. So
the fit starts from the pair of samples whose line has the least median residual (`Rousseeuw 1984
<https://doi.org/10.1080/01621459.1984.10477105>`_), which stands up to nearly half of the samples
being wrong, and is refined by least squares with Tukey's weights, which leave outliers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError

#: Tukey's constant for 95 % of the efficiency of least squares on normal errors.
TUKEY = 4.685
#: Standard deviations to a median absolute deviation, for normal errors.
_MAD = 1.4826
#: Residuals below this share of the depth are never outliers: predictions may be exact.
_LEAST_SIGMA = 1e-3


@dataclass(frozen=True)
class ScaleShiftConfig:
    """When a fit is tried, and when it is believed.

    Attributes:
        min_samples: fewest samples with weight.
        min_spread: of the predictions and of the known values, as the distance from their 5th to
            their 95th percentile over their median; where either is below it a shift cannot be told
            from a scale, and is left out.
        min_inlier_share: of the samples' weight.
        max_residual: of the inliers, root mean square, as a share of the known value.
        starts: pairs of samples tried for the start.
        iterations: of the refinement, at most.
        seed: of the choice of pairs.

    Raises:
        ConfigurationError: a value is out of range.
    """

    min_samples: int = 32
    min_spread: float = 0.25
    min_inlier_share: float = 0.5
    max_residual: float = 0.15
    starts: int = 64
    iterations: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("min_samples", 3), ("starts", 1), ("iterations", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"{name} must be at least {least}. Got {getattr(self, name)}"
                )
        for name in ("min_inlier_share", "max_residual"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name} must be in (0, 1]. Got {getattr(self, name)}")
        if not 0.0 <= self.min_spread < float("inf"):
            raise ConfigurationError(
                f"min_spread must be finite and not negative. Got {self.min_spread}"
            )


@dataclass(frozen=True)
class ScaleShift:
    """``known = scale * predicted + shift``, as far as it holds.

    Attributes:
        scale: of the predicted values.
        shift: in the unit of the known values.
        inlier_share: share of the samples' weight that the fit explains.
        residual: of the inliers, root mean square, as a share of the known value; infinite where
            nothing could be fitted. A small share of a depth and of its inverse are the same.
        samples: that took part.
        accepted: whether the fit is to be used.
        reason: why not; of an accepted one, what it lacks; else empty.
    """

    scale: float
    shift: float
    inlier_share: float
    residual: float
    samples: int
    accepted: bool
    reason: str

    def apply(self, predicted: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predicted values in the unit of the known ones."""
        fitted = np.float32(self.scale) * predicted + np.float32(self.shift)
        return np.asarray(fitted, dtype=np.float32)


def fit_scale_shift(
    predicted: NDArray[np.float32],  # (...)
    known: NDArray[np.float32],  # (...)
    weights: NDArray[np.float32] | None = None,  # (...)
    config: ScaleShiftConfig | None = None,
) -> ScaleShift:
    """Fit predictions to what is known of them; residuals count as shares of the known value.

    Both are depths in metres (metric models) or inverse depths (relative models). Samples that are
    not positive and finite in ``known`` and ``weights``, or not finite in ``predicted``, are left
    out.

    Args:
        predicted: by a model.
        known: the same, as measured or remembered.
        weights: of the samples; None: all alike.
        config: when a fit is tried and believed.

    Raises:
        FrameError: the arrays differ in shape.
    """
    config = config or ScaleShiftConfig()
    if weights is None:
        weights = np.ones_like(known)
    if not predicted.shape == known.shape == weights.shape:
        raise FrameError(
            "predicted, known and weights must have one shape. "
            f"Got {predicted.shape}, {known.shape} and {weights.shape}"
        )
    usable = np.isfinite(predicted) & (known > 0.0) & (weights > 0.0)
    usable &= np.isfinite(known) & np.isfinite(weights)
    x, y, w = (part[usable].astype(np.float64) for part in (predicted, known, weights))
    if len(x) < config.min_samples:
        return _refused(
            len(x), f"expected at least {config.min_samples} samples to fit to. Got {len(x)}"
        )
    # Predictions that differ where what is known does not are no reason for a shift but wrong.
    with_shift = min(_spread(x), _spread(y)) > config.min_spread
    scale, shift = _start(x, y, config, with_shift)
    scale, shift, sigma = _refined(x, y, w, scale, shift, config.iterations, with_shift)
    return _judged(x, y, w, scale, shift, sigma, config, with_shift)


def _start(
    x: NDArray[np.float64],  # (N,)
    y: NDArray[np.float64],  # (N,)
    config: ScaleShiftConfig,
    with_shift: bool,
) -> tuple[float, float]:
    """The line through two samples (or one and zero) of least median residual."""
    generator = np.random.default_rng(config.seed)
    one, other = generator.integers(0, len(x), (2, config.starts))
    if with_shift:
        run = x[other] - x[one]
        usable = np.abs(run) > 1e-9 * np.abs(x).max()
        scale = np.where(usable, (y[other] - y[one]) / np.where(usable, run, 1.0), 0.0)
        shift = np.where(usable, y[one] - scale * x[one], np.median(y))
    else:
        usable = np.abs(x[one]) > 1e-9 * np.abs(x).max()
        scale = np.where(usable, y[one] / np.where(usable, x[one], 1.0), 0.0)
        shift = np.zeros_like(scale)
    errors = np.abs(scale[:, None] * (x / y) + shift[:, None] / y - 1.0)  # (starts, N)
    best = int(np.argmin(np.median(errors, axis=1)))
    return float(scale[best]), float(shift[best])


def _refined(
    x: NDArray[np.float64],  # (N,)
    y: NDArray[np.float64],  # (N,)
    w: NDArray[np.float64],  # (N,)
    scale: float,
    shift: float,
    iterations: int,
    with_shift: bool,
) -> tuple[float, float, float]:
    """Scale and shift after least squares with Tukey's weights, and the errors' deviation."""
    # Divided by the known value, so that near and far samples count alike.
    columns = np.stack([x / y, 1.0 / y], axis=1)[:, : 2 if with_shift else 1]
    solution = np.array([scale, shift])[: columns.shape[1]]
    sigma = _deviation(columns @ solution - 1.0)
    for _ in range(iterations):
        factor = w * _tukey(columns @ solution - 1.0, sigma)
        root = np.sqrt(factor)[:, None]
        newer = np.linalg.lstsq(columns * root, root[:, 0], rcond=None)[0]
        change = np.abs(columns @ (newer - solution)).max()
        solution = newer
        # Shrinks only: a wider band would let outliers back in.
        sigma = min(sigma, _deviation(columns @ solution - 1.0))
        if change < 1e-7:
            break
    return float(solution[0]), float(solution[1]) if with_shift else 0.0, sigma


def _judged(
    x: NDArray[np.float64],  # (N,)
    y: NDArray[np.float64],  # (N,)
    w: NDArray[np.float64],  # (N,)
    scale: float,
    shift: float,
    sigma: float,
    config: ScaleShiftConfig,
    with_shift: bool,
) -> ScaleShift:
    errors = (scale * x + shift) / y - 1.0
    inlier = np.abs(errors) < TUKEY * sigma
    share = float(w[inlier].sum() / w.sum())
    residual = float("inf")
    if share > 0.0:
        residual = float(np.sqrt(np.average(errors[inlier] ** 2, weights=w[inlier])))
    reason = ""
    if scale <= 0.0:
        reason = f"expected a positive scale. Got {scale:.3g}"
    elif residual > config.max_residual:
        reason = (
            f"expected a residual of at most {config.max_residual:.0%} of the known depth. "
            f"Got {residual:.0%}"
        )
    elif share < config.min_inlier_share:
        reason = (
            f"expected at least {config.min_inlier_share:.0%} of the known depth to agree. "
            f"Got {share:.0%}"
        )
    accepted = not reason
    if accepted and not with_shift:
        reason = "scale only: what is known is too much alike to tell a shift"
    return ScaleShift(scale, shift, share, residual, len(x), accepted, reason)


def _refused(samples: int, reason: str) -> ScaleShift:
    return ScaleShift(1.0, 0.0, 0.0, float("inf"), samples, accepted=False, reason=reason)


def _spread(values: NDArray[np.float64]) -> float:
    low, middle, high = np.percentile(values, [5.0, 50.0, 95.0])
    return float((high - low) / max(abs(middle), 1e-12))


def _tukey(errors: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    ratio = np.minimum(np.abs(errors) / (TUKEY * sigma), 1.0)
    return np.asarray((1.0 - ratio**2) ** 2)


def _deviation(errors: NDArray[np.float64]) -> float:
    """Standard deviation of the errors that are not outliers, by their median."""
    return max(_MAD * float(np.median(np.abs(errors))), _LEAST_SIGMA)

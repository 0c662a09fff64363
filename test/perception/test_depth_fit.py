"""The robust fit of a predicted depth to a known one, held against lines that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.perception.depth_fit import ScaleShiftConfig, fit_scale_shift


def samples(count: int = 400, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.8, 6.0, count).astype(np.float32)


def test_an_exact_line_is_found() -> None:
    x = samples()
    fit = fit_scale_shift(x, 1.25 * x + np.float32(0.3))
    assert fit.accepted
    assert fit.reason == ""
    assert fit.scale == pytest.approx(1.25, abs=1e-5)
    assert fit.shift == pytest.approx(0.3, abs=1e-5)
    assert fit.inlier_share == 1.0
    assert fit.residual < 1e-5
    assert fit.apply(x[:3]) == pytest.approx(1.25 * x[:3] + 0.3, abs=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_wrong_samples_do_not_move_the_line(share: float) -> None:
    x = samples(1000)
    generator = np.random.default_rng(1)
    noise = generator.normal(0.0, 0.01, len(x))
    y = ((0.8 * x + 0.1) * (1.0 + noise)).astype(np.float32)
    wrong = generator.random(len(x)) < share
    # A thing that came in front of what is known: all wrong to the same side.
    y[wrong] *= generator.uniform(1.5, 3.0, int(wrong.sum())).astype(np.float32)
    fit = fit_scale_shift(x, y)
    assert fit.accepted
    assert fit.scale == pytest.approx(0.8, abs=0.01)
    assert fit.shift == pytest.approx(0.1, abs=0.02)
    assert fit.inlier_share == pytest.approx(1.0 - share, abs=0.05)
    assert fit.residual == pytest.approx(0.01, rel=0.2)
    plain = np.polyfit(x, y, 1)
    assert abs(plain[0] - 0.8) > 0.03, "least squares alone is led astray here"


def test_without_outliers_it_is_nearly_weighted_least_squares() -> None:
    x = samples(2000)
    noise = np.random.default_rng(2).normal(0.0, 0.03, len(x))
    y = ((1.1 * x + 0.2) / (1.0 + noise)).astype(np.float32)
    weights = np.random.default_rng(3).uniform(0.5, 1.0, len(x)).astype(np.float32)
    columns = np.stack([x / y, 1.0 / y], axis=1) * np.sqrt(weights)[:, None]
    reference = np.linalg.lstsq(columns, np.sqrt(weights), rcond=None)[0]
    fit = fit_scale_shift(x, y, weights)
    assert [fit.scale, fit.shift] == pytest.approx(reference, abs=5e-3)


def test_samples_without_weight_or_value_do_not_count() -> None:
    x = samples(200)
    y = 2.0 * x
    weights = np.ones_like(x)
    y[:60], weights[:60] = 50.0, 0.0
    y[60:90] = 0.0
    y[90:100] = np.nan
    x[100:105] = np.inf
    fit = fit_scale_shift(x, y, weights)
    assert fit.samples == 95
    assert fit.accepted
    assert fit.scale == pytest.approx(2.0, abs=1e-4)


def test_predictions_that_are_alike_give_a_scale_only() -> None:
    x = np.random.default_rng(0).uniform(2.0, 2.2, 300).astype(np.float32)
    y = (1.2 * x * (1.0 + np.random.default_rng(1).normal(0.0, 0.02, 300))).astype(np.float32)
    fit = fit_scale_shift(x, y)
    assert fit.accepted
    assert fit.shift == 0.0
    assert fit.scale == pytest.approx(1.2, abs=0.01)
    assert "scale only" in fit.reason


def test_predictions_that_differ_where_the_known_does_not_are_refused() -> None:
    # A shift alone would explain it all, and say nothing of anywhere else.
    known = np.random.default_rng(0).uniform(2.0, 2.1, 400).astype(np.float32)
    fit = fit_scale_shift(samples(), known)
    assert not fit.accepted
    assert "residual" in fit.reason


def test_too_few_samples_are_refused() -> None:
    x = samples(31)
    fit = fit_scale_shift(x, x)
    assert not fit.accepted
    assert "at least 32 samples" in fit.reason
    assert "Got 31" in fit.reason
    assert fit_scale_shift(x, x, config=ScaleShiftConfig(min_samples=31)).accepted


def test_what_has_nothing_to_do_with_it_is_refused() -> None:
    fit = fit_scale_shift(samples(500, 0), samples(500, 1))
    assert not fit.accepted
    assert fit.reason


def test_a_negative_scale_is_refused() -> None:
    x = samples()
    fit = fit_scale_shift(x, np.float32(8.0) - x)
    assert not fit.accepted
    assert "positive scale" in fit.reason
    assert fit.scale == pytest.approx(-1.0, abs=1e-4)


def test_too_few_inliers_are_refused() -> None:
    x = samples(1000)
    y = x.copy()
    y[:450] *= np.random.default_rng(0).uniform(2.0, 9.0, 450).astype(np.float32)
    strict = ScaleShiftConfig(min_inlier_share=0.8)
    assert "to agree. Got 55%" in fit_scale_shift(x, y, config=strict).reason
    assert fit_scale_shift(x, y).accepted


def test_one_seed_one_fit() -> None:
    x = samples()
    y = (x * np.random.default_rng(5).uniform(0.9, 1.1, len(x))).astype(np.float32)
    assert fit_scale_shift(x, y) == fit_scale_shift(x, y)


def test_shapes_must_agree() -> None:
    with pytest.raises(FrameError, match="one shape"):
        fit_scale_shift(samples(10), samples(11))


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_samples", 2), ("min_inlier_share", 0.0), ("max_residual", 1.5), ("min_spread", -1.0)],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ScaleShiftConfig(**{name: value})

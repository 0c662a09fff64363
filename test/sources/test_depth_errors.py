"""Errors of depth against the statistics that they are defined by."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.sources.depth_errors import DepthErrors

SHAPE = (240, 320)


def flat(z: float) -> np.ndarray:
    return np.full(SHAPE, z, dtype=np.float32)


def ramp() -> np.ndarray:
    """Depth from 0.5 m to 8 m with no edge, some of it unknown."""
    depth = np.tile(np.linspace(0.5, 8.0, SHAPE[1], dtype=np.float32), (SHAPE[0], 1))
    depth[:20] = 0.0
    depth[20:30] = np.nan
    return depth


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_no_errors_by_default():
    depth = ramp()
    result = DepthErrors().apply(depth, draw())
    np.testing.assert_array_equal(result, np.nan_to_num(depth, nan=0.0))
    assert result.dtype == np.float32


@pytest.mark.parametrize("z", [0.7, 2.0, 5.0])
def test_noise_grows_with_the_square_of_depth(z):
    error = DepthErrors(noise=0.0014).apply(flat(z), draw()) - z
    assert error.std() == pytest.approx(0.0014 * z**2, rel=0.02)
    assert abs(error.mean()) < 4 * 0.0014 * z**2 / np.sqrt(error.size)


def test_noise_that_puts_a_surface_behind_the_sensor_leaves_a_hole():
    result = DepthErrors(noise=0.5).apply(flat(5.0), draw())
    # A normal draw lies below -5 / (0.5 * 25) standard deviations in 34 % of the pixels.
    assert (result == 0.0).mean() == pytest.approx(0.3446, abs=0.01)
    assert (result >= 0.0).all()


@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
def test_holes_take_their_share_of_the_pixels_with_depth(share):
    depth = ramp()
    known = np.nan_to_num(depth) > 0
    result = DepthErrors(holes=share).apply(depth, draw())
    assert (result[known] == 0.0).mean() == pytest.approx(share, abs=1e-4)
    kept = result > 0.0
    np.testing.assert_array_equal(result[kept], depth[kept])


def test_holes_are_blobs_of_about_their_size():
    errors = DepthErrors(holes=0.2, hole_size=0.1)
    lost = (errors.apply(flat(2.0), draw()) == 0.0).astype(np.uint8)
    # A pixel of a random salt of 20 % has a lost neighbour to the right in 20 %.
    assert lost[:, 1:][lost[:, :-1] == 1].mean() > 0.9
    areas = cv2.connectedComponentsWithStats(lost)[2][1:, cv2.CC_STAT_AREA]
    assert np.average(areas, weights=areas) > (0.1 * SHAPE[1]) ** 2 / 4
    small = DepthErrors(holes=0.2, hole_size=0.02).apply(flat(2.0), draw()) == 0.0
    others = cv2.connectedComponentsWithStats(small.astype(np.uint8))[0]
    assert others > 4 * (len(areas) + 1)


@pytest.mark.parametrize("reach", [1, 3])
def test_depth_is_lost_beside_edges_and_nowhere_else(reach):
    depth = flat(4.0)
    depth[100:140, 50:90] = 2.0
    lost = DepthErrors(edge_holes=reach).apply(depth, draw()) == 0.0
    # Along the middle row and column, away from the square's corners.
    row, column = np.flatnonzero(lost[120]), np.flatnonzero(lost[:, 70])
    sides = np.arange(-reach, reach)
    np.testing.assert_array_equal(row, np.concatenate([50 + sides, 90 + sides]))
    np.testing.assert_array_equal(column, np.concatenate([100 + sides, 140 + sides]))
    assert not lost[100 + reach : 140 - reach, 50 + reach : 90 - reach].any()
    far = np.ones(SHAPE, dtype=bool)
    far[100 - reach : 140 + reach, 50 - reach : 90 + reach] = False
    assert not lost[far].any()
    assert not (DepthErrors(edge_holes=reach).apply(ramp(), draw())[30:] == 0.0).any()


def test_scale_applies_to_all_depth():
    np.testing.assert_allclose(DepthErrors(scale=1.05).apply(flat(3.0), draw()), 3.15, rtol=1e-6)


def test_depths_are_equal_steps_of_inverse_depth():
    step = 0.0029
    depth = ramp()
    result = DepthErrors(quantisation=step).apply(depth, draw())
    seen = result[result > 0]
    np.testing.assert_allclose(1.0 / seen / step, np.rint(1.0 / seen / step), atol=2e-3)
    known = result > 0
    error = np.abs(result - depth)[known]
    assert (error <= 0.5 * step * depth[known] ** 2 * 1.03).all()
    assert np.diff(np.unique(seen)).max() == pytest.approx(step * 8.0**2, rel=0.05)


def test_one_seed_makes_one_picture():
    errors = DepthErrors(noise=0.002, holes=0.2, quantisation=0.003)
    first, again, other = (errors.apply(ramp(), draw(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


@pytest.mark.parametrize(
    "values",
    [{"noise": -0.1}, {"holes": 1.1}, {"scale": 0.0}, {"edge_holes": -1}, {"noise": np.nan}],
)
def test_impossible_errors_are_refused(values):
    with pytest.raises(ConfigurationError, match=f"{next(iter(values))} must be between"):
        DepthErrors(**values)


def test_depth_must_be_a_float32_picture():
    with pytest.raises(FrameError, match="float64"):
        DepthErrors().apply(np.ones(SHAPE), draw())

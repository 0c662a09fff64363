import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.evaluation.image_metrics import (
    gradient_energy,
    mean_view,
    means,
    psnr,
    region_metrics,
    sharpness,
    ssim,
)

RNG = np.random.default_rng(0)
TRUTH = RNG.random((32, 40, 3)).astype(np.float32)
ALL = np.ones((32, 40), dtype=bool)
LEFT = ALL & (np.arange(40) < 20)


def box_blur(picture: np.ndarray) -> np.ndarray:
    return (picture + np.roll(picture, 1, axis=1) + np.roll(picture, -1, axis=1)) / np.float32(3)


def test_psnr_of_a_constant_error() -> None:
    assert psnr(TRUTH + np.float32(0.1), TRUTH, ALL) == pytest.approx(20.0, abs=1e-3)
    assert psnr(TRUTH, TRUTH, ALL) == math.inf


def test_pixels_outside_the_mask_do_not_count() -> None:
    spoiled = TRUTH + np.float32(0.1)
    spoiled[:, 20:] = 0.0
    assert psnr(spoiled, TRUTH, LEFT) == pytest.approx(20.0, abs=1e-3)
    assert gradient_energy(spoiled, LEFT) == pytest.approx(gradient_energy(TRUTH, LEFT), rel=1e-3)
    # The windows of pixels far enough from the border never see the spoiled half.
    inner = LEFT & (np.arange(40) < 14)
    clean = TRUTH + np.float32(0.1)
    assert ssim(spoiled, TRUTH, inner) == pytest.approx(ssim(clean, TRUTH, inner), rel=1e-3)


def test_ssim_is_one_for_equal_pictures_and_falls_with_blur() -> None:
    assert ssim(TRUTH, TRUTH, ALL) == pytest.approx(1.0, abs=1e-6)
    assert ssim(box_blur(TRUTH), TRUTH, ALL) < 0.9


def test_gradient_energy_of_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(5, dtype=np.float32)[None, :, None] * 2, (4, 5, 3))
    # 4 rows x 4 steps x 3 channels, each (2)^2, and nothing downwards
    assert gradient_energy(ramp, np.ones((4, 5), dtype=bool)) == 4 * 4 * 3 * 4.0


def test_sharpness_tells_blur_from_noise() -> None:
    assert sharpness(TRUTH, TRUTH, ALL) == 1.0
    assert sharpness(box_blur(TRUTH), TRUTH, ALL) < 0.7
    noise = RNG.normal(0.0, 0.3, TRUTH.shape).astype(np.float32)
    assert sharpness(TRUTH + noise, TRUTH, ALL) > 1.3


def test_an_empty_mask_has_no_figures() -> None:
    nothing = np.zeros((32, 40), dtype=bool)
    assert math.isnan(psnr(TRUTH, TRUTH, nothing))
    assert math.isnan(ssim(TRUTH, TRUTH, nothing))
    assert math.isnan(sharpness(TRUTH, TRUTH, nothing))


@pytest.mark.parametrize("metric", [psnr, ssim, sharpness])
def test_shapes_must_fit(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(FrameError, match="Got"):
        metric(TRUTH, TRUTH[:16], ALL)
    with pytest.raises(FrameError, match="Got"):
        metric(TRUTH, TRUTH, ALL[:16])


def test_regions_are_what_the_single_metrics_say() -> None:
    picture = TRUTH + np.float32(0.1)
    picture[:, 20:] += np.float32(0.1)
    view = region_metrics(picture, TRUTH, TRUTH, LEFT)
    assert view.covered.psnr_db == pytest.approx(20.0, abs=1e-3)
    assert view.uncovered.psnr_db == pytest.approx(-20.0 * math.log10(0.2), abs=1e-3)
    # Half the pixels err by 0.1, half by 0.2.
    assert view.everywhere.psnr_db == pytest.approx(-10.0 * math.log10(0.025), abs=1e-3)
    for region, mask in ((view.covered, LEFT), (view.uncovered, ~LEFT), (view.everywhere, ALL)):
        assert region.share == mask.mean()
        assert region.ssim == ssim(picture, TRUTH, mask)
        assert region.sharpness == sharpness(picture, TRUTH, mask)
    assert view.covered.ssim > view.uncovered.ssim


def test_sharpness_of_a_region_is_against_the_reference() -> None:
    view = region_metrics(TRUTH, TRUTH, TRUTH / np.float32(2), LEFT)
    assert view.covered.sharpness == pytest.approx(4.0, rel=1e-5)


def test_an_empty_region_has_no_figures() -> None:
    view = region_metrics(TRUTH + np.float32(0.1), TRUTH, TRUTH, ALL)
    assert view.uncovered.share == 0.0
    for figure in (view.uncovered.psnr_db, view.uncovered.ssim, view.uncovered.sharpness):
        assert math.isnan(figure)
    assert view.covered == view.everywhere


def test_means_are_over_the_views_that_have_the_figure() -> None:
    found = means([(1.0, math.nan, math.nan), (3.0, 5.0, math.nan)])
    assert found[:2] == [2.0, 5.0]
    assert math.isnan(found[2])
    bright, brighter = TRUTH + np.float32(0.1), TRUTH + np.float32(0.2)
    full = region_metrics(bright, TRUTH, TRUTH, ALL)
    half = region_metrics(brighter, TRUTH, TRUTH, LEFT)
    mean = mean_view([full, half])
    assert mean.covered.share == pytest.approx(0.75)
    assert mean.uncovered.psnr_db == half.uncovered.psnr_db
    assert mean.everywhere.ssim == pytest.approx((full.everywhere.ssim + half.everywhere.ssim) / 2)
    for nothing in (means, mean_view):
        with pytest.raises(ConfigurationError, match="Got none"):
            nothing([])


def test_regions_need_fitting_shapes() -> None:
    with pytest.raises(FrameError, match="Got"):
        region_metrics(TRUTH, TRUTH[:16], TRUTH, ALL)
    with pytest.raises(FrameError, match="Got"):
        region_metrics(TRUTH, TRUTH, TRUTH[:16], ALL)

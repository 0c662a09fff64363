import math

import numpy as np
import pytest

from mirage_ros.errors import FrameError
from mirage_ros.evaluation.image_metrics import gradient_energy, psnr, sharpness, ssim

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

"""Image metrics over the pixels that count.

Pictures are (H, W, 3) float32 RGB in [0, 1]; a mask is (H, W) bool, True where a pixel counts.
PSNR alone rewards blur, so it should never stand without SSIM and sharpness.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from mirage_ros.errors import FrameError

# scikit-image carries no types here.
_structural_similarity: Callable[..., Any] = structural_similarity


def psnr(
    picture: NDArray[np.float32],  # (H, W, 3)
    truth: NDArray[np.float32],  # (H, W, 3)
    mask: NDArray[np.bool_],  # (H, W)
) -> float:
    """Peak signal-to-noise ratio over the mask, dB; infinite when equal, NaN on an empty mask.

    Raises:
        FrameError: shapes do not fit.
    """
    _check(picture, truth, mask)
    if not mask.any():
        return math.nan
    error = float(np.mean((picture[mask] - truth[mask]) ** 2, dtype=np.float64))
    return math.inf if error == 0.0 else -10.0 * math.log10(error)


def ssim(
    picture: NDArray[np.float32],  # (H, W, 3)
    truth: NDArray[np.float32],  # (H, W, 3)
    mask: NDArray[np.bool_],  # (H, W)
) -> float:
    """Structural similarity of the whole pictures, its map averaged over the mask; NaN if empty.

    Gaussian windows with sigma 1.5 and population statistics (Wang et al. 2004, IEEE TIP 13(4)),
    colour channels averaged.

    Raises:
        FrameError: shapes do not fit.
    """
    _check(picture, truth, mask)
    if not mask.any():
        return math.nan
    _, similarity = _structural_similarity(
        picture,
        truth,
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return float(similarity[mask].mean(dtype=np.float64))


def gradient_energy(
    picture: NDArray[np.float32],  # (H, W, 3)
    mask: NDArray[np.bool_],  # (H, W)
) -> float:
    """Sum of squared differences between neighbouring pixels that both count."""
    across = (picture[:, 1:] - picture[:, :-1])[mask[:, 1:] & mask[:, :-1]]
    down = (picture[1:] - picture[:-1])[mask[1:] & mask[:-1]]
    return float(np.sum(across**2, dtype=np.float64) + np.sum(down**2, dtype=np.float64))


def sharpness(
    picture: NDArray[np.float32],  # (H, W, 3)
    reference: NDArray[np.float32],  # (H, W, 3)
    mask: NDArray[np.bool_],  # (H, W)
) -> float:
    """Gradient energy as a share of the reference's: below 1 blurred, above 1 noisy or blocky.

    NaN where the reference has no gradient at all.

    Raises:
        FrameError: shapes do not fit.
    """
    _check(picture, reference, mask)
    of_reference = gradient_energy(reference, mask)
    return gradient_energy(picture, mask) / of_reference if of_reference > 0.0 else math.nan


def _check(
    picture: NDArray[np.float32], truth: NDArray[np.float32], mask: NDArray[np.bool_]
) -> None:
    if picture.ndim != 3 or picture.shape != truth.shape or mask.shape != picture.shape[:2]:
        raise FrameError(
            "pictures must have one shape (H, W, C) and the mask (H, W). "
            f"Got {picture.shape}, {truth.shape} and {mask.shape}"
        )

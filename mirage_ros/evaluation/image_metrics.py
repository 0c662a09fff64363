"""How alike two pictures are, over all pixels or those of a mask."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from mirage_ros.errors import FrameError

#: Side of the window of SSIM, pixels (Wang et al. 2004, as scikit-image sets it for a flat window).
_SSIM_WINDOW = 7


def psnr(
    image: NDArray[np.uint8],  # (H, W, 3)
    truth: NDArray[np.uint8],  # (H, W, 3)
    mask: NDArray[np.bool_] | None = None,  # (H, W)
) -> float:
    """Peak signal-to-noise ratio, dB; infinite for equal pictures, NaN for an empty mask.

    Raises:
        FrameError: shapes or types do not fit.
    """
    chosen = _checked(image, truth, mask)
    difference = image[chosen].astype(np.float64) - truth[chosen]
    if not difference.size:
        return math.nan
    error = float(np.mean(difference**2))
    return math.inf if error == 0.0 else 10.0 * math.log10(255.0**2 / error)


def ssim(
    image: NDArray[np.uint8],  # (H, W, 3)
    truth: NDArray[np.uint8],  # (H, W, 3)
    mask: NDArray[np.bool_] | None = None,  # (H, W)
) -> float:
    """Structural similarity: scikit-image's per-pixel map, averaged over the mask.

    Raises:
        FrameError: shapes or types do not fit.
    """
    chosen = _checked(image, truth, mask)
    if not chosen.any():
        return math.nan
    _, full = structural_similarity(
        image, truth, channel_axis=2, data_range=255, win_size=_SSIM_WINDOW, full=True
    )
    return float(np.mean(full[chosen]))


def sharpness(
    image: NDArray[np.uint8],  # (H, W, 3)
    truth: NDArray[np.uint8],  # (H, W, 3)
    mask: NDArray[np.bool_] | None = None,  # (H, W)
) -> float:
    """Gradient energy of ``image`` over that of ``truth``: below 1 blurred, above 1 too busy.

    Energy is the mean squared difference of neighbouring pixels' grey values in both directions,
    counted at pixels of the mask.

    Raises:
        FrameError: shapes or types do not fit.
    """
    chosen = _checked(image, truth, mask)
    reference = _gradient_energy(truth, chosen)
    return _gradient_energy(image, chosen) / reference if reference > 0.0 else math.nan


def _gradient_energy(image: NDArray[np.uint8], chosen: NDArray[np.bool_]) -> float:
    grey = image.astype(np.float64).mean(axis=2)
    energy = np.zeros_like(grey)
    energy[:, :-1] += np.diff(grey, axis=1) ** 2
    energy[:-1] += np.diff(grey, axis=0) ** 2
    return float(energy[chosen].mean()) if chosen.any() else 0.0


def _checked(
    image: NDArray[np.uint8], truth: NDArray[np.uint8], mask: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    if image.shape != truth.shape or image.ndim != 3 or image.shape[2] != 3:
        raise FrameError(
            f"pictures must share a shape (H, W, 3). Got {image.shape} and {truth.shape}"
        )
    if image.dtype != np.uint8 or truth.dtype != np.uint8:
        raise FrameError(f"pictures must be uint8. Got {image.dtype} and {truth.dtype}")
    if mask is None:
        return np.ones(image.shape[:2], dtype=bool)
    if mask.shape != image.shape[:2]:
        raise FrameError(f"mask must have shape {image.shape[:2]}. Got {mask.shape}")
    return mask.astype(bool)

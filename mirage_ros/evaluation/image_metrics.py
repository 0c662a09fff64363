"""Image metrics over the pixels that count.

Pictures are (H, W, 3) float32 RGB in [0, 1]; a mask is (H, W) bool, True where a pixel counts.
PSNR alone rewards blur, so it should never stand without SSIM and sharpness:
:func:`region_metrics` gives all three, over what was remembered, what was invented, and both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError


@dataclass(frozen=True)
class RegionMetrics:
    """Figures over one region of a picture; those of an empty region are NaN, its share is 0.

    Attributes:
        share: of the picture's pixels that the region holds, in [0, 1].
        psnr_db: against the truth.
        ssim: likewise.
        sharpness: gradient energy as a share of the reference's.
    """

    share: float
    psnr_db: float
    ssim: float
    sharpness: float


@dataclass(frozen=True)
class ViewMetrics:
    """Figures of one view, or means over several, by region.

    Attributes:
        covered: where the memory knew.
        uncovered: the rest, where something was filled in.
        everywhere: the whole picture.
    """

    covered: RegionMetrics
    uncovered: RegionMetrics
    everywhere: RegionMetrics


def region_metrics(
    picture: NDArray[np.float32],  # (H, W, 3)
    truth: NDArray[np.float32],  # (H, W, 3)
    reference: NDArray[np.float32],  # (H, W, 3)
    covered: NDArray[np.bool_],  # (H, W)
) -> ViewMetrics:
    """PSNR, SSIM and sharpness over the covered pixels, the uncovered ones and all of them.

    ``reference`` is what sharpness is measured against: the truth, or what the codec makes of it,
    which is the sharpest that a memory of latents can be.

    Raises:
        FrameError: shapes do not fit.
    """
    _check(picture, truth, covered)
    similarity = _ssim_map(picture, truth)

    def over(mask: NDArray[np.bool_]) -> RegionMetrics:
        return RegionMetrics(
            share=float(mask.mean()),
            psnr_db=psnr(picture, truth, mask),
            ssim=_mean_over(similarity, mask),
            sharpness=sharpness(picture, reference, mask),
        )

    return ViewMetrics(over(covered), over(~covered), over(np.ones_like(covered)))


def mean_view(views: Sequence[ViewMetrics]) -> ViewMetrics:
    """Figure by figure the mean over the views that have it (:func:`means`).

    Raises:
        ConfigurationError: no view.
    """
    return ViewMetrics(
        covered=RegionMetrics(*means([astuple(view.covered) for view in views])),
        uncovered=RegionMetrics(*means([astuple(view.uncovered) for view in views])),
        everywhere=RegionMetrics(*means([astuple(view.everywhere) for view in views])),
    )


def means(
    figures: Sequence[Sequence[float]],  # views x figures
) -> list[float]:
    """Every figure's mean over the views that have it, which are not NaN; NaN where none has.

    Raises:
        ConfigurationError: no view.
    """
    if not figures:
        raise ConfigurationError("means need at least one view. Got none")
    columns = [[v for v in column if not math.isnan(v)] for column in zip(*figures, strict=True)]
    return [math.fsum(column) / len(column) if column else math.nan for column in columns]


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
    return _mean_over(_ssim_map(picture, truth), mask)


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


def _ssim_map(
    picture: NDArray[np.float32], truth: NDArray[np.float32]
) -> NDArray[np.float32]:  # (H, W, 3)
    # Only here, so that what else is measured does without this package.
    from skimage.metrics import structural_similarity

    _, similarity = structural_similarity(  # type: ignore[no-untyped-call]
        picture,
        truth,
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    found: NDArray[np.float32] = similarity
    return found


def _mean_over(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    return float(values[mask].mean(dtype=np.float64)) if mask.any() else math.nan


def _check(
    picture: NDArray[np.float32], truth: NDArray[np.float32], mask: NDArray[np.bool_]
) -> None:
    if picture.ndim != 3 or picture.shape != truth.shape or mask.shape != picture.shape[:2]:
        raise FrameError(
            "pictures must have one shape (H, W, C) and the mask (H, W). "
            f"Got {picture.shape}, {truth.shape} and {mask.shape}"
        )

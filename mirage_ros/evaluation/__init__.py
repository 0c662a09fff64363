"""Metrics and protocols that put figures on what the memory and the predictions are worth."""

from mirage_ros.evaluation.consistency import (
    PhotometricConsistency,
    ReprojectionConsistency,
    photometric_consistency,
    reprojection_consistency,
)
from mirage_ros.evaluation.image_metrics import (
    RegionMetrics,
    ViewMetrics,
    gradient_energy,
    mean_view,
    means,
    psnr,
    region_metrics,
    sharpness,
    ssim,
)
from mirage_ros.evaluation.perceptual import Lpips, lpips_missing

__all__ = [
    "Lpips",
    "PhotometricConsistency",
    "RegionMetrics",
    "ReprojectionConsistency",
    "ViewMetrics",
    "gradient_energy",
    "lpips_missing",
    "mean_view",
    "means",
    "photometric_consistency",
    "psnr",
    "region_metrics",
    "reprojection_consistency",
    "sharpness",
    "ssim",
]

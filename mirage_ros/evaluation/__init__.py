"""Metrics and protocols that put figures on what the memory and the predictions are worth."""

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

__all__ = [
    "RegionMetrics",
    "ViewMetrics",
    "gradient_energy",
    "mean_view",
    "means",
    "psnr",
    "region_metrics",
    "sharpness",
    "ssim",
]

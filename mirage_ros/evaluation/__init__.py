"""Metrics and protocols that put figures on what the memory and the predictions are worth."""

from mirage_ros.evaluation.image_metrics import gradient_energy, psnr, sharpness, ssim

__all__ = ["gradient_energy", "psnr", "sharpness", "ssim"]

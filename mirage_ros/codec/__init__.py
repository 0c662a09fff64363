"""Pixels to latents and back."""

from mirage_ros.codec.base import Codec

__all__ = ["Codec"]

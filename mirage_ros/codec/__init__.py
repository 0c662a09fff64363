"""Pixels to latents and back."""

from mirage_ros.codec.base import Codec
from mirage_ros.codec.dct import DctCodec

__all__ = ["Codec", "DctCodec"]

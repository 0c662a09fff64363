"""Pixels to latents and back.

The codec of Wan2.2 is not loaded with the others, because it needs diffusers:
:mod:`mirage_ros.codec.wan`.
"""

from mirage_ros.codec.base import Codec, DecodeStream
from mirage_ros.codec.dct import DctCodec

__all__ = ["Codec", "DctCodec", "DecodeStream"]

"""Checks that codecs share; messages say what was expected and what was got."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_ros.errors import CodecError


def check_planes(
    tensor: Tensor,  # (T, channels, rows, columns) float32
    channels: int,
    name: str,
    multiple: int = 1,
) -> None:
    """Raise unless ``tensor`` is a stack of planes of whole cells.

    Args:
        tensor: frames or latents.
        channels: that it must have.
        name: of the tensor, for the message.
        multiple: that rows and columns must be of.

    Raises:
        CodecError: another shape or type, no rows or columns, or sides that are no multiple.
    """
    if tensor.ndim != 4 or tensor.shape[1] != channels:
        raise CodecError(
            f"{name} must have shape (T, {channels}, rows, columns). Got {tuple(tensor.shape)}"
        )
    if tensor.dtype != torch.float32:
        raise CodecError(f"{name} must be float32. Got {tensor.dtype}")
    rows, columns = tensor.shape[2:]
    if rows % multiple or columns % multiple or not (rows and columns):
        raise CodecError(
            f"{name} must have sides that are positive multiples of {multiple}. "
            f"Got {columns}x{rows} (width x height)"
        )


def check_features(
    features: Tensor,  # (N, channels) any floating type
    channels: int,
) -> None:
    """Raise unless ``features`` has one row of ``channels`` numbers a token.

    Raises:
        CodecError: another shape.
    """
    if features.ndim != 2 or features.shape[1] != channels:
        raise CodecError(f"features must have shape (N, {channels}). Got {tuple(features.shape)}")


def check_same_size(expected: tuple[int, int], size: tuple[int, int]) -> None:
    """Raise if a stream is given latents of another size (h, w) than before.

    Raises:
        CodecError: the sizes differ.
    """
    if size != expected:
        raise CodecError(
            f"a stream goes on with latents of the size it began with, {expected[1]}x{expected[0]} "
            f"cells (width x height). Got {size[1]}x{size[0]}"
        )

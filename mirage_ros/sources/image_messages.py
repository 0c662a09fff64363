"""Pixels of ``sensor_msgs`` image messages, strict about size, step and encoding.

Messages are taken by their fields (REP-104), so no ROS is imported: they come off the wire, or out
of a recorded bag.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import FrameError


class ImageLike(Protocol):
    """The fields of ``sensor_msgs/Image`` that are read here; ``data`` is a buffer of bytes."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class CompressedImageLike(Protocol):
    """The fields of ``sensor_msgs/CompressedImage`` that are read here."""

    format: str
    data: Any


#: Colour encodings that are read: channels, and the order that makes RGB of them (None = grey).
_COLOUR_LAYOUTS: dict[str, tuple[int, tuple[int, int, int] | None]] = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "8UC3": (3, (2, 1, 0)),
    "mono8": (1, None),
    "8UC1": (1, None),
}
COLOUR_ENCODINGS = tuple(_COLOUR_LAYOUTS)
DEPTH_ENCODINGS = ("16UC1", "mono16", "32FC1")
MASK_ENCODINGS = ("mono8", "8UC1")

#: What "no measurement" looks like in 16-bit depth: 0 by REP-118, 65535 from some Kinect drivers.
_UNKNOWN_MILLIMETRES = (0, 65535)


def rgb_from_image(msg: ImageLike) -> NDArray[np.uint8]:
    """Colours of an image message, (H, W, 3) uint8 RGB, contiguous.

    Raises:
        FrameError: encoding unknown, or the data's length disagrees with height and step.
    """
    layout = _COLOUR_LAYOUTS.get(msg.encoding)
    if layout is None:
        raise FrameError(
            f"image encoding must be one of {', '.join(COLOUR_ENCODINGS)}. Got '{msg.encoding}'"
        )
    channels, order = layout
    pixels = _rows(msg, np.dtype(np.uint8), channels)
    if order is None:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., order])


def rgb_from_compressed(msg: CompressedImageLike) -> NDArray[np.uint8]:
    """Colours of a JPEG or PNG message, (H, W, 3) uint8 RGB.

    Raises:
        FrameError: the data cannot be decoded.
    """
    data = np.frombuffer(msg.data, dtype=np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise FrameError(
            f"compressed image must be JPEG or PNG. Got {data.size} bytes of "
            f"format '{msg.format}' that do not decode"
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def depth_from_image(msg: ImageLike) -> NDArray[np.float32]:
    """Z-depth of a depth message, (H, W) float32 metres, 0 where unknown (REP-118).

    Raises:
        FrameError: encoding other than 16UC1 (millimetres) or 32FC1 (metres), or wrong length.
    """
    if msg.encoding not in DEPTH_ENCODINGS:
        raise FrameError(
            f"depth encoding must be one of {', '.join(DEPTH_ENCODINGS)}. Got '{msg.encoding}'"
        )
    if msg.encoding == "32FC1":
        metres = _rows(msg, np.dtype(np.float32), 1)[..., 0].astype(np.float32)
        metres[~(np.isfinite(metres) & (metres > 0.0))] = 0.0
        return metres
    millimetres = _rows(msg, np.dtype(np.uint16), 1)[..., 0]
    metres = millimetres.astype(np.float32) * np.float32(1e-3)
    metres[np.isin(millimetres, _UNKNOWN_MILLIMETRES)] = 0.0
    return metres


def mask_from_image(msg: ImageLike) -> NDArray[np.bool_]:
    """Where a mask message is not zero, (H, W) bool.

    Raises:
        FrameError: encoding other than mono8, or wrong length.
    """
    if msg.encoding not in MASK_ENCODINGS:
        raise FrameError(
            f"mask encoding must be one of {', '.join(MASK_ENCODINGS)}. Got '{msg.encoding}'"
        )
    return np.asarray(_rows(msg, np.dtype(np.uint8), 1)[..., 0] != 0)


def _rows(msg: ImageLike, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:  # (H, W, channels)
    """View of the message's pixels without the padding at the end of each row."""
    row_bytes = msg.width * channels * dtype.itemsize
    data = np.frombuffer(msg.data, dtype=np.uint8)
    if msg.height < 1 or msg.width < 1:
        raise FrameError(f"image must have a positive size. Got {msg.width}x{msg.height}")
    if msg.step < row_bytes or data.size < msg.step * msg.height:
        raise FrameError(
            f"{msg.width}x{msg.height} {msg.encoding} needs step >= {row_bytes} and "
            f"{msg.height} * step bytes. Got step {msg.step} and {data.size} bytes"
        )
    rows = data[: msg.step * msg.height].reshape(msg.height, msg.step)[:, :row_bytes]
    typed = np.ascontiguousarray(rows).view(dtype.newbyteorder(">" if msg.is_bigendian else "<"))
    return typed.reshape(msg.height, msg.width, channels)

"""sensor_msgs images to numpy and back, strict about size, step and encoding.

The common encodings are read with numpy. For the rest (YUV, Bayer) cv_bridge is asked where a ROS
installation provides it. Depth never goes through cv_bridge: the package of that name on PyPI is a
ROS 1 leftover that misreads 16-bit images without an error.
"""

from __future__ import annotations

import array
import importlib.util
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from mirage_ros.errors import FrameError

#: Encodings read without cv_bridge: channels, and the order that makes RGB of them (None = grey).
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

#: What "no measurement" looks like in 16-bit depth: 0 by REP-118, 65535 from some Kinect drivers.
_UNKNOWN_MILLIMETRES = (0, 65535)


def readable(encoding: str) -> bool:
    """Whether a colour encoding can be read here: by numpy, or by cv_bridge where it is."""
    return encoding in COLOUR_ENCODINGS or importlib.util.find_spec("cv_bridge") is not None


def rgb_from_image(msg: Image) -> NDArray[np.uint8]:
    """Colours of an image message, (H, W, 3) uint8 RGB, contiguous.

    Raises:
        FrameError: encoding unknown, or the data's length disagrees with height and step.
    """
    layout = _COLOUR_LAYOUTS.get(msg.encoding)
    if layout is None:
        return _rgb_through_cv_bridge(msg)
    channels, order = layout
    pixels = _rows(msg, np.dtype(np.uint8), channels)
    if order is None:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., order])


def rgb_from_compressed(msg: CompressedImage) -> NDArray[np.uint8]:
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


def depth_from_image(msg: Image) -> NDArray[np.float32]:
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


def image_from_array(
    pixels: NDArray[Any],  # (H, W, 3) uint8, (H, W) uint8, (H, W) uint16 or (H, W) float32
    encoding: str,
    header: Header,
) -> Image:
    """An image message of ``pixels``, whose type and layout ``encoding`` must name."""
    contiguous = np.ascontiguousarray(pixels)
    msg = Image()
    msg.header = header
    msg.height, msg.width = contiguous.shape[:2]
    msg.encoding = encoding
    msg.is_bigendian = 0
    msg.step = contiguous.strides[0]
    # An array.array is taken as it is; bytes or an ndarray would be checked element by element.
    data = array.array("B")
    data.frombytes(contiguous.data.cast("B"))
    msg.data = data
    return msg


def _rows(msg: Image, dtype: np.dtype[Any], channels: int) -> NDArray[Any]:  # (H, W, channels)
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


def _rgb_through_cv_bridge(msg: Image) -> NDArray[np.uint8]:
    """Convert a rarer colour encoding with cv_bridge, which only a ROS installation has."""
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as error:
        raise FrameError(
            f"image encoding must be one of {', '.join(COLOUR_ENCODINGS)} "
            f"(more with cv_bridge, which is not installed). Got '{msg.encoding}'"
        ) from error
    try:
        converted = CvBridge().imgmsg_to_cv2(msg, desired_encoding="rgb8")
    except (CvBridgeError, cv2.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise FrameError(
            f"image encoding '{msg.encoding}' cannot be converted to rgb8: {error}"
        ) from error
    return np.ascontiguousarray(converted, dtype=np.uint8)

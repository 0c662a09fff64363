"""Images to and from ``sensor_msgs``: what every machine can read, and more where cv_bridge is.

The common encodings are read without ROS (:mod:`mirage_ros.sources.image_messages`). For the rest
(YUV, Bayer) cv_bridge is asked where a ROS installation provides it. Depth never goes through
cv_bridge: the package of that name on PyPI is a ROS 1 leftover that misreads 16-bit images without
an error.
"""

from __future__ import annotations

import array
import importlib.util
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mirage_ros.errors import FrameError
from mirage_ros.sources import image_messages
from mirage_ros.sources.image_messages import (
    COLOUR_ENCODINGS,
    DEPTH_ENCODINGS,
    depth_from_image,
    mask_from_image,
    rgb_from_compressed,
)

__all__ = [
    "COLOUR_ENCODINGS",
    "DEPTH_ENCODINGS",
    "depth_from_image",
    "image_from_array",
    "mask_from_image",
    "readable",
    "rgb_from_compressed",
    "rgb_from_image",
]


def readable(encoding: str) -> bool:
    """Whether a colour encoding can be read here: by numpy, or by cv_bridge where it is."""
    return encoding in COLOUR_ENCODINGS or importlib.util.find_spec("cv_bridge") is not None


def rgb_from_image(msg: Image) -> NDArray[np.uint8]:
    """Colours of an image message, (H, W, 3) uint8 RGB, contiguous.

    Raises:
        FrameError: encoding unknown, or the data's length disagrees with height and step.
    """
    if msg.encoding in COLOUR_ENCODINGS:
        return image_messages.rgb_from_image(msg)
    return _rgb_through_cv_bridge(msg)


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

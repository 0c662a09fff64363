from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sensor_msgs")

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mirage_ros.errors import FrameError
from mirage_ros.nodes.image_conversion import (
    depth_from_image,
    image_from_array,
    rgb_from_image,
)

RGB = np.random.default_rng(1).integers(0, 255, (5, 7, 3), dtype=np.uint8)


def _message(pixels: np.ndarray, encoding: str) -> Image:
    return image_from_array(pixels, encoding, Header(frame_id="camera"))


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, np.full((5, 7), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((5, 7), 9, np.uint8)])),
    ],
)
def test_colour_encodings_become_rgb(encoding: str, pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(rgb_from_image(_message(pixels, encoding)), RGB)


def test_grey_becomes_three_equal_channels() -> None:
    rgb = rgb_from_image(_message(RGB[..., 0], "mono8"))
    np.testing.assert_array_equal(rgb, np.repeat(RGB[..., :1], 3, axis=2))


def test_padded_rows_are_read_without_the_padding() -> None:
    message = _message(np.hstack([RGB, np.zeros((5, 2, 3), np.uint8)]), "rgb8")
    message.width = 7
    np.testing.assert_array_equal(rgb_from_image(message), RGB)


def test_millimetres_become_metres_and_unknown_zero() -> None:
    depth = depth_from_image(_message(np.array([[0, 1500, 65535]], np.uint16), "16UC1"))
    np.testing.assert_allclose(depth, [[0.0, 1.5, 0.0]])
    assert depth.dtype == np.float32


def test_big_endian_millimetres() -> None:
    message = _message(np.array([[1500, 2500]], ">u2"), "16UC1")
    message.is_bigendian = 1
    np.testing.assert_allclose(depth_from_image(message), [[1.5, 2.5]])


def test_float_depth_that_is_no_measurement_becomes_zero() -> None:
    pixels = np.array([[np.nan, np.inf, -1.0, 2.5]], np.float32)
    np.testing.assert_array_equal(
        depth_from_image(_message(pixels, "32FC1")), np.array([[0, 0, 0, 2.5]], np.float32)
    )


@pytest.mark.parametrize("encoding", ["rgb8", "8UC1", "64FC1"])
def test_other_depth_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(FrameError, match=f"16UC1.*Got '{encoding}'"):
        depth_from_image(_message(RGB, encoding))


def test_missing_bytes_are_refused_with_the_numbers() -> None:
    message = _message(RGB, "rgb8")
    message.data = message.data[:-1]
    with pytest.raises(FrameError, match="Got step 21 and 104 bytes"):
        rgb_from_image(message)


def test_a_step_shorter_than_a_row_is_refused() -> None:
    message = _message(RGB, "rgb8")
    message.step = 20
    with pytest.raises(FrameError, match="step >= 21"):
        rgb_from_image(message)

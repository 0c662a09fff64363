"""Image messages taken by their fields; the encodings are gone through in test/nodes too."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mirage_ros.errors import FrameError
from mirage_ros.sources.image_messages import (
    depth_from_image,
    mask_from_image,
    rgb_from_compressed,
    rgb_from_image,
)

RGB = np.random.default_rng(2).integers(0, 255, (4, 6, 3), dtype=np.uint8)


def message(pixels: np.ndarray, encoding: str) -> SimpleNamespace:
    contiguous = np.ascontiguousarray(pixels)
    return SimpleNamespace(
        height=contiguous.shape[0],
        width=contiguous.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=contiguous.strides[0],
        data=np.frombuffer(contiguous.tobytes(), np.uint8),
    )


def test_an_array_of_bytes_is_read_like_a_message_off_the_wire() -> None:
    np.testing.assert_array_equal(rgb_from_image(message(RGB[..., ::-1], "bgr8")), RGB)
    metres = np.array([[0.5, np.nan], [np.inf, 2.0]], np.float32)
    np.testing.assert_array_equal(depth_from_image(message(metres, "32FC1")), [[0.5, 0], [0, 2.0]])


def test_what_is_read_may_be_written_to() -> None:
    """Bytes of a bag are read-only; frames made of them must not be."""
    for read in (
        rgb_from_image(message(RGB, "rgb8")),
        depth_from_image(message(np.ones((4, 6), np.float32), "32FC1")),
    ):
        read[0, 0] = 0


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_a_mask_is_set_where_it_is_not_zero(encoding: str) -> None:
    pixels = np.array([[0, 1, 255], [7, 0, 0]], np.uint8)
    mask = mask_from_image(message(pixels, encoding))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [[False, True, True], [True, False, False]]


def test_masks_of_another_encoding_or_length_are_refused() -> None:
    pixels = np.zeros((4, 6), np.uint8)
    with pytest.raises(FrameError, match=r"mono8, 8UC1\. Got 'rgb8'"):
        mask_from_image(message(RGB, "rgb8"))
    short = message(pixels, "mono8")
    short.data = short.data[:10]
    with pytest.raises(FrameError, match="10 bytes"):
        mask_from_image(short)


def test_compressed_images_become_rgb() -> None:
    png = cv2.imencode(".png", RGB[..., ::-1])[1].reshape(-1)
    read = rgb_from_compressed(SimpleNamespace(format="png", data=png))
    np.testing.assert_array_equal(read, RGB)


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_compressed_images_that_do_not_decode_are_refused(data: bytes) -> None:
    with pytest.raises(FrameError, match=f"Got {len(data)} bytes of format 'jpeg'"):
        rgb_from_compressed(SimpleNamespace(format="jpeg", data=np.frombuffer(data, np.uint8)))


def test_rarer_colour_encodings_are_refused() -> None:
    with pytest.raises(FrameError, match=r"rgb8, bgr8.* Got 'yuv422_yuy2'"):
        rgb_from_image(message(RGB[..., :2], "yuv422_yuy2"))

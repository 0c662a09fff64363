from collections.abc import Callable

import numpy as np
import pytest

from mirage_ros.errors import FrameError
from mirage_ros.evaluation.picture import as_bytes, as_unit

EVERY_BYTE = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)


def test_each_kind_is_given_as_the_other() -> None:
    unit = as_unit(EVERY_BYTE)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, EVERY_BYTE / 255.0, atol=1e-7)
    np.testing.assert_array_equal(as_bytes(unit), EVERY_BYTE)
    np.testing.assert_array_equal(as_bytes(EVERY_BYTE), EVERY_BYTE)


def test_floats_are_clipped() -> None:
    wide = np.array([[[-0.5, 0.5, 1.5]]], dtype=np.float32)
    np.testing.assert_array_equal(as_unit(wide), [[[0.0, 0.5, 1.0]]])
    np.testing.assert_array_equal(as_bytes(wide), [[[0, 128, 255]]])


@pytest.mark.parametrize("convert", [as_bytes, as_unit])
@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((8, 8), dtype=np.uint8),
        np.zeros((8, 8, 4), dtype=np.uint8),
        np.zeros((8, 8, 3), dtype=np.float64),
        np.full((8, 8, 3), np.nan, dtype=np.float32),
    ],
)
def test_what_is_not_a_picture_is_refused(
    convert: Callable[[np.ndarray], np.ndarray], picture: np.ndarray
) -> None:
    with pytest.raises(FrameError, match="Got"):
        convert(picture)

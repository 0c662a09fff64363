"""Consistency and camera control along an imagined path."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walls import HEIGHT, WIDTH, wall

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.evaluation.contenders import contenders
from mirage_ros.evaluation.path_quality import TRUTH, path_pictures, path_quality
from mirage_ros.evaluation.protocol import CODEC, Size, through_codec

ROOM = Size(320, 256)
DCT = DctCodec()


def test_every_memory_imagines_the_whole_path() -> None:
    path = [wall(0.02 * k) for k in range(11)]
    size = Size(WIDTH, HEIGHT)
    found = path_pictures(contenders(), DCT, path[::5], path, size)
    assert list(found) == [TRUTH, CODEC, *(memory.name for memory in contenders())]
    for pictures in found.values():
        assert len(pictures) == len(path)
    np.testing.assert_array_equal(found[TRUTH][3], path[3].image)
    np.testing.assert_array_equal(found[CODEC][3], through_codec(DCT, path[3].image))
    for memory in contenders():
        error = found[memory.name][10].astype(float) - path[10].image
        assert np.sqrt(np.mean(error**2)) < 8.0, memory.name
    with pytest.raises(ConfigurationError, match="at least two frames"):
        path_pictures(contenders(), DCT, path[:1], path[:1], size)


def test_true_frames_score_high_and_frames_of_another_order_low(room) -> None:
    path = room.path(4)
    pictures = [frame.image for frame in path]
    true = path_quality(TRUTH, pictures, path, ROOM)
    assert true.photometric.score > 0.9
    assert true.reprojection.score > 0.8
    assert true.control.score == pytest.approx(1.0, abs=1e-3)
    # 1 to 3 degrees and 4 to 12 cm off.
    reverse = path_quality("reverse", pictures[::-1], path, ROOM)
    assert reverse.reprojection.score < 0.2
    assert reverse.control.rotation_deg == pytest.approx(2.0, abs=0.1)
    assert reverse.control.translation_m == pytest.approx(2 * 0.039, abs=0.01)


def test_bad_paths_are_refused(room) -> None:
    path = room.path(2)
    pictures = [frame.image for frame in path]
    with pytest.raises(ConfigurationError, match="Got 1 and 2"):
        path_quality("few", pictures[:1], path, ROOM)
    with pytest.raises(FrameError, match="must have depth"):
        path_quality("flat", pictures, [path[0], replace(path[1], depth=None)], ROOM)

"""What the small model is asked: which frames are remembered, and what is asked for when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.benchmark_nano_scenes import (
    AHEAD,
    BACK,
    CHUNK,
    DriveScale,
    beside,
    long_way,
    recorded_moments,
    simulated_moments,
)
from mirage_ros.evaluation.datasets import open_dataset
from mirage_ros.evaluation.protocol import Size
from mirage_ros.geometry import rotation_angle, translation_distance

SIZE = Size(64, 32)


def places(frames) -> list[int]:
    """Of frames of the written sequence, which runs 5 cm a frame along z."""
    return [round(frame.T_world_camera[2, 3] / 0.05) for frame in frames]


def test_moments_of_a_recording(small_sequence: Callable[[int], Path]) -> None:
    with open_dataset(str(small_sequence(45))) as dataset:
        *moments, last = recorded_moments(dataset.frames, SIZE, 2)
        assert [places(moment.seen) for moment in moments] == [[0, 10], [20, 30]]
        asked = [question for moment in moments for question in moment.questions]
        assert [question.kind for question in asked] == [AHEAD, AHEAD]
        assert [places(q.truth) for q in asked] == [list(range(10, 19)), list(range(30, 39))]
        assert places(last.seen) == [40]
        assert [question.kind for question in last.questions] == [BACK, BACK]
        between = [places(question.truth) for question in last.questions]
        assert between == [list(range(11, 20)), list(range(31, 40))], "none is remembered"
        frame = last.seen[0]
        assert frame.image.shape == (32, 64, 3)
        assert last.questions[0].T_world_camera.shape == (9, 4, 4)


def test_a_recording_can_be_too_short(small_sequence: Callable[[int], Path]) -> None:
    with (
        open_dataset(str(small_sequence(20))) as dataset,
        pytest.raises(ConfigurationError, match=r"21 frames at least\. Got 20"),
    ):
        list(recorded_moments(dataset.frames, SIZE, 2))


class TestSimulated:
    @pytest.fixture(autouse=True)
    def _simulator(self) -> None:
        pytest.importorskip("mujoco")

    def test_moments_of_a_drive(self) -> None:
        scale = DriveScale(Size(64, 32), duration_s=4.0, moments=2, stride=2)
        with simulated_moments(3000, scale) as found:
            moments = list(found)
        assert len(moments) == 2
        remembered: set[int] = set()
        for moment in moments:
            stamps = [frame.stamp_ns for frame in moment.seen]
            assert not remembered & set(stamps), "nothing is seen twice"
            remembered |= set(stamps)
            ahead, back = moment.questions
            assert (ahead.kind, back.kind) == (AHEAD, BACK)
            now = ahead.truth[0].stamp_ns
            assert max(remembered) <= now
            assert back.truth[-1].stamp_ns <= now, "where the robot has been"
            for question in moment.questions:
                stamps = [frame.stamp_ns for frame in question.truth]
                assert len(stamps) == CHUNK
                assert np.allclose(np.diff(stamps), 2e9 / 15.0, rtol=0.05)
                assert question.truth[0].image.shape == (32, 64, 3)
        # Asked for from aside: no frame of the drive was taken there.
        aside = back.truth[0].T_world_camera
        assert all(not np.allclose(f.T_world_camera, aside, atol=1e-3) for f in ahead.truth)

    def test_a_long_way_is_the_tours_from_a_bit_beside(self) -> None:
        scale = DriveScale(Size(64, 32), duration_s=4.0)
        way = long_way(3000, scale, 3)
        assert len(way.truth) == 1 + 3 * 8
        again = long_way(3000, scale, 3)
        assert np.array_equal(way.truth[5].image, again.truth[5].image)
        first = way.truth[0].T_world_camera
        assert 0.0 < translation_distance(first, way.seen[0].T_world_camera) < 0.5
        with pytest.raises(ConfigurationError, match=r"a way of 8 chunks needs a drive of 65"):
            long_way(3000, scale, 8)

    def test_a_drive_can_be_too_short(self) -> None:
        with (
            simulated_moments(3000, DriveScale(Size(64, 32), duration_s=2.0)) as moments,
            pytest.raises(ConfigurationError, match=r"65 pictures at least\. Got 31"),
        ):
            list(moments)


def test_beside_is_near() -> None:
    moved = [beside(np.random.default_rng(seed)) for seed in range(200)]
    metres = [translation_distance(np.eye(4), pose) for pose in moved]
    radians = [rotation_angle(np.eye(4), pose) for pose in moved]
    assert 0.08 < float(np.mean(metres)) < 0.2
    assert max(metres) < 0.6
    assert max(radians) < 0.4

"""Sequences with errors added, over a source whose frames are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, PoseError, SequenceError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import PinholeCamera, rotation_angle
from mirage_ros.sources.degraded import DegradedSequence
from mirage_ros.sources.depth_errors import DepthErrors
from mirage_ros.sources.frame_source import FrameSource
from mirage_ros.sources.simulator.robot import planar_pose

PERIOD_S = 0.1
SPEED, RATE = 0.5, 0.4


class Turntable(FrameSource):
    """Moves along x at :data:`SPEED` and turns at :data:`RATE`, ten frames a second."""

    def __init__(self, depth: bool = True) -> None:
        self.closed = False
        self._has_depth = depth

    @property
    def stamps_ns(self):
        return 5_000_000_000 + np.arange(6, dtype=np.int64) * 100_000_000

    @property
    def camera(self):
        return PinholeCamera(32, 24, 30.0, 30.0, 16.0, 12.0)

    @property
    def frame_numbers(self):
        return np.arange(10, 16)

    @property
    def poses(self):
        return np.stack([pose_at(k * PERIOD_S) for k in range(6)])

    def __len__(self):
        return 6

    def __getitem__(self, index):
        pose = self.poses[index]
        depth = np.full((24, 32), 2.0, np.float32) if self._has_depth else None
        image = np.full((24, 32, 3), index % 6, np.uint8)
        return RgbdFrame(int(self.stamps_ns[index]), image, depth, self.camera, pose)

    def close(self):
        self.closed = True


def pose_at(seconds: float) -> np.ndarray:
    return planar_pose(SPEED * seconds, 0.0, RATE * seconds)


def test_nothing_is_changed_unless_asked_for():
    source = Turntable()
    with DegradedSequence(source) as sequence:
        assert len(sequence) == 6
        assert sequence.camera == source.camera
        np.testing.assert_array_equal(sequence.frame_numbers, source.frame_numbers)
        np.testing.assert_array_equal(sequence.stamps_ns, source.stamps_ns)
        np.testing.assert_array_equal(sequence.poses, source.poses)
        for frame, expected in zip(sequence, source, strict=True):
            assert frame.stamp_ns == expected.stamp_ns
            np.testing.assert_array_equal(frame.image, expected.image)
            np.testing.assert_array_equal(frame.depth, expected.depth)
            np.testing.assert_array_equal(frame.T_world_camera, expected.T_world_camera)
    assert source.closed


def test_errors_of_a_frame_depend_on_seed_and_position_alone():
    errors = DepthErrors(noise=0.01, holes=0.2)
    one = DegradedSequence(Turntable(), depth_errors=errors, seed=4)
    forward = [frame.depth for frame in one]
    again = DegradedSequence(Turntable(), depth_errors=errors, seed=4)
    for index in (5, 0, 3):
        np.testing.assert_array_equal(again[index].depth, forward[index])
    np.testing.assert_array_equal(again[-1].depth, forward[5])
    assert (forward[0] != forward[1]).any()
    other = DegradedSequence(Turntable(), depth_errors=errors, seed=5)
    assert (other[0].depth != forward[0]).any()


@pytest.mark.parametrize("offset", [0.02, 0.1, 0.25, -0.13])
def test_poses_are_those_of_another_time(offset):
    sequence = DegradedSequence(Turntable(), time_offset_s=offset)
    for k in range(6):
        # The ends stand for what lies beyond.
        expected = pose_at(min(max(k * PERIOD_S + offset, 0.0), 5 * PERIOD_S))
        np.testing.assert_allclose(sequence.poses[k], expected, atol=1e-12)
        np.testing.assert_array_equal(sequence[k].T_world_camera, sequence.poses[k])
        assert sequence[k].image[0, 0, 0] == k
    np.testing.assert_array_equal(sequence.true_poses, Turntable().poses)


def test_given_poses_stand_in_for_the_source_s():
    turn = planar_pose(0.0, 0.0, math.radians(10.0))
    given = turn @ Turntable().poses
    sequence = DegradedSequence(Turntable(), poses=given, time_offset_s=0.05)
    np.testing.assert_allclose(sequence.poses[2], turn @ pose_at(0.25), atol=1e-12)
    assert rotation_angle(sequence.true_poses[2], given[2]) == pytest.approx(math.radians(10.0))


def test_frames_without_depth_stay_without():
    sequence = DegradedSequence(Turntable(depth=False), depth_errors=DepthErrors(noise=0.01))
    assert sequence[0].depth is None


def test_what_cannot_be_used_is_refused():
    with pytest.raises(SequenceError, match=r"\(6, 4, 4\).*Got \(5, 4, 4\)"):
        DegradedSequence(Turntable(), poses=Turntable().poses[:5])
    with pytest.raises(PoseError, match="pose 0"):
        DegradedSequence(Turntable(), poses=np.zeros((6, 4, 4)))
    with pytest.raises(ConfigurationError, match="time_offset_s"):
        DegradedSequence(Turntable(), time_offset_s=math.nan)
    with pytest.raises(IndexError):
        DegradedSequence(Turntable())[6]

"""Closed loops whose ends are known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from walls import CELLS, HEIGHT, WIDTH, turned_around, wall, write_walls

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.closed_loop import (
    keyframes,
    recall,
    rollout,
    some_poses,
    there_and_back,
)
from mirage_ros.evaluation.closed_way import recorded_way
from mirage_ros.evaluation.contenders import contenders
from mirage_ros.evaluation.protocol import Contender, Size
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.memory import LatentMemory
from mirage_ros.sources import open_sequence

SIZE = Size(WIDTH, HEIGHT)
DCT = DctCodec()


def moved(count: int, metres: float) -> np.ndarray:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = metres * np.arange(count)
    return poses


def test_keyframes_are_those_that_the_policy_wants() -> None:
    stamps = np.arange(7) * 100_000_000
    assert keyframes(stamps, moved(7, 0.11)) == [0, 2, 4, 6]
    assert keyframes(stamps, moved(7, 0.0)) == [0]
    assert keyframes(stamps, moved(7, 0.0), KeyframePolicy(interval=0.3)) == [0, 3, 6]
    assert keyframes(stamps[:0], moved(0, 0.0)) == []


def test_some_poses_are_evenly_chosen_with_both_ends() -> None:
    poses = moved(9, 1.0)
    np.testing.assert_array_equal(some_poses(poses, 5)[:, 0, 3], [0, 2, 4, 6, 8])
    np.testing.assert_array_equal(some_poses(poses, 20), poses)
    np.testing.assert_array_equal(some_poses(poses[:1], 2), poses[:1])
    for count, most in ((0, 5), (9, 1)):
        with pytest.raises(ConfigurationError, match=f"Got {count}, at most {most}"):
            some_poses(poses[:count], most)


def test_a_path_goes_back_the_way_it_came() -> None:
    np.testing.assert_array_equal(there_and_back(moved(3, 1.0))[:, 0, 3], [0, 1, 2, 1, 0])
    np.testing.assert_array_equal(there_and_back(moved(1, 1.0)), moved(1, 1.0))


@pytest.mark.parametrize("memory", contenders(), ids=lambda memory: memory.name)
def test_what_the_way_does_not_touch_is_recalled_unchanged(memory: Contender) -> None:
    first = wall()
    found = recall(memory, DCT, [first, turned_around(wall(5.0)), turned_around(wall(6.0))], SIZE)
    assert found.at_once.metrics.covered.share == 1.0
    assert found.at_once.metrics.everywhere.psnr_db > 30.0
    assert found.at_end.metrics == found.at_once.metrics
    assert found.image.shape == first.image.shape


def test_what_is_put_before_it_hides_the_first_view() -> None:
    for memory in contenders():
        found = recall(memory, DCT, [wall(), wall(distance=1.0, phase=2.0)], SIZE)
        once, end = found.at_once.metrics.everywhere, found.at_end.metrics.everywhere
        assert end.psnr_db < once.psnr_db - 10.0, memory.name


def test_what_is_forgotten_is_not_recalled() -> None:
    def forgetful(codec: DctCodec) -> LatentMemory:
        memory = LatentMemory(codec)
        observe = memory.observe

        def observe_alone(frame):  # type: ignore[no-untyped-def]
            memory.clear()
            return observe(frame)

        memory.observe = observe_alone  # type: ignore[method-assign]
        return memory

    contender = Contender("forgetful", forgetful)
    found = recall(contender, DCT, [wall(), turned_around(wall())], SIZE)
    assert found.at_once.metrics.covered.share == 1.0
    assert found.at_end.metrics.covered.share == 0.0
    assert found.elements == CELLS
    with pytest.raises(ConfigurationError, match="first frame"):
        recall(contender, DCT, [], SIZE)


@pytest.mark.parametrize("memory", contenders(), ids=lambda memory: memory.name)
def test_a_rollout_leaves_and_returns_to_what_it_knew(memory: Contender) -> None:
    # More than one chunk of nine, and half a turn away.
    turns = [exp_twist([0, 0, 0], [0, angle, 0], 1.0) for angle in np.linspace(0.0, np.pi, 8)]
    path = there_and_back(np.stack(turns))
    found = rollout(memory, DCT, wall(), path, SIZE)
    assert found.least_known == 0.0
    assert found.last.metrics.covered.share == 1.0
    assert found.last.metrics.everywhere.psnr_db > 30.0


def test_a_rollout_has_to_come_back() -> None:
    with pytest.raises(ConfigurationError, match="must end at the pose of its first frame"):
        rollout(contenders()[0], DCT, wall(), moved(3, 0.1), SIZE)


def test_a_recording_is_gone_back_in_poses_but_not_in_frames(tmp_path) -> None:
    offsets = [0.15 * k for k in range(10)]
    write_walls(tmp_path, offsets)
    way = recorded_way(open_sequence(tmp_path), 1, 7, most=7)
    found = [frame.T_world_camera[0, 3] for frame in way.frames]
    np.testing.assert_allclose(found, [0.15, 0.45, 0.75, 1.05])
    np.testing.assert_allclose(
        way.T_world_camera[:, 0, 3], [0.15, 0.45, 0.75, 1.05, 0.75, 0.45, 0.15]
    )
    np.testing.assert_array_equal(way.T_world_camera[-1], way.frames[0].T_world_camera)
    with pytest.raises(ConfigurationError, match="none numbered from 20 to 30"):
        recorded_way(open_sequence(tmp_path), 20, 30, most=7)

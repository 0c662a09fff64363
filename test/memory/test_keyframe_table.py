"""Surfaces of a view, and keyframes that are moved with their tokens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walls import CAMERA, CELLS, turned_around, wall

from mirage_ros.codec import DctCodec
from mirage_ros.errors import PoseError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.memory import Keyframes, LatentMemory, LatentMemoryConfig


def memory_of(*frames: RgbdFrame, grids: int = 1) -> LatentMemory:
    memory = LatentMemory(DctCodec(), LatentMemoryConfig(grids=grids))
    for frame in frames:
        memory.observe(frame)
    return memory


def test_surfaces_of_a_view() -> None:
    turned = [replace(turned_around(wall(0.1 * number)), stamp_ns=9) for number in range(6)]
    memory = memory_of(replace(wall(), stamp_ns=5), *turned)
    points = memory.surfaces(CAMERA, np.eye(4))
    # Whole runs of tokens are left out, not single ones.
    mine = points.stamps_ns == 5
    assert len(points) < memory.count
    assert int(mine.sum()) == CELLS
    np.testing.assert_allclose(points.positions[mine, 2], 2.0, atol=1e-6)
    # Towards the camera; a stored normal is exact to half a 127th.
    np.testing.assert_allclose(points.normals[mine], [[0.0, 0.0, -1.0]] * CELLS, atol=0.005)


def test_moved_keyframes_take_their_tokens_along() -> None:
    first, second = wall(), replace(turned_around(wall()), stamp_ns=7)
    memory = memory_of(first, second)
    move = exp_twist([0.3, -0.2, 0.5], [0.1, 0.7, -0.2], 1.0)
    assert (
        memory.move_keyframes(Keyframes(np.array([7]), (move @ second.T_world_camera)[None])) == 1
    )
    expected = memory_of(first, replace(second, T_world_camera=move @ second.T_world_camera))
    np.testing.assert_allclose(memory.tokens().position, expected.tokens().position, atol=1e-5)
    np.testing.assert_allclose(memory.tokens().view, expected.tokens().view, atol=1e-5)
    assert (memory.tokens().normal.int() - expected.tokens().normal.int()).abs().max() <= 1
    for pose in (first.T_world_camera, move @ second.T_world_camera):
        one, other = (m.read(CAMERA, pose[None]) for m in (memory, expected))
        assert (one.coverage == other.coverage).all()
        assert one.coverage.all()
        np.testing.assert_allclose(one.latents, other.latents)
    np.testing.assert_allclose(memory.keyframes().T_world_camera[1], move @ second.T_world_camera)


def test_all_grids_of_a_keyframe_move() -> None:
    memory = memory_of(wall(), grids=4)
    moved = memory.keyframes().T_world_camera[:1].copy()
    moved[0, 2, 3] = 1.0
    assert memory.move_keyframes(Keyframes(np.array([0]), moved)) == 1
    np.testing.assert_allclose(memory.tokens().position[:, 2], 3.0, atol=1e-6)


def test_branches_and_unknown_stamps_see_nothing_of_it() -> None:
    memory = memory_of(wall())
    branch = memory.branch()
    before = branch.read(CAMERA, np.eye(4)[None]).depth
    away = np.eye(4)
    away[2, 3] = 0.5
    assert memory.move_keyframes(Keyframes(np.array([123]), away[None])) == 0
    assert memory.move_keyframes(Keyframes(np.array([0]), away[None])) == 1
    assert (branch.read(CAMERA, np.eye(4)[None]).depth == before).all()
    assert (memory.read(CAMERA, np.eye(4)[None]).depth != before).any()


def test_poses_that_are_not_rigid_change_nothing() -> None:
    memory = memory_of(wall())
    with pytest.raises(PoseError):
        memory.move_keyframes(Keyframes(np.array([0]), 2.0 * np.eye(4)[None]))
    np.testing.assert_allclose(memory.keyframes().T_world_camera[0], np.eye(4))


def test_confidence_of_depth_and_moving_pixels() -> None:
    frame = wall()
    confidence = np.ones((64, 96), np.float32)
    confidence[:16, :16] = 0.5
    dynamic = np.zeros((64, 96), bool)
    dynamic[63, 95] = True
    memory = memory_of(replace(frame, confidence=confidence, dynamic=dynamic))
    assert memory.count == CELLS - 1
    known = memory.tokens()
    assert known.confidence.min() == pytest.approx(0.5, abs=1 / 63)
    assert int((known.confidence < 0.9).sum()) == 1
    read = memory.read(CAMERA, np.eye(4)[None])
    assert not read.coverage[0, -1, -1]

"""What memories tell of how the tokens that were read lie in their cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from plane_views import Array, jacobian, random_pose

from mirage_ros.codec import DctCodec
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import BoundsConfig, LatentMemory, LatentMemoryConfig, RgbMemory
from mirage_ros.memory.base import Readout

CAMERA = PinholeCamera(96, 64, 80.0, 80.0, 48.0, 32.0)
GRID = CAMERA.latent(16)
EVERYTHING = LatentMemoryConfig(bounds=BoundsConfig(merge=False), features="float32")


def slanted_frame(latents_of: int = 0) -> tuple[RgbdFrame, torch.Tensor]:
    """The plane z = 2 + 0.3 x - 0.2 y seen from the origin; latents that number its cells."""
    u, v = np.meshgrid((np.arange(96) + 0.5 - 48.0) / 80.0, (np.arange(64) + 0.5 - 32.0) / 80.0)
    depth = (2.0 / (1.0 - 0.3 * u + 0.2 * v)).astype(np.float32)
    return (
        RgbdFrame(1, np.zeros((64, 96, 3), np.uint8), depth, CAMERA, np.eye(4)),
        numbered(latents_of),
    )


def numbered(first: int) -> torch.Tensor:  # (48, 4, 6)
    latents = torch.zeros(48, 4, 6)
    latents[0] = first + torch.arange(24.0).reshape(4, 6)
    return latents


@pytest.fixture
def memory() -> LatentMemory:
    return LatentMemory(DctCodec(), EVERYTHING)


def test_from_the_keyframe_s_own_pose_everything_lies_where_it_was(memory: LatentMemory) -> None:
    frame, latents = slanted_frame()
    for pose in (np.eye(4), random_pose(np.random.default_rng(1), 1.0, 3.0)):
        memory.clear()
        memory.observe(replace(frame, T_world_camera=pose), latents)
        readout = memory.read(CAMERA, pose[None], placed=True)
        assert bool(readout.coverage.all())
        assert readout.placement is not None
        assert float(readout.placement.offset.abs().max()) < 1e-5
        assert float((readout.placement.stretch - torch.eye(2)).abs().max()) < 1e-5
        assert float(readout.placement.turn.abs().max()) < 1e-6


def test_the_slant_of_what_was_observed_is_known(memory: LatentMemory) -> None:
    """Against the plane itself, whose normals the memory has to estimate and round."""
    frame, latents = slanted_frame()
    memory.observe(frame, latents)
    pose = random_pose(np.random.default_rng(2), 0.1, 0.3)
    readout = memory.read(CAMERA, pose[None], placed=True)
    placement = readout.placement
    assert placement is not None
    from_world, facing = np.linalg.inv(pose), np.array([-0.3, 0.2, 1.0])

    def project(uv: Array) -> Array:
        ray = np.array([(uv[0] - GRID.cx) / GRID.fx, (uv[1] - GRID.cy) / GRID.fy, 1.0])
        x, y, z = from_world[:3, :3] @ (ray * 2.0 / (facing @ ray)) + from_world[:3, 3]
        return np.array([GRID.fx * x / z + GRID.cx, GRID.fy * y / z + GRID.cy])

    plain = 0
    for row, column in np.argwhere(readout.coverage[0].numpy()):
        number = round(float(readout.latents[0, 0, row, column]))
        at = np.array([number % 6 + 0.5, number // 6 + 0.5])
        offset = project(at) - [column + 0.5, row + 0.5]
        np.testing.assert_allclose(placement.offset[0, row, column], offset, atol=0.01)
        expected = jacobian(project, at)
        np.testing.assert_allclose(placement.stretch[0, row, column], expected, atol=0.02)
        plain += int(np.abs(expected - np.eye(2)).max() > 0.05)
    assert plain > 5


def test_every_part_of_a_branch_is_placed_by_its_own_keyframe(memory: LatentMemory) -> None:
    """Observed, committed, inherited and own: told apart by what they hold, each from elsewhere."""
    frame, latents = slanted_frame()
    assert frame.depth is not None
    frame.depth[:, 32:] = 0.0
    memory.observe(frame, latents)
    poses = {0: np.eye(4)}

    def write(into, number: int, columns: slice, shift: Array) -> None:  # type: ignore[no-untyped-def]
        pose = np.eye(4)
        pose[:3, 3] = shift
        depth = torch.zeros(1, 4, 6)
        depth[:, :, columns] = 2.0 - float(shift[2])
        into.write(numbered(100 * number)[None], depth, CAMERA, pose[None], 5)
        poses[number] = pose

    first = memory.branch()
    write(first, 1, slice(2, 3), np.array([0.1, 0.0, 0.0]))
    memory.commit(first)
    branch = memory.branch()
    write(branch, 2, slice(4, 5), np.array([0.0, 0.05, 0.5]))
    inner = branch.branch()
    write(inner, 3, slice(5, 6), np.array([-0.08, 0.0, -0.4]))
    target = np.eye(4)
    target[:3, 3] = [0.05, -0.05, 0.0]
    readout = inner.read(CAMERA, target[None], placed=True)
    placement = readout.placement
    assert placement is not None
    parts: dict[int, int] = {}
    for row, column in np.argwhere(readout.coverage[0].numpy()):
        part, cell = divmod(round(float(readout.latents[0, 0, row, column])), 100)
        parts[part] = parts.get(part, 0) + 1
        assert bool(readout.observed[0, row, column]) == (part == 0)
        if part == 0:
            continue
        at = np.array([cell % 6 + 0.5, cell // 6 + 0.5])
        depth = 2.0 - poses[part][2, 3]
        where = (at - [GRID.cx, GRID.cy]) / 5.0 * depth + (poses[part] - target)[:2, 3]
        offset = 5.0 * where / 2.0 + [GRID.cx, GRID.cy] - [column + 0.5, row + 0.5]
        np.testing.assert_allclose(placement.offset[0, row, column], offset, atol=1e-3)
        scale = float(torch.linalg.det(placement.stretch[0, row, column])) ** 0.5
        assert scale == pytest.approx(depth / 2.0, rel=0.03)
    assert set(parts) == {0, 1, 2, 3}
    assert min(parts.values()) >= 2


def test_nothing_read_is_placed_nowhere(memory: LatentMemory) -> None:
    placement = memory.read(CAMERA, np.eye(4)[None], placed=True).placement
    assert placement is not None
    assert placement.stretch.shape == (1, 4, 6, 2, 2)
    assert bool((placement.stretch == torch.eye(2)).all())
    assert not bool(placement.offset.any())
    none = memory.read(CAMERA, np.zeros((0, 4, 4)), placed=True).placement
    assert none is not None
    assert none.offset.shape == (0, 4, 6, 2)


def test_asking_for_placement_changes_nothing_else(memory: LatentMemory) -> None:
    frame, latents = slanted_frame()
    memory.observe(frame, latents)
    pose = random_pose(np.random.default_rng(3), 0.2, 0.4)[None]
    plain, placed = memory.read(CAMERA, pose), memory.read(CAMERA, pose, placed=True)
    assert plain.placement is None
    assert placed.placement is not None
    for name in ("latents", "coverage", "depth", "observed"):
        assert torch.equal(getattr(plain, name), getattr(placed, name))


def test_readouts_are_cut_and_joined_with_their_placement(memory: LatentMemory) -> None:
    frame, latents = slanted_frame()
    memory.observe(frame, latents)
    rng = np.random.default_rng(4)
    poses = np.stack([random_pose(rng, 0.1, 0.2) for _ in range(4)])
    whole = memory.read(CAMERA, poses, placed=True)
    halves = [whole.part(slice(0, 1)), whole.part(slice(1, None))]
    joined = Readout.joined(halves)
    assert torch.equal(joined.latents, whole.latents)
    assert whole.placement is not None
    assert joined.placement is not None
    assert torch.equal(joined.placement.offset, whole.placement.offset)
    last = memory.read(CAMERA, poses[1:], placed=True).placement
    assert last is not None
    assert halves[1].placement is not None
    assert torch.equal(halves[1].placement.stretch, last.stretch)
    unplaced = memory.read(CAMERA, poses)
    assert unplaced.part(slice(0, 1)).placement is None
    assert Readout.joined([whole, unplaced]).placement is None


def test_rendered_content_needs_no_placement() -> None:
    memory = RgbMemory(DctCodec())
    frame, _ = slanted_frame()
    memory.observe(frame)
    readout = memory.read(CAMERA, np.eye(4)[None], placed=True)
    assert bool(readout.coverage.any())
    assert readout.placement is None
    assert memory.branch().read(CAMERA, np.eye(4)[None], placed=True).placement is None

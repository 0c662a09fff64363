"""What a latent memory keeps, refreshes and forgets, and what its branches see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.errors import MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.memory import BoundsConfig, LatentMemory, LatentMemoryConfig

CAMERA = PinholeCamera(160, 128, 130.0, 130.0, 80.0, 64.0)
CELLS = 10 * 8


def texture(x: np.ndarray, y: np.ndarray, z: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    value = np.zeros((*x.shape, 3))
    for _ in range(12):
        a, b, c, phase = *rng.uniform(-9, 9, 3), rng.uniform(0, 6)
        value += np.sin(a * x + b * y + c * z + phase)[..., None] * rng.uniform(-1, 1, 3)
    return np.clip(0.5 + 0.12 * value, 0.0, 1.0)


def look(
    x: float = 0.0, yaw: float = 0.0, seed: int | None = 0, wall: float = 3.0, stamp: int = 0
) -> RgbdFrame:
    """A textured (or, without a seed, plain) box of 2 * ``wall`` metres seen from inside."""
    pose = exp_twist([0, 0, 0], [0, 1, 0], yaw)
    pose[0, 3] = x
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((CAMERA.height, CAMERA.width)))
    direction = rays @ pose[:3, :3].T
    with np.errstate(divide="ignore"):
        reach = (np.sign(direction) * wall - pose[:3, 3]) / direction
    depth = np.where(reach > 0, reach, np.inf).min(axis=-1)
    points = pose[:3, 3] + direction * depth[..., None]
    colour = texture(*np.moveaxis(points, -1, 0), seed) if seed is not None else points * 0 + 0.5
    pixels = np.rint(255 * colour).astype(np.uint8)
    return RgbdFrame(stamp, pixels, depth.astype(np.float32), CAMERA, pose)


def memory(features: str = "compact", **bounds: float) -> LatentMemory:
    config = LatentMemoryConfig(bounds=BoundsConfig(**bounds), features=features)  # type: ignore[arg-type]
    return LatentMemory(DctCodec(), config)


def error(one: LatentMemory, frame: RgbdFrame) -> float:
    """Mean squared pixel error of reading a frame's view."""
    readout = one.read(CAMERA, frame.T_world_camera[None])
    shown = one.codec.decode(readout.latents)[0].permute(1, 2, 0).numpy()
    covered = readout.coverage[0].numpy().repeat(16, 0).repeat(16, 1)
    return float(np.mean((shown - frame.image / 255.0)[covered] ** 2))


def tour(laps: int = 1) -> list[RgbdFrame]:
    return [look(0.4 * np.sin(t), t) for t in np.tile(np.linspace(0, 2 * np.pi, 24, False), laps)]


def test_the_same_view_again_only_refreshes() -> None:
    one = memory()
    assert one.observe(look()).added == CELLS
    again = one.observe(look(stamp=5))
    assert (again.added, again.refreshed) == (0, CELLS)
    assert one.count == CELLS
    assert one.tokens().stamp_ns.unique().tolist() == [5]


def test_a_change_in_the_same_view_replaces_what_was_there() -> None:
    one = memory()
    one.observe(look(seed=0))
    assert one.observe(look(seed=1)).refreshed == CELLS
    assert one.count == CELLS
    fresh = memory()
    fresh.observe(look(seed=1))
    assert error(one, look(seed=1)) == error(fresh, look(seed=1))


def test_plain_walls_need_few_tokens_and_textured_ones_more() -> None:
    counts = []
    for seed in (None, 0):
        one = memory()
        for x in np.linspace(-0.5, 0.5, 8):
            one.observe(look(float(x), seed=seed))
        counts.append(one.count)
    assert counts[0] < 2 * CELLS
    assert 2 * counts[0] < counts[1] <= 8 * CELLS


def test_what_is_not_stored_is_shown_as_well_by_what_is() -> None:
    """Every view that was remembered reads back within the error that merging allows."""
    bounded, everything = memory(), memory("float32", merge=False)
    for frame in tour():
        bounded.observe(frame)
        everything.observe(frame)
    assert bounded.count < 0.9 * everything.count
    for frame in tour()[::5]:
        assert error(bounded, frame) < error(everything, frame) + bounded.config.bounds.same_error


def test_a_second_identical_lap_adds_almost_nothing() -> None:
    one = memory()
    for frame in tour():
        one.observe(frame)
    first = one.count
    for frame in tour(laps=2):
        one.observe(frame)
    assert one.count < 1.02 * first


def test_the_memory_stays_below_its_capacity_and_keeps_what_is_in_view() -> None:
    one = memory(capacity=4 * CELLS)
    evicted = 0
    for frame in tour(laps=2):
        evicted += one.observe(frame).evicted
        assert one.count <= 4 * CELLS
        coverage = one.read(CAMERA, frame.T_world_camera[None]).coverage
        assert bool(coverage.all()), "nothing in view is forgotten"
    assert evicted > 0


def test_keyframes_that_nothing_is_left_of_are_forgotten() -> None:
    one = memory()
    for stamp in range(400):
        one.observe(look(stamp=stamp))
    assert one.count == CELLS
    assert one.nbytes < 100 * CELLS + 200 * 170


def test_a_full_keyframe_table_costs_old_tokens_and_misplaces_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mirage_ros.memory.token_store.MOST_KEYFRAMES", 16)
    one = memory()
    for frame in tour(laps=2):
        one.observe(frame)
        assert len(one._observed.stamps_ns) <= 16
        assert error(one, frame) < 0.005
    branch = one.branch()
    for _ in range(40):
        branch.write(*imagined(0.5), CAMERA, BEHIND[None], 1)
    assert len(branch._own.stamps_ns) <= 16


def test_time_goes_on_beyond_sixteen_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mirage_ros.memory.latent_memory._CLOCK_LIMIT", 10)
    one, other = memory(capacity=4 * CELLS), memory(capacity=4 * CELLS)
    for frame in tour():
        one.observe(frame)
    monkeypatch.undo()
    for frame in tour():
        other.observe(frame)
    assert one.count <= 4 * CELLS
    assert bool((one.tokens().confidence > 0).all())
    assert error(one, tour()[-1]) == pytest.approx(error(other, tour()[-1]), rel=0.3)


def imagined(value: float, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((count, 48, 8, 10), value), torch.full((count, 8, 10), 2.0)


BEHIND = exp_twist([0, 0, 0], [0, np.pi, 0], 1.0)


def test_a_branch_begins_as_its_memory_and_keeps_to_itself() -> None:
    one = memory()
    one.observe(look())
    poses = np.stack([look().T_world_camera, BEHIND])
    before = one.read(CAMERA, poses)
    branch, sibling = one.branch(), one.branch()
    torch.testing.assert_close(branch.read(CAMERA, poses).latents, before.latents)
    update = branch.write(*imagined(0.5), CAMERA, BEHIND[None], 1)
    assert update.added == branch.count == CELLS
    view = branch.read(CAMERA, poses)
    assert bool(view.coverage.all())
    assert bool(view.observed[0].all())
    assert not bool(view.observed[1].any()), "what was imagined never counts as remembered"
    torch.testing.assert_close(view.latents[1], imagined(0.5)[0][0], atol=0.04, rtol=0)
    for other in (one, sibling):
        assert not bool(other.read(CAMERA, poses).coverage[1].any())
    torch.testing.assert_close(one.read(CAMERA, poses).latents, before.latents, rtol=0, atol=0)


def test_a_branch_does_not_see_what_its_memory_learns_later() -> None:
    one = memory()
    one.observe(look(seed=0))
    branch = one.branch()
    poses = np.stack([look().T_world_camera, BEHIND])
    before = branch.read(CAMERA, poses)
    one.observe(look(seed=1))
    one.observe(look(yaw=np.pi))
    after = branch.read(CAMERA, poses)
    torch.testing.assert_close(after.latents, before.latents, rtol=0, atol=0)
    torch.testing.assert_close(after.coverage, before.coverage)


def test_a_branch_costs_next_to_nothing_until_written_to() -> None:
    one = memory(merge=False)
    for frame in tour():
        one.observe(frame)
    branches = [one.branch() for _ in range(20)]
    assert sum(branch.nbytes for branch in branches) == 0
    shared = one._observed.tokens.features.data_ptr()
    assert all(b._observed[0].tokens.features.data_ptr() == shared for b in branches)


def test_imagined_never_stands_where_observed_does() -> None:
    one = memory()
    one.observe(look())
    branch = one.branch()
    here = look().T_world_camera[None]
    assert branch.write(*imagined(0.5), CAMERA, here, 1).added == 0
    branch.write(*imagined(0.5), CAMERA, BEHIND[None], 1)
    one.observe(look(yaw=np.pi, stamp=3))
    update = one.commit(branch)
    assert update.added == 0
    assert bool(one.read(CAMERA, BEHIND[None]).observed.all())


def test_committing_is_explicit_and_marked() -> None:
    one = memory()
    one.observe(look())
    branch = one.branch()
    branch.write(*imagined(0.5), CAMERA, BEHIND[None], 1)
    seen = branch.read(CAMERA, BEHIND[None])
    assert one.commit(branch).added == CELLS
    kept = one.read(CAMERA, BEHIND[None])
    torch.testing.assert_close(kept.latents, seen.latents, atol=0.04, rtol=0)
    assert bool(kept.coverage.all())
    assert not bool(kept.observed.any())
    assert one.cloud().observed.sum() == CELLS
    # What a sensor then sees takes its place.
    update = one.observe(look(yaw=np.pi, stamp=3))
    assert update.evicted == CELLS
    assert bool(one.read(CAMERA, BEHIND[None]).observed.all())
    assert bool(one.cloud().observed.all())


def test_branches_of_branches_inherit_and_commit_together() -> None:
    one = memory()
    one.observe(look())
    first = one.branch()
    aside = exp_twist([0, 0, 0], [0, 1, 0], 0.5 * np.pi)
    first.write(*imagined(0.5), CAMERA, BEHIND[None], 1)
    second = first.branch()
    first.write(*imagined(0.5), CAMERA, aside[None], 1)
    assert bool(second.read(CAMERA, BEHIND[None]).coverage.all())
    assert not bool(second.read(CAMERA, aside[None]).coverage.all())
    one.commit(second)
    assert bool(one.read(CAMERA, BEHIND[None]).coverage.all())


def test_branches_of_others_and_views_that_do_not_fit_are_refused() -> None:
    one, other = memory(), memory()
    with pytest.raises(MemoryFormatError, match="must come from this memory"):
        one.commit(other.branch())
    latents, depth = imagined(0.5)
    with pytest.raises(MemoryFormatError, match=r"latents \(1, 48, 8, 10\).*Got \(1, 47, 8, 10\)"):
        one.branch().write(latents[:, 1:], depth, CAMERA, BEHIND[None], 0)
    narrow = replace(CAMERA, width=144)
    with pytest.raises(MemoryFormatError, match="Got"):
        one.branch().write(latents, depth, narrow, BEHIND[None], 0)


def test_two_memories_fed_alike_are_alike_bit_for_bit() -> None:
    first, second = memory(capacity=5 * CELLS), memory(capacity=5 * CELLS)
    before = torch.get_num_threads()
    try:
        for one, count in ((first, 1), (second, 2)):
            torch.set_num_threads(count)
            for frame in tour(laps=2):
                one.observe(frame)
    finally:
        torch.set_num_threads(before)
    poses = np.stack([frame.T_world_camera for frame in tour()[::4]])
    one, two = first.read(CAMERA, poses), second.read(CAMERA, poses)
    torch.testing.assert_close(one.latents, two.latents, rtol=0, atol=0)
    torch.testing.assert_close(one.depth, two.depth, rtol=0, atol=0)

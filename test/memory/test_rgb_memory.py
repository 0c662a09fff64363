"""Coloured points: the rasteriser, the voxels, and the memory made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mirage_ros.codec import DctCodec
from mirage_ros.errors import (
    CameraError,
    ConfigurationError,
    FrameError,
    MemoryFormatError,
    PoseError,
)
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import pose_from_quaternion
from mirage_ros.memory import LatentMemory, RgbMemory, RgbMemoryConfig
from mirage_ros.memory.rgb_points import Points, Raster, rasterise
from mirage_ros.memory.rgb_voxels import FINEST, LEVELS, VoxelPoints, disjoint, levels_of

CAMERA = PinholeCamera(96, 64, 80.0, 80.0, 48.0, 32.0)
AWAY = np.diag([-1.0, 1.0, -1.0, 1.0])


def wall(offset_x: float = 0.0, depth: float = 2.0, stamp_ns: int = 7) -> RgbdFrame:
    """A picture on a wall at z = ``depth``, seen from (``offset_x``, 0, 0)."""
    u = (np.arange(96) + 0.5 - 48.0) / 80.0 * depth + offset_x
    v = (np.arange(64) + 0.5 - 32.0) / 80.0 * depth
    x, y = np.meshgrid(u, v)
    image = np.stack([0.5 + 0.4 * np.sin(3 * x), 0.5 + 0.4 * np.cos(2 * y), 0.5 + 0.1 * x], axis=-1)
    pose = np.eye(4)
    pose[0, 3] = offset_x
    pixels = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    return RgbdFrame(stamp_ns, pixels, np.full((64, 96), depth, dtype=np.float32), CAMERA, pose)


def latents_of(image: np.ndarray) -> torch.Tensor:
    return DctCodec().encode(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0)


def grey(value: int) -> torch.Tensor:
    """Latents of a view of one grey."""
    return latents_of(np.full((64, 96, 3), value, dtype=np.uint8))


def some_points(count: int, seed: int = 0) -> Points:
    """Points all around, some of them twice in other colours."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(-2.0, 2.0, (count, 3)).astype(np.float32)
    positions[count // 2 : count // 2 + count // 8] = positions[: count // 8]
    return Points(positions, rng.integers(0, 256, (count, 3)).astype(np.uint8))


def some_poses() -> np.ndarray:
    return np.stack(
        [
            np.eye(4),
            AWAY,
            pose_from_quaternion([0.3, -0.2, -1.0], [0.1, 0.2, -0.1, 0.97]),
        ]
    )


def rasterised_plainly(points: Points, camera: PinholeCamera, pose: np.ndarray) -> Raster:
    """One view, point by point."""
    shape = (camera.height, camera.width)
    image, hit = np.zeros((*shape, 3), dtype=np.uint8), np.zeros(shape, dtype=bool)
    depth = np.zeros(shape, dtype=np.float32)
    local = (points.positions.astype(np.float64) - pose[:3, 3]) @ pose[:3, :3]
    for (x, y, z), colour in zip(local, points.colours, strict=True):
        if z < 0.1:
            continue
        column = int(np.floor(camera.fx * x / z + camera.cx))
        row = int(np.floor(camera.fy * y / z + camera.cy))
        if 0 <= column < camera.width and 0 <= row < camera.height:
            z32 = np.float32(z)
            if not hit[row, column] or z32 < depth[row, column]:
                image[row, column], hit[row, column], depth[row, column] = colour, True, z32
    return Raster(image, hit, depth)


def split(points: Points, parts: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return np.array_split(points.positions, parts), np.array_split(points.colours, parts)


@pytest.fixture
def torch_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("parts", [1, 3])
def test_the_rasteriser_agrees_with_a_plain_one(parts: int) -> None:
    points, poses, camera = some_points(4000), some_poses(), PinholeCamera(33, 20, 9, 11, 15, 11.5)
    batches = [Points(*pair) for pair in zip(*split(points, parts), strict=True)]
    raster = rasterise(batches, camera, poses, 0.1)
    for view, pose in enumerate(poses):
        plain = rasterised_plainly(points, camera, pose)
        np.testing.assert_array_equal(raster.hit[view], plain.hit)
        np.testing.assert_array_equal(raster.images[view], plain.images)
        np.testing.assert_allclose(raster.depth[view], plain.depth, rtol=1e-5)
        assert 0.3 < plain.hit.mean() < 1.0


def test_of_equally_near_points_the_first_is_seen() -> None:
    positions = np.array([[0.0, 0.0, 2.0]] * 3, dtype=np.float32)
    colours = np.array([[10] * 3, [20] * 3, [5] * 3], dtype=np.uint8)
    one = Points(positions, colours)
    for parts in ([one], [one.select(slice(i, i + 1)) for i in range(3)]):
        image = rasterise(parts, CAMERA, np.eye(4)[None], 0.1).images[0]
        assert image[32, 48].tolist() == [10] * 3


@pytest.mark.usefixtures("torch_threads")
def test_pictures_do_not_depend_on_threads() -> None:
    points, poses = some_points(20_000), some_poses()
    results = []
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        results += [rasterise([points], CAMERA, poses[:views], 0.1) for views in (1, 3)]
    for result in results[2:]:
        same = results[0 if len(result.images) == 1 else 1]
        np.testing.assert_array_equal(result.images, same.images)
        np.testing.assert_array_equal(result.depth, same.depth)


def test_no_point_and_no_view_make_nothing() -> None:
    empty = rasterise([], CAMERA, np.eye(4)[None], 0.1)
    assert empty.images.shape == (1, 64, 96, 3)
    assert not empty.hit.any()
    assert rasterise([some_points(9)], CAMERA, np.empty((0, 4, 4)), 0.1).hit.shape == (0, 64, 96)


def holds(outer: tuple[int, ...], inner: tuple[int, ...]) -> bool:
    """Whether one voxel (level, x, y, z) holds another, or is it."""
    up = outer[0] - inner[0]
    return up >= 0 and all(b >> up == a for a, b in zip(outer[1:], inner[1:], strict=True))


def test_voxels_keep_what_plain_rules_keep() -> None:
    """Of one voxel the first of a frame, a finer one before a coarser, a newer as fine."""
    rng = np.random.default_rng(3)
    store, plain = VoxelPoints(), {}
    for clock in range(12):
        positions = rng.uniform(-0.03, 0.03, (40, 3)).astype(np.float32)
        colours = rng.integers(0, 256, (40, 3)).astype(np.uint8)
        level = rng.integers(0, 5, 40)
        update = store.observe(Points(positions, colours), FINEST * 2.0**level, clock, 100 + clock)
        new: dict[tuple[int, ...], tuple[int, ...]] = {}
        for position, colour, its in zip(positions, colours, level.tolist(), strict=True):
            cell = np.floor(position.astype(np.float64) / FINEST / 2**its).astype(int)
            new.setdefault((its, *cell.tolist()), tuple(colour.tolist()))
        new = {k: c for k, c in new.items() if not any(holds(k, o) for o in new if o != k)}
        before = len(plain)
        kept = {k: c for k, c in new.items() if not any(holds(k, o) and o != k for o in plain)}
        plain = {k: c for k, c in plain.items() if not any(holds(k, o) for o in kept)} | kept
        assert disjoint(store.keys)
        levels = (store.keys & (LEVELS - 1)).tolist()
        cells = [
            tuple(np.floor(p.astype(np.float64) / FINEST / 2**its).astype(int).tolist())
            for p, its in zip(store.points.positions, levels, strict=True)
        ]
        stored = {
            (its, *cell): tuple(c.tolist())
            for its, cell, c in zip(levels, cells, store.points.colours, strict=True)
        }
        assert stored == plain
        assert update.added == len(plain) - before
        assert update.added + update.refreshed + update.confirmed == 40
    assert set(store.point_stamps().tolist()) <= set(range(100, 112))


def test_levels_are_powers_of_two_no_larger_than_the_footprint() -> None:
    footprint = FINEST * np.array([0.5, 1.0, 1.99, 2.0, 3.0, 4.0, 1e9])
    assert levels_of(footprint).tolist() == [0, 0, 0, 1, 1, 2, LEVELS - 1]


def test_a_finer_look_takes_a_coarser_ones_place_and_not_the_other_way() -> None:
    memory = RgbMemory(DctCodec(), RgbMemoryConfig(policy="voxel"))
    memory.observe(wall())
    pose = np.eye(4)
    pose[2, 3] = 1.5
    close = wall(depth=0.5)
    close = RgbdFrame(8, np.full_like(close.image, 250), close.depth, CAMERA, pose)
    update = memory.observe(close)
    assert update.refreshed > 0
    assert update.added > 0
    assert (memory.render(CAMERA, pose[None])[0][0] == 250).mean() > 0.99
    count = memory.count
    again = memory.observe(wall())
    assert memory.count == count
    assert again.added == 0
    assert (memory.render(CAMERA, pose[None])[0][0] == 250).mean() > 0.99


def test_appending_keeps_every_valid_pixel_of_every_frame() -> None:
    memory = RgbMemory(DctCodec())
    frame = wall()
    frame.depth[:, :10] = 0.0
    frame.depth[:, 10:20] = np.nan
    frame.depth[:, 20:30] = 11.0
    for number in (1, 2, 3):
        assert memory.observe(frame).added == 64 * 66
        assert memory.count == number * 64 * 66
    assert memory.nbytes == memory.count * 15
    assert memory.index_nbytes == 3 * 16
    cloud = memory.cloud(with_features=True)
    assert cloud.features is None
    assert cloud.observed.all()
    assert set(cloud.stamps_ns.tolist()) == {7}


def test_a_second_look_adds_no_voxel() -> None:
    memory = RgbMemory(DctCodec(), RgbMemoryConfig(policy="voxel"))
    first = memory.observe(wall())
    second = memory.observe(wall(stamp_ns=9))
    assert first.added > 0.9 * 64 * 96
    assert second.added < 0.02 * first.added
    assert memory.count == first.added + second.added
    assert set(memory.cloud().stamps_ns.tolist()) == {9}
    assert memory.index_nbytes == memory.count * 12 + 2 * 16


def test_voxels_stay_within_their_bound_and_keep_what_is_in_view() -> None:
    capacity = 9000
    memory = RgbMemory(DctCodec(), RgbMemoryConfig(policy="voxel", capacity=capacity))
    evicted = 0
    for number in range(6):
        frame = wall(offset_x=3.0 * number)
        evicted += memory.observe(frame).evicted
        assert memory.count <= capacity
        assert memory.render(CAMERA, frame.T_world_camera[None])[1].mean() > 0.98
    assert evicted > 0
    # What is left of the others is the newest and nearest.
    shown = [memory.render(CAMERA, wall(3.0 * n).T_world_camera[None])[1].mean() for n in range(6)]
    assert shown[0] == shown[1] == 0.0
    assert shown[4] > 0.2


@pytest.mark.parametrize("policy", ["append", "voxel"])
def test_a_bound_smaller_than_a_view_holds(policy: str) -> None:
    memory = RgbMemory(DctCodec(), RgbMemoryConfig(policy=policy, capacity=500))
    update = memory.observe(wall())
    assert 0 < memory.count <= 500
    assert update.evicted == update.added - memory.count


def test_holes_take_the_mean_of_their_cell_and_cells_need_half_their_pixels() -> None:
    memory = RgbMemory(DctCodec())
    frame = wall()
    frame.image[:16, :16] = 40
    frame.image[:16, :16:2] = 80
    frame.depth[:16, 1:16:4] = 0.0
    frame.depth[:16, 16:25] = 0.0
    frame.depth[:16, 32:40] = 0.0
    memory.observe(frame)
    readout = memory.read(CAMERA, np.eye(4)[None])
    assert readout.coverage[0, 0].tolist() == [True, False, True, True, True, True]
    assert bool(readout.coverage[0, 1:].all())
    assert float(readout.latents[0, :, 0, 1].abs().max()) == 0.0
    filled = frame.image / np.float32(255.0)
    filled[:16, 1:16:4] = (8 * 80 + 4 * 40) / 12 / 255.0
    expected = memory.codec.encode(torch.from_numpy(filled).permute(2, 0, 1)[None])
    torch.testing.assert_close(readout.latents[0, :, 0, 0], expected[0, :, 0, 0])


def test_a_cells_depth_is_the_median_of_its_points() -> None:
    memory = RgbMemory(DctCodec())
    frame = wall()
    frame.depth[:16, :9] = 1.0
    frame.depth[:16, 9] = 5.0
    frame.depth[:16, 16:23] = 1.0
    frame.depth[:16, 23] = 0.0
    memory.observe(frame)
    depth = memory.read(CAMERA, np.eye(4)[None]).depth
    torch.testing.assert_close(depth[0, 0], torch.tensor([1.0, 2.0, 2.0, 2.0, 2.0, 2.0]))


@pytest.fixture(params=["latent", "append", "voxel"])
def memory(request: pytest.FixtureRequest) -> LatentMemory | RgbMemory:
    if request.param == "latent":
        return LatentMemory(DctCodec())
    return RgbMemory(DctCodec(), RgbMemoryConfig(policy=request.param))


def test_every_memory_gives_back_what_was_seen(memory: LatentMemory | RgbMemory) -> None:
    frame = wall()
    assert memory.observe(frame).added == memory.count > 0
    readout = memory.read(CAMERA, frame.T_world_camera[None])
    assert bool(readout.coverage.all())
    assert bool(readout.observed.all())
    torch.testing.assert_close(readout.depth, torch.full((1, 4, 6), 2.0))
    picture = memory.codec.decode(readout.latents)
    truth = memory.codec.decode(latents_of(frame.image))
    assert float((picture - truth).square().mean()) < 1e-3
    nothing = memory.read(CAMERA, AWAY[None])
    assert not bool(nothing.coverage.any() | nothing.observed.any())
    assert float(nothing.latents.abs().max()) == float(nothing.depth.max()) == 0.0
    memory.clear()
    assert memory.count == memory.nbytes == 0
    assert not bool(memory.read(CAMERA, np.eye(4)[None]).coverage.any())


def test_every_memory_keeps_imagined_content_apart(memory: LatentMemory | RgbMemory) -> None:
    frame = wall()
    frame.depth[:, 48:] = 0.0
    memory.observe(frame)
    here = np.eye(4)[None]
    count, before = memory.count, memory.read(CAMERA, here)
    assert before.observed[0, 0].tolist() == [True] * 3 + [False] * 3

    branch = memory.branch()
    assert branch.count == branch.nbytes == 0
    depth = torch.full((1, 4, 6), 2.0)
    update = branch.write(grey(200), depth, CAMERA, here, 11)
    assert update.added == branch.count > 0
    imagined = branch.read(CAMERA, here)
    assert bool(imagined.coverage.all())
    assert torch.equal(imagined.observed, before.observed)
    assert torch.equal(imagined.latents[..., :3], before.latents[..., :3])
    torch.testing.assert_close(imagined.latents[..., 3:], grey(200)[..., 3:], atol=0.02, rtol=0.02)
    # A branch of the branch knows it too, and a second telling of the same is no news.
    twig = branch.branch()
    assert twig.write(grey(90), depth, CAMERA, here, 12).added == 0
    assert torch.equal(twig.read(CAMERA, here).latents, imagined.latents)

    assert memory.count == count
    assert torch.equal(memory.read(CAMERA, here).latents, before.latents)

    assert memory.commit(branch).added == branch.count
    after = memory.read(CAMERA, here)
    assert torch.equal(after.latents, imagined.latents)
    assert torch.equal(after.observed, before.observed)
    cloud = memory.cloud()
    assert int((~cloud.observed).sum()) == branch.count
    assert set(cloud.stamps_ns[~cloud.observed].tolist()) == {11}

    # A sensor then sees what is there: the imagined content gives way.
    memory.observe(wall(stamp_ns=13))
    seen = memory.read(CAMERA, here)
    assert bool(seen.observed.all())
    assert bool(memory.cloud().observed.all())


def test_a_branch_stays_as_it_was_taken(memory: LatentMemory | RgbMemory) -> None:
    memory.observe(wall())
    branch, poses = memory.branch(), np.stack([np.eye(4), wall(0.8).T_world_camera])
    before = branch.read(CAMERA, poses)
    memory.observe(wall(0.8))
    assert torch.equal(branch.read(CAMERA, poses).latents, before.latents)
    memory.clear()
    assert torch.equal(branch.read(CAMERA, poses).latents, before.latents)


def test_a_commit_leaves_out_what_was_seen_since(memory: LatentMemory | RgbMemory) -> None:
    branch = memory.branch()
    branch.write(grey(200), torch.full((1, 4, 6), 2.0), CAMERA, np.eye(4)[None], 1)
    memory.observe(wall())
    assert memory.commit(branch).added == 0
    assert bool(memory.cloud().observed.all())


def test_every_memory_is_the_same_after_a_file(
    memory: LatentMemory | RgbMemory, tmp_path: Path
) -> None:
    frame, path = wall(), tmp_path / "memory.safetensors"
    frame.depth[:, 48:] = 0.0
    memory.observe(frame)
    memory.observe(wall(-0.3))
    branch = memory.branch()
    branch.write(grey(30), torch.full((1, 4, 6), 3.0), CAMERA, wall(2.0).T_world_camera[None], 5)
    memory.commit(branch)
    memory.save(path, "odom")
    poses = np.stack([np.eye(4), wall(2.0).T_world_camera])
    readout, cloud = memory.read(CAMERA, poses), memory.cloud()
    memory.clear()
    header = memory.load(path, "odom")
    assert header["kind"] == memory.kind
    assert header["frame_id"] == "odom"
    loaded = memory.read(CAMERA, poses)
    assert torch.equal(loaded.latents, readout.latents)
    assert torch.equal(loaded.observed, readout.observed)
    assert torch.equal(loaded.depth, readout.depth)
    np.testing.assert_array_equal(memory.cloud().positions, cloud.positions)
    np.testing.assert_array_equal(memory.cloud().stamps_ns, cloud.stamps_ns)
    np.testing.assert_array_equal(memory.cloud().observed, cloud.observed)
    with pytest.raises(MemoryFormatError, match="expected frame_id 'map'"):
        memory.load(path, "map")
    assert torch.equal(memory.read(CAMERA, poses).latents, readout.latents)
    assert memory.observe(wall(0.1)).added >= 0


def test_every_memory_refuses_unusable_input(memory: LatentMemory | RgbMemory) -> None:
    frame = wall()
    with pytest.raises(FrameError, match="depth"):
        memory.observe(RgbdFrame(0, frame.image, None, CAMERA, frame.T_world_camera))
    odd = PinholeCamera(90, 64, 80.0, 80.0, 45.0, 32.0)
    with pytest.raises(CameraError, match="multiple of the stride"):
        memory.read(odd, np.eye(4)[None])
    with pytest.raises(PoseError, match="finite"):
        memory.read(CAMERA, np.full((1, 4, 4), np.nan))
    branch = memory.branch()
    with pytest.raises(MemoryFormatError, match=r"Got \(1, 48, 4, 6\) and \(1, 3, 6\)"):
        branch.write(grey(0), torch.ones((1, 3, 6)), CAMERA, np.eye(4)[None], 0)
    with pytest.raises(MemoryFormatError, match="another memory's"):
        memory.commit(RgbMemory(DctCodec()).branch())
    assert memory.count == branch.count == 0


def test_a_memory_of_another_kind_or_policy_is_not_loaded(tmp_path: Path) -> None:
    codec = DctCodec()
    memories = [LatentMemory(codec), RgbMemory(codec), RgbMemory(codec, RgbMemoryConfig("voxel"))]
    for number, writer in enumerate(memories):
        writer.save(tmp_path / "memory", "odom")
        for other, reader in enumerate(memories):
            if other != number:
                with pytest.raises(MemoryFormatError, match=r"expected (kind|policy)"):
                    reader.load(tmp_path / "memory")


@pytest.mark.parametrize(
    ("policy", "name", "change", "message"),
    [
        ("append", "observed.positions", lambda a: a * torch.inf, "positions finite"),
        ("append", "observed.positions", lambda a: a.double(), "as torch.float32"),
        ("append", "observed.colours", lambda a: a[1:], "of shape"),
        ("append", "observed.sizes", lambda a: a - 1, "add up to 6144. Got 6143"),
        ("append", "imagined.stamps_ns", lambda a: torch.ones(2).long(), "imagined.sizes as"),
        ("voxel", "observed.keys", lambda a: a.flip(0), "do not overlap"),
        ("voxel", "observed.positions", lambda a: a + 1.0, "inside its voxel"),
        ("voxel", "observed.frame", lambda a: a + 1, "frames from 0 to 0. Got 1 to 1"),
        ("voxel", "observed.clock", lambda a: a + 1, "times from 0 to 1"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, policy, name, change, message) -> None:
    path = tmp_path / "memory.safetensors"
    memory = RgbMemory(DctCodec(), RgbMemoryConfig(policy=policy))
    memory.observe(wall())
    memory.save(path, "odom")
    with safe_open(path, framework="pt") as file:
        header, arrays = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    arrays[name] = change(arrays[name]).contiguous()
    save_file(arrays, path, header)
    count = memory.count
    with pytest.raises(MemoryFormatError, match=message):
        memory.load(path)
    assert memory.count == count


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "all"},
        {"capacity": -1},
        {"min_cover": 0.0},
        {"min_depth": 3.0, "max_depth": 2.0},
        {"voxel_pixels": 0.0},
        {"near_plane": np.nan},
    ],
)
def test_unusable_configurations_are_refused(options) -> None:
    with pytest.raises(ConfigurationError, match="Got"):
        RgbMemoryConfig(**options)

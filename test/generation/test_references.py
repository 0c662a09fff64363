"""Which whole frames are kept and chosen, against plain Python sets."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, MemoryFormatError
from mirage_ros.generation import ReferenceBank
from mirage_ros.generation.references import overlaps, voxel_keys
from mirage_ros.geometry import PinholeCamera, exp_twist

STRIDE = 16
W, H = 10, 8
CAMERA = PinholeCamera(W * STRIDE, H * STRIDE, 120.0, 125.0, 81.0, 63.0)
C = 3

Pose = NDArray[np.float64]
Voxels = set[tuple[int, int, int]]


def plain_voxels(depth: torch.Tensor, poses: NDArray[np.float64], size: float) -> Voxels:
    """Cells give as many points along each axis as the widest is voxels wide, 4 at most."""
    widest = float(depth.max()) * STRIDE / min(CAMERA.fx, CAMERA.fy)
    points = min(max(math.ceil(widest / size), 1), 4)
    inside = [(k + 0.5) / points for k in range(points)]
    found: Voxels = set()
    for view, pose in zip(depth.tolist(), poses, strict=True):
        for row, column in itertools.product(range(H), range(W)):
            z = view[row][column]
            for down, right in itertools.product(inside, inside) if z > 0.0 else ():
                u, v = (column + right) * STRIDE, (row + down) * STRIDE
                x, y = (u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z
                point = pose[:3, :3] @ [x, y, z] + pose[:3, 3]
                found.add(tuple(math.floor(p / size) for p in point))  # type: ignore[arg-type]
    return found


def plain_overlap(a: Voxels, b: Voxels) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def pose_at(x: float, yaw: float = 0.0, z: float = 0.0) -> Pose:
    pose = exp_twist([0, 0, 0], [0, yaw, 0], 1.0)
    pose[:3, 3] = x, 0.0, z
    return pose


def flat(metres: float = 2.0) -> torch.Tensor:
    return torch.full((H, W), metres)


def marked(number: float) -> torch.Tensor:
    return torch.full((C, H, W), float(number))


def bank_of(*places: float, **settings: float) -> ReferenceBank:
    """A bank of frames before a wall, marked with their number.

    Voxels are larger than the cells (0.27 m on the wall), so that neighbours share them.
    """
    bank = ReferenceBank(**{"voxel_size": 0.5, **settings})  # type: ignore[arg-type]
    for number, x in enumerate(places):
        bank.add(marked(number), flat(), CAMERA, pose_at(x), number, observed=True)
    return bank


def marks(latents: torch.Tensor | None) -> list[float]:
    return [] if latents is None else latents[:, 0, 0, 0].tolist()


def held(bank: ReferenceBank) -> list[float]:
    return [float(frame.latents[0, 0, 0]) for frame in bank.frames]


@pytest.mark.parametrize("seed", range(4))
def test_choice_agrees_with_plain_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def view() -> tuple[torch.Tensor, Pose]:
        depth = rng.uniform(0.5, 2.5, (H, W)) * (rng.random((H, W)) < 0.8)
        turn = exp_twist([0, 0, 0], rng.normal(0, 0.2, 3), 1.0)
        # Far from the origin, and on both sides of zero along y.
        turn[:3, 3] = np.array([-7000.0, 0.0, 300.0]) + rng.normal(0, 0.3, 3)
        return torch.from_numpy(depth.astype(np.float32)), turn

    # Large voxels, because random surfaces hardly meet in small ones.
    size, threshold = 0.5, 0.2
    bank = ReferenceBank(50, size, threshold)
    known = []
    for number in range(30):
        depth, pose = view()
        bank.add(marked(number), depth, CAMERA, pose, 0, observed=True)
        known.append(plain_voxels(depth[None], pose[None], size))
    targets = [view() for _ in range(3)]
    depth = torch.stack([d for d, _ in targets])
    poses = np.stack([p for _, p in targets])
    wanted = plain_voxels(depth, poses, size)
    shares = [plain_overlap(voxels, wanted) for voxels in known]
    expected = sorted(
        (n for n in range(30) if shares[n] >= threshold), key=lambda n: (-shares[n], -n)
    )
    assert 3 < len(expected) < 30, "the example would not tell"
    assert marks(bank.select(depth, CAMERA, poses, 100)) == expected
    assert marks(bank.select(depth, CAMERA, poses, 3)) == expected[:3]
    found = overlaps([frame.voxels for frame in bank.frames], voxel_keys(depth, CAMERA, poses, 0.5))
    np.testing.assert_array_equal(found, shares)


def test_keys_are_the_voxels_of_the_cells() -> None:
    depth = torch.stack([flat(2.0), torch.zeros(H, W)])
    poses = np.stack([pose_at(-0.3, 0.4), pose_at(5.0)])
    keys = voxel_keys(depth, CAMERA, poses, 0.1)
    assert keys.dtype == torch.int64
    assert torch.equal(keys, keys.unique())
    mask = (1 << 21) - 1
    unpacked = {
        tuple(((k >> shift) & mask) - (1 << 20) for shift in (42, 21, 0)) for k in keys.tolist()
    }
    assert unpacked == plain_voxels(depth, poses, 0.1)
    assert len(voxel_keys(torch.zeros(1, H, W), CAMERA, poses[:1], 0.1)) == 0
    # Beyond the reach of a key, and still not mistaken for what is near.
    far = voxel_keys(flat()[None], CAMERA, pose_at(-1e9)[None], 0.1)
    assert (far >= 0).all()
    assert overlaps([far], keys).item() == 0.0


@pytest.mark.parametrize("metres", [2.05, 2.75])
def test_wide_cells_do_not_hide_that_two_views_see_one_wall(metres: float) -> None:
    """A camera moved 13 cm along a wall: what both see over what one of them sees."""
    views = [voxel_keys(flat(metres)[None], CAMERA, pose_at(x)[None], 0.1) for x in (0.0, 0.13)]
    width = W * STRIDE / CAMERA.fx * metres
    assert overlaps(views[:1], views[1]).item() == pytest.approx(
        (width - 0.13) / (width + 0.13), abs=0.12
    )


def test_a_frame_of_the_stamp_that_is_left_out_is_not_chosen() -> None:
    bank = bank_of(0.0, 0.3)
    poses = pose_at(0.0)[None]
    stamps = [frame.stamp_ns for frame in bank.frames]
    assert marks(bank.select(flat()[None], CAMERA, poses, 4)) == [0.0, 1.0]
    left = bank.select(flat()[None], CAMERA, poses, 4, without_stamp_ns=stamps[0])
    assert marks(left) == [1.0]
    assert bank_of(0.0).select(flat()[None], CAMERA, poses, 4, without_stamp_ns=stamps[0]) is None


def test_best_first_none_twice_and_none_below_the_threshold() -> None:
    bank = bank_of(0.0, 5.0, 1.5, 1.0, 0.5)
    depth, poses = flat()[None], pose_at(0.0)[None]
    latents = bank.select(depth, CAMERA, poses, 10)
    assert latents is not None
    assert latents.dtype == torch.float32
    assert latents.shape == (4, C, H, W)
    assert marks(latents) == [0, 4, 3, 2]
    assert marks(bank.select(depth, CAMERA, poses, 2)) == [0, 4]
    assert marks(bank_of(0.0, 1.0, threshold=0.9).select(depth, CAMERA, poses, 10)) == [0]


def test_of_equal_frames_the_newer_come_first() -> None:
    bank = bank_of(0.0, 0.5, 0.0, 0.5)
    assert marks(bank.select(flat()[None], CAMERA, pose_at(0.0)[None], 4)) == [2, 0, 3, 1]


def test_the_targets_count_together() -> None:
    # Either frame shows all of one view, and so about half of both.
    bank = bank_of(-4.0, 4.0, threshold=0.6)
    apart = np.stack([pose_at(-4.0), pose_at(4.0)])
    assert marks(bank.select(flat()[None], CAMERA, apart[:1], 3)) == [0]
    assert bank.select(flat().expand(2, H, W), CAMERA, apart, 3) is None
    assert marks(
        bank_of(-4.0, 4.0, threshold=0.4).select(flat().expand(2, H, W), CAMERA, apart, 3)
    ) == [1, 0]


def test_nothing_fits_nothing_is_chosen() -> None:
    bank, depth, pose = bank_of(0.0), flat()[None], pose_at(0.0)[None]
    assert bank.select(depth, CAMERA, pose, 1) is not None
    assert bank.select(depth, CAMERA, pose, 0) is None
    assert bank.select(depth, CAMERA, pose_at(0.0, math.pi)[None], 1) is None
    assert bank.select(torch.zeros(1, H, W), CAMERA, pose, 1) is None
    assert ReferenceBank().select(depth, CAMERA, pose, 1) is None


def test_a_full_bank_gives_up_the_older_of_the_most_alike() -> None:
    bank = bank_of(0.0, 2.0, 2.5, 9.0, 4.0, capacity=4)
    assert held(bank) == [0, 2, 3, 4]
    # Nothing resembles anything: the oldest goes.
    assert held(bank_of(0.0, 5.0, 10.0, capacity=2)) == [1, 2]
    assert held(bank_of(0.0, 0.1, capacity=1)) == [1]


def test_what_is_given_up_agrees_with_plain_sets() -> None:
    rng = np.random.default_rng(5)
    places = rng.uniform(-1.5, 1.5, 25).tolist()
    bank = bank_of(*places, capacity=6)
    left: list[int] = []
    for number in range(len(places)):
        left.append(number)
        if len(left) <= 6:
            continue
        seen = {n: plain_voxels(flat()[None], pose_at(places[n])[None], 0.5) for n in left}
        older, _ = max(
            itertools.combinations(left, 2),
            key=lambda pair: plain_overlap(*(seen[n] for n in pair)),
        )
        left.remove(older)
    assert held(bank) == left


def test_imagined_frames_displace_no_observed_one() -> None:
    bank = bank_of(0.0, 3.0, capacity=2)
    bank.add(marked(7), flat(), CAMERA, pose_at(0.5), 9, observed=False)
    assert held(bank) == [0, 1]
    bank.add(marked(8), flat(), CAMERA, pose_at(0.5), 9, observed=True)
    assert held(bank) == [1, 8]


def test_a_branch_takes_what_is_imagined_alone() -> None:
    bank = bank_of(0.0, 5.0, capacity=3)
    size = bank.nbytes
    branch = bank.branch()
    assert branch.frames[0] is bank.frames[0]
    branch.add(marked(7), flat(), CAMERA, pose_at(0.5), 5, observed=False)
    assert (held(bank), held(branch)) == ([0, 1], [0, 1, 7])
    assert [frame.observed for frame in branch.frames] == [True, True, False]
    assert bank.nbytes == size < branch.nbytes
    for number in range(4):
        bank.add(marked(10 + number), flat(), CAMERA, pose_at(9.0), 6, observed=True)
    assert held(branch) == [0, 1, 7]
    targets = (flat()[None], CAMERA, pose_at(0.0)[None], 4)
    assert marks(branch.select(*targets)) == [0, 7]
    bank.clear()
    assert (bank.frames, bank.nbytes) == ((), 0)
    assert marks(branch.select(*targets)) == [0, 7]
    bank.add(marked(1), flat(), CAMERA, pose_at(0.0), 7, observed=True)
    assert marks(bank.select(*targets)) == [1]


def test_frames_are_copies_of_half_the_size() -> None:
    bank = ReferenceBank()
    latents, pose = marked(1.0), pose_at(0.0)
    bank.add(latents, flat(), CAMERA, pose, 3, observed=True)
    (frame,) = bank.frames
    latents.zero_()
    pose[0, 3] = 4.0
    assert frame.latents.dtype == torch.float16
    assert (frame.latents == 1.0).all()
    assert frame.T_world_camera[0, 3] == 0.0
    assert (frame.camera, frame.stamp_ns, frame.observed) == (CAMERA, 3, True)
    assert bank.nbytes == 2 * C * H * W + 8 * len(frame.voxels)


def test_a_frame_without_depth_is_not_kept() -> None:
    bank = ReferenceBank()
    bank.add(marked(0), torch.zeros(H, W), CAMERA, pose_at(0.0), 0, observed=True)
    assert bank.frames == ()


@pytest.mark.parametrize(
    ("latents", "depth"), [((C, H, W), (H, W + 1)), ((C + 1, H, W), (H, W)), ((1, C, H, W), (H, W))]
)
def test_frames_of_another_size_are_refused(
    latents: tuple[int, ...], depth: tuple[int, ...]
) -> None:
    bank = bank_of(0.0)
    with pytest.raises(MemoryFormatError, match="one size"):
        bank.add(torch.zeros(latents), torch.ones(depth), CAMERA, pose_at(0.0), 0, observed=True)
    assert held(bank) == [0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"capacity": 0}, "capacity must be at least 1 frame. Got 0"),
        ({"voxel_size": 0.0}, "voxel_size must be finite, positive metres. Got 0.0"),
        ({"threshold": 1.5}, r"threshold must be in \(0, 1\]. Got 1.5"),
    ],
)
def test_settings_are_checked(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ReferenceBank(**values)  # type: ignore[arg-type]

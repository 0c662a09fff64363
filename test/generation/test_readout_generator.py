import numpy as np
import pytest
import torch

from mirage_ros.generation import ChunkCondition, GenerationCancelled, ReadoutGenerator
from mirage_ros.generation.readout_generator import fill_depth
from mirage_ros.geometry import PinholeCamera
from mirage_ros.memory.base import Readout

CAMERA = PinholeCamera(160, 128, 120.0, 120.0, 80.0, 64.0)
T, C, H, W = 3, 6, 8, 10


def never() -> bool:
    return False


def condition(overlap: bool = False) -> ChunkCondition:
    generator = torch.Generator().manual_seed(3)
    coverage = torch.rand(T, H, W, generator=generator) < 0.6
    coverage[2] = False
    # Smooth ones: texture would fade to zero in holes.
    slopes = torch.randn(T, C, 2, generator=generator)
    rows, columns = torch.arange(H)[:, None] / H, torch.arange(W) / W
    latents = slopes[..., :1, None] * rows + slopes[..., 1:, None] * columns + 0.1
    latents = latents * coverage[:, None]
    depth = (torch.rand(T, H, W, generator=generator) * 5 + 0.5) * coverage
    return ChunkCondition(
        readout=Readout(latents, coverage, depth, observed=coverage),
        camera=CAMERA,
        T_world_camera=np.stack([np.eye(4)] * T),
        first_latents=torch.full((C, H, W), 0.125) if overlap else None,
        first_depth=torch.full((H, W), 2.5) if overlap else None,
        seed=0,
    )


def test_remembered_stays_bit_identical_and_holes_are_filled() -> None:
    given = condition()
    readout = given.readout
    before = (readout.latents.clone(), readout.coverage.clone(), readout.depth.clone())
    chunk = ReadoutGenerator().generate(given, never)
    at = readout.coverage
    assert torch.equal(chunk.latents.movedim(1, -1)[at], readout.latents.movedim(1, -1)[at])
    assert torch.equal(chunk.depth[at], readout.depth[at])
    assert (chunk.latents.movedim(1, -1)[:2][~at[:2]] != 0).all()
    assert (chunk.depth[:2] > 0).all()
    assert chunk.latents.dtype == chunk.depth.dtype == torch.float32
    for kept, now in zip(before, (readout.latents, readout.coverage, readout.depth), strict=True):
        assert torch.equal(kept, now)


def test_a_frame_of_which_nothing_is_known_is_zero() -> None:
    chunk = ReadoutGenerator().generate(condition(), never)
    assert not chunk.latents[2].any()
    assert not chunk.depth[2].any()


def test_overlap_replaces_the_first_frame_exactly() -> None:
    alone = ReadoutGenerator().generate(condition(), never)
    given = condition(overlap=True)
    chunk = ReadoutGenerator().generate(given, never)
    assert torch.equal(chunk.latents[0], given.first_latents)
    assert torch.equal(chunk.depth[0], given.first_depth)
    assert torch.equal(chunk.latents[1:], alone.latents[1:])
    assert torch.equal(chunk.depth[1:], alone.depth[1:])


def test_depth_of_a_slanted_plane_is_recovered() -> None:
    # On n . p = 1 with p = z (x, y, 1) the inverse depth is n . (x, y, 1), linear in the pixel.
    latent = CAMERA.latent(16)
    rays = latent.unproject(latent.pixel_centres(), np.ones((H, W)))
    depth = torch.from_numpy(1.0 / (rays @ np.array([0.2, -0.1, 0.5]))).float()[None]
    known = torch.ones(1, H, W, dtype=torch.bool)
    known[0, 2:6, 3:8] = False
    filled = fill_depth(torch.where(known, depth, 0.0), known)
    torch.testing.assert_close(filled, depth, rtol=1e-6, atol=0.0)


def test_depth_stays_within_what_is_known() -> None:
    given = condition().readout
    filled = fill_depth(given.depth, given.coverage)
    for t in range(2):
        seen = given.depth[t][given.coverage[t]]
        assert filled[t].min() >= seen.min() * (1 - 1e-6)
        assert filled[t].max() <= seen.max() * (1 + 1e-6)


def test_covered_cells_without_depth_are_completed() -> None:
    coverage = torch.ones(1, 4, 4, dtype=torch.bool)
    depth = torch.full((1, 4, 4), 3.0)
    depth[0, 1, 1] = 0.0
    torch.testing.assert_close(fill_depth(depth, coverage), torch.full((1, 4, 4), 3.0))


@pytest.mark.parametrize("calls", [1, 2])
def test_cancel_is_asked_for_between_steps(calls: int) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked >= calls

    with pytest.raises(GenerationCancelled):
        ReadoutGenerator().generate(condition(), cancelled)
    assert asked == calls

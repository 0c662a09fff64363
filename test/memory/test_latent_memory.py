import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.errors import CameraError, CodecError, ConfigurationError, FrameError, PoseError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import OBSERVED, BoundsConfig, LatentMemory, LatentMemoryConfig

CAMERA = PinholeCamera(96, 64, 80.0, 80.0, 48.0, 32.0)


def wall(offset_x: float = 0.0, depth: float = 2.0) -> RgbdFrame:
    """A picture on a wall at z = ``depth``, seen from (``offset_x``, 0, 0)."""
    u = (np.arange(96) + 0.5 - 48.0) / 80.0 * depth + offset_x
    v = (np.arange(64) + 0.5 - 32.0) / 80.0 * depth
    x, y = np.meshgrid(u, v)
    image = np.stack([0.5 + 0.4 * np.sin(3 * x), 0.5 + 0.4 * np.cos(2 * y), 0.5 + 0.1 * x], axis=-1)
    pose = np.eye(4)
    pose[0, 3] = offset_x
    pixels = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    return RgbdFrame(7, pixels, np.full((64, 96), depth, dtype=np.float32), CAMERA, pose)


#: Stores every cell, without rounding.
EVERYTHING = LatentMemoryConfig(bounds=BoundsConfig(merge=False), features="float32")


@pytest.fixture
def memory() -> LatentMemory:
    return LatentMemory(DctCodec(), EVERYTHING)


def test_reading_from_where_it_was_seen_gives_the_latents_back(memory: LatentMemory) -> None:
    frame = wall()
    assert memory.observe(frame).added == 24
    readout = memory.read(CAMERA, frame.T_world_camera[None])
    image = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float() / 255.0
    expected = memory.codec.encode(image)
    assert bool(readout.coverage.all())
    torch.testing.assert_close(readout.latents, expected, atol=5e-3, rtol=1e-3)
    torch.testing.assert_close(readout.depth, torch.full((1, 4, 6), 2.0))


def test_moving_by_whole_cells_shifts_the_readout(memory: LatentMemory) -> None:
    """At 2 m, 0.4 m sideways is one cell of 16 px at f = 80."""
    memory.observe(wall())
    pose = np.eye(4)
    pose[0, 3] = 0.4
    here, there = memory.read(CAMERA, np.stack([np.eye(4), pose])).latents
    torch.testing.assert_close(there[:, :, :5], here[:, :, 1:])


def test_latents_are_zero_where_nothing_is_known(memory: LatentMemory) -> None:
    memory.observe(wall())
    away = np.diag([-1.0, 1.0, -1.0, 1.0])
    readout = memory.read(CAMERA, away[None])
    assert not bool(readout.coverage.any())
    assert float(readout.latents.abs().max()) == 0.0
    assert float(readout.depth.max()) == 0.0


def test_empty_memory_reads_nothing(memory: LatentMemory) -> None:
    readout = memory.read(CAMERA, np.eye(4)[None].repeat(3, axis=0))
    assert readout.latents.shape == (3, 48, 4, 6)
    assert not bool(readout.coverage.any())
    assert memory.count == memory.nbytes == 0


def test_tokens_say_how_they_were_seen(memory: LatentMemory) -> None:
    memory.observe(wall())
    memory.observe(wall(0.1))
    tokens = memory.tokens()
    assert len(tokens) == memory.count == 48
    assert tokens.keyframe.unique().tolist() == [0, 1]
    assert tokens.stamp_ns.unique().tolist() == [7]
    assert tokens.provenance.unique().tolist() == [OBSERVED]
    torch.testing.assert_close(tokens.footprint, torch.full((48,), 2.0 / 80.0))
    origin = torch.tensor([[0.0, 0.0, 0.0]] * 24 + [[0.1, 0.0, 0.0]] * 24)
    ray = tokens.position - origin
    torch.testing.assert_close(tokens.view, ray / ray.norm(dim=1, keepdim=True))
    torch.testing.assert_close(tokens.position[:, 2], torch.full((48,), 2.0))


def test_confidence_is_the_share_of_the_cell_that_was_measured(memory: LatentMemory) -> None:
    frame = wall()
    assert frame.depth is not None
    frame.depth[:, 8:16] = 0.0
    memory.observe(frame)
    confidence = memory.tokens().confidence.reshape(4, 6)
    torch.testing.assert_close(confidence[:, 0], torch.full((4,), 0.5), atol=1 / 63, rtol=0)
    assert (confidence[:, 1:] == 1.0).all()


@pytest.mark.parametrize(
    ("grids", "tokens"), [(1, 24), (2, 24 + 3 * 5), (4, 24 + 3 * 5 + 4 * 5 + 3 * 6)]
)
def test_more_grids_give_tokens_between_the_cells(grids: int, tokens: int) -> None:
    """At 2 m, 0.2 m is half a cell: there only a shifted grid has the very latents."""
    memory = LatentMemory(DctCodec(), replace(EVERYTHING, grids=grids))
    assert memory.observe(wall()).added == tokens
    pose = np.eye(4)
    pose[:2, 3] = 0.2
    readout = memory.read(CAMERA, pose[None])
    image = torch.from_numpy(wall().image).permute(2, 0, 1)[None].float() / 255.0
    between = memory.codec.encode(image[..., 8:-8, 8:-8])
    inner = readout.latents[..., :3, :5]
    equal = bool(torch.allclose(inner, between, atol=5e-3, rtol=1e-3))
    assert equal == (grids > 1)


def test_a_frame_of_one_cell_has_one_grid() -> None:
    camera = PinholeCamera(16, 16, 20.0, 20.0, 8.0, 8.0)
    depth = np.ones((16, 16), dtype=np.float32)
    frame = RgbdFrame(0, np.zeros((16, 16, 3), dtype=np.uint8), depth, camera, np.eye(4))
    assert LatentMemory(DctCodec()).observe(frame).added == 1


def test_an_unknown_number_of_grids_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"one of \[1, 2, 4\]"):
        LatentMemoryConfig(grids=3)


def test_a_snapshot_stays_as_it_was(memory: LatentMemory) -> None:
    memory.observe(wall())
    snapshot = memory.tokens()
    before = snapshot.features.clone()
    memory.clear()
    assert memory.count == 0
    memory.observe(wall(0.3))
    torch.testing.assert_close(snapshot.features, before)
    assert memory.tokens().keyframe.unique().tolist() == [0]


def test_unknown_depth_adds_nothing(memory: LatentMemory) -> None:
    frame = wall()
    assert frame.depth is not None
    frame.depth[:, :48] = 0.0
    frame.depth[:, 48:] = math.nan
    assert memory.observe(frame).added == 0
    assert memory.count == 0


def test_unusable_input_is_refused_and_leaves_no_trace(memory: LatentMemory) -> None:
    frame = wall()
    blind = RgbdFrame(0, frame.image, None, CAMERA, frame.T_world_camera)
    with pytest.raises(FrameError, match="depth"):
        memory.observe(blind)
    odd = PinholeCamera(90, 64, 80.0, 80.0, 45.0, 32.0)
    narrow = RgbdFrame(0, frame.image[:, :90], frame.depth[:, :90], odd, frame.T_world_camera)
    with pytest.raises(CodecError, match="multiples of 16"):
        memory.observe(narrow)
    with pytest.raises(CameraError, match="multiple of the stride"):
        memory.read(odd, frame.T_world_camera[None])
    with pytest.raises(PoseError, match="finite"):
        memory.read(CAMERA, np.full((1, 4, 4), math.nan))
    assert memory.count == 0

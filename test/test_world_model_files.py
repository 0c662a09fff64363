"""A world model that is saved and loaded: what it knows beside the memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from stand_ins import DemandingGenerator

from mirage_ros.backends import MEMORIES, build_world_model
from mirage_ros.errors import MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.world_model import WorldModel

CAMERA = PinholeCamera(64, 64, 64.0, 64.0, 32.0, 32.0)
DEPTH = np.full((64, 64), 2.0, np.float32)


def model_of(memory: str, *stamps_ns: int) -> WorldModel:
    model = build_world_model(
        "readout", generation_width=64, generation_height=64, memory=memory, capacity=50_000
    )
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for index, stamp_ns in enumerate(stamps_ns):
        pose = np.eye(4)
        pose[0, 3] = index
        model.observe(RgbdFrame(stamp_ns, image, DEPTH, CAMERA, pose))
    return model


@pytest.mark.parametrize("memory", MEMORIES)
def test_the_newest_stamp_is_the_files(memory: str, tmp_path: Path) -> None:
    model_of(memory, 300, 500, 400).save(tmp_path / "m", "odom")
    later, fresh = model_of(memory, 900), model_of(memory)
    for model in (later, fresh):
        assert model.load(tmp_path / "m", "odom")["frame_id"] == "odom"
        assert model.newest_stamp_ns == 500
        model.reset()
        assert model.newest_stamp_ns is None


@pytest.mark.parametrize("memory", MEMORIES)
def test_an_empty_file_leaves_nothing_newest(memory: str, tmp_path: Path) -> None:
    model_of(memory).save(tmp_path / "m", "odom")
    model = model_of(memory, 900)
    model.load(tmp_path / "m")
    assert (model.token_count, model.newest_stamp_ns) == (0, None)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_refused_file_changes_nothing(memory: str, tmp_path: Path) -> None:
    model_of(memory, 300).save(tmp_path / "m", "map")
    model = model_of(memory, 900, 950)
    count = model.token_count
    with pytest.raises(MemoryFormatError, match=r"expected frame_id 'odom'\. Got 'map'"):
        model.load(tmp_path / "m", "odom")
    other = next(name for name in MEMORIES if name != memory)
    with pytest.raises(MemoryFormatError, match=r"expected (kind|policy)"):
        model_of(other, 1).load(tmp_path / "m")
    assert (model.token_count, model.newest_stamp_ns) == (count, 950)


def test_a_file_brings_no_whole_frames_and_keeps_none(tmp_path: Path) -> None:
    model_of("latent", 300).save(tmp_path / "m", "map")
    model = model_of("latent")
    model.generator = DemandingGenerator()
    model.observe(RgbdFrame(900, np.zeros((64, 64, 3), np.uint8), DEPTH, CAMERA, np.eye(4)))
    kept = model.reference_bytes
    assert kept > 0
    with pytest.raises(MemoryFormatError):
        model.load(tmp_path / "m", "odom")
    assert model.reference_bytes == kept
    model.load(tmp_path / "m", "map")
    assert model.reference_bytes == 0

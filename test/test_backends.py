"""Which memory a named configuration gets, and which bounds it accepts."""

import numpy as np
import pytest

from mirage_ros.backends import MEMORIES, build_world_model
from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import LatentMemory, RgbMemory

SIZE = {"generation_width": 64, "generation_height": 32}


def test_every_memory_can_be_built() -> None:
    built = {
        name: build_world_model("readout", memory=name, capacity=5000, **SIZE).memory
        for name in MEMORIES
    }
    latent, rgb, fair = built["latent"], built["rgb"], built["rgb_fair"]
    assert isinstance(latent, LatentMemory)
    assert latent.config.bounds.capacity == 5000
    assert isinstance(rgb, RgbMemory)
    assert (rgb.config.policy, rgb.config.bound) == ("append", None)
    assert isinstance(fair, RgbMemory)
    assert (fair.config.policy, fair.config.bound) == ("voxel", 5000)


def test_an_unknown_memory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"latent, rgb, rgb_fair\. Got 'cloud'"):
        build_world_model("readout", memory="cloud")


@pytest.mark.parametrize(
    ("memory", "grids", "least"), [("latent", 1, 8), ("latent", 4, 32), ("rgb_fair", 1, 2048)]
)
def test_a_bound_must_hold_one_view(memory: str, grids: int, least: int) -> None:
    options = {"memory": memory, "grids": grids, **SIZE}
    build_world_model("readout", capacity=least, **options)
    with pytest.raises(ConfigurationError, match=f"at least {least}. Got {least - 1}"):
        build_world_model("readout", capacity=least - 1, **options)


@pytest.mark.parametrize("memory", MEMORIES)
def test_no_capacity_at_all_is_refused(memory: str) -> None:
    with pytest.raises(ConfigurationError, match=r"at least 1\. Got 0"):
        build_world_model("readout", memory=memory, capacity=0, **SIZE)


@pytest.mark.parametrize("memory", MEMORIES)
def test_a_world_model_remembers_in_any_memory(memory: str) -> None:
    model = build_world_model("readout", memory=memory, capacity=5000, **SIZE)
    camera = PinholeCamera(64, 32, 50.0, 50.0, 32.0, 16.0)
    ramp = np.broadcast_to(np.linspace(40, 200, 64), (32, 64))
    image = np.repeat(np.rint(ramp).astype(np.uint8)[..., None], 3, axis=2)
    frame = RgbdFrame(5, image, np.full((32, 64), 2.0, dtype=np.float32), camera, np.eye(4))
    assert model.observe(frame).update.added > 0
    away = np.diag([-1.0, 1.0, -1.0, 1.0])
    here, there = model.imagine(np.stack([np.eye(4), away]), camera)
    assert here.known_fraction == 1.0
    assert np.abs(here.image.astype(int) - image).max() <= 8
    assert there.known_fraction == 0.0

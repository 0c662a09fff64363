"""Which memory a named configuration gets, and which bounds it accepts."""

import pytest

from mirage_ros.backends import MEMORIES, build_world_model
from mirage_ros.errors import ConfigurationError
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

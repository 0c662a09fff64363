"""Builds a world model from a named configuration. Importable without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirage_ros.errors import ConfigurationError
from mirage_ros.nano_settings import NanoSettings
from mirage_ros.perception.settings import PerceptionSettings
from mirage_ros.wan_settings import WanSettings

if TYPE_CHECKING:
    from mirage_ros.codec import Codec
    from mirage_ros.generation import Generator
    from mirage_ros.world_model import WorldModel

#: Backends that can be built.
BACKENDS: tuple[str, ...] = ("readout", "nano", "wan2.2")

#: Memories that can be built in: latent tokens, a coloured point for every pixel ever seen, and
#: coloured points with the same care for what is known already and for a bound.
MEMORIES: tuple[str, ...] = ("latent", "rgb", "rgb_fair")

#: Side of a latent cell in pixels, of all codecs.
_CELL = 16

#: Tokens or points held at most, unless said otherwise.
CAPACITY = 400_000


def build_world_model(
    backend: str,
    *,
    generation_width: int = 320,
    generation_height: int = 256,
    min_depth: float = 0.1,
    max_depth: float = 10.0,
    grids: int = 1,
    memory: str = "latent",
    capacity: int = CAPACITY,
    device: str = "cpu",
    num_threads: int | None = None,
    seed: int = 0,
    nano: NanoSettings | None = None,
    wan: WanSettings | None = None,
    perception: PerceptionSettings | None = None,
) -> WorldModel:
    """The world model of a backend.

    Args:
        backend: one of :data:`BACKENDS`. ``readout``: DCT codec, no network, holes filled smoothly.
            ``nano``: DCT codec and a small diffusion transformer that finishes what is remembered.
            ``wan2.2``: Wan2.2's VAE and its diffusion transformer with a side branch.
        generation_width: of observed and predicted views, pixels, a multiple of 32.
        generation_height: likewise.
        min_depth: nearer depth counts as unknown, metres.
        max_depth: farther depth counts as unknown, metres.
        grids: cell grids that a keyframe is encoded on, 1, 2 or 4; of no effect on points.
        memory: one of :data:`MEMORIES`.
        capacity: tokens (``latent``) or points (``rgb_fair``) held at most, one view's at least;
            ``rgb`` grows without bound, as published systems do.
        device: torch device.
        num_threads: torch's CPU threads in this process (None: leave them).
        seed: of all randomness.
        nano: which weights ``nano`` runs, and how.
        wan: which weights ``wan2.2`` runs, and how.
        perception: how frames are prepared; None believes them as they come.

    Raises:
        ConfigurationError: an unknown backend or device, or a value out of range.
        UnavailableError: weights or packages are missing; the message says how to get them.
        CheckpointError: files of weights are not what they should be.
    """
    if backend not in BACKENDS:
        raise ConfigurationError(f"backend must be one of {', '.join(BACKENDS)}. Got '{backend}'")
    if memory not in MEMORIES:
        raise ConfigurationError(f"memory must be one of {', '.join(MEMORIES)}. Got '{memory}'")
    if capacity < 1:
        raise ConfigurationError(f"capacity must be at least 1. Got {capacity}")
    import torch

    from mirage_ros.memory.backprojection import CellDepthConfig
    from mirage_ros.memory.base import SpatialMemory
    from mirage_ros.memory.bounds import BoundsConfig
    from mirage_ros.memory.carving import CarvingConfig
    from mirage_ros.memory.latent_config import LatentMemoryConfig
    from mirage_ros.memory.latent_memory import LatentMemory
    from mirage_ros.memory.rgb_memory import RgbMemory, RgbMemoryConfig
    from mirage_ros.world_model import WorldModel, WorldModelConfig

    config = WorldModelConfig(
        generation_width=generation_width, generation_height=generation_height, seed=seed
    )
    latent_config = LatentMemoryConfig(
        CellDepthConfig(min_depth=min_depth, max_depth=max_depth),
        bounds=BoundsConfig(capacity=capacity),
        grids=grids,
        carving=CarvingConfig()
        if perception is None
        else CarvingConfig(noise=perception.depth_noise),
    )
    points_config = RgbMemoryConfig(
        policy="voxel" if memory == "rgb_fair" else "append",
        capacity=capacity if memory == "rgb_fair" else None,
        min_depth=min_depth,
        max_depth=max_depth,
    )
    pixels = generation_width * generation_height
    cells = pixels // _CELL**2 * grids
    least = {"latent": cells, "rgb": 1, "rgb_fair": pixels}[memory]
    if capacity < least:
        raise ConfigurationError(
            f"capacity of memory '{memory}' must hold one view of {generation_width}x"
            f"{generation_height} pixels: at least {least}. Got {capacity}"
        )
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"device '{device}' cannot be used: {error}") from error
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    size = (generation_width, generation_height)
    codec, generator = _codec_and_generator(
        backend, nano or NanoSettings(), wan or WanSettings(), device, size
    )
    spatial: SpatialMemory
    if memory == "latent":
        spatial = LatentMemory(codec, latent_config, device)
    else:
        spatial = RgbMemory(codec, points_config, device)
    prepared = None
    if perception is not None:
        from mirage_ros.perception.build import build_perception

        prepared = build_perception(
            perception, stride=codec.spatial_stride, min_depth=min_depth, max_depth=max_depth
        )
    return WorldModel(codec, spatial, generator, config, prepared)


def _codec_and_generator(
    backend: str, nano: NanoSettings, wan: WanSettings, device: str, size: tuple[int, int]
) -> tuple[Codec, Generator]:
    if backend == "nano":
        from mirage_ros.nano_backend import build_nano

        return build_nano(nano, device)
    if backend == "wan2.2":
        from mirage_ros.wan_backend import build_wan

        return build_wan(wan, device, size=size)
    from mirage_ros.codec import DctCodec
    from mirage_ros.generation import ReadoutGenerator

    return DctCodec(), ReadoutGenerator()

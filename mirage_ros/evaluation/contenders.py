"""The memories that are measured against each other; all use one codec and one generator.

RGB points as published are one for every pixel of every frame. The fair ones are one to a voxel
as large as the pixel that saw it. Their bound is far off, as is the latent memory's on the same
frames: what is compared here is not how memories forget.
"""

from __future__ import annotations

from mirage_ros.evaluation.protocol import Contender
from mirage_ros.memory import LatentMemory, LatentMemoryConfig, RgbMemory, RgbMemoryConfig
from mirage_ros.memory.bounds import BoundsConfig

#: Names in tables.
LATENT, LATENT_UNBOUNDED = "latent memory", "latent, unbounded float32"
RGB_PUBLISHED, RGB_FAIR = "RGB points, as published", "RGB points, fair"

#: Points that the fair RGB memory may hold: 150 MB of them.
_FAIR_CAPACITY = 10_000_000


def contenders(grids: int = 1) -> list[Contender]:
    """The memories, the package's own first.

    Args:
        grids: of the package's memory, see :class:`mirage_ros.memory.LatentMemoryConfig`.

    Raises:
        ConfigurationError: ``grids`` is not allowed.
    """
    config = LatentMemoryConfig(grids=grids)
    unbounded = LatentMemoryConfig(bounds=BoundsConfig(merge=False), features="float32")
    published = RgbMemoryConfig("append")
    fair = RgbMemoryConfig("voxel", capacity=_FAIR_CAPACITY)
    return [
        Contender(LATENT, lambda codec: LatentMemory(codec, config)),
        Contender(LATENT_UNBOUNDED, lambda codec: LatentMemory(codec, unbounded)),
        Contender(RGB_PUBLISHED, lambda codec: RgbMemory(codec, published)),
        Contender(RGB_FAIR, lambda codec: RgbMemory(codec, fair)),
    ]

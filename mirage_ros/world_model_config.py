"""Sizes and chunks of a world model."""

from __future__ import annotations

from dataclasses import dataclass

from mirage_ros.errors import ConfigurationError

#: Generation sizes are multiples of this: two patches of a stride-16 codec.
SIZE_MULTIPLE = 32


@dataclass(frozen=True)
class WorldModelConfig:
    """Sizes and chunks.

    Attributes:
        generation_width: of observed and predicted views, pixels, a multiple of 32.
        generation_height: likewise.
        chunk_latent_frames: latent frames a chunk, the overlap included.
        seed: of rollouts that are not given one.

    Raises:
        ConfigurationError: a value is out of range.
    """

    generation_width: int = 320
    generation_height: int = 256
    chunk_latent_frames: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("generation_width", "generation_height"):
            value = getattr(self, name)
            if value < SIZE_MULTIPLE or value % SIZE_MULTIPLE:
                raise ConfigurationError(
                    f"{name} must be a positive multiple of {SIZE_MULTIPLE}. Got {value}"
                )
        if self.chunk_latent_frames < 2:
            raise ConfigurationError(
                "chunk_latent_frames must be at least 2: one overlaps with the chunk before. "
                f"Got {self.chunk_latent_frames}"
            )

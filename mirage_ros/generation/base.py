"""What every generator offers: a chunk of latents from what the memory knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.base import Readout
from mirage_ros.stages import UNTIMED, StageClock


class GenerationCancelled(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a generator when its ``cancelled`` callback says so."""


@dataclass(frozen=True)
class Preceding:
    """The P latent frames before the first one of a chunk, in order of time.

    Attributes:
        latents: (P, C, h, w) float32, as they were generated.
        readout: what the memory knows of these P views now.
    """

    latents: Tensor
    readout: Readout


@dataclass(frozen=True)
class ChunkCondition:
    """What a generator is told about one chunk of T latent frames.

    Attributes:
        readout: what the memory knows of the T target views.
        camera: pixel camera of the targets.
        T_world_camera: (T, 4, 4) float64 target poses.
        first_latents: (C, h, w) latents of the first frame where they are known for good: made by
            the previous chunk (the overlap), or seen (see ``Generator.starts_from_frame``), else
            None.
        first_depth: (h, w) depth that belongs to ``first_latents``, else None.
        seed: seeds all randomness of the chunk, in [0, 2^63).
        references: (R, C, h, w) float32 latents of whole frames of the past that show what the
            targets will see, best first; at most the generator's ``reference_count``. None where
            there is none.
        preceding: up to the generator's ``preceding_count`` frames before the first, fewer near the
            beginning of a rollout. None where there is none.
        stages: takes the time of the generator's own stages.
        prompt: text to generate with; empty: the generator's own.
    """

    readout: Readout
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    first_latents: Tensor | None
    first_depth: Tensor | None
    seed: int
    references: Tensor | None = None
    preceding: Preceding | None = None
    stages: StageClock = UNTIMED
    prompt: str = ""


@dataclass(frozen=True)
class GeneratedChunk:
    """Latents and depth of T latent frames, without holes.

    Attributes:
        latents: (T, C, h, w) float32.
        depth: (T, h, w) float32 z-depth in metres, completed over holes; 0 everywhere in a frame
            of which the memory knows nothing.
    """

    latents: Tensor
    depth: Tensor


class Generator(Protocol):
    """Turns a condition into a chunk.

    Attributes:
        name: identifies it in messages.
        invents: whether its chunks show what is not remembered; if so, they are written to the
            rollout's branch of the memory.
        reference_count: references wanted at most; 0 = none, then no whole frames are kept.
        preceding_count: latent frames wanted before the overlap with the chunk before; 0 = none.
        needs_placement: whether readouts shall tell how tokens lie in their cells.
        starts_from_frame: whether a rollout's first latent frame shall be the sensor's newest
            frame, where that was seen at the path's first pose.
    """

    name: str
    invents: bool
    reference_count: int
    preceding_count: int
    starts_from_frame: bool
    needs_placement: bool

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """Latents and depth for the whole chunk.

        Raises:
            GenerationCancelled: ``cancelled()`` became true; it counts between steps, and
                is asked more often, so that whoever answers does what cannot wait.
        """
        ...

    def generate_together(
        self, conditions: Sequence[ChunkCondition], cancelled: Callable[[], bool]
    ) -> list[GeneratedChunk]:
        """Chunks of several rollouts, each as :meth:`generate` makes it, up to rounding.

        Raises:
            GenerationCancelled: ``cancelled()`` became true.
        """
        ...

    def prepare_prompt(self, prompt: str) -> None:
        """Make ready for conditions with this prompt.

        Raises:
            ConfigurationError: the generator takes none.
            UnavailableError: its text encoder is not at hand.
        """
        ...

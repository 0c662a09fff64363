"""What every spatial memory offers to the world model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.errors import MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.carving import Carving
from mirage_ros.memory.keyframe_table import Keyframes, SurfacePoints
from mirage_ros.memory.placement import Placement

Poses = Sequence[NDArray[np.float64]] | NDArray[np.float64]  # (T, 4, 4)


@dataclass(frozen=True)
class Readout:
    """What a memory knows of T target views, on the latent grid.

    Attributes:
        latents: (T, C, h, w) float32; zero where not covered.
        coverage: (T, h, w) bool; True where anything was read, observed or imagined.
        depth: (T, h, w) float32 z-depth in metres of what was read in the target view; 0 where not
            covered.
        observed: (T, h, w) bool; True where a sensor saw what was read. Imagined content never
            counts, so this is what may be called remembered.
        placement: how the tokens lie in their cells, where that was asked for; None else, and where
            content lies where it belongs because it was rendered.
    """

    latents: Tensor
    coverage: Tensor
    depth: Tensor
    observed: Tensor
    placement: Placement | None = None

    def part(self, views: slice) -> Readout:
        """Some of the views."""
        return Readout(
            self.latents[views],
            self.coverage[views],
            self.depth[views],
            self.observed[views],
            None if self.placement is None else self.placement.part(views),
        )

    @classmethod
    def joined(cls, parts: Sequence[Readout]) -> Readout:
        """Views of several readouts, one after the other; placed if all of them are."""
        placements = [part.placement for part in parts if part.placement is not None]
        return cls(
            torch.cat([part.latents for part in parts]),
            torch.cat([part.coverage for part in parts]),
            torch.cat([part.depth for part in parts]),
            torch.cat([part.observed for part in parts]),
            Placement.joined(placements) if len(placements) == len(parts) else None,
        )


@dataclass(frozen=True)
class MemoryUpdate:
    """What became of a view that was stored; elements are tokens or points.

    Attributes:
        added: stored beside what was there.
        refreshed: stored in the place of older ones.
        confirmed: dropped because the memory already showed the same.
        evicted: forgotten to stay within bounds.
    """

    added: int = 0
    refreshed: int = 0
    confirmed: int = 0
    evicted: int = 0

    def __add__(self, other: MemoryUpdate) -> MemoryUpdate:
        return MemoryUpdate(
            self.added + other.added,
            self.refreshed + other.refreshed,
            self.confirmed + other.confirmed,
            self.evicted + other.evicted,
        )


@dataclass(frozen=True)
class MemoryCloud:
    """The elements of a memory as plain arrays, for displays and messages.

    Attributes:
        positions: (N, 3) float32, world frame, metres.
        colours: (N, 3) uint8 RGB.
        confidence: (N,) float32 in [0, 1].
        stamps_ns: (N,) int64, when each was seen.
        observed: (N,) bool; False = imagined.
        features: (N, C) float32 latents, or None where not asked for or there are none.
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    stamps_ns: NDArray[np.int64]
    observed: NDArray[np.bool_]
    features: NDArray[np.float32] | None


class ReadableMemory(Protocol):
    """Can be read for any camera; a rollout writes what it imagines into a branch of it."""

    @property
    def count(self) -> int:
        """Number of elements (tokens or points) held here."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes of what is held here."""
        ...

    def read(
        self,
        camera: PinholeCamera,  # pixel camera, one for all views
        T_world_camera: Poses,  # (T, 4, 4)
        *,
        placed: bool = False,
    ) -> Readout:
        """What is remembered of T views of one camera, in one batched pass.

        Args:
            camera: of all views.
            T_world_camera: where they are.
            placed: tell also how tokens lie in their cells (:attr:`Readout.placement`).
        """
        ...

    def branch(self) -> MemoryBranch:
        """A memory that begins as this one is now, for imagined content; cheap until written to."""
        ...


class MemoryBranch(ReadableMemory, Protocol):
    """A copy-on-write memory of one rollout: dropping it leaves no trace."""

    def write(
        self,
        latents: Tensor,  # (T, C, h, w) float32
        depth: Tensor,  # (T, h, w) float32 z-depth in metres, 0 = unknown
        camera: PinholeCamera,  # pixel camera
        T_world_camera: Poses,  # (T, 4, 4)
        stamp_ns: int,
    ) -> MemoryUpdate:
        """Store imagined views, where nothing observed is known."""
        ...


def check_imagined(
    latents: Tensor,  # (T, C, h, w)
    depth: Tensor,  # (T, h, w)
    channels: int,
    grid: PinholeCamera,  # of the latent grid
    count: int,  # poses T
) -> None:
    """Check that imagined views fit each other, the camera and the poses.

    Raises:
        MemoryFormatError: they do not.
    """
    shape = (count, grid.height, grid.width)
    if depth.shape != shape or latents.shape != (count, channels, *shape[1:]):
        raise MemoryFormatError(
            f"imagined views must be latents ({count}, {channels}, {shape[1]}, {shape[2]}) "
            f"and depth {shape}. Got {tuple(latents.shape)} and {tuple(depth.shape)}"
        )


class SpatialMemory(ReadableMemory, Protocol):
    """Stores what cameras saw and reads it out for other cameras.

    Attributes:
        device: where latents are worked on and what is read lies.
        cell_depth: how a sensor's depth is brought to the latent grid.
    """

    @property
    def device(self) -> torch.device:  # noqa: D102 - see the class
        ...

    @property
    def cell_depth(self) -> CellDepthConfig:  # noqa: D102 - see the class
        ...

    def observe(
        self,
        frame: RgbdFrame,
        latents: Tensor | None = None,  # (C, h, w) float32 of the whole frame
    ) -> MemoryUpdate:
        """Store a sensor frame (with depth, size a multiple of the stride).

        Args:
            frame: what the sensor saw.
            latents: of the whole frame as a single image where the caller has encoded it, so that
                nothing is encoded twice.

        Raises:
            FrameError: the frame carries no depth.
            MemoryFormatError: ``latents`` do not fit codec and frame.
        """
        ...

    def commit(self, branch: MemoryBranch) -> MemoryUpdate:
        """Keep what a branch of this memory imagined, marked as imagined.

        Nothing observed is overwritten, and what was observed since stays in front.

        Raises:
            MemoryFormatError: the branch is another kind of memory's.
        """
        ...

    def cloud(self, *, with_features: bool = False) -> MemoryCloud:
        """A snapshot of everything held."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def save(self, path: Path, frame_id: str) -> None:
        """Write everything to a file, which is whole or not there at any moment.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def load(self, path: Path, frame_id: str | None = None) -> dict[str, str]:
        """Hold what a file holds instead of what is held; the file's header.

        Raises:
            MemoryFormatError: the file does not fit this memory, or is in another frame than
                ``frame_id``; nothing has changed then.
            OSError: it cannot be read.
        """
        ...


@runtime_checkable
class CorrectableMemory(Protocol):
    """Also: a memory that can be put right, because it knows which keyframe saw what."""

    def carve(
        self,
        depth: NDArray[np.float32],  # (H, W) measured z-depth in metres; 0 or NaN = unknown
        camera: PinholeCamera,  # pixel camera
        T_world_camera: NDArray[np.float64],  # (4, 4)
    ) -> Carving:
        """Doubt what a view sees through, and forget what is doubted enough."""
        ...

    def surfaces(
        self,
        camera: PinholeCamera,  # pixel camera
        T_world_camera: NDArray[np.float64],  # (4, 4)
    ) -> SurfacePoints:
        """Observed surfaces in and about a view."""
        ...

    def keyframes(self) -> Keyframes:
        """Where the keyframes stand that what is observed came with."""
        ...

    def move_keyframes(self, moved: Keyframes) -> int:
        """Let keyframes of these stamps stand elsewhere, with all they saw; how many there were.

        Raises:
            PoseError: a pose is not rigid.
        """
        ...

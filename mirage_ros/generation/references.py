"""Whole frames of the past that show what the target cameras will see.

Frames are compared by the voxels they saw: intersection over union of two sets of voxels, computed
for all frames at once on sorted integer keys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.errors import ConfigurationError, MemoryFormatError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory.base import Poses

#: Bits of a key for each axis. At voxels of 0.1 m they reach 104 km either way; what lies beyond
#: counts as lying at that border.
_AXIS_BITS = 21
_HALF_RANGE = 1 << (_AXIS_BITS - 1)

#: Points that a cell gives along each axis, at most.
_MOST_POINTS = 4


@dataclass(frozen=True)
class ReferenceFrame:
    """A whole frame of the past.

    Attributes:
        latents: (C, h, w) float16.
        voxels: (K,) int64 keys of the voxels it saw, increasing.
        camera: pixel camera.
        T_world_camera: (4, 4) its pose.
        stamp_ns: when it was seen or imagined.
        observed: whether a sensor saw it.
    """

    latents: Tensor
    voxels: Tensor
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    stamp_ns: int
    observed: bool


class ReferenceBank:
    """Past frames, and the choice among them for a set of target cameras.

    A frame resembles another, or a set of target cameras, by the intersection over union (IoU) of
    the voxels that were seen: 1 for the same, 0 for nothing in common. When the bank is full, the
    frame goes that is most like another one: of the two the older, but never an observed one for an
    imagined one. So what is left differs as much as it can.

    Args:
        capacity: frames held at most.
        voxel_size: side of a voxel, metres. 0.1 and the threshold of 0.04 are the published
            method's.
        threshold: frames of a smaller IoU with the targets are not chosen.

    Raises:
        ConfigurationError: a value is out of range.
    """

    def __init__(
        self, capacity: int = 32, voxel_size: float = 0.1, threshold: float = 0.04
    ) -> None:
        if capacity < 1:
            raise ConfigurationError(f"capacity must be at least 1 frame. Got {capacity}")
        if not 0.0 < voxel_size < float("inf"):
            raise ConfigurationError(
                f"voxel_size must be finite, positive metres. Got {voxel_size}"
            )
        if not 0.0 < threshold <= 1.0:
            raise ConfigurationError(f"threshold must be in (0, 1]. Got {threshold}")
        self.capacity = capacity
        self.voxel_size = voxel_size
        self.threshold = threshold
        self._frames: list[ReferenceFrame] = []
        # IoU of each frame (row) with the later ones (columns); 0 elsewhere.
        self._likeness = np.zeros((0, 0))

    @property
    def frames(self) -> tuple[ReferenceFrame, ...]:
        """The frames held, oldest first."""
        return tuple(self._frames)

    @property
    def nbytes(self) -> int:
        """Bytes of latents and voxel keys."""
        tensors = [t for frame in self._frames for t in (frame.latents, frame.voxels)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def clear(self) -> None:
        """Forget everything."""
        self._frames = []
        self._likeness = np.zeros((0, 0))

    def forget(
        self,
        stamps_ns: NDArray[np.int64],  # (K,)
    ) -> None:
        """Forget the frames of these stamps."""
        gone = set(stamps_ns.tolist())
        kept = [n for n, frame in enumerate(self._frames) if frame.stamp_ns not in gone]
        self._frames = [self._frames[number] for number in kept]
        self._likeness = self._likeness[np.ix_(kept, kept)]

    def branch(self) -> ReferenceBank:
        """A bank that begins as this one is now; frames are shared, adding to one leaves the other.

        For a rollout, which adds what it imagines.
        """
        other = ReferenceBank(self.capacity, self.voxel_size, self.threshold)
        other._frames = list(self._frames)
        other._likeness = self._likeness
        return other

    @torch.no_grad()
    def add(
        self,
        latents: Tensor,  # (C, h, w) float
        depth: Tensor,  # (h, w) float32 z-depth of the cells in metres, 0 = unknown
        camera: PinholeCamera,  # pixel camera
        T_world_camera: NDArray[np.float64],  # (4, 4)
        stamp_ns: int,
        *,
        observed: bool,
    ) -> None:
        """Keep a whole frame, if any of its depth is known: nothing could be told of it else.

        Raises:
            MemoryFormatError: latents and depth do not fit each other or the frames held.
        """
        expected = self._frames[0].latents.shape if self._frames else latents.shape
        if latents.ndim != 3 or latents.shape[1:] != depth.shape or latents.shape != expected:
            raise MemoryFormatError(
                "a frame must be latents (C, h, w) and depth (h, w), of one size with the frames "
                f"held {tuple(expected)}. Got {tuple(latents.shape)} and {tuple(depth.shape)}"
            )
        pose = np.array(T_world_camera, dtype=np.float64)
        voxels = self._voxels(depth[None], camera, pose[None])
        if len(voxels) == 0:
            return
        # A copy, because latents may be a view of a whole chunk's.
        kept = latents.detach().to(torch.float16, copy=True)
        frame = ReferenceFrame(kept, voxels, camera, pose, stamp_ns, observed)
        count = len(self._frames)
        likeness = np.zeros((count + 1, count + 1))
        likeness[:count, :count] = self._likeness
        likeness[:count, count] = overlaps([f.voxels for f in self._frames], voxels)
        self._frames.append(frame)
        self._likeness = likeness
        if len(self._frames) > self.capacity:
            self._drop(self._most_alike())

    @torch.no_grad()
    def select(
        self,
        depth: Tensor,  # (T, h, w) float32 z-depth in metres on the latent grid, 0 = unknown
        camera: PinholeCamera,  # pixel camera of the targets
        T_world_camera: Poses,  # (T, 4, 4)
        count: int,
        *,
        without_stamp_ns: int | None = None,
    ) -> Tensor | None:  # (R, C, h, w) float32, R <= count
        """The frames that show most of what the target cameras see, best first.

        The frames' IoU with all that the targets see together must reach the threshold; of equal
        ones the newer come first. A frame of ``without_stamp_ns`` is not chosen.

        Returns:
            Latents, or None where no frame fits.
        """
        if count < 1 or not self._frames:
            return None
        targets = self._voxels(depth, camera, np.asarray(T_world_camera, dtype=np.float64))
        overlap = overlaps([frame.voxels for frame in self._frames], targets)
        fitting = [
            number
            for number in np.flatnonzero(overlap >= self.threshold).tolist()
            if self._frames[number].stamp_ns != without_stamp_ns
        ]
        chosen = sorted(fitting, key=lambda number: (-overlap[number], -number))[:count]
        if not chosen:
            return None
        return torch.stack([self._frames[number].latents for number in chosen]).float()

    def _voxels(
        self, depth: Tensor, camera: PinholeCamera, T_world_camera: NDArray[np.float64]
    ) -> Tensor:
        return voxel_keys(depth, camera, T_world_camera, self.voxel_size)

    def _most_alike(self) -> int:
        """Number of the frame to give up."""
        # The first maximum: of equal pairs the one whose older frame is the oldest. The diagonal
        # and what is below it are not pairs.
        pairs = np.where(np.triu(np.ones_like(self._likeness), 1) > 0, self._likeness, -1.0)
        older, newer = divmod(int(pairs.argmax()), len(self._frames))
        if self._frames[older].observed and not self._frames[newer].observed:
            return newer
        return older

    def _drop(self, number: int) -> None:
        del self._frames[number]
        self._likeness = np.delete(np.delete(self._likeness, number, 0), number, 1)


def voxel_keys(
    depth: Tensor,  # (T, h, w) z-depth at the cell centres in metres; 0 or less = unknown
    camera: PinholeCamera,  # any of the views' cameras: it is resized to (h, w)
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    voxel_size: float,
) -> Tensor:  # (K,) int64, increasing, each once
    """Keys of the voxels that hold the world points of the cells.

    The voxel of a point p is floor(p / voxel_size), three integers packed into one. Cells wider
    than a voxel give several points each, at one depth: their centres alone would leave voxels out,
    others in every view, and two views of one wall would have little in common.
    """
    grid = camera.resized(depth.shape[-1], depth.shape[-2])
    widest = float(depth.max()) / min(grid.fx, grid.fy) if depth.numel() else 0.0
    split = min(max(math.ceil(widest / voxel_size), 1), _MOST_POINTS)
    depth = depth.repeat_interleave(split, dim=-1).repeat_interleave(split, dim=-2)
    grid = grid.resized(depth.shape[-1], depth.shape[-2])
    centres = grid.pixel_centres()
    rays = grid.unproject(centres, np.ones(centres.shape[:2]))
    # In float64 until the end: the world frame's origin may be far away.
    directions = torch.from_numpy(np.einsum("tij,hwj->thwi", T_world_camera[:, :3, :3], rays))
    origins = torch.from_numpy(np.ascontiguousarray(T_world_camera[:, None, None, :3, 3]))
    points = origins.to(depth.device) + directions.to(depth.device) * depth[..., None].double()
    cells = torch.floor(points[depth > 0.0] / voxel_size).long()
    cells = (cells + _HALF_RANGE).clamp(0, 2 * _HALF_RANGE - 1)
    keys = (cells[:, 0] << 2 * _AXIS_BITS) | (cells[:, 1] << _AXIS_BITS) | cells[:, 2]
    unique: Tensor = torch.unique(keys)
    return unique


def overlaps(
    sets: Sequence[Tensor],  # N of (K_n,) int64, each key once
    keys: Tensor,  # (K,) int64, increasing, each once
) -> NDArray[np.float64]:  # (N,) in [0, 1]
    """Intersection over union of each set with ``keys``, all in one pass; 0 if both are empty."""
    if not sets or len(keys) == 0:
        return np.zeros(len(sets))
    sizes = np.array([len(members) for members in sets])
    members = torch.cat(list(sets))
    place = torch.searchsorted(keys, members).clamp(max=len(keys) - 1)
    shared = torch.cumsum(keys[place] == members, dim=0)
    # Sums of whole numbers, so the same on every device.
    ends = torch.from_numpy(np.cumsum(sizes)).to(shared.device)
    until = torch.cat([shared.new_zeros(1), shared])[ends].cpu().numpy()
    both = np.diff(until, prepend=0)
    shares: NDArray[np.float64] = both / (sizes + len(keys) - both)
    return shares

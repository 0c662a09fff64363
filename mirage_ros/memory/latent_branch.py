"""The memory of one rollout: what the robot remembers, and beside it what was imagined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory.base import MemoryUpdate, Poses, Readout, check_imagined
from mirage_ros.memory.layers import Layers
from mirage_ros.memory.token_store import TokenArrays
from mirage_ros.memory.view_tokens import View

#: How far the depth of what was imagined is believed, beside 1 for what a sensor measured.
IMAGINED_CONFIDENCE = 0.25

if TYPE_CHECKING:
    from mirage_ros.memory.latent_memory import LatentMemory


class LatentBranch:
    """A copy-on-write memory; implements :class:`mirage_ros.memory.base.MemoryBranch`.

    It shares the tokens of the memory it was taken from, as they were then. Whichever side writes
    first copies the arrays it changes. Dropping a branch leaves no trace.

    Attributes:
        memory: where it was taken from, directly or through other branches.
    """

    def __init__(
        self,
        memory: LatentMemory,
        observed: tuple[TokenArrays, ...],
        imagined: tuple[TokenArrays, ...],
        inherited: tuple[TokenArrays, ...] = (),
    ) -> None:
        self.memory = memory
        self._observed = observed
        self._imagined = imagined
        self._inherited = inherited
        self._own = memory.new_store()

    @property
    def count(self) -> int:
        """Tokens that were imagined here."""
        return self._own.count

    @property
    def nbytes(self) -> int:
        """Bytes of what was imagined here; what is shared is not counted."""
        return self._own.nbytes

    def read(
        self,
        camera: PinholeCamera,
        T_world_camera: Poses,  # (T, 4, 4)
        *,
        placed: bool = False,
    ) -> Readout:
        """What is remembered or imagined of T views; imagined only where nothing is remembered.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            PoseError: a pose is not rigid.
        """
        everything = Layers(self._observed, (*self._imagined, *self._inherited, self._own))
        return self.memory.read_layers(everything, camera, T_world_camera, placed=placed)

    def branch(self) -> LatentBranch:
        """A branch of this branch."""
        inherited = (*self._inherited, self._own.snapshot())
        return LatentBranch(self.memory, self._observed, self._imagined, inherited)

    @torch.no_grad()
    def write(
        self,
        latents: Tensor,  # (T, C, h, w) float32
        depth: Tensor,  # (T, h, w) float32 z-depth in metres, 0 = unknown
        camera: PinholeCamera,  # pixel camera
        T_world_camera: Poses,  # (T, 4, 4)
        stamp_ns: int,
    ) -> MemoryUpdate:
        """Store imagined views, where nothing observed is known.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            MemoryFormatError: latents and depth do not fit each other, the camera or the poses.
            PoseError: a pose is not rigid.
        """
        grid = camera.latent(self.memory.codec.spatial_stride)
        channels = self.memory.codec.channels
        check_imagined(latents, depth, channels, grid, len(T_world_camera))
        known = Layers(self._observed, (*self._imagined, *self._inherited))
        update = MemoryUpdate()
        for number, pose in enumerate(T_world_camera):
            view = View(
                latents=latents[number],
                depth=depth[number],
                share=torch.full_like(depth[number], IMAGINED_CONFIDENCE),
                contrast=torch.zeros_like(depth[number]),
                grid=grid,
                focal=float(np.sqrt(camera.fx * camera.fy)),
                T_world_camera=validate_pose(pose, "T_world_camera"),
                stamp_ns=stamp_ns,
            )
            update += self.memory.imagine_view(view, self._own, known)
        return update

    def views(self) -> Iterator[View]:
        """What was imagined here and in the branches before, view by view."""
        for store in (*self._inherited, self._own):
            tokens = store.tokens
            for row, table in enumerate(store.keyframes.tolist()):
                mine = tokens.select(tokens.keyframe == row)
                fx, fy, cx, cy, focal, width, height = table[12:19]
                grid = PinholeCamera(int(width), int(height), fx, fy, cx, cy)
                line, column = np.divmod(mine.cell.cpu().numpy().astype(np.int64), int(width))
                depth = torch.zeros((grid.height, grid.width), device=store.device)
                depth[line, column] = mine.depth.float()
                share = torch.zeros_like(depth)
                share[line, column] = mine.confidence
                latents = torch.zeros(
                    (self.memory.codec.channels, grid.height, grid.width), device=store.device
                )
                latents[:, line, column] = self.memory.features.unpack(mine.features).T
                pose = np.vstack([np.array(table[:12]).reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])
                stamp = int(store.stamps_ns[row])
                yield View(latents, depth, share, torch.zeros_like(depth), grid, focal, pose, stamp)

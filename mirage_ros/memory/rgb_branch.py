"""The RGB memory of one rollout: the robot's points, and beside them those that were imagined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory.base import MemoryUpdate, Poses, Readout, check_imagined
from mirage_ros.memory.rgb_points import POINT_BYTES, Points, rasterise
from mirage_ros.memory.rgb_readout import PointLayers, free_pixels, pictures_of, points_of

if TYPE_CHECKING:
    from mirage_ros.memory.rgb_memory import RgbMemory


@dataclass(frozen=True)
class ImaginedView:
    """Points of one imagined view.

    Attributes:
        points: one for every pixel that was not known before.
        camera: pixel camera of the view.
        T_world_camera: (4, 4) its pose.
        stamp_ns: when it was imagined.
    """

    points: Points
    camera: PinholeCamera
    T_world_camera: NDArray[np.float64]
    stamp_ns: int


class RgbBranch:
    """A copy-on-write memory; implements :class:`mirage_ros.memory.base.MemoryBranch`.

    It shares the points of the memory it was taken from, as they were then: arrays of points are
    never written to. Dropping a branch leaves no trace.

    Attributes:
        memory: where it was taken from, directly or through other branches.
        views: what was imagined here and in the branches before, oldest first.
    """

    def __init__(
        self,
        memory: RgbMemory,
        known: PointLayers,
        inherited: tuple[ImaginedView, ...] = (),
    ) -> None:
        self.memory = memory
        self.views = list(inherited)
        self._known = known
        self._inherited = len(inherited)

    @property
    def count(self) -> int:
        """Points that were imagined here."""
        return sum(len(view.points) for view in self.views[self._inherited :])

    @property
    def nbytes(self) -> int:
        """Bytes of the points imagined here; what is shared is not counted."""
        return self.count * POINT_BYTES

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
        imagined = (*self._known.imagined, *self._mine())
        everything = PointLayers(self._known.observed, imagined)
        return self.memory.read_layers(everything, camera, T_world_camera)

    def branch(self) -> RgbBranch:
        """A branch of this branch."""
        return RgbBranch(self.memory, self._known, tuple(self.views))

    @torch.no_grad()
    def write(
        self,
        latents: Tensor,  # (T, C, h, w) float32
        depth: Tensor,  # (T, h, w) float32 z-depth in metres, 0 = unknown
        camera: PinholeCamera,  # pixel camera
        T_world_camera: Poses,  # (T, 4, 4)
        stamp_ns: int,
    ) -> MemoryUpdate:
        """Store imagined views at pixel resolution, where nothing is known yet.

        Every pixel of a cell takes the cell's depth and the decoded picture's colour. Of the frames
        that a latent frame decodes to, the last one is seen from its pose.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            MemoryFormatError: latents and depth do not fit each other, the camera or the poses.
            PoseError: a pose is not rigid.
        """
        codec, config = self.memory.codec, self.memory.config
        stride = codec.spatial_stride
        grid = camera.latent(stride)
        check_imagined(latents, depth, codec.channels, grid, len(T_world_camera))
        poses = [validate_pose(pose, "T_world_camera") for pose in T_world_camera]
        images = pictures_of(codec.decode(latents)[:: codec.temporal_stride])
        depths = depth.cpu().numpy().astype(np.float32)
        update = MemoryUpdate()
        for image, cells, pose in zip(images, depths, poses, strict=True):
            hit = self._known.rasters(camera, pose[None], config.near_plane)[1].hit
            hit = hit | rasterise(self._mine(), camera, pose[None], config.near_plane).hit
            depth_map = cells.repeat(stride, axis=0).repeat(stride, axis=1)
            valid = (depth_map > 0.0) & np.isfinite(depth_map)
            free = free_pixels(hit, stride, config.min_cover)[0]
            points = points_of(image, depth_map, valid & free, camera, pose)
            if len(points):
                self.views.append(ImaginedView(points, camera, pose, stamp_ns))
            update += MemoryUpdate(added=len(points), confirmed=int((valid & ~free).sum()))
        return update

    def _mine(self) -> tuple[Points, ...]:
        return tuple(view.points for view in self.views)

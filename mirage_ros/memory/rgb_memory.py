"""The older way: what a camera saw as coloured points, rasterised for every view it is read for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError, FrameError, MemoryFormatError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory import rgb_readout
from mirage_ros.memory.backprojection import CellDepthConfig
from mirage_ros.memory.base import MemoryBranch, MemoryCloud, MemoryUpdate, Poses, Readout
from mirage_ros.memory.rgb_branch import RgbBranch
from mirage_ros.memory.rgb_file import KIND, load_rgb, save_rgb
from mirage_ros.memory.rgb_points import POINT_BYTES, PointList, Points, joined, project
from mirage_ros.memory.rgb_readout import PointLayers, free_pixels, points_of
from mirage_ros.memory.rgb_voxels import VoxelPoints

#: Ways of keeping points.
POLICIES = ("append", "voxel")
#: Points that the ``voxel`` policy keeps unless told otherwise.
DEFAULT_CAPACITY = 2_000_000

#: After an eviction the memory is this full, so that the next one is some time off.
_AFTER_EVICTION = 0.95


@dataclass(frozen=True)
class RgbMemoryConfig:
    """How an :class:`RgbMemory` stores and reads.

    Attributes:
        policy: ``append``, as published systems have it: every pixel of every frame is kept.
            ``voxel``, the fair variant: one point to a voxel as large as the pixel that saw it, in
            powers of two; a point takes the place of a coarser one and of one as fine.
        capacity: points held at most; None or 0 = without bound for ``append``, where otherwise the
            oldest go, and :data:`DEFAULT_CAPACITY` for ``voxel``.
        voxel_pixels: largest side of a voxel in footprints of the pixel. At 1 no frame loses a
            pixel to its neighbour, or few; on 7-Scenes (redkitchen) 2 holds half the points and
            reads 0.5 dB better, but of one frame alone up to three quarters of the pixels are gone.
        min_depth: nearer depth counts as unknown, metres.
        max_depth: farther depth counts as unknown, metres.
        near_plane: points nearer to the image plane than this are not seen, metres.
        min_cover: share of a cell's pixels that points must hit for the cell to be known (see
            :mod:`mirage_ros.memory.rgb_readout`).
        same_surface: share of the depth by which a point may lie behind what a camera measures and
            still be in its view.
        forget_age: frames after which a point not seen again is worth 1 less.
        forget_distance: metres from the robot at which a point is worth 1 less.

    Raises:
        ConfigurationError: a value is out of range.
    """

    policy: str = "append"
    capacity: int | None = None
    voxel_pixels: float = 1.0
    min_depth: float = 0.1
    max_depth: float = 10.0
    near_plane: float = 0.1
    min_cover: float = 0.5
    same_surface: float = 0.1
    forget_age: float = 500.0
    forget_distance: float = 10.0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigurationError(
                f"policy must be one of {', '.join(POLICIES)}. Got '{self.policy}'"
            )
        if self.capacity is not None and self.capacity < 0:
            raise ConfigurationError(f"capacity must be None or >= 0 points. Got {self.capacity}")
        if not 0.0 < self.min_depth < self.max_depth < math.inf:
            raise ConfigurationError(
                "0 < min_depth < max_depth must hold. "
                f"Got min_depth={self.min_depth}, max_depth={self.max_depth}"
            )
        if not 0.0 < self.min_cover <= 1.0:
            raise ConfigurationError(f"min_cover must be in (0, 1]. Got {self.min_cover}")
        for name in (
            "voxel_pixels",
            "near_plane",
            "same_surface",
            "forget_age",
            "forget_distance",
        ):
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ConfigurationError(f"{name} must be finite and positive. Got {value}")

    @property
    def bound(self) -> int | None:
        """Points held at most; None = without bound."""
        return self.capacity or (DEFAULT_CAPACITY if self.policy == "voxel" else None)


class RgbMemory:
    """Coloured points; implements :class:`mirage_ros.memory.base.SpatialMemory`.

    Reading rasterises a picture at pixel resolution and encodes it, so a readout costs one pass
    over all points and one of the encoder for every view. Not safe for use from several threads at
    once: its owner serialises the calls.

    Attributes:
        codec: encodes what is read and decodes what is imagined.
        config: how to store and read.
        device: where the codec works; points live in the machine's own memory.
    """

    kind = KIND

    def __init__(
        self,
        codec: Codec,
        config: RgbMemoryConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.codec = codec
        self.config = config or RgbMemoryConfig()
        self.device = torch.device(device)
        self._observed: PointList | VoxelPoints = (
            VoxelPoints() if self.config.policy == "voxel" else PointList()
        )
        self._imagined = PointList()
        self._clock = 0

    @property
    def count(self) -> int:
        """Number of points held."""
        return self._observed.count + self._imagined.count

    @property
    def nbytes(self) -> int:
        """Bytes of the points: position and colour."""
        return self.count * POINT_BYTES

    @property
    def index_nbytes(self) -> int:
        """Bytes that the policy needs beside the points: voxels, stamps and ages."""
        return self._observed.index_nbytes + self._imagined.index_nbytes

    def cloud(self, *, with_features: bool = False) -> MemoryCloud:
        """A snapshot of everything held; points have no features, asked for or not."""
        points = joined((*self._observed_parts(), *self._imagined.parts))
        stamps = [self._observed.point_stamps(), self._imagined.point_stamps()]
        return MemoryCloud(
            positions=points.positions,
            colours=points.colours,
            confidence=np.ones(len(points), dtype=np.float32),
            stamps_ns=np.concatenate(stamps),
            observed=np.arange(len(points)) < self._observed.count,
            features=None,
        )

    def clear(self) -> None:
        """Forget everything."""
        self._observed.clear()
        self._imagined.clear()
        self._clock = 0

    @property
    def cell_depth(self) -> CellDepthConfig:
        """How depth is brought to the latent grid: with the limits of the points."""
        return CellDepthConfig(min_depth=self.config.min_depth, max_depth=self.config.max_depth)

    def observe(self, frame: RgbdFrame, latents: Tensor | None = None) -> MemoryUpdate:
        """Store every pixel of a sensor frame whose depth is valid; latents are of no use here.

        Raises:
            FrameError: the frame carries no depth.
        """
        if frame.depth is None:
            raise FrameError("a frame to remember must carry depth. Got none")
        self._clock += 1
        config = self.config
        valid = (frame.depth >= config.min_depth) & (frame.depth <= config.max_depth)
        if frame.dynamic is not None:
            valid &= ~frame.dynamic
        points = points_of(frame.image, frame.depth, valid, frame.camera, frame.T_world_camera)
        if isinstance(self._observed, VoxelPoints):
            focal = math.sqrt(frame.camera.fx * frame.camera.fy)
            footprint = frame.depth[valid].astype(np.float64) / focal * config.voxel_pixels
            update = self._observed.observe(points, footprint, self._clock, frame.stamp_ns)
        else:
            self._observed.add(points, frame.stamp_ns)
            update = MemoryUpdate(added=len(points))
        evicted = self._drop_contradicted(frame) + self._stay_within_bounds(frame)
        return update + MemoryUpdate(evicted=evicted)

    def read(
        self,
        camera: PinholeCamera,
        T_world_camera: Poses,  # (T, 4, 4)
        *,
        placed: bool = False,
    ) -> Readout:
        """What is remembered of T views of one camera, in one batched pass.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            PoseError: a pose is not rigid.
        """
        return self.read_layers(self._layers(), camera, T_world_camera)

    @torch.no_grad()
    def read_layers(
        self, what: PointLayers, camera: PinholeCamera, T_world_camera: Poses
    ) -> Readout:
        """:meth:`read` for other sets of points than this memory's."""
        return rgb_readout.read(
            what,
            self.codec,
            camera,
            _poses(T_world_camera),
            self.config.near_plane,
            self.config.min_cover,
            self.device,
        )

    def render(
        self,
        camera: PinholeCamera,
        T_world_camera: Poses,  # (T, 4, 4)
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]:
        """T views at pixel resolution, without the codec and without any hole filled.

        Returns:
            Pictures (T, H, W, 3) RGB, black where no point was hit; the mask (T, H, W) of hit
            pixels; and their z-depth (T, H, W) in metres, 0 elsewhere.

        Raises:
            PoseError: a pose is not rigid.
        """
        raster = self._layers().rasters(camera, _poses(T_world_camera), self.config.near_plane)[1]
        return raster.images, raster.hit, raster.depth

    def branch(self) -> RgbBranch:
        """A memory that begins as this one is now, for imagined content; cheap until written to."""
        return RgbBranch(self, self._layers())

    def commit(self, branch: MemoryBranch) -> MemoryUpdate:
        """Keep what a branch of this memory imagined, marked as imagined.

        Points are dropped where something is known by now.

        Raises:
            MemoryFormatError: the branch is another memory's.
        """
        if not isinstance(branch, RgbBranch) or branch.memory is not self:
            raise MemoryFormatError(
                "a branch to commit must come from this memory. Got another memory's"
            )
        config, stride = self.config, self.codec.spatial_stride
        update = MemoryUpdate()
        for view in branch.views:
            pose = view.T_world_camera
            hit = self._layers().rasters(view.camera, pose[None], config.near_plane)[1].hit
            free = free_pixels(hit, stride, config.min_cover).flatten()
            pixel, _ = project(view.points, view.camera, pose, config.near_plane)
            kept = view.points.select((pixel >= 0) & free[pixel])
            self._imagined.add(kept, view.stamp_ns)
            update += MemoryUpdate(added=len(kept), confirmed=len(view.points) - len(kept))
        return update + MemoryUpdate(evicted=self._stay_within_bounds(None))

    def save(self, path: Path, frame_id: str) -> None:
        """Write everything to a file, which is whole or not there at any moment.

        Raises:
            OSError: it cannot be written.
        """
        save_rgb(path, frame_id, self.config.policy, self._observed, self._imagined, self._clock)

    def load(self, path: Path, frame_id: str | None = None) -> dict[str, str]:
        """Hold what a file holds instead of what is held; the file's header.

        Raises:
            MemoryFormatError: the file does not fit this memory, or is in another frame than
                ``frame_id``; nothing has changed then.
            OSError: it cannot be read.
        """
        content = load_rgb(path, frame_id, self.config.policy)
        self._observed, self._imagined = content.observed, content.imagined
        self._clock = content.clock
        self._stay_within_bounds(None)
        return content.header

    def _observed_parts(self) -> tuple[Points, ...]:
        if isinstance(self._observed, VoxelPoints):
            return (self._observed.points,) if self._observed.count else ()
        return tuple(self._observed.parts)

    def _layers(self) -> PointLayers:
        return PointLayers(self._observed_parts(), tuple(self._imagined.parts))

    def _in_view(
        self, points: Points, frame: RgbdFrame
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which points a frame sees, and which of them lie where it measures depth; each (N,)."""
        config = self.config
        assert frame.depth is not None
        pixel, depth = project(points, frame.camera, frame.T_world_camera, config.near_plane)
        measured = frame.depth.flatten()[pixel]
        valid = (measured >= config.min_depth) & (measured <= config.max_depth)
        limit = np.where(valid, measured * (1.0 + config.same_surface), config.max_depth)
        seen = (pixel >= 0) & (depth <= limit)
        return seen, seen & valid

    def _drop_contradicted(self, frame: RgbdFrame) -> int:
        """Forget imagined points where a sensor now sees their surface or through it."""
        if self._imagined.count == 0:
            return 0
        refuted = self._in_view(joined(self._imagined.parts), frame)[1]
        if refuted.any():
            self._imagined.keep(~refuted)
        return int(refuted.sum())

    def _stay_within_bounds(self, frame: RgbdFrame | None) -> int:
        """Forget what is too much; ``frame`` is what the robot sees now.

        What was only imagined goes first, then what is old and far away, and what is in view only
        if the rest is not enough.
        """
        bound, store = self.config.bound, self._observed
        excess = 0 if bound is None else self.count - bound
        if bound is None or excess <= 0:
            return 0
        evicted = self._imagined.forget_oldest(excess)
        if store.count <= bound:
            return evicted
        if isinstance(store, PointList):
            return evicted + store.forget_oldest(store.count - bound)
        cost = (self._clock - store.clock[store.frame]) / self.config.forget_age
        if frame is not None:
            robot = frame.T_world_camera[:3, 3].astype(np.float32)
            distance = np.linalg.norm(store.points.positions - robot, axis=1)
            cost = cost + distance / self.config.forget_distance
            cost = np.where(self._in_view(store.points, frame)[0], cost - 1e6, cost)
        goal = max(1, int(bound * _AFTER_EVICTION))
        limit = np.partition(cost, goal - 1)[goal - 1]
        kept = cost < limit
        # Of equal cost the first stay, which makes the choice the same on every machine.
        kept[np.flatnonzero(cost == limit)[: goal - int(kept.sum())]] = True
        evicted += store.count - goal
        store.keep(kept)
        return evicted


def _poses(T_world_camera: Poses) -> NDArray[np.float64]:  # (T, 4, 4)
    poses = [validate_pose(pose, "T_world_camera") for pose in T_world_camera]
    return np.array(poses).reshape(-1, 4, 4)

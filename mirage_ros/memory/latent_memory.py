"""The latent spatial memory: store what a camera saw as tokens in space, read it for others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.memory.backprojection import (
    CellDepthConfig,
    back_project,
    cell_depth,
    surface_normals,
)
from mirage_ros.memory.base import Readout
from mirage_ros.memory.readout import ReadoutConfig, select_tokens
from mirage_ros.memory.tokens import NORMAL_SCALE, OBSERVED, TokenBuffer, TokenCloud

#: Shifts of the cell grid to the right and down, in half cells, by the number of grids.
_GRID_SHIFTS = {
    1: ((0, 0),),
    2: ((0, 0), (1, 1)),
    4: ((0, 0), (1, 1), (1, 0), (0, 1)),
}


@dataclass(frozen=True)
class LatentMemoryConfig:
    """How a :class:`LatentMemory` stores and reads.

    Attributes:
        cell_depth: how depth is brought to the latent grid.
        readout: weights and limits of the readout.
        grids: cell grids a frame is encoded on: 1, or 2 (another one, half a cell to the right and
            down), or 4 (also half a cell to the right, and down). More grids find a token closer to
            a target cell's centre, at so many times the tokens and the encoding.

    Raises:
        ConfigurationError: ``grids`` is none of these.
    """

    cell_depth: CellDepthConfig = field(default_factory=CellDepthConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    grids: int = 1

    def __post_init__(self) -> None:
        if self.grids not in _GRID_SHIFTS:
            raise ConfigurationError(
                f"grids must be one of {sorted(_GRID_SHIFTS)}. Got {self.grids}"
            )


class LatentMemory:
    """Tokens of every keyframe; implements :class:`mirage_ros.memory.base.SpatialMemory`.

    Not safe for use from several threads at once: its owner serialises the calls.

    Attributes:
        codec: makes the latents that are stored.
        config: how to store and read.
        device: where tokens live.
    """

    def __init__(
        self,
        codec: Codec,
        config: LatentMemoryConfig | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.codec = codec
        self.config = config or LatentMemoryConfig()
        self.device = torch.device(device)
        self._buffer = TokenBuffer(codec.channels, self.device)
        self._keyframes = 0

    @property
    def token_count(self) -> int:
        """Number of tokens held."""
        return self._buffer.count

    @property
    def nbytes(self) -> int:
        """Bytes of the stored tokens, all fields."""
        return self._buffer.tokens.nbytes

    def tokens(self) -> TokenCloud:
        """A snapshot of the tokens, safe to keep and to hand to another thread."""
        return TokenCloud.concatenate([self._buffer.tokens])

    def clear(self) -> None:
        """Forget everything."""
        self._buffer.clear()
        self._keyframes = 0

    @torch.no_grad()
    def observe(self, frame: RgbdFrame) -> int:
        """Store a sensor frame, encoded as a single image; number of tokens added.

        Raises:
            FrameError: the frame carries no depth.
            CodecError: its size is not a multiple of the codec's stride.
        """
        if frame.depth is None:
            raise FrameError("a frame to remember must carry depth. Got none")
        image = torch.from_numpy(frame.image).to(self.device).permute(2, 0, 1)[None].float() / 255.0
        depth = torch.from_numpy(frame.depth).to(self.device)
        stride = self.codec.spatial_stride
        clouds = []
        for right, down in _GRID_SHIFTS[self.config.grids]:
            # Half a cell is lost at either border, so that every cell lies inside the image.
            left, top = right * stride // 2, down * stride // 2
            width, height = frame.camera.width - 2 * left, frame.camera.height - 2 * top
            if width > 0 and height > 0:
                window = (slice(top, top + height), slice(left, left + width))
                camera = frame.camera.cropped(left, top, width, height)
                latents = self.codec.encode(image[..., window[0], window[1]])[0]
                clouds.append(self._tokens_of(frame, camera, latents, depth[window]))
        cloud = TokenCloud.concatenate(clouds)
        self._buffer.append(cloud)
        self._keyframes += 1
        return len(cloud)

    @torch.no_grad()
    def read(
        self,
        camera: PinholeCamera,
        T_world_camera: Sequence[NDArray[np.float64]] | NDArray[np.float64],  # (T, 4, 4)
    ) -> Readout:
        """What is remembered of T views of one camera, in one batched pass.

        Raises:
            CameraError: the camera's size is not a multiple of the codec's stride.
            PoseError: a pose is not rigid.
        """
        stride = self.codec.spatial_stride
        latent_camera = camera.latent(stride)
        poses = [validate_pose(pose, "T_world_camera") for pose in T_world_camera]
        tokens = self._buffer.tokens
        selection = select_tokens(
            tokens,
            latent_camera,
            stride,
            np.array(poses).reshape(-1, 4, 4),
            self.config.readout,
        )
        coverage = selection.index >= 0
        latents = torch.zeros(
            (*coverage.shape, self.codec.channels), dtype=torch.float32, device=self.device
        )
        latents[coverage] = tokens.features[selection.index[coverage]].float()
        return Readout(latents.permute(0, 3, 1, 2).contiguous(), coverage, selection.depth)

    def _tokens_of(
        self,
        frame: RgbdFrame,
        camera: PinholeCamera,  # of the part of the frame that is stored
        latents: Tensor,  # (C, h, w) of that part
        depth_map: Tensor,  # (H, W) of that part
    ) -> TokenCloud:
        """The tokens of the cells of one grid."""
        stride = self.codec.spatial_stride
        depth, share = cell_depth(depth_map, stride, self.config.cell_depth)
        known = depth > 0.0
        points = back_project(depth, camera.latent(stride), frame.T_world_camera)
        origin = torch.from_numpy(frame.T_world_camera[:3, 3].astype(np.float32)).to(self.device)
        normal = surface_normals(points, depth, origin)[known]
        position = points[known]
        count = position.shape[0]
        ray = position - origin
        focal = float(np.sqrt(frame.camera.fx * frame.camera.fy))

        def constant(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((count,), value, dtype=dtype, device=self.device)

        return TokenCloud(
            position=position,
            features=latents.permute(1, 2, 0)[known].half(),
            footprint=depth[known] / focal,
            view=ray / ray.norm(dim=1, keepdim=True),
            normal=(normal * NORMAL_SCALE).round().to(torch.int8),
            stamp_ns=constant(frame.stamp_ns, torch.int64),
            provenance=constant(OBSERVED, torch.uint8),
            confidence=share[known],
            keyframe=constant(self._keyframes, torch.int32),
        )

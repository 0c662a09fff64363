"""A view as the memory alone shows it: nothing is generated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mirage_ros.codec.base import Codec
from mirage_ros.frames import RgbdFrame
from mirage_ros.memory import ReadableMemory


def readout_view(
    memory: ReadableMemory, codec: Codec, frame: RgbdFrame
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What is read at a frame's pose: (H, W, 3) in [0, 1], black where unknown; (H, W) known."""
    readout = memory.read(frame.camera, frame.T_world_camera[None])
    stride = codec.spatial_stride
    mask = readout.coverage[0].cpu().numpy().repeat(stride, axis=0).repeat(stride, axis=1)
    shown = codec.decode(readout.latents)[0].clamp(0.0, 1.0).permute(1, 2, 0).cpu().numpy()
    return shown * mask[..., None], mask

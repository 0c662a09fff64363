"""Coloured points of a codec that decodes a latent frame to several pictures."""

from __future__ import annotations

import numpy as np
import torch

from mirage_ros.codec.wan import WanCodec
from mirage_ros.codec.wan_config import random_vae
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import RgbMemory
from mirage_ros.memory.rgb_readout import pictures_of

CAMERA = PinholeCamera(48, 32, 40.0, 40.0, 24.0, 16.0)


def test_an_imagined_view_has_the_colours_of_the_last_picture_of_its_latent_frame() -> None:
    codec = WanCodec(random_vae())
    branch = RgbMemory(codec).branch()
    latents = torch.randn(3, 48, 2, 3, generator=torch.Generator().manual_seed(0))
    # They look away from each other, so that no view hides another.
    poses = np.stack([np.eye(4), np.diag([-1.0, 1.0, -1.0, 1.0]), np.eye(4)])
    poses[2, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    update = branch.write(latents, torch.full((3, 2, 3), 2.0), CAMERA, poses, 5)
    assert update.added == 3 * 32 * 48
    pictures = pictures_of(codec.decode(latents))
    assert len(pictures) == 9
    for view, frame in zip(branch.views, (0, 4, 8), strict=True):
        assert np.array_equal(view.points.colours, pictures[frame].reshape(-1, 3))
    assert not np.array_equal(pictures[4], pictures[5])
    for view, pose in zip(branch.views, poses, strict=True):
        assert np.array_equal(view.T_world_camera, pose)

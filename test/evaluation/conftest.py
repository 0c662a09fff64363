"""A textured scene in closed form, for the metrics that need pictures, depth and poses."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist

#: Texture pixels a metre.
_RESOLUTION = 150.0


def texture(seed: int, side: int = 1200) -> np.ndarray:  # (side, side, 3) uint8
    """Smooth noise in colour, blobs of two sizes."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.GaussianBlur(rng.normal(size=(side, side, 3)), (0, 0), sigma) * sigma
        for sigma in (2.5, 6.0)
    ]
    return np.clip(128.0 + 90.0 * sum(layers), 0.0, 255.0).astype(np.uint8)


class Room:
    """A wall 3 m ahead (z = 3) above a floor 1 m below (y = 1) and below a ceiling (y = -1)."""

    camera = PinholeCamera(320, 256, 230.0, 235.0, 158.7, 129.4)

    def __init__(self) -> None:
        self.textures = [texture(seed) for seed in (1, 2, 3)]

    def frame(self, T_world_camera: np.ndarray) -> RgbdFrame:
        """What the camera sees from a pose, by intersecting the pixels' rays with the planes."""
        rays = self.camera.unproject(self.camera.pixel_centres(), np.ones((256, 320)))
        rays = rays @ T_world_camera[:3, :3].T
        origin = T_world_camera[:3, 3]
        with np.errstate(divide="ignore"):
            reach = np.stack(
                [
                    (3.0 - origin[2]) / rays[..., 2],
                    (1.0 - origin[1]) / rays[..., 1],
                    (-1.0 - origin[1]) / rays[..., 1],
                ]
            )
        reach[reach <= 0.0] = np.inf
        surface, depth = reach.argmin(axis=0), reach.min(axis=0)
        x, y, z = np.moveaxis(origin + depth[..., None] * rays, -1, 0)
        image = np.zeros((256, 320, 3), dtype=np.uint8)
        for number, pixels in enumerate(self.textures):
            u, v = x * _RESOLUTION + 600.0, (y if number == 0 else z) * _RESOLUTION + 300.0
            seen = cv2.remap(
                pixels,
                u.astype(np.float32),
                v.astype(np.float32),
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
            image[surface == number] = seen[surface == number]
        return RgbdFrame(0, image, depth.astype(np.float32), self.camera, T_world_camera)

    def path(self, count: int) -> list[RgbdFrame]:
        """Frames of a camera that drives forward to the right and turns: 4 cm and 1 degree each."""
        step = exp_twist([0.03, 0.0, 0.025], [0.0, np.radians(1.0), 0.0], 1.0)
        poses = [np.eye(4)]
        for _ in range(count - 1):
            poses.append(poses[-1] @ step)
        return [self.frame(pose) for pose in poses]


@pytest.fixture(scope="session")
def room() -> Room:
    return Room()


@pytest.fixture(scope="session")
def make_texture() -> Callable[..., np.ndarray]:
    return texture

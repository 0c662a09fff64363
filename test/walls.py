"""A wavy picture on a wall, in closed form, for tests of views."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera

WIDTH, HEIGHT = 96, 64
CAMERA = PinholeCamera(WIDTH, HEIGHT, 80.0, 80.0, 48.5, 32.5)

#: Latent cells of a view.
CELLS = 24


def wall(offset_x: float = 0.0, *, distance: float = 2.0, phase: float = 0.0) -> RgbdFrame:
    """The wall ``distance`` metres ahead, seen from ``offset_x`` metres to the right."""
    uv = CAMERA.pixel_centres()
    x = (uv[..., 0] - CAMERA.cx) / CAMERA.fx * distance + offset_x + phase
    y = (uv[..., 1] - CAMERA.cy) / CAMERA.fy * distance
    waves = [np.sin(3.0 * x + 2.0 * y), np.cos(2.0 * x - 4.0 * y), np.sin(5.0 * x) * np.cos(y)]
    image = np.rint(255.0 * (0.5 + 0.4 * np.stack(waves, axis=-1))).astype(np.uint8)
    pose = np.eye(4)
    pose[0, 3] = offset_x
    depth = np.full((HEIGHT, WIDTH), distance, dtype=np.float32)
    return RgbdFrame(0, image, depth, CAMERA, pose)


def turned_around(frame: RgbdFrame) -> RgbdFrame:
    """The same picture, as if seen when looking back."""
    pose = frame.T_world_camera @ np.diag([-1.0, 1.0, -1.0, 1.0])
    return RgbdFrame(frame.stamp_ns, frame.image, frame.depth, frame.camera, pose)


def write_walls(folder: Path, offsets: list[float]) -> None:
    """A sequence in 7-Scenes layout, one frame for every offset."""
    folder.mkdir(exist_ok=True)
    np.savetxt(folder / "camera-intrinsics.txt", [[80.0, 0, 48.0], [0, 80.0, 32.0], [0, 0, 1]])
    for number, offset in enumerate(offsets):
        frame, stem = wall(offset), str(folder / f"frame-{number:06d}")
        assert frame.depth is not None
        cv2.imwrite(f"{stem}.color.png", frame.image[..., ::-1])
        cv2.imwrite(f"{stem}.depth.png", (frame.depth * 1000).astype(np.uint16))
        np.savetxt(f"{stem}.pose.txt", frame.T_world_camera)

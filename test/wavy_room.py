"""A square room with wavy walls in closed form: what a robot in it sees from any pose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mirage_ros.geometry import T_BODY_OPTICAL, PinholeCamera
from mirage_ros.planning.occupancy import OccupancyConfig, OccupancyGrid
from mirage_ros.planning.planar import planar_matrices
from mirage_ros.planning.shortest_path import FloorMap
from mirage_ros.planning.views import PlannedView

#: Walls stand at x and y of -HALF and HALF, metres.
HALF = 2.5
CAMERA = PinholeCamera(128, 96, 80.0, 80.0, 64.0, 48.0)
T_BASE_CAMERA = T_BODY_OPTICAL.copy()
T_BASE_CAMERA[2, 3] = 0.8


def look(T_world_camera: np.ndarray) -> PlannedView:
    """What is seen of the four walls; they are as high as the view."""
    uv = CAMERA.pixel_centres()
    rays = CAMERA.unproject(uv, np.ones(uv.shape[:2])) @ T_world_camera[:3, :3].T
    eye = T_world_camera[:3, 3]
    with np.errstate(divide="ignore"):
        reach = np.maximum((HALF - eye[:2]) / rays[..., :2], (-HALF - eye[:2]) / rays[..., :2])
    depth = reach.min(axis=-1)
    x, y, z = np.moveaxis(eye + depth[..., None] * rays, -1, 0)
    waves = [
        np.sin(2.1 * x + 1.3 * y + z) + np.sin(0.7 * y),
        np.cos(1.7 * x - 2.3 * y) * np.cos(z),
        np.sin(2.9 * y + 0.5 * x) + np.cos(1.1 * x - z),
    ]
    image = np.rint(127.5 + 60.0 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)
    known = np.ones(uv.shape[:2], dtype=np.bool_)
    return PlannedView(image, known, depth.astype(np.float32), T_world_camera, CAMERA, 1.0)


def look_from(pose: Sequence[float]) -> PlannedView:
    """What the robot sees at x, y, heading."""
    return look(planar_matrices([pose])[0] @ T_BASE_CAMERA)


class RoomImaginer:
    """Predicts the room as it is, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def imagine(self, paths: Sequence[np.ndarray]) -> list[list[PlannedView]]:
        self.calls += 1
        return [[look(pose) for pose in path] for path in paths]


def room_floor() -> FloorMap:
    """All of the room is known to be free."""
    grid = OccupancyGrid(-HALF, -HALF, HALF, HALF, OccupancyConfig(resolution=0.1))
    for x in np.arange(-HALF + 0.05, HALF, 0.1):
        for y in np.arange(-HALF + 0.05, HALF, 0.1):
            grid.stand(float(x), float(y), 0.01)
    return FloorMap.of(grid, 0.25)

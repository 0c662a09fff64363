"""Free, occupied and unknown floor as a grid, from depth seen or predicted at known poses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.geometry import PinholeCamera

#: What a cell of the grid can be.
UNKNOWN, FREE, OCCUPIED = 0, 1, 2

#: Samples along a ray where it is near the floor, at most.
_RAY_SAMPLES = 24


@dataclass(frozen=True)
class OccupancyConfig:
    """How depth becomes floor.

    Attributes:
        resolution: size of a cell, metres.
        floor_height: lower points belong to the floor, metres.
        robot_height: higher points are passed beneath, metres.
        clear_height: a ray frees the cells that it crosses lower than this, metres. What stands on
            the floor below a higher ray would not have stopped it.
        hits: obstacle points that make a cell occupied.
        max_range: farther points are not used, metres.
        stride: every how many pixels of a depth map are used, along each axis.

    Raises:
        ConfigurationError: a value is out of range.
    """

    resolution: float = 0.05
    floor_height: float = 0.05
    robot_height: float = 1.0
    clear_height: float = 0.35
    hits: int = 3
    max_range: float = 6.0
    stride: int = 4

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigurationError(f"occupancy {name} must be positive. Got {value}")
        if not self.floor_height < self.clear_height <= self.robot_height:
            raise ConfigurationError(
                "floor_height < clear_height <= robot_height must hold. Got "
                f"{self.floor_height}, {self.clear_height} and {self.robot_height}"
            )


class OccupancyGrid:
    """Counts what depth maps say of every cell of the floor.

    The floor is the plane z = 0 of the world. A cell is occupied where points between the floor and
    the robot's height were seen, else free where rays crossed it near the floor or the robot stood,
    else unknown. Occupied wins: a table's top is an obstacle, whatever is seen beneath it.

    Args:
        x_min: the grid's border, metres; likewise the others.
        y_min: see above.
        x_max: see above.
        y_max: see above.
        config: how depth becomes floor.

    Raises:
        ConfigurationError: an empty or boundless area.
    """

    def __init__(
        self,
        x_min: float,
        y_min: float,
        x_max: float,
        y_max: float,
        config: OccupancyConfig | None = None,
    ) -> None:
        self.config = config or OccupancyConfig()
        if not (x_min < x_max and y_min < y_max and math.isfinite(x_max - x_min + y_max - y_min)):
            raise ConfigurationError(
                f"a grid needs an area. Got x from {x_min} to {x_max}, y from {y_min} to {y_max}"
            )
        self.origin = (x_min, y_min)
        size = (y_max - y_min, x_max - x_min)
        self.shape = tuple(math.ceil(side / self.config.resolution - 1e-9) for side in size)
        self._hits = np.zeros(self.shape[0] * self.shape[1], dtype=np.int64)
        self._passes = np.zeros_like(self._hits)

    def add(
        self,
        depth: NDArray[np.float32],  # (H, W) z-depth in metres, 0 or NaN = unknown
        camera: PinholeCamera,  # of the depth map
        T_world_camera: NDArray[np.float64],  # (4, 4)
    ) -> None:
        """Enter a depth map.

        Raises:
            FrameError: depth of another size than the camera's.
        """
        if depth.shape != (camera.height, camera.width):
            raise FrameError(
                f"depth must have the camera's shape {(camera.height, camera.width)}. "
                f"Got {depth.shape}"
            )
        config, step = self.config, self.config.stride
        # From the middle of the stride on, so that borders count alike.
        window = (slice(step // 2, None, step), slice(step // 2, None, step))
        values = np.nan_to_num(depth[window], nan=0.0, posinf=0.0)
        seen = (values > 0.0) & (values <= config.max_range)
        points = camera.unproject(camera.pixel_centres()[window][seen], values[seen])
        points = points @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
        height = points[:, 2]
        obstacle = (height > config.floor_height) & (height < config.robot_height)
        self._count(self._hits, points[obstacle, :2])
        self._carve(points[height < config.clear_height], T_world_camera[:3, 3])

    def _carve(
        self,
        points: NDArray[np.float64],  # (N, 3) low ends of rays, world
        eye: NDArray[np.float64],  # (3,)
    ) -> None:
        """Free what rays cross near the floor, except for the cells that they end in."""
        if not len(points) or eye[2] <= self.config.clear_height:
            return
        rays = points - eye
        # From where the ray comes down to the clear height (share 1 is its end).
        start = (self.config.clear_height - eye[2]) / rays[:, 2]
        length = np.hypot(rays[:, 0], rays[:, 1])
        end = np.where(
            points[:, 2] < self.config.floor_height,
            1.0,
            1.0 - 1.5 * self.config.resolution / np.maximum(length, 1e-6),
        )
        valid = (start < end) & (rays[:, 2] < 0.0)
        shares = np.linspace(0.0, 1.0, _RAY_SAMPLES)
        along = start[valid, None] + (end - start)[valid, None] * shares
        crossed = eye[:2] + along[..., None] * rays[valid, None, :2]
        self._count(self._passes, crossed.reshape(-1, 2))

    def stand(self, x: float, y: float, radius: float) -> None:
        """Enter that the robot stood somewhere: there is nothing within its radius."""
        steps = math.ceil(2.0 * radius / self.config.resolution)
        reach = np.linspace(-radius, radius, 2 * steps + 1)
        dx, dy = np.meshgrid(reach, reach)
        inside = np.hypot(dx, dy) <= radius
        spots = np.stack([x + dx[inside], y + dy[inside]], axis=-1)
        self._count(self._passes, spots)

    def _count(self, counts: NDArray[np.int64], points: NDArray[np.float64]) -> None:
        cells = self.cells_of(points)
        inside = ((cells >= 0) & (cells < self.shape)).all(axis=-1)
        flat = cells[inside, 0] * self.shape[1] + cells[inside, 1]
        counts += np.bincount(flat, minlength=counts.size)

    def cells_of(self, points: NDArray[np.float64]) -> NDArray[np.int64]:  # (N, 2) -> (N, 2)
        """Rows (along y) and columns (along x) of world points; may lie outside the grid."""
        cells = np.floor((points - np.array(self.origin)) / self.config.resolution)
        swapped: NDArray[np.int64] = cells[..., ::-1].astype(np.int64)
        return swapped

    def centres_of(self, cells: NDArray[np.int64]) -> NDArray[np.float64]:  # (N, 2) -> (N, 2)
        """World x and y of cells' centres."""
        xy = np.asarray(cells, dtype=np.float64)[..., ::-1] + 0.5
        centres: NDArray[np.float64] = xy * self.config.resolution + np.array(self.origin)
        return centres

    @property
    def state(self) -> NDArray[np.uint8]:  # (rows, columns)
        """What every cell is: :data:`UNKNOWN`, :data:`FREE` or :data:`OCCUPIED`."""
        state = np.where(self._passes > 0, np.uint8(FREE), np.uint8(UNKNOWN))
        state[self._hits >= self.config.hits] = OCCUPIED
        return state.reshape(self.shape)

    def clearance(self, *, unknown_blocks: bool = True) -> NDArray[np.float32]:
        """Distance from every cell to the nearest that is occupied (or unknown), metres.

        (rows, columns); 0 in such cells themselves. The border of the grid counts as unknown.
        """
        state = self.state
        open_cells = state == FREE if unknown_blocks else state != OCCUPIED
        framed = np.pad(open_cells.astype(np.uint8), 1, constant_values=int(not unknown_blocks))
        distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        # Distances are between cell centres; what blocks begins half a cell earlier.
        inner = distance[1:-1, 1:-1].astype(np.float32)
        clear: NDArray[np.float32] = np.maximum(inner - np.float32(0.5), 0.0)
        return clear * np.float32(self.config.resolution)

    def frontiers(self) -> NDArray[np.bool_]:  # (rows, columns)
        """Free cells beside unknown ones (four neighbours)."""
        state = self.state
        unknown = np.pad(state == UNKNOWN, 1)
        beside = unknown[:-2, 1:-1] | unknown[2:, 1:-1] | unknown[1:-1, :-2] | unknown[1:-1, 2:]
        frontier: NDArray[np.bool_] = (state == FREE) & beside
        return frontier

"""What all episodes of an apartment share: the tour's memory, its map, galleries and goals."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.backends import build_world_model
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.episode_imaginers import ModelImaginer, TrueImaginer
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import inverse
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.planning.candidates import camera_path, viewpoints
from mirage_ros.planning.encoding import dct_cost, dct_encoder
from mirage_ros.planning.gallery import Gallery
from mirage_ros.planning.occupancy import OccupancyGrid
from mirage_ros.planning.planar import planar_pose_of, wrapped
from mirage_ros.planning.shortest_path import FloorMap
from mirage_ros.sources.simulator import RobotCamera, Simulator, build_apartment, robot_tour
from mirage_ros.sources.simulator.robot import RADIUS
from mirage_ros.world_model import WorldModel

#: What the robot's middle keeps from things on its map, metres: its radius and a margin for cells.
KEEP = RADIUS + 0.09

#: A goal is at least this far, or turned by this much, from every pose of the tour.
GOAL_DISTANCE, GOAL_TURN = 0.5, math.radians(30.0)
#: Room about a goal, and the median depth of its view, metres: the robot can stand there, and does
#: not stare at a wall.
GOAL_CLEARANCE, GOAL_DEPTH = 0.30, 1.2
#: Straight distance from start to goal at least, metres.
START_DISTANCE = 1.5

_MAP_MARGIN = 0.3

Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class Task:
    """One episode's question.

    Attributes:
        start: (3,) x, y, heading of the base.
        goal: (3,) where the image was taken.
        image: (H, W, 3) uint8, the true view from there.
        shortest: metres of the shortest way on the true floor.
        known: share of the goal's view that the tour's memory remembers.
    """

    start: NDArray[np.float64]
    goal: NDArray[np.float64]
    image: NDArray[np.uint8]
    shortest: float
    known: float


@dataclass(frozen=True)
class EpisodeSizes:
    """How large everything is.

    Attributes:
        width: of the views, pixels.
        height: likewise.
        tour_s: simulated seconds of the tour, None = all of it.
        spacing: of the gallery's places, metres.
        headings: at each of them.
    """

    width: int = 320
    height: int = 256
    tour_s: float | None = None
    spacing: float = 0.5
    headings: int = 8


def readout_model(sizes: EpisodeSizes) -> WorldModel:
    """A world model that remembers nothing yet, and invents nothing."""
    return build_world_model(
        "readout", generation_width=sizes.width, generation_height=sizes.height
    )


class Apartment:
    """The tour through an apartment, remembered, and what planners are given of it.

    Rendering and the memory belong to the thread that made it.

    Args:
        seed: which apartment.
        sizes: of views and galleries.
        progress: wraps what is iterated over, with a name.
        build: makes a world model that remembers nothing yet.

    Attributes:
        seed: which apartment.
        keyframes: that the memory was built from.
        floor: the map made of their depth.
    """

    def __init__(
        self,
        seed: int,
        sizes: EpisodeSizes,
        progress: Progress,
        build: Callable[[EpisodeSizes], WorldModel] = readout_model,
    ) -> None:
        self.seed = seed
        self.sizes = sizes
        self._build = build
        self._progress = progress
        tour = robot_tour(
            seed, camera=RobotCamera(sizes.width, sizes.height), duration_s=sizes.tour_s
        )
        poses = tour.poses
        self.model = self.new_model()
        self._mount = RobotCamera(sizes.width, sizes.height)
        self.simulator = Simulator(build_apartment(seed), camera=self._mount)
        self.tour_poses = np.stack(
            [planar_pose_of(pose @ inverse(self._mount.T_base_camera)) for pose in poses]
        )
        grid = self.new_grid()
        policy = KeyframePolicy()
        self.keyframes: list[RgbdFrame] = []
        last: tuple[int, NDArray[np.float64]] | tuple[None, None] = (None, None)
        stamps_ns = tour.stamps_ns
        for number in progress(range(len(poses)), f"apartment {seed}: tour"):
            x, y, _ = self.tour_poses[number].tolist()
            grid.stand(x, y, RADIUS)
            if policy.wants(int(stamps_ns[number]), poses[number], *last):
                last = int(stamps_ns[number]), poses[number]
                frame = tour[number]
                self.keyframes.append(frame)
                self.model.observe(frame)
                assert frame.depth is not None
                grid.add(frame.depth, frame.camera, frame.T_world_camera)
        tour.close()
        self.floor = FloorMap.of(grid, KEEP)
        self.encode = dct_encoder()
        self.cost = dct_cost()
        self._galleries: dict[str, Gallery] = {}
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "memory.safetensors"
        self.model.save(self._file, "world")

    def close(self) -> None:
        """Free the renderer and the memory's file."""
        self.simulator.close()
        self._folder.cleanup()

    def new_model(self) -> WorldModel:
        """A world model that remembers nothing yet."""
        return self._build(self.sizes)

    def model_of_tour(self) -> WorldModel:
        """A world model that remembers the tour and shares nothing with others."""
        model = self.new_model()
        model.load(self._file)
        return model

    def new_grid(self) -> OccupancyGrid:
        """A map of the apartment's extent that knows nothing yet."""
        area = self.simulator.scene.plan.bounds.inflated(_MAP_MARGIN)
        return OccupancyGrid(area.x_min, area.y_min, area.x_max, area.y_max)

    def gallery(self, kind: str) -> Gallery:
        """Views over the floor, made when first asked for.

        Args:
            kind: ``imagined``, ``true`` (rendered) or ``keyframes`` (those of the tour).

        Raises:
            ConfigurationError: another kind.
        """
        if kind not in self._galleries:
            if kind == "keyframes":
                self._galleries[kind] = self._keyframe_gallery()
            elif kind in ("imagined", "true"):
                camera = self.simulator.camera
                imaginer = (
                    ModelImaginer(self.model, camera)
                    if kind == "imagined"
                    else TrueImaginer(self.simulator)
                )
                start = (float(self.tour_poses[0, 0]), float(self.tour_poses[0, 1]))
                poses = viewpoints(
                    self.floor,
                    start,
                    spacing=self.sizes.spacing,
                    headings=self.sizes.headings,
                )
                self._galleries[kind] = Gallery.imagined(
                    imaginer, self.encode, poses, self.simulator.T_base_camera, self.cost
                )
            else:
                raise ConfigurationError(
                    f"a gallery must be imagined, true or keyframes. Got '{kind}'"
                )
        return self._galleries[kind]

    def _keyframe_gallery(self) -> Gallery:
        latents = self.encode(np.stack([frame.image for frame in self.keyframes]))
        rows, columns = latents.shape[2:]
        known = np.ones((len(latents), rows, columns), dtype=np.float32)
        mount = inverse(self._mount.T_base_camera)
        poses = np.stack([planar_pose_of(f.T_world_camera @ mount) for f in self.keyframes])
        focal = self.simulator.camera.fx * columns / self.sizes.width
        # Unshifted: the robot is to stand where the keyframe was taken, as it was taken.
        return Gallery(poses, latents, known, focal, self.cost, shifts=(0,))

    def tasks(self, count: int, seed: int) -> list[Task]:
        """Random questions; one seed and one apartment make one list.

        Raises:
            ConfigurationError: too few poses of this apartment make a question.
        """
        rng = np.random.default_rng([seed, self.seed])
        free = self.simulator.scene.free_space
        home = (float(self.tour_poses[0, 0]), float(self.tour_poses[0, 1]))
        places = self.floor.grid.centres_of(np.argwhere(self.floor.reachable(*home)))
        half = self.floor.grid.config.resolution / 2.0
        tasks: list[Task] = []
        imaginer = ModelImaginer(self.model, self.simulator.camera)
        for _ in range(400 * count):
            if len(tasks) == count:
                return tasks
            ends = places[rng.integers(len(places), size=2)] + rng.uniform(-half, half, (2, 2))
            start, goal = np.column_stack([ends, rng.uniform(-np.pi, np.pi, 2)])
            if (free.clearance_at(ends) < GOAL_CLEARANCE).any() or self._on_tour(goal):
                continue
            if float(np.hypot(*(goal - start)[:2])) < START_DISTANCE:
                continue
            camera = camera_path(goal[None], self._mount.T_base_camera)
            image, depth = self.simulator.render_from(camera[0])
            if float(np.median(np.where(depth > 0.0, depth, np.inf))) < GOAL_DEPTH:
                continue
            way = free.path((start[0], start[1]), (goal[0], goal[1]))
            shortest = float(np.hypot(*np.diff(way, axis=0).T).sum())
            known = imaginer.imagine([camera])[0][0].known_fraction
            tasks.append(Task(start, goal, image, shortest, known))
        raise ConfigurationError(
            f"apartment {self.seed} gave {len(tasks)} questions, expected {count}: too few poses "
            "are reachable and away from the tour"
        )

    def _on_tour(self, pose: NDArray[np.float64]) -> bool:
        near = np.hypot(*(self.tour_poses[:, :2] - pose[:2]).T) < GOAL_DISTANCE
        alike = np.abs(wrapped(self.tour_poses[:, 2] - pose[2])) < GOAL_TURN
        return bool((near & alike).any())

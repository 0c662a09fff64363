"""A camera's smooth way through an apartment and back to exactly where it began."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.poses import rotation_angle
from mirage_ros.sources.simulator.apartment import ApartmentScene, build_apartment
from mirage_ros.sources.simulator.rendered import RenderedSequence
from mirage_ros.sources.simulator.robot import RobotCamera, planar_pose
from mirage_ros.sources.simulator.simulator import Simulator

#: Height of the camera, metres.
CAMERA_HEIGHT = 1.0

#: Rooms on a ring of doors, and rooms that a circuit can visit on its way between them.
_RING = ("living", "kitchen")
_SIDE_ROOMS = ("study", "bedroom", "bathroom")

#: Circuits and whole turns have to come this near to the motion asked for, as a factor.
_TOLERANCE = 1.2

#: What another lap of a circuit costs, in logarithms of misfit: new rooms are worth more.
_LAP_COST = 0.1

#: Headings that are tried at the start, and how far free floor matters, metres.
_PHASES = 48
_VIEW_LIMIT = 4.0


@dataclass(frozen=True)
class ClosedTour:
    """A closed tour with its motion.

    Attributes:
        frames: what the camera sees; the last pose is the first one again, bit by bit.
        rooms: kinds of rooms in the order in which they are passed.
        frames_per_chunk: steps over which the motion is stated.
        metres_per_chunk: way of the camera in a chunk, on average.
        degrees_per_chunk: rotation of the camera in a chunk, on average.
    """

    frames: RenderedSequence
    rooms: tuple[str, ...]
    frames_per_chunk: int
    metres_per_chunk: float
    degrees_per_chunk: float


def closed_loop_tour(
    seed: int,
    frames: int,
    *,
    width: int = 320,
    height: int = 256,
    frames_per_chunk: int = 8,
    metres_per_chunk: float = 1.0,
    degrees_per_chunk: float = 15.0,
    rate_hz: float = 8.0,
) -> ClosedTour:
    """A tour of ``frames`` frames through the apartment of a seed that ends where it began.

    The camera goes along a circuit through rooms, several times where it has to, or out and back
    where no circuit is as short. All the while it turns steadily, or swings to and fro where whole
    turns do not fit. It keeps off walls and furniture as a robot would. Circuits and whole turns
    are as long as they are: the motion comes within about a fifth of what is asked for, and the
    tour says what it is.

    Raises:
        ConfigurationError: fewer frames than two chunks, or a size, rate or motion out of range.
    """
    motion = (metres_per_chunk, degrees_per_chunk, rate_hz)
    if not all(value > 0.0 and math.isfinite(value) for value in motion) or frames_per_chunk < 1:
        raise ConfigurationError(
            f"frames, metres and degrees per chunk and rate_hz must be positive. "
            f"Got {frames_per_chunk}, {metres_per_chunk}, {degrees_per_chunk} and {rate_hz}"
        )
    if frames <= 2 * frames_per_chunk:
        raise ConfigurationError(
            f"a closed tour needs more than two chunks of {frames_per_chunk} frames. Got {frames}"
        )
    camera = RobotCamera(width, height, mount_height=CAMERA_HEIGHT)
    scene = build_apartment(seed)
    chunks = (frames - 1) / frames_per_chunk
    rooms, positions = _positions(scene, frames, chunks * metres_per_chunk)
    headings = _headings(scene, positions, math.radians(chunks * degrees_per_chunk))
    # On the robot the camera sits ahead of the centre that it turns about; here it is the centre.
    mount = camera.T_base_camera
    mount[:2, 3] = 0.0
    poses = np.stack(
        [
            planar_pose(float(x), float(y), float(heading)) @ mount
            for (x, y), heading in zip(positions, headings, strict=True)
        ]
    )
    poses[-1] = poses[0]
    stamps_ns = np.rint(np.arange(frames) * 1e9 / rate_hz).astype(np.int64)
    way = float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=-1).sum())
    turn = math.fsum(rotation_angle(a, b) for a, b in itertools.pairwise(poses))
    return ClosedTour(
        RenderedSequence(Simulator(scene, camera=camera), poses, stamps_ns),
        rooms,
        frames_per_chunk,
        way / chunks,
        math.degrees(turn) / chunks,
    )


def _positions(
    scene: ApartmentScene, frames: int, length: float
) -> tuple[tuple[str, ...], NDArray[np.float64]]:  # (frames, 2)
    """Rooms, and positions along a closed way of about a length, the last like the first."""
    best: tuple[float, float, tuple[str, ...], NDArray[np.float64]] | None = None
    ring: NDArray[np.float64] | None = None
    for rooms, points in _circuits(scene):
        ring = points if ring is None else ring
        circuit = scene.free_space.smooth_circuit(points)
        laps = max(1, round(length / _length(circuit)))
        misfit = abs(math.log(laps * _length(circuit) / length))
        cost = misfit + _LAP_COST * (laps - 1)
        if best is None or cost < best[0]:
            best = cost, misfit, rooms * laps, np.tile(circuit, (laps, 1))
    assert best is not None
    assert ring is not None
    _, misfit, rooms, way = best
    if misfit > math.log(_TOLERANCE):
        rooms, way = _RING[:1], _there_and_back(scene, ring, length)
    closed = np.concatenate([way, way[:1]])
    at = np.linspace(0.0, len(way), frames)
    index = np.arange(len(closed))
    return rooms, np.stack([np.interp(at, index, closed[:, axis]) for axis in (0, 1)], axis=-1)


def _circuits(
    scene: ApartmentScene,
) -> Iterator[tuple[tuple[str, ...], NDArray[np.float64]]]:  # rooms, (N, 2)
    """Closed ways through the ring of rooms and some, all or none of the side rooms."""
    free_space, plan = scene.free_space, scene.plan
    stops = {room.kind: free_space.viewpoint(room.rectangle) for room in plan.rooms}
    legs: dict[tuple[str, str], NDArray[np.float64]] = {}
    for count in range(len(_SIDE_ROOMS) + 1):
        for sides in itertools.permutations(_SIDE_ROOMS, count):
            rooms = (*_RING, *(sides or ("hall",)))
            pairs = list(zip(rooms, (*rooms[1:], rooms[0]), strict=True))
            for start, goal in pairs:
                if (start, goal) not in legs:
                    legs[start, goal] = free_space.path(stops[start], stops[goal])
            yield rooms, np.concatenate([legs[pair][:-1] for pair in pairs])


def _there_and_back(
    scene: ApartmentScene, points: NDArray[np.float64], length: float
) -> NDArray[np.float64]:  # (N, 2)
    """A way of a length along the beginning of a circuit and back."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    way, reach = points, length / 2.0
    for _ in range(3):
        out = points[: max(3, int(np.searchsorted(along, reach)))]
        way = scene.free_space.smooth_circuit(np.concatenate([out, out[-2:0:-1]]))
        # Smoothing shortens the two places where it turns back.
        reach += (length - _length(way)) / 2.0
    return way


def _course(
    count: int,
    total: float,  # radians turned altogether
) -> NDArray[np.float64]:  # (count,) radians
    """Whole turns at a steady rate where they fit, else swings to and fro; ends as it begins."""
    done = np.linspace(0.0, 1.0, count)
    cycles = max(1, round(total / (2.0 * math.pi)))
    if abs(math.log(2.0 * math.pi * cycles / total)) <= math.log(_TOLERANCE):
        return 2.0 * math.pi * cycles * done
    swings: NDArray[np.float64] = np.sin(2.0 * math.pi * cycles * done)
    return total / (4.0 * cycles) * swings


def _headings(
    scene: ApartmentScene,
    positions: NDArray[np.float64],  # (N, 2)
    total: float,  # radians turned altogether
) -> NDArray[np.float64]:  # (N,) radians
    """The course whose start and sense look into open space as much as they can."""
    course = _course(len(positions), total)
    phases = np.linspace(0.0, 2.0 * math.pi, _PHASES, endpoint=False)
    some = np.linspace(0, len(positions) - 1, min(len(positions), 200)).astype(np.int64)
    distances = scene.free_space.view_distances(positions[some], phases, _VIEW_LIMIT)
    # The logarithm minds a wall before the lens more than it likes a long view.
    openness = np.log(distances)
    side = _PHASES // 16
    openness += np.roll(openness, side, axis=1) + np.roll(openness, -side, axis=1)

    def score(heading: NDArray[np.float64]) -> float:
        bins = np.rint(heading[some] / (2.0 * math.pi) * _PHASES).astype(np.int64) % _PHASES
        return float(openness[np.arange(len(some)), bins].mean())

    courses = (phase + sign * course for sign in (1.0, -1.0) for phase in phases)
    return max(courses, key=score)


def _length(circuit: NDArray[np.float64]) -> float:
    steps = np.diff(circuit, axis=0, append=circuit[:1])
    return float(np.hypot(*steps.T).sum())

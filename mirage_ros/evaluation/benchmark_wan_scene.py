"""What the Wan2.2 benchmark remembers and where its rollouts go.

A tour of the simulated apartment where MuJoCo is installed and can render; else a room of textured
walls, whose pictures and exact depth are computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera

SCENES = ("auto", "apartment", "room")

#: Every so many-th frame of a tour is remembered: 2 Hz of 16 Hz.
_KEYFRAME_EVERY = 8
_RATE_HZ = 16.0
#: Motion a chunk of 32 frames, as of the apartment's tour.
_METRES, _DEGREES, _CHUNK = 1.0, 15.0, 32

#: The room: length, width and height in metres, with the origin at the middle of its floor.
_ROOM = np.array([7.0, 6.0, 2.6])
_EYE = 1.2
#: No wider than this is the camera's circle, metres.
_RADIUS = 1.5

Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class Scene:
    """Frames to remember, and a way along them.

    Attributes:
        name: what it is.
        frames: keyframes of the whole tour, the first at the path's first pose.
        camera: of all views.
        path: (N, 4, 4) poses of the tour, 16 a second.
    """

    name: str
    frames: list[RgbdFrame]
    camera: PinholeCamera
    path: NDArray[np.float64]


def make_scene(
    kind: str, seed: int, size: tuple[int, int], count: int, progress: Progress
) -> Scene:
    """A closed tour of ``count`` poses.

    Args:
        kind: one of :data:`SCENES`; ``auto``: the apartment where it can be rendered.
        seed: of the apartment.
        size: width x height of views.
        count: of poses.
        progress: wraps the loop over rendered frames.

    Raises:
        ConfigurationError: an unknown kind.
        ModuleNotFoundError: MuJoCo is missing, and the apartment was asked for.
    """
    if kind not in SCENES:
        raise ConfigurationError(f"scene must be one of {', '.join(SCENES)}. Got '{kind}'")
    if kind == "room":
        return textured_room(size, count)
    try:
        return _apartment(seed, size, count, progress)
    except (ImportError, AttributeError, OSError, RuntimeError, ConfigurationError):
        # Without MuJoCo, or a library to render with, which is missed in as many ways.
        if kind == "apartment":
            raise
        return textured_room(size, count)


def _apartment(seed: int, size: tuple[int, int], count: int, progress: Progress) -> Scene:
    from mirage_ros.sources.simulator.closed_tour import closed_loop_tour

    tour = closed_loop_tour(
        seed,
        count,
        width=size[0],
        height=size[1],
        frames_per_chunk=_CHUNK,
        metres_per_chunk=_METRES,
        degrees_per_chunk=_DEGREES,
        rate_hz=_RATE_HZ,
    )
    with tour.frames as source:
        numbers = progress(range(0, count, _KEYFRAME_EVERY), "render the apartment")
        frames = [source[number] for number in numbers]
        path = source.poses
    return Scene(f"simulated apartment {seed}", frames, frames[0].camera, path)


def textured_room(size: tuple[int, int], count: int) -> Scene:
    """A room of six textured planes, seen on a circle with the gaze swinging to and fro."""
    width, height = size
    camera = PinholeCamera(width, height, 0.7 * width, 0.7 * width, width / 2, height / 2)
    chunks = (count - 1) / _CHUNK
    phase = 2.0 * math.pi * np.arange(count) / (count - 1)
    radius = min(_METRES * chunks / (2.0 * math.pi), _RADIUS)
    yaw = math.radians(_DEGREES * chunks / 4.0) * np.sin(phase)
    path = np.tile(np.eye(4), (count, 1, 1))
    # Columns: right, down and forward, in a world whose z points up.
    path[:, :3, 0] = np.stack([np.sin(yaw), -np.cos(yaw), np.zeros(count)], axis=-1)
    path[:, :3, 1] = [0.0, 0.0, -1.0]
    path[:, :3, 2] = np.stack([np.cos(yaw), np.sin(yaw), np.zeros(count)], axis=-1)
    path[:, 0, 3] = radius * np.cos(phase)
    path[:, 1, 3] = radius * np.sin(phase)
    path[:, 2, 3] = _EYE
    path[-1] = path[0]
    frames = [
        _room_view(camera, path[number], round(number * 1e9 / _RATE_HZ))
        for number in range(0, count, _KEYFRAME_EVERY)
    ]
    return Scene("textured room", frames, camera, path)


def _room_view(
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (4, 4)
    stamp_ns: int,
) -> RgbdFrame:
    centres = camera.pixel_centres()
    rays = camera.unproject(centres, np.ones(centres.shape[:2])) @ T_world_camera[:3, :3].T
    eye = T_world_camera[:3, 3]
    low, high = _ROOM * [-0.5, -0.5, 0.0], _ROOM * [0.5, 0.5, 1.0]
    with np.errstate(divide="ignore", invalid="ignore"):
        # z-depth at which each ray leaves through each pair of walls: rays are 1 long along z.
        reach = np.where(rays > 0.0, (high - eye) / rays, (low - eye) / rays)
    reach = np.where(np.abs(rays) < 1e-12, np.inf, reach)
    wall = reach.argmin(axis=-1)
    depth = reach.min(axis=-1)
    points = eye + rays * depth[..., None]
    along = np.where(wall == 0, points[..., 1], points[..., 0])
    up = np.where(wall == 2, points[..., 1], points[..., 2])
    waves = [
        np.sin(3.0 * along + 2.0 * up + 1.3 * wall),
        np.cos(7.0 * along - 11.0 * up + wall),
        np.sin(23.0 * along) * np.cos(19.0 * up),
    ]
    shades = 0.5 + 0.4 * np.stack(waves, axis=-1)
    image = np.rint(255.0 * shades.clip(0.0, 1.0)).astype(np.uint8)
    return RgbdFrame(stamp_ns, image, depth.astype(np.float32), camera, T_world_camera)

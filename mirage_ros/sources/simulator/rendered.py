"""Frames of the apartment from poses that are known beforehand, rendered when asked for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.sources.frame_source import FrameSource
from mirage_ros.sources.simulator.apartment import build_apartment
from mirage_ros.sources.simulator.robot import RobotCamera
from mirage_ros.sources.simulator.simulator import Simulator
from mirage_ros.sources.simulator.tour import CONTROL_PERIOD, Tour

#: A tour takes about its own estimate; after this many times that, it is given up.
_PATIENCE = 2.0


class RenderedSequence(FrameSource):
    """Frames along given camera poses, like those of a recording; nothing is kept in memory.

    Rendering belongs to the thread that asks for the first frame.

    Args:
        simulator: renders; closed with the sequence.
        poses: (N, 4, 4) T_world_camera, at least one.
        stamps_ns: (N,) times, nanoseconds, ascending.

    Attributes:
        layout: always ``simulator``.
        left_out: always 0.
    """

    layout = "simulator"
    left_out = 0

    def __init__(
        self,
        simulator: Simulator,
        poses: NDArray[np.float64],
        stamps_ns: NDArray[np.int64],
    ) -> None:
        self._simulator = simulator
        self._poses = poses
        self._stamps_ns = stamps_ns

    @property
    def camera(self) -> PinholeCamera:
        """Intrinsics of every image, corner convention."""
        return self._simulator.camera

    def __len__(self) -> int:
        return len(self._poses)

    def __getitem__(self, index: int) -> RgbdFrame:
        """The frame at a position, negative ones counted from the end.

        Raises:
            IndexError: outside the sequence.
            ConfigurationError: this machine has no library to render with.
        """
        pose, stamp_ns = self._poses[index], int(self._stamps_ns[index])
        image, depth = self._simulator.render_from(pose)
        return RgbdFrame(stamp_ns, image, depth, self.camera, pose.copy())

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) simulated times, nanoseconds, ascending."""
        return self._stamps_ns.copy()

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) 0, 1, 2 and so on."""
        return np.arange(len(self), dtype=np.int64)

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera of every frame, optical convention; nothing is rendered."""
        return self._poses.copy()

    def close(self) -> None:
        """Free the renderer's OpenGL context."""
        self._simulator.close()


def robot_tour(
    seed: int,
    *,
    camera: RobotCamera | None = None,
    rate_hz: float = 5.0,
    duration_s: float | None = None,
) -> RenderedSequence:
    """What the robot's camera sees while it drives the scripted tour of an apartment, once.

    Physics are run through beforehand, a matter of seconds, and pictures rendered when asked for.

    Args:
        seed: which apartment.
        camera: on the robot's mast; None = the default one, 320x256.
        rate_hz: frames a simulated second.
        duration_s: simulated seconds after which it ends; None = with the tour.

    Raises:
        ConfigurationError: rate or duration is not positive.
    """
    if not (rate_hz > 0.0 and math.isfinite(rate_hz)):
        raise ConfigurationError(f"rate_hz must be positive frames a second. Got {rate_hz}")
    if duration_s is not None and not duration_s > 0.0:
        raise ConfigurationError(f"duration_s must be positive seconds. Got {duration_s}")
    scene = build_apartment(seed)
    tour = Tour(scene)
    simulator = Simulator(scene, tour.start, camera=camera)
    limit_s = _PATIENCE * tour.duration if duration_s is None else duration_s
    poses, stamps_ns = [], []
    controls = 0
    # The quotient of, say, 0.6 and 0.2 falls just short of 3.
    for number in range(math.floor(limit_s * rate_hz + 1e-9) + 1):
        due_s = number / rate_hz
        while controls * CONTROL_PERIOD <= due_s:
            simulator.step(max(0.0, controls * CONTROL_PERIOD - simulator.time))
            simulator.set_command(*tour.command(simulator.T_world_base))
            controls += 1
        simulator.step(max(0.0, due_s - simulator.time))
        if tour.finished:
            break
        poses.append(simulator.T_world_camera)
        stamps_ns.append(round(simulator.time * 1e9))
    return RenderedSequence(simulator, np.stack(poses), np.array(stamps_ns, dtype=np.int64))

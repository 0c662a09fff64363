"""Frames of the apartment from poses that are known beforehand, rendered when asked for."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, SequenceError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.interpolation import interpolate_pose
from mirage_ros.sources.frame_source import FrameSource
from mirage_ros.sources.simulator.apartment import ApartmentScene, Lighting, build_apartment
from mirage_ros.sources.simulator.movers import Mover
from mirage_ros.sources.simulator.odometry import OdometryDrift
from mirage_ros.sources.simulator.robot import RobotCamera
from mirage_ros.sources.simulator.simulator import Simulator
from mirage_ros.sources.simulator.tour import CONTROL_PERIOD, Tour

#: A tour takes about its own estimate; after this many times that, it is given up.
_PATIENCE = 2.0


class RenderedSequence(FrameSource):
    """Frames along given camera poses, like those of a recording; nothing is kept in memory.

    Rendering belongs to the thread that asks for the first frame.

    Args:
        simulator: renders; closed with the sequence. Its movers are shown as of every frame's
            exposure.
        poses: (N, 4, 4) T_world_camera, at least one.
        stamps_ns: (N,) times, nanoseconds, ascending.
        odometry_poses: (N, 4, 4) T_world_camera as odometry has it; None = the true ones.
        camera_time_offset: seconds by which stamps are late against the exposures.

    Attributes:
        layout: always ``simulator``.
        left_out: always 0.

    Raises:
        SequenceError: not as many odometry poses as poses.
    """

    layout = "simulator"
    left_out = 0

    def __init__(
        self,
        simulator: Simulator,
        poses: NDArray[np.float64],
        stamps_ns: NDArray[np.int64],
        *,
        odometry_poses: NDArray[np.float64] | None = None,
        camera_time_offset: float = 0.0,
    ) -> None:
        if odometry_poses is not None and odometry_poses.shape != poses.shape:
            raise SequenceError(
                f"odometry_poses must have shape {poses.shape}, one for every frame. "
                f"Got {odometry_poses.shape}"
            )
        self._simulator = simulator
        self._poses = poses
        self._stamps_ns = stamps_ns
        self._odometry_poses = poses if odometry_poses is None else odometry_poses
        self._late_ns = round(camera_time_offset * 1e9)

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
        return self._frame(index, with_movers=True)

    def still(self, index: int) -> RgbdFrame:
        """The frame at a position as it would be if nothing moved: without any movers.

        Raises:
            IndexError: outside the sequence.
            ConfigurationError: this machine has no library to render with.
        """
        return self._frame(index, with_movers=False)

    def seen_from(self, T_world_camera: NDArray[np.float64], index: int) -> RgbdFrame:  # (4, 4)
        """What the camera would see from another pose at the time of a frame, without movers.

        Raises:
            IndexError: outside the sequence.
            PoseError: the pose is not rigid.
        """
        stamp_ns = int(self._stamps_ns[index])
        image, depth = self._simulator.render_from(
            T_world_camera, stamp_ns / 1e9, with_movers=False
        )
        return RgbdFrame(stamp_ns, image, depth, self.camera, T_world_camera.copy())

    def _frame(self, index: int, *, with_movers: bool) -> RgbdFrame:
        pose, stamp_ns = self._poses[index], int(self._stamps_ns[index])
        exposed_s = (stamp_ns - self._late_ns) / 1e9
        image, depth = self._simulator.render_from(pose, exposed_s, with_movers=with_movers)
        return RgbdFrame(stamp_ns, image, depth, self.camera, pose.copy())

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) simulated times that the images are stamped with, nanoseconds, ascending."""
        return self._stamps_ns.copy()

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) 0, 1, 2 and so on."""
        return np.arange(len(self), dtype=np.int64)

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) true T_world_camera of every frame, optical convention; nothing is rendered."""
        return self._poses.copy()

    @property
    def odometry_poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera that odometry has at every stamp, with its drift.

        Stamps that are late find the pose of that later time, as a robot's own pairing does.
        """
        return self._odometry_poses.copy()

    def close(self) -> None:
        """Free the renderer's OpenGL context."""
        self._simulator.close()


def robot_tour(
    seed: int,
    *,
    camera: RobotCamera | None = None,
    rate_hz: float = 5.0,
    duration_s: float | None = None,
    movers: Sequence[Mover] | Callable[[ApartmentScene], Sequence[Mover]] = (),
    drift: OdometryDrift | None = None,
    camera_time_offset: float = 0.0,
    lighting: Lighting | None = None,
) -> RenderedSequence:
    """What the robot's camera sees while it drives the scripted tour of an apartment, once.

    Physics are run through beforehand, a matter of seconds, and pictures rendered when asked for.
    The robot does not know of movers: it drives where it would without them, through them too.

    Args:
        seed: which apartment; also seeds the drift.
        camera: on the robot's mast; None = the default one, 320x256.
        rate_hz: frames a simulated second.
        duration_s: simulated seconds after which it ends; None = with the tour.
        movers: people and things that move, or what makes them for the apartment.
        drift: how the odometry errs, whose poses come beside the true ones; None = hardly.
        camera_time_offset: seconds by which images are stamped later than they were exposed.
        lighting: of the apartment; None = the usual.

    Raises:
        ConfigurationError: rate or duration is not positive, or the offset beyond half a second.
    """
    if not (rate_hz > 0.0 and math.isfinite(rate_hz)):
        raise ConfigurationError(f"rate_hz must be positive frames a second. Got {rate_hz}")
    if duration_s is not None and not duration_s > 0.0:
        raise ConfigurationError(f"duration_s must be positive seconds. Got {duration_s}")
    if not abs(camera_time_offset) <= 0.5:
        raise ConfigurationError(
            f"camera_time_offset must be within half a second. Got {camera_time_offset} s"
        )
    scene = build_apartment(seed, lighting)
    tour = Tour(scene)
    simulator = Simulator(
        scene,
        tour.start,
        camera=camera,
        drift=drift,
        seed=seed,
        movers=movers(scene) if callable(movers) else movers,
    )
    limit_s = _PATIENCE * tour.duration if duration_s is None else duration_s
    poses, times_s = [], []
    trace = _OdometryTrace(simulator)
    controls = 0
    # The quotient of, say, 0.6 and 0.2 falls just short of 3.
    for number in range(math.floor(limit_s * rate_hz + 1e-9) + 1):
        due_s = number / rate_hz
        while controls * CONTROL_PERIOD <= due_s:
            simulator.step(max(0.0, controls * CONTROL_PERIOD - simulator.time))
            simulator.set_command(*tour.command(simulator.T_world_base))
            trace.add()
            controls += 1
        simulator.step(max(0.0, due_s - simulator.time))
        if tour.finished:
            break
        poses.append(simulator.T_world_camera)
        times_s.append(simulator.time)
        trace.add()
    # A late stamp of the last image still finds its own pose.
    simulator.step(max(0.0, camera_time_offset))
    trace.add()
    stamps_ns = np.rint((np.array(times_s) + camera_time_offset) * 1e9).astype(np.int64)
    return RenderedSequence(
        simulator,
        np.stack(poses),
        stamps_ns,
        odometry_poses=np.stack([trace.at(time_s + camera_time_offset) for time_s in times_s]),
        camera_time_offset=camera_time_offset,
    )


class _OdometryTrace:
    """The camera's poses by odometry over a drive, dense enough to interpolate between."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._times: list[float] = []
        self._poses: list[NDArray[np.float64]] = []

    def add(self) -> None:
        """Take down where odometry is now."""
        if not self._times or self._simulator.time > self._times[-1]:
            self._times.append(self._simulator.time)
            reading = self._simulator.odometry
            self._poses.append(reading.T_odom_base @ self._simulator.T_base_camera)

    def at(self, time_s: float) -> NDArray[np.float64]:  # (4, 4)
        """The pose at a time; the first and the last stand for what lies beyond."""
        right = bisect.bisect_left(self._times, time_s)
        if right == len(self._times):
            return self._poses[-1]
        if right == 0 or self._times[right] == time_s:
            return self._poses[right]
        before, after = self._times[right - 1], self._times[right]
        share = (time_s - before) / (after - before)
        return interpolate_pose(self._poses[right - 1], self._poses[right], share)

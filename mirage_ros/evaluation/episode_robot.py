"""A robot in an apartment for closed-loop episodes: it drives, looks, touches; odometry is true."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import exp_twist
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.planning.follow import Follower, Leg
from mirage_ros.planning.planar import planar_matrices, planar_pose_of
from mirage_ros.sources.simulator import DriveLimits, Simulator
from mirage_ros.sources.simulator.robot import RADIUS

#: Of the control loop, seconds.
PERIOD = 0.05

#: Cruising speed and turn rate; the drive can do 0.8 m/s and 1.5 rad/s.
SPEED, TURN_RATE = 0.6, 1.2


class EpisodeRobot:
    """Drives legs at the drive's real limits, without physics: wheels do not slip.

    Args:
        simulator: the apartment, renders.
        start: (3,) x, y, heading.
        limit: seconds after which driving ends.
        observe: told of every keyframe on the way; None: nothing is rendered on the way.

    Attributes:
        pose: (3,) now.
        time: simulated seconds.
        way: metres driven.
        collided: whether the robot has touched something; it does not move afterwards.
        trace: (3,) poses, several a second.
    """

    def __init__(
        self,
        simulator: Simulator,
        start: NDArray[np.float64],
        limit: float,
        observe: Callable[[RgbdFrame], object] | None = None,
    ) -> None:
        self.pose = start.copy()
        self.time = 0.0
        self.way = 0.0
        self.collided = False
        self.trace = [start.copy()]
        self._simulator = simulator
        self._limit = limit
        self._limits = DriveLimits()
        self._observe = observe
        self._policy = KeyframePolicy()
        self._last: tuple[int, NDArray[np.float64]] | None = None
        self._look_if_wanted()

    @property
    def stopped(self) -> bool:
        """Whether time is up or the robot has touched something."""
        return self.collided or self.time >= self._limit

    def frame(self) -> RgbdFrame:
        """What the camera sees now, truly."""
        pose = planar_matrices(self.pose[None])[0] @ self._simulator.T_base_camera
        image, depth = self._simulator.render_from(pose)
        return RgbdFrame(round(self.time * 1e9), image, depth, self._simulator.camera, pose)

    def drive(self, leg: Leg) -> None:
        """Drive a leg to its end, or until time is up or something is touched."""
        limits = self._limits
        follower = Follower(leg, SPEED, TURN_RATE, limits.acceleration, limits.turn_acceleration)
        velocity = (0.0, 0.0)
        T_world_base = planar_matrices(self.pose[None])[0]
        while not self.stopped:
            command = follower.command(self.pose)
            if follower.finished and math.hypot(*velocity) < 1e-3:
                break
            before, velocity = velocity, limits.approach(velocity, command, PERIOD)
            v, w = (before[0] + velocity[0]) / 2.0, (before[1] + velocity[1]) / 2.0
            T_world_base = T_world_base @ exp_twist([v, 0.0, 0.0], [0.0, 0.0, w], PERIOD)
            self.pose = planar_pose_of(T_world_base)
            self.time += PERIOD
            self.way += abs(v) * PERIOD
            self.trace.append(self.pose)
            clearance = self._simulator.scene.free_space.clearance_at(self.pose[None, :2])
            self.collided = bool(clearance[0] < RADIUS)
            self._look_if_wanted()

    def _look_if_wanted(self) -> None:
        if self._observe is None:
            return
        stamp_ns = round(self.time * 1e9)
        pose = planar_matrices(self.pose[None])[0] @ self._simulator.T_base_camera
        last_stamp, last_pose = self._last or (None, None)
        if self._policy.wants(stamp_ns, pose, last_stamp, last_pose):
            self._last = stamp_ns, pose
            self._observe(self.frame())

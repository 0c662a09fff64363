"""A differential-drive robot with a camera mast: parameters, limits and MuJoCo body."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import T_BODY_OPTICAL
from mirage_ros.sources.simulator.apartment import COLLIDER_GROUP
from mirage_ros.sources.simulator.headless import mujoco

WHEEL_RADIUS = 0.07
#: Distance between the wheels' contact points, metres.
TRACK = 0.30
#: Radius of the round body, metres.
RADIUS = 0.18

_CASTER_RADIUS, _CASTER_REACH = 0.03, 0.13

#: Time constant (s) and damping ratio of contacts with the floor. Body speed follows wheel speed
#: with about this delay, so it is as short as the physics' timestep allows.
_FLOOR_CONTACT = (0.005, 1.0)


@dataclass(frozen=True)
class DriveLimits:
    """What the drive can do: metres and radians, per second and per second squared.

    Raises:
        ConfigurationError: a limit is not positive.
    """

    speed: float = 0.8
    turn_rate: float = 1.5
    acceleration: float = 1.0
    turn_acceleration: float = 3.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigurationError(f"drive limit {name} must be positive. Got {value}")

    def approach(
        self, current: tuple[float, float], command: tuple[float, float], duration: float
    ) -> tuple[float, float]:
        """Speed and turn rate after ``duration`` seconds of heading for a command."""
        v = _towards(current[0], _clip(command[0], self.speed), self.acceleration * duration)
        w = _towards(
            current[1], _clip(command[1], self.turn_rate), self.turn_acceleration * duration
        )
        return v, w


def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


def _towards(value: float, target: float, step: float) -> float:
    return value + _clip(target - value, step)


@dataclass(frozen=True)
class RobotCamera:
    """The RGB-D camera on the mast.

    Attributes:
        width: pixels.
        height: pixels.
        horizontal_fov: degrees.
        mount_height: of the optical centre above the floor, metres.
        pitch: degrees that it looks down.
        max_range: depth is unknown (0) beyond, metres.

    Raises:
        ConfigurationError: a value makes no camera.
    """

    width: int = 320
    height: int = 256
    horizontal_fov: float = 80.0
    mount_height: float = 0.85
    pitch: float = 6.0
    max_range: float = 10.0

    def __post_init__(self) -> None:
        allowed = {
            "width": (16, 4096),
            "height": (16, 4096),
            "horizontal_fov": (10.0, 150.0),
            "mount_height": (0.3, 1.0),
            "pitch": (-45.0, 45.0),
            "max_range": (0.5, 100.0),
        }
        for name, (low, high) in allowed.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigurationError(
                    f"camera {name} must be between {low} and {high}. Got {value}"
                )

    @property
    def intrinsics(self) -> PinholeCamera:
        """Square pixels, principal point in the middle."""
        focal = self.width / 2.0 / math.tan(math.radians(self.horizontal_fov) / 2.0)
        return PinholeCamera(
            self.width, self.height, focal, focal, self.width / 2.0, self.height / 2.0
        )

    @property
    def T_base_camera(self) -> NDArray[np.float64]:  # noqa: N802
        """(4, 4) optical frame in the base frame, which lies on the floor between the wheels."""
        angle = math.radians(self.pitch)
        c, s = math.cos(angle), math.sin(angle)
        mount = np.array(
            [
                [c, 0.0, s, 0.05],
                [0.0, 1.0, 0.0, 0.0],
                [-s, 0.0, c, self.mount_height],
                [0.0, 0.0, 0.0, 1.0],
            ]
        )
        pose: NDArray[np.float64] = mount @ T_BODY_OPTICAL
        return pose


def planar_pose(x: float, y: float, heading: float) -> NDArray[np.float64]:  # (4, 4)
    """Pose on the floor."""
    c, s = math.cos(heading), math.sin(heading)
    return np.array([[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def heading_of(pose: NDArray[np.float64]) -> float:
    """Angle of a pose's x axis about the vertical, radians."""
    return math.atan2(float(pose[1, 0]), float(pose[0, 0]))


def add_robot(spec: mujoco.MjSpec, x: float, y: float, heading: float, mast: float) -> None:
    """Stand the robot on the floor of a specification.

    Its geoms are colliders only: the camera sees what the robot sees, never the robot, also when
    ground truth is rendered from elsewhere.

    Args:
        spec: receives the body ``base``, the joints ``left`` and ``right`` and their actuators.
        x: start, metres.
        y: start, metres.
        heading: start, radians.
        mast: height of the camera, metres.
    """
    base = spec.worldbody.add_body(
        name="base",
        pos=[x, y, 0.0],
        quat=[math.cos(heading / 2.0), 0.0, 0.0, math.sin(heading / 2.0)],
    )
    base.add_freejoint(name="base")
    geometry = mujoco.mjtGeom
    base.add_geom(
        name="body",
        type=geometry.mjGEOM_CYLINDER,
        size=[RADIUS, 0.10, 0.0],
        pos=[0.0, 0.0, 0.14],
        mass=9.0,
        friction=[0.2, 0.005, 0.0001],
        group=COLLIDER_GROUP,
    )
    base.add_geom(
        name="mast",
        type=geometry.mjGEOM_CAPSULE,
        size=[0.03, 0.0, 0.0],
        fromto=[0.0, 0.0, 0.2, 0.0, 0.0, mast],
        mass=0.5,
        friction=[0.2, 0.005, 0.0001],
        group=COLLIDER_GROUP,
    )
    for name, reach in (("front", _CASTER_REACH), ("rear", -_CASTER_REACH)):
        base.add_geom(
            name=f"caster_{name}",
            type=geometry.mjGEOM_SPHERE,
            size=[_CASTER_RADIUS, 0.0, 0.0],
            pos=[reach, 0.0, _CASTER_RADIUS],
            mass=0.1,
            condim=1,  # a caster rolls any way: no friction
            priority=2,
            solref=list(_FLOOR_CONTACT),
            group=COLLIDER_GROUP,
        )
    for name, side in (("left", 1.0), ("right", -1.0)):
        wheel = base.add_body(name=name, pos=[0.0, side * TRACK / 2.0, WHEEL_RADIUS])
        wheel.add_joint(
            name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0.0, 1.0, 0.0], armature=0.002
        )
        # A ball touches the floor in one point, so that the track has one exact value.
        wheel.add_geom(
            name=f"wheel_{name}",
            type=geometry.mjGEOM_SPHERE,
            size=[WHEEL_RADIUS, 0.0, 0.0],
            mass=0.4,
            condim=3,
            priority=2,
            solref=list(_FLOOR_CONTACT),
            friction=[1.0, 0.005, 0.0001],
            group=COLLIDER_GROUP,
        )
        drive = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        drive.set_to_velocity(kv=2.0)
        drive.forcelimited = 1
        # Two wheels that push 8 N each: enough to drive, too little to climb furniture.
        drive.forcerange = [-8.0 * WHEEL_RADIUS * 3.0, 8.0 * WHEEL_RADIUS * 3.0]

"""The apartment, the robot in it and its camera, stepped by physics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import pose_from_quaternion, validate_pose
from mirage_ros.sources.simulator.apartment import (
    COLLIDER_GROUP,
    MOVER_GROUP,
    ApartmentScene,
)
from mirage_ros.sources.simulator.headless import mujoco
from mirage_ros.sources.simulator.movers import Mover, PlacedMovers
from mirage_ros.sources.simulator.odometry import (
    OdometryDrift,
    OdometryReading,
    WheelOdometry,
)
from mirage_ros.sources.simulator.renderer import RgbdRenderer
from mirage_ros.sources.simulator.robot import (
    RADIUS,
    TRACK,
    WHEEL_RADIUS,
    DriveLimits,
    RobotCamera,
    add_robot,
    heading_of,
)

#: Physics advances in steps of this many seconds.
TIMESTEP = 0.0025


class Simulator:
    """A differential-drive robot with wheel odometry and an RGB-D camera in an apartment.

    The odometry starts at the true pose: without drift, ``odom`` and the world are one frame. Not
    thread safe; rendering belongs to the thread that first calls :meth:`render`.

    Args:
        scene: where the robot lives.
        T_world_base: (4, 4) start on the floor; None starts at the best viewpoint of the hall.
        camera: the camera on the mast.
        limits: what the drive can do.
        drift: how the odometry errs.
        seed: of the odometry's errors.
        movers: people and things that move by the simulated time. They are only seen: the robot
            drives through them.

    Raises:
        ConfigurationError: the robot would start in a wall or in furniture.
    """

    def __init__(
        self,
        scene: ApartmentScene,
        T_world_base: NDArray[np.float64] | None = None,
        *,
        camera: RobotCamera | None = None,
        limits: DriveLimits | None = None,
        drift: OdometryDrift | None = None,
        seed: int = 0,
        movers: Sequence[Mover] = (),
    ) -> None:
        self.scene = scene
        self.limits = DriveLimits() if limits is None else limits
        self._mount = RobotCamera() if camera is None else camera
        if T_world_base is None:
            x, y = scene.free_space.viewpoint(scene.plan.room("hall").rectangle)
            heading = 0.0
        else:
            start = validate_pose(T_world_base, "T_world_base")
            x, y, heading = float(start[0, 3]), float(start[1, 3]), heading_of(start)
        clearance = float(scene.free_space.clearance_at(np.array([[x, y]]))[0])
        if clearance < RADIUS:
            raise ConfigurationError(
                f"the robot needs {RADIUS} m of free floor about its start. "
                f"Got {clearance:.2f} m at ({x:.2f}, {y:.2f})"
            )
        spec = scene.spec.copy()
        spec.option.timestep = TIMESTEP
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        # Elliptic cones and stiff friction: wheels that roll do not creep.
        spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.impratio = 50.0
        add_robot(spec, x, y, heading, self._mount.mount_height)
        self._movers = PlacedMovers(spec, movers, scene.materials)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        # Movers are placed in data of their own: physics never notice that something is drawn.
        self._view = self.data
        if len(self._movers):
            self._view = mujoco.MjData(self.model)
            mujoco.mj_forward(self.model, self._view)
        self._view_time: float | None = None
        self._base = self.model.body("base").id
        self._wheels = [self.model.joint(name).qposadr[0] for name in ("left", "right")]
        self._touchy = {self.model.geom(name).id for name in ("body", "mast")}
        self._command = (0.0, 0.0)
        self._target = (0.0, 0.0)
        self._end = 0.0
        self._odometry = WheelOdometry(x, y, heading, drift or OdometryDrift(), _generator(seed))
        self._odometry.update(self._wheel_angles(), TIMESTEP)
        self._renderer: RgbdRenderer | None = None

    @property
    def time(self) -> float:
        """Simulated seconds since the start."""
        return float(self.data.time)

    @property
    def camera(self) -> PinholeCamera:
        """Intrinsics of the rendered images."""
        return self._mount.intrinsics

    @property
    def T_base_camera(self) -> NDArray[np.float64]:  # noqa: N802
        """(4, 4) optical frame in the base frame."""
        return self._mount.T_base_camera

    @property
    def T_world_base(self) -> NDArray[np.float64]:  # noqa: N802
        """(4, 4) true pose of the base."""
        return pose_from_quaternion(self.data.qpos[:3], self.data.qpos[[4, 5, 6, 3]])

    @property
    def T_world_camera(self) -> NDArray[np.float64]:  # noqa: N802
        """(4, 4) true pose of the optical frame."""
        pose: NDArray[np.float64] = self.T_world_base @ self.T_base_camera
        return pose

    @property
    def velocity(self) -> tuple[float, float]:
        """True speed along the base's x (m/s) and turn rate about its z (rad/s)."""
        forward = self.T_world_base[:3, 0] @ self.data.qvel[:3]
        return float(forward), float(self.data.qvel[5])

    @property
    def odometry(self) -> OdometryReading:
        """What the wheels say."""
        return self._odometry.reading

    @property
    def commanded_velocity(self) -> tuple[float, float]:
        """Speed and turn rate that the drive pursues now, after its acceleration limits."""
        return self._target

    @property
    def touches(self) -> bool:
        """Whether the body or the mast touches a wall or furniture."""
        contacts = self.data.contact.geom[: self.data.ncon]
        return bool(np.isin(contacts, list(self._touchy)).any())

    def set_command(self, speed: float, turn_rate: float) -> None:
        """Drive at ``speed`` (m/s) while turning at ``turn_rate`` (rad/s), until told otherwise.

        Commands beyond the limits are clipped.

        Raises:
            ConfigurationError: a value is not finite.
        """
        if not (math.isfinite(speed) and math.isfinite(turn_rate)):
            raise ConfigurationError(f"a command must be finite. Got ({speed}, {turn_rate})")
        self._command = (speed, turn_rate)

    def step(self, duration: float) -> None:
        """Advance by ``duration`` seconds; what is left of a timestep is kept for the next call."""
        self._end += duration
        for _ in range(round((self._end - self.time) / TIMESTEP)):
            self._target = self.limits.approach(self._target, self._command, TIMESTEP)
            speed, turn_rate = self._target
            half = turn_rate * TRACK / 2.0
            self.data.ctrl[:] = (speed - half) / WHEEL_RADIUS, (speed + half) / WHEEL_RADIUS
            mujoco.mj_step(self.model, self.data)
            self._odometry.update(self._wheel_angles(), TIMESTEP)

    def _wheel_angles(self) -> NDArray[np.float64]:  # (2,) left, right
        angles: NDArray[np.float64] = self.data.qpos[self._wheels]
        return angles

    def render(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # (H, W, 3), (H, W)
        """What the camera sees: RGB, and z-depth in metres, 0 beyond its range."""
        return self.render_from(self.T_world_camera)

    def render_from(
        self,
        T_world_camera: NDArray[np.float64],  # (4, 4)
        time_s: float | None = None,
        *,
        with_movers: bool = True,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:  # (H, W, 3), (H, W)
        """What the camera would see from another pose of its optical frame.

        Args:
            T_world_camera: the pose.
            time_s: simulated time at which movers are shown; None = the present.
            with_movers: False leaves them out, as if there were none.

        Raises:
            PoseError: the pose is not rigid.
        """
        pose = validate_pose(T_world_camera, "T_world_camera")
        if self._renderer is None:
            self._renderer = RgbdRenderer(
                self.model,
                self.camera,
                max_range=self._mount.max_range,
                hidden_groups=(COLLIDER_GROUP,),
            )
        if with_movers and len(self._movers):
            due = self.time if time_s is None else time_s
            if due != self._view_time:
                self._movers.place(self.model, self._view, due)
                self._view_time = due
        leave_out = None if with_movers else MOVER_GROUP
        return self._renderer.render(self._view, pose, leave_out=leave_out)

    def frame(self) -> RgbdFrame:
        """What the camera sees, with its true pose and simulated time."""
        image, depth = self.render()
        stamp_ns = round(self.time * 1e9)
        return RgbdFrame(stamp_ns, image, depth, self.camera, self.T_world_camera)

    def close(self) -> None:
        """Free the renderer's OpenGL context."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)

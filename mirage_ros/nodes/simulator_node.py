"""The node ``simulator``: a robot with a camera in a MuJoCo apartment, as the topics of a robot."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage

from mirage_ros.errors import MirageError
from mirage_ros.geometry import inverse, quaternion_from_pose
from mirage_ros.nodes.parameters import ParameterTable, Spec
from mirage_ros.nodes.pose_conversion import ns_to_stamp, twist_arrays
from mirage_ros.nodes.robot_transforms import RobotTransforms
from mirage_ros.nodes.running import run_node
from mirage_ros.nodes.source_publisher import (
    SourcePublisher,
    odometry_message,
    source_parameters,
)
from mirage_ros.nodes.warner import ThrottledWarner
from mirage_ros.sources.depth_errors import DepthErrors
from mirage_ros.sources.simulator import (
    OdometryDrift,
    RobotCamera,
    Simulator,
    Tour,
    build_apartment,
    draw_movers,
)
from mirage_ros.sources.simulator.simulator import TIMESTEP
from mirage_ros.sources.simulator.tour import CONTROL_PERIOD

SIMULATOR_PARAMETERS: tuple[Spec, ...] = (
    Spec("seed", 0, "Which apartment; also seeds errors and movers.", 0, 2**31 - 1),
    Spec("tour", True, "Drive the scripted tour; false: drive by cmd_vel."),
    Spec("tour_speed", 0.5, "Cruising speed of the tour, m/s.", 0.05, 0.8),
    Spec("duration", 0.0, "Simulated seconds after which all publishing ends; 0: never.", 0, 1e6),
    Spec("width", 320, "Image width, pixels.", 16, 1920),
    Spec("height", 256, "Image height, pixels.", 16, 1200),
    Spec("horizontal_fov", 80.0, "Of the camera, degrees.", 10.0, 150.0),
    Spec("camera_height", 0.85, "Of the camera above the floor, m.", 0.3, 1.0),
    Spec("camera_pitch", 6.0, "How far the camera looks down, degrees.", -45.0, 45.0),
    Spec("max_range", 10.0, "Depth beyond is unknown, m.", 0.5, 100.0),
    Spec("camera_rate", 15.0, "Images a second.", 0.1, 100.0),
    Spec("odom_rate", 50.0, "Odometry messages a second.", 1.0, 200.0),
    Spec("odometry_scale_error", 0.0, "Std. dev. of a wheel's relative error in size.", 0.0, 0.1),
    Spec("odometry_noise", 0.0, "Std. dev. of a wheel's travel after one metre, m.", 0.0, 0.1),
    Spec("odometry_distance_error", 0.0, "Share of the way that odometry errs by.", 0.0, 0.5),
    Spec("odometry_heading_error", 0.0, "Odometry's error in heading, rad per m.", 0.0, 0.5),
    Spec("depth_noise", 0.0, "Std. dev. of depth at 1 m, m; grows with its square.", 0.0, 0.5),
    Spec("depth_holes", 0.0, "Share of the pixels without depth.", 0.0, 1.0),
    Spec("camera_time_offset", 0.0, "How late images are stamped, s.", -0.5, 0.5),
    Spec("people", 0, "How many people walk about, unseen by the tour.", 0, 20),
    Spec("moving_chair", False, "A chair changes its place between the tour's visits."),
    Spec("moving_door", False, "A door swings to and fro."),
    Spec("stamped_cmd_vel", False, "cmd_vel is geometry_msgs/TwistStamped, not Twist."),
    Spec("cmd_vel_timeout", 0.5, "Without a command for this long the robot stops, s.", 0.05, 10.0),
    Spec("clock", False, "Publish /clock with simulated time; otherwise stamps are the present."),
    Spec("real_time_factor", 1.0, "Simulated seconds in a second.", 0.05, 20.0),
    *source_parameters("32FC1"),
)

_TICK_S = 0.005
#: Falling behind by more than this, the simulation goes on from where it is.
_MAX_LAG_S = 0.25
#: Stamps of simulated time begin here: zero means 'not set' in ROS.
_CLOCK_START_NS = 1_000_000_000
_TRUTH_FRAME = "world"


class SimulatorNode(Node):
    """Steps physics in real time and publishes what the robot senses.

    Physics, control, odometry and camera each have their own period; every image goes out after
    odometry of its exposure, whose stamp it has too unless ``camera_time_offset`` says otherwise.
    ``plan`` is in the ``odom`` frame: where the tour will be as the drifting odometry will see it.
    The extrinsics that a listener needs are ``Simulator.T_base_camera``. The tour does not know of
    people, chair and door: the robot drives through them.

    Raises:
        MirageError: parameters cannot be used, or nothing can be rendered on this machine.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("simulator", **kwargs)
        self._renderer_owner: Simulator | None = None
        try:
            self._set_up()
        except MirageError:
            self.destroy_node()
            raise

    def _set_up(self) -> None:
        self._table = ParameterTable(self, SIMULATOR_PARAMETERS, is_configured=lambda: True)
        self._table.require_valid()
        scene = build_apartment(self._table["seed"])
        self.tour = Tour(scene, speed=self._table["tour_speed"]) if self._table["tour"] else None
        self.simulator = Simulator(
            scene,
            self.tour.start if self.tour is not None else None,
            camera=RobotCamera(
                self._table["width"],
                self._table["height"],
                self._table["horizontal_fov"],
                self._table["camera_height"],
                self._table["camera_pitch"],
                self._table["max_range"],
            ),
            drift=OdometryDrift(
                self._table["odometry_scale_error"],
                self._table["odometry_noise"],
                self._table["odometry_distance_error"],
                self._table["odometry_heading_error"],
            ),
            seed=self._table["seed"],
            movers=draw_movers(
                scene,
                self.tour,
                seed=self._table["seed"],
                people=self._table["people"],
                moving_chair=self._table["moving_chair"],
                moving_door=self._table["moving_door"],
            ),
        )
        self._depth_errors = DepthErrors(
            noise=self._table["depth_noise"], holes=self._table["depth_holes"]
        )
        self._renderer_owner = self.simulator
        # The first picture uploads all textures: done here, and a machine without GL fails early.
        self.simulator.render()
        self._out = SourcePublisher(
            self,
            depth_encoding=self._table["depth_encoding"],
            compressed=self._table["compressed"],
        )
        self._truth = self.create_publisher(Odometry, "ground_truth", QoSProfile(depth=50))
        self._clock_publisher = (
            self.create_publisher(ClockMessage, "/clock", QoSProfile(depth=1))
            if self._table["clock"]
            else None
        )
        self._transforms = RobotTransforms(self, self.simulator.T_base_camera)
        self._warner = ThrottledWarner(self.get_logger())
        self.create_subscription(
            TwistStamped if self._table["stamped_cmd_vel"] else Twist,
            "cmd_vel",
            self._warner.guard("cmd_vel", self._on_cmd_vel),
            QoSProfile(depth=1),
        )
        self._commanded_at = -np.inf
        self._last_odometry_s = -1.0
        self._next_plan_s = 0.0
        #: Next simulated time of each periodic job, in the order in which equal times are done.
        self._periods = {
            "control": CONTROL_PERIOD,
            "odometry": 1.0 / self._table["odom_rate"],
            "camera": 1.0 / self._table["camera_rate"],
        }
        self._counts = dict.fromkeys(self._periods, 0)
        self._anchor: tuple[float, float, int] | None = None
        self._done = False
        x, y, z = self.simulator.T_base_camera[:3, 3].tolist()
        quaternion = quaternion_from_pose(self.simulator.T_base_camera).tolist()
        extrinsics = ", ".join(f"{value:.6g}" for value in (x, y, z, *quaternion))
        self.get_logger().info(f"apartment {self._table['seed']}; T_base_camera: [{extrinsics}]")
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(_TICK_S, self._guarded_tick, clock=steady)

    def destroy_node(self) -> None:
        """Free the renderer and take the node down."""
        if self._renderer_owner is not None:
            self._renderer_owner.close()
        super().destroy_node()

    def _guarded_tick(self) -> None:
        self._warner.guard("simulation", lambda _: self._tick())(None)

    def _tick(self) -> None:
        """Bring the simulation to the present; at most one image, so that callbacks get in."""
        if self._done:
            return
        now = time.monotonic()
        if self._anchor is None:
            if self._out.image_subscribers < self._table["wait_for_subscribers"]:
                return
            self._set_anchor(now)
        assert self._anchor is not None
        factor = self._table["real_time_factor"]
        target = self._anchor[1] + (now - self._anchor[0]) * factor
        lag = (target - self.simulator.time) / factor
        if lag > _MAX_LAG_S:
            self._warner.warn(
                "simulation", f"cannot keep up: {lag:.2f} s behind, goes on from there"
            )
            self._set_anchor(now)
            return
        while True:
            name = min(self._counts, key=self._due)
            due = self._due(name)
            if due > target:
                break
            self.simulator.step(max(0.0, due - self.simulator.time))
            self._counts[name] += 1
            if name == "control":
                self._control()
            elif name == "odometry":
                self._publish_odometry()
            else:
                self._publish_camera()
                break
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMessage(clock=ns_to_stamp(self._stamp_ns())))

    def _due(self, name: str) -> float:
        return float(self._counts[name] * self._periods[name])

    def _set_anchor(self, now: float) -> None:
        """From here on, the simulated time now belongs to the machine's time now."""
        self._anchor = (now, self.simulator.time, self.get_clock().now().nanoseconds)

    def _stamp_ns(self, ahead_s: float = 0.0) -> int:
        """Stamp of the simulated time now, or ``ahead_s`` simulated seconds from it."""
        simulated = self.simulator.time + ahead_s
        if self._clock_publisher is not None:
            return _CLOCK_START_NS + round(simulated * 1e9)
        assert self._anchor is not None, "stamps exist once the simulation runs"
        _, start_s, start_ns = self._anchor
        factor = float(self._table["real_time_factor"])
        return start_ns + round((simulated - start_s) / factor * 1e9)

    def _on_cmd_vel(self, msg: Twist | TwistStamped) -> None:
        linear, angular = twist_arrays(msg.twist if isinstance(msg, TwistStamped) else msg)
        if self.tour is not None:
            self._warner.warn("cmd_vel", "ignored while the tour drives (parameter tour)")
            return
        self._commanded_at = time.monotonic()
        self.simulator.set_command(float(linear[0]), float(angular[2]))

    def _control(self) -> None:
        """Steer along the tour, or stop when commands stay away; publish the plan and progress."""
        if self.tour is None:
            if time.monotonic() - self._commanded_at > self._table["cmd_vel_timeout"]:
                self.simulator.set_command(0.0, 0.0)
            return
        self.simulator.set_command(*self.tour.command(self.simulator.T_world_base))
        if self._table["publish_plan"] and self.simulator.time >= self._next_plan_s - 1e-6:
            self._next_plan_s += 1.0 / self._table["plan_rate"]
            self._publish_plan(self.tour)

    def _publish_plan(self, tour: Tour) -> None:
        T_odom_world = self.simulator.odometry.T_odom_base @ inverse(self.simulator.T_world_base)
        # The first entry is the present.
        preview = tour.preview(self._table["plan_horizon"], self._table["plan_period"])[1:]
        self._out.publish_plan(
            self._stamp_ns(),
            [self._stamp_ns(offset) for offset, _ in preview],
            [T_odom_world @ T_world_base for _, T_world_base in preview],
        )

    def _publish_odometry(self) -> None:
        """Odometry, ground truth and transforms, once for a simulated time."""
        if self.simulator.time == self._last_odometry_s:
            return
        self._last_odometry_s = self.simulator.time
        stamp_ns = self._stamp_ns()
        reading = self.simulator.odometry
        self._out.publish_odometry(
            stamp_ns,
            reading.T_odom_base,
            np.array([reading.speed, 0.0, 0.0]),
            np.array([0.0, 0.0, reading.turn_rate]),
        )
        self._transforms.send(reading.T_odom_base, stamp_ns)
        speed, turn_rate = self.simulator.velocity
        truth = odometry_message(
            stamp_ns,
            _TRUTH_FRAME,
            self.simulator.T_world_base,
            np.array([speed, 0.0, 0.0]),
            np.array([0.0, 0.0, turn_rate]),
        )
        self._truth.publish(truth)

    def _publish_camera(self) -> None:
        self._publish_odometry()
        image, depth = self.simulator.render()
        rng = np.random.default_rng((self._table["seed"], self._counts["camera"]))
        self._out.publish_frame(
            self._stamp_ns(self._table["camera_time_offset"]),
            image,
            self._depth_errors.apply(depth, rng),
            self.simulator.camera,
        )
        duration = self._table["duration"]
        progress = self.tour.progress if self.tour is not None else 0.0
        if duration > 0.0:
            # Simulated time is a sum of timesteps, so only exact to rounding.
            self._done = self.simulator.time >= duration - TIMESTEP / 2.0
            share = 1.0 if self._done else self.simulator.time / duration
            progress = max(progress, share)
        self._out.publish_progress(progress, finished=progress >= 1.0)


def main(args: list[str] | None = None) -> None:
    """Run the node until it is shut down."""
    run_node(SimulatorNode, args)


if __name__ == "__main__":
    main()

"""The node ``planner``: drives to where a goal image was taken, by imagining.

An ordinary client of the world model: it sees its topics and its action, and encodes images itself.
Its map is what depth images show of the floor while the robot drives, its commands go to cmd_vel.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from geometry_msgs.msg import PoseStamped, Twist
from nav_msgs.msg import Odometry, Path
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from mirage_ros.errors import ConfigurationError, MirageError
from mirage_ros.frames import fit_image
from mirage_ros.geometry import PoseBuffer
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.nodes.action_imaginer import ActionImaginer
from mirage_ros.nodes.calibration import CalibrationCache
from mirage_ros.nodes.image_conversion import depth_from_image, rgb_from_image
from mirage_ros.nodes.parameters import ParameterTable, Spec
from mirage_ros.nodes.pose_conversion import matrix_from_pose, pose_from_matrix, stamp_to_ns
from mirage_ros.nodes.pose_source import extrinsics_from_parameter
from mirage_ros.nodes.running import run_node
from mirage_ros.nodes.warner import ThrottledWarner

if TYPE_CHECKING:
    from mirage_ros.planning.follow import Leg

PLANNER_PARAMETERS = (
    Spec("world_model", "/world_model", "Name of the world model node."),
    Spec("world_frame", "odom", "Frame of odometry and of what is imagined."),
    Spec(
        "T_base_camera",
        [],
        "Pose of the camera's optical frame in the base, [x, y, z, qx, qy, qz, qw], metres.",
    ),
    Spec(
        "area", [], "What the map holds, [x_min, y_min, x_max, y_max], metres; not set: 12 around."
    ),
    Spec("robot_radius", 0.25, "What the base's middle keeps from obstacles, m.", 0.01, 10.0),
    Spec("speed", 0.5, "At most, m/s.", 0.01, 10.0),
    Spec("turn_rate", 1.0, "At most, rad/s.", 0.01, 10.0),
    Spec("spacing", 0.5, "Between the places that are imagined at first, m.", 0.1, 10.0),
    Spec("headings", 8, "Headings imagined at each of them.", 1, 64),
)

#: Commands a second; a drive stops without them.
_PERIOD_S = 0.05
_BRAKING, _TURN_BRAKING = 0.5, 1.5
_HALF_AREA_M = 12.0

#: Floor about the robot that is taken for free, and what is kept from obstacles beside its radius,
#: because cells of the map are coarse; metres.
_ROOM_M, _MARGIN_M = 0.6, 0.09


class PlannerNode(Node):
    """Drives to the place of an image that comes on ``goal_image``."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("planner", **kwargs)
        self._warner = ThrottledWarner(self.get_logger())
        self._table = ParameterTable(self, PLANNER_PARAMETERS)
        self._table.require_valid()
        extrinsics = extrinsics_from_parameter(self._table["T_base_camera"])
        if extrinsics is None:
            raise ConfigurationError("T_base_camera must be given, seven numbers. Got none")
        self._T_base_camera = extrinsics
        self._calibration = CalibrationCache(is_rectified=False)
        self._poses = PoseBuffer(max_gap_s=0.5, max_extrapolation_s=0.05)
        self._policy = KeyframePolicy()
        self._mapped: tuple[int, NDArray[np.float64]] | None = None
        self._info: CameraInfo | None = None
        self._image: Image | None = None
        self._lock = threading.Lock()
        self._grid: Any = None
        self._goal: NDArray[np.uint8] | None = None
        self._wake = threading.Event()
        self._ending = False
        world_model = self._table["world_model"]
        self._imaginer = ActionImaginer(self, world_model, self._table["world_frame"])
        guard = self._warner.guard
        sensor = qos_profile_sensor_data
        self.create_subscription(Odometry, "odom", guard("odom", self._on_odometry), sensor)
        self.create_subscription(CameraInfo, "camera_info", self._on_info, sensor)
        self.create_subscription(Image, "depth", guard("depth", self._on_depth), sensor)
        self.create_subscription(Image, "image", self._on_image, sensor)
        self.create_subscription(Image, "goal_image", guard("goal_image", self._on_goal), 1)
        self._commands = self.create_publisher(Twist, "cmd_vel", 1)
        self._legs = self.create_publisher(Path, "~/leg", 1)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._states = self.create_publisher(String, "~/state", latched)
        self._say("waiting for a goal_image")
        self._thread = threading.Thread(target=self._run, name="planner", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        """Stop the robot and end."""
        self._ending = True
        self._wake.set()
        self._imaginer.stop()
        self._thread.join(10.0)
        super().destroy_node()

    def _on_odometry(self, message: Odometry) -> None:
        self._poses.add(stamp_to_ns(message.header.stamp), matrix_from_pose(message.pose.pose))

    def _on_info(self, message: CameraInfo) -> None:
        self._info = message

    def _on_image(self, message: Image) -> None:
        self._image = message

    def _on_goal(self, message: Image) -> None:
        image = rgb_from_image(message)
        with self._lock:
            self._goal = image
        self._wake.set()

    def _on_depth(self, message: Image) -> None:
        """Enter what is new of the floor."""
        if self._info is None or not len(self._poses):
            return
        stamp_ns = stamp_to_ns(message.header.stamp)
        T_world_camera = self._poses.interpolate(stamp_ns) @ self._T_base_camera
        last_stamp, last_pose = self._mapped or (None, None)
        if not self._policy.wants(stamp_ns, T_world_camera, last_stamp, last_pose):
            return
        camera, depth = self._calibration.camera(self._info), depth_from_image(message)
        with self._lock:
            self._map().add(depth, camera, T_world_camera)
        self._mapped = stamp_ns, T_world_camera

    def _map(self) -> Any:
        from mirage_ros.planning.occupancy import OccupancyGrid

        if self._grid is None:
            area = self._table["area"]
            if not area:
                here = self._pose()
                area = [here[0] - _HALF_AREA_M, here[1] - _HALF_AREA_M]
                area += [here[0] + _HALF_AREA_M, here[1] + _HALF_AREA_M]
            if len(area) != 4:
                raise ConfigurationError(f"area must be four numbers. Got {area}")
            self._grid = OccupancyGrid(*area)
        return self._grid

    def _pose(self) -> NDArray[np.float64]:  # (3,) x, y, heading
        from mirage_ros.planning.planar import planar_pose_of

        newest = self._poses.newest_pose
        if newest is None:
            raise ConfigurationError("there is no odometry yet")
        return planar_pose_of(newest)

    def _run(self) -> None:
        """The planner's own thread: one goal after the other."""
        while not self._ending:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                goal, self._goal = self._goal, None
            if goal is None or self._ending:
                continue
            try:
                self._say(self._follow(goal))
            except MirageError as error:
                self._say(f"failed: {error}")
                self._warner.warn("goal_image", str(error))
            except Exception as error:
                if not self._ending:
                    self._say(f"failed: {type(error).__name__}: {error}")
                    self._warner.warn("goal_image", f"unexpected {type(error).__name__}: {error}")
            finally:
                self._drive(0.0, 0.0)

    def _follow(self, goal: NDArray[np.uint8]) -> str:
        """Drive to a goal; how it ended.

        Raises:
            MirageError: it cannot be done.
        """
        from mirage_ros.planning.candidates import viewpoints
        from mirage_ros.planning.encoding import dct_cost, dct_encoder
        from mirage_ros.planning.gallery import Gallery
        from mirage_ros.planning.image_goal import ImageGoalPlanner

        get, encode, cost = self._table, dct_encoder(), dct_cost()
        self._say("imagining places")
        pose, floor = self._pose(), self._floor()
        poses = viewpoints(
            floor, (pose[0], pose[1]), spacing=get["spacing"], headings=get["headings"]
        )
        gallery = Gallery.imagined(self._imaginer, encode, poses, self._T_base_camera, cost)
        planner = ImageGoalPlanner(
            self._imaginer, encode, cost, floor, self._T_base_camera, gallery
        )
        size = self._view_size()
        planner.set_goal(fit_image(goal, *size))
        while not (self._ending or self._wake.is_set()):
            planner.floor = self._floor()
            # What the camera really sees tells a wrong place from the right one.
            seen = None if self._image is None else fit_image(rgb_from_image(self._image), *size)
            leg = planner.plan(self._pose(), seen)
            if leg is None:
                return "reached"
            self._say("driving")
            self._go(leg)
        return "a newer goal came"

    def _floor(self) -> Any:
        """Where the robot can go, by what has been seen so far."""
        from mirage_ros.planning.shortest_path import FloorMap

        radius, here = self._table["robot_radius"], self._pose()
        with self._lock:
            grid = self._map()
            # Where it stands there is room for it; the camera does not see the floor at its feet.
            grid.stand(float(here[0]), float(here[1]), _ROOM_M)
            return FloorMap.of(grid, radius + _MARGIN_M)

    def _view_size(self) -> tuple[int, int]:
        """Width and height of what is imagined: asked for once."""
        here = self._poses.newest_pose
        assert here is not None
        camera = self._imaginer.imagine([(here @ self._T_base_camera)[None]])[0][0].camera
        return camera.width, camera.height

    def _go(self, leg: Leg) -> None:
        """Drive a leg to its end, or until something else is wanted."""
        from mirage_ros.planning.follow import Follower

        get = self._table
        follower = Follower(leg, get["speed"], get["turn_rate"], _BRAKING, _TURN_BRAKING)
        self._legs.publish(self._path(leg))
        # A leg is a few metres: a robot that is held up gives it up and plans anew.
        deadline = time.monotonic() + 10.0 + 3.0 * leg.length / get["speed"]
        while time.monotonic() < deadline and not (self._ending or self._wake.is_set()):
            speed, turn = follower.command(self._pose())
            self._drive(speed, turn)
            if follower.finished:
                return
            time.sleep(_PERIOD_S)

    def _drive(self, speed: float, turn: float) -> None:
        if not self.context.ok():
            return
        command = Twist()
        command.linear.x, command.angular.z = float(speed), float(turn)
        self._commands.publish(command)

    def _path(self, leg: Leg) -> Path:
        path = Path()
        path.header.frame_id = self._table["world_frame"]
        for x, y in leg.corners:
            matrix = np.eye(4)
            matrix[:2, 3] = x, y
            path.poses.append(PoseStamped(pose=pose_from_matrix(matrix)))
        return path

    def _say(self, state: str) -> None:
        if self.context.ok():
            self._states.publish(String(data=state))
            self.get_logger().info(state)


def main(args: list[str] | None = None) -> None:
    """Run the node until it is shut down."""
    run_node(PlannerNode, args)


if __name__ == "__main__":
    main()

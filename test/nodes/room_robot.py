"""A robot in the wavy room (closed form): its sensors' messages for a world model node."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from std_msgs.msg import Header
from wavy_room import CAMERA, T_BASE_CAMERA, look

from mirage_ros.geometry import fill_camera_info
from mirage_ros.nodes.image_conversion import image_from_array
from mirage_ros.nodes.pose_conversion import ns_to_stamp, pose_from_matrix
from mirage_ros.planning.planar import planar_matrices

#: Of a world model that takes the room's views as they are.
PARAMETERS: dict[str, Any] = {
    "generation_width": CAMERA.width,
    "generation_height": CAMERA.height,
    "T_base_camera": [0.0, 0.0, 0.8, -0.5, 0.5, -0.5, 0.5],
    "optical_flow": False,
}

#: Tokens of a view.
CELLS = (CAMERA.width // 16) * (CAMERA.height // 16)


def base_pose(x: float, y: float, heading: float) -> np.ndarray:
    """(4, 4) of the robot's base."""
    pose: np.ndarray = planar_matrices([(x, y, heading)])[0]
    return pose


class RoomRobot:
    """Sends what it sees of the room, through another robot's publishers."""

    def __init__(self, world: Any) -> None:
        self.world = world
        #: (stamp, true base pose) of what was stored.
        self.stored: list[tuple[int, np.ndarray]] = []

    def send(
        self,
        pose: tuple[float, float, float],
        *,
        slip: np.ndarray | None = None,
        box: tuple[float, slice, slice] | None = None,
        **replaced: Any,
    ) -> None:
        """Send what is seen at x, y, heading, a tenth of a second after the last.

        Args:
            pose: the true one.
            slip: (4, 4) how odometry's frame has slipped.
            box: depth, rows and columns of a grey thing that stands in the view.
            replaced: other messages, or None to leave one out.
        """
        robot = self.world.robot
        robot.tick()
        true = base_pose(*pose)
        view = look(true @ T_BASE_CAMERA)
        image, depth = view.image.copy(), view.depth.copy()
        if box is not None:
            metres, rows, columns = box
            image[rows, columns], depth[rows, columns] = 128, metres
        header = robot.header("camera_optical_frame")
        odometry = Odometry(header=robot.header("odom"), child_frame_id="base_link")
        odometry.pose.pose = pose_from_matrix(true if slip is None else slip @ true)
        messages = {
            "odom": odometry,
            "camera_info": fill_camera_info(CAMERA, robot.info()),
            "depth": image_from_array(depth, "32FC1", header),
            "image": image_from_array(image, "rgb8", header),
            **replaced,
        }
        for topic, message in messages.items():
            if message is not None:
                robot.out[topic].publish(message)

    def store(self, pose: tuple[float, float, float], **how: Any) -> None:
        """Send it, and wait until it is in memory."""
        counters = self.world.counters
        before = counters.keyframes_stored
        self.send(pose, **how)
        assert self.world.spin_until(lambda: counters.keyframes_stored > before), (
            f"the frame was not stored; warnings: {self.world.robot.warnings}"
        )
        self.stored.append((self.world.robot.stamp_ns, base_pose(*pose)))

    def refused(self, pose: tuple[float, float, float], **how: Any) -> None:
        """Send it, and wait until it has been given up."""
        counters = self.world.counters
        before = counters.frames_dropped
        self.send(pose, **how)
        assert self.world.spin_until(lambda: counters.frames_dropped > before), "it was not refused"

    def look_about(self) -> None:
        """Turn once about in the middle of the room."""
        for number in range(21):
            self.store((0.0, 0.0, 0.3 * number))

    def positions(self) -> np.ndarray:
        """(N, 3) of what is remembered."""
        cloud = self.world.node._session._engine.model.cloud()
        positions: np.ndarray = cloud.positions
        return positions


def path_of(stamped: list[tuple[int, np.ndarray]], frame_id: str = "odom") -> Path:
    """A path through stamped poses."""
    path = Path(header=Header(frame_id=frame_id))
    for stamp_ns, pose in stamped:
        header = Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)
        path.poses.append(PoseStamped(header=header, pose=pose_from_matrix(pose)))
    return path

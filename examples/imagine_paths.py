#!/usr/bin/env python3
"""Ask the world model what the camera would see along a few arcs, and say which is best known.

Needs nothing of mirage_ros but its interfaces::

    ros2 launch mirage_ros world_model.launch.py ...
    python3 examples/imagine_paths.py --frames 8 --out views

Prints a line for each candidate; with --out writes the last view of each as a PPM picture.
"""

import argparse
import math
import sys
from pathlib import Path as FilePath

import rclpy
from geometry_msgs.msg import PoseStamped
from mirage_ros.action import ImaginePaths
from mirage_ros.msg import PredictedFrame
from nav_msgs.msg import Odometry, Path
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, qos_profile_sensor_data

ARCS = (-0.8, -0.4, 0.0, 0.4, 0.8)  # curvature, 1/m


def arc(start: Odometry, curvature: float, length: float) -> Path:
    """A path of the base that begins where it stands and turns evenly."""
    x, y = start.pose.pose.position.x, start.pose.pose.position.y
    q = start.pose.pose.orientation
    yaw = math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y**2 + q.z**2))
    path = Path()
    path.header.frame_id = start.header.frame_id
    steps = 20
    for _ in range(steps + 1):
        pose = PoseStamped()
        pose.pose.position.x, pose.pose.position.y = x, y
        pose.pose.orientation.z, pose.pose.orientation.w = math.sin(yaw / 2), math.cos(yaw / 2)
        path.poses.append(pose)
        x += math.cos(yaw) * length / steps
        y += math.sin(yaw) * length / steps
        yaw += curvature * length / steps
    return path


class Client:
    """Collects odometry and frames, and sends goals."""

    def __init__(self, world_model: str) -> None:
        self.node = rclpy.create_node("imagine_paths")
        self.odometry: Odometry | None = None
        self.frames: list[PredictedFrame] = []
        self.node.create_subscription(Odometry, "odom", self._on_odometry, qos_profile_sensor_data)
        # Room for all frames of a goal: they come faster than pictures can be looked at.
        self.node.create_subscription(
            PredictedFrame, f"{world_model}/predictions", self.frames.append, QoSProfile(depth=200)
        )
        self.action = ActionClient(self.node, ImaginePaths, f"{world_model}/imagine")

    def _on_odometry(self, message: Odometry) -> None:
        self.odometry = message

    def wait_for_odometry(self, timeout_s: float) -> Odometry:
        """Where the robot is."""
        clock = self.node.get_clock()
        end = clock.now().nanoseconds + int(timeout_s * 1e9)
        while self.odometry is None and clock.now().nanoseconds < end:
            rclpy.spin_once(self.node, timeout_sec=0.1)
        if self.odometry is None:
            raise TimeoutError("no odometry")
        return self.odometry

    def imagine(self, paths: list[Path], frames: int, timeout_s: float) -> ImaginePaths.Result:
        """The result of a goal, with its frames in ``frames``."""
        if not self.action.wait_for_server(timeout_sec=timeout_s):
            raise TimeoutError("the action server is not there")
        goal = ImaginePaths.Goal(paths=paths, frame_count=frames)
        accepted = self.action.send_goal_async(goal)
        rclpy.spin_until_future_complete(self.node, accepted, timeout_sec=timeout_s)
        if accepted.result() is None:
            raise TimeoutError("the goal was not answered")
        done = accepted.result().get_result_async()
        rclpy.spin_until_future_complete(self.node, done, timeout_sec=timeout_s)
        if done.result() is None:
            raise TimeoutError("no result")
        result = done.result().result
        wanted = sum(len(candidate.known_fraction) for candidate in result.candidates)
        for _ in range(50):  # the last frames may come after the result
            if sum(f.rollout_id == result.rollout_id for f in self.frames) >= wanted:
                break
            rclpy.spin_once(self.node, timeout_sec=0.1)
        return result


def write_ppm(path: FilePath, frame: PredictedFrame) -> None:
    """A picture that any viewer opens, without another package."""
    header = f"P6 {frame.image.width} {frame.image.height} 255\n"
    path.write_bytes(header.encode() + bytes(frame.image.data))


def main() -> int:
    """Run once; 0 if the goal was followed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--world-model", default="/world_model", help="name of the node")
    parser.add_argument("--frames", type=int, default=8, help="along each path")
    parser.add_argument("--length", type=float, default=1.0, help="of the arcs, metres")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds")
    parser.add_argument("--out", type=FilePath, help="folder for the last view of each candidate")
    options = parser.parse_args()
    rclpy.init()
    try:
        client = Client(options.world_model)
        start = client.wait_for_odometry(options.timeout)
        paths = [arc(start, curvature, options.length) for curvature in ARCS]
        result = client.imagine(paths, options.frames, options.timeout)
    finally:
        rclpy.try_shutdown()
    if result.error_code != ImaginePaths.Result.NONE:
        print(f"error {result.error_code}: {result.error_msg}", file=sys.stderr)
        return 1
    mine = [frame for frame in client.frames if frame.rollout_id == result.rollout_id]
    for number, (curvature, candidate) in enumerate(zip(ARCS, result.candidates, strict=True)):
        known = sum(candidate.known_fraction) / len(candidate.known_fraction)
        nearest = min(candidate.nearest_surface)
        frames = sorted((f for f in mine if f.candidate == number), key=lambda f: f.index)
        print(
            f"curvature {curvature:+.1f}: {known:.0%} remembered, nearest surface {nearest:.2f} m, "
            f"{len(frames)} frames"
        )
        if options.out is not None and frames:
            options.out.mkdir(parents=True, exist_ok=True)
            write_ppm(options.out / f"candidate_{number}.ppm", frames[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())

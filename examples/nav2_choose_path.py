#!/usr/bin/env python3
"""Of the paths that several Nav2 planners find, take the one whose views are best remembered.

With Nav2 running, and the world model beside it::

    python3 examples/nav2_choose_path.py --x 3.0 --y 1.5 --planners GridBased SmacPlanner2D

Where a robot knows what it will see it localises well and meets few surprises; an equally long way
through unseen space is the worse one. The chosen path is handed to Nav2's controller.
"""

import argparse
import itertools
import sys
from typing import Any

import rclpy
from geometry_msgs.msg import PoseStamped
from imagine_paths import Client
from mirage_ros.action import ImaginePaths
from nav_msgs.msg import Path


def length(path: Path) -> float:
    """Metres along a path."""
    points = [(p.pose.position.x, p.pose.position.y) for p in path.poses]
    steps = itertools.pairwise(points)
    return sum(((bx - ax) ** 2 + (by - ay) ** 2) ** 0.5 for (ax, ay), (bx, by) in steps)


def choose(client: Client, paths: list[Path], frames: int, unknown_metres: float) -> int:
    """Number of the path that costs least: its length, and what is not remembered along it.

    Args:
        client: of ~/imagine.
        paths: candidates.
        frames: looked at along each.
        unknown_metres: what a wholly unknown path costs more than a known one, metres.
    """
    result = client.imagine(paths, frames, timeout_s=30.0)
    if result.error_code != ImaginePaths.Result.NONE:
        raise RuntimeError(f"error {result.error_code}: {result.error_msg}")
    costs = []
    for path, candidate in zip(paths, result.candidates, strict=True):
        known = sum(candidate.known_fraction) / len(candidate.known_fraction)
        costs.append(length(path) + unknown_metres * (1.0 - known))
        print(f"{length(path):.1f} m, {known:.0%} remembered: cost {costs[-1]:.1f}")
    return costs.index(min(costs))


def goal_pose(x: float, y: float, frame_id: str) -> PoseStamped:
    """A place on the map, heading along x."""
    pose = PoseStamped()
    pose.header.frame_id = frame_id
    pose.pose.position.x, pose.pose.position.y = x, y
    pose.pose.orientation.w = 1.0
    return pose


def go(navigator: Any, client: Client, options: argparse.Namespace) -> int:
    """Plan, choose, follow; 0 if the controller has taken the path."""
    goal = goal_pose(options.x, options.y, options.frame)
    found = [navigator.getPath(PoseStamped(), goal, planner) for planner in options.planners]
    paths = [path for path in found if path is not None and path.poses]
    if not paths:
        print("no planner found a path", file=sys.stderr)
        return 1
    number = choose(client, paths, options.frames, options.unknown_metres)
    print(f"taking path {number}")
    return 0 if navigator.followPath(paths[number]) else 1


def main() -> int:
    """Run once."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--x", type=float, required=True)
    parser.add_argument("--y", type=float, required=True)
    parser.add_argument("--frame", default="map")
    parser.add_argument("--planners", nargs="+", default=["GridBased"], help="ids in Nav2")
    parser.add_argument("--frames", type=int, default=8, help="looked at along each path")
    parser.add_argument("--unknown-metres", type=float, default=3.0)
    parser.add_argument("--world-model", default="/world_model")
    options = parser.parse_args()
    from nav2_simple_commander.robot_navigator import BasicNavigator

    rclpy.init()
    try:
        navigator = BasicNavigator()
        navigator.waitUntilNav2Active()
        return go(navigator, Client(options.world_model), options)
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

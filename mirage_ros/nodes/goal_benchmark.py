"""How fast ``~/imagine`` answers: ``python -m mirage_ros.nodes.goal_benchmark``.

A world model node in a process of its own and a client in this one, over DDS; the camera is a
simulated apartment's. Prints a table, and writes JSON with --out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.action.client import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from mirage_ros.action import ImaginePaths
from mirage_ros.backends import BACKENDS
from mirage_ros.geometry.paths import extrapolate_twist
from mirage_ros.msg import MemoryStatus, PredictedFrame
from mirage_ros.nodes.pose_conversion import pose_from_matrix
from mirage_ros.nodes.source_publisher import SourcePublisher
from mirage_ros.sources.simulator.closed_tour import closed_loop_tour

_SIZE = (320, 256)


class Client(Node):
    """Sends goals one after the other and times what comes."""

    def __init__(self) -> None:
        super().__init__("goal_client")
        self.received = self.tokens = 0
        self.stages: dict[str, float] = {}
        self.create_subscription(
            PredictedFrame, "world_model/predictions", self._on_frame, QoSProfile(depth=200)
        )
        self.create_subscription(
            MemoryStatus, "world_model/status", self._on_status, QoSProfile(depth=1)
        )
        self.action: Any = ActionClient(self, ImaginePaths, "world_model/imagine")

    def _on_frame(self, _: PredictedFrame) -> None:
        self.received += 1

    def _on_status(self, status: MemoryStatus) -> None:
        self.tokens = int(status.token_count)
        self.stages = {timing.stage: float(timing.p50) for timing in status.timings}

    def ask(self, paths: list[Path], cancel_after_s: float | None = None) -> Any:
        """Result and seconds to it; with a cancel, seconds from that to the end."""
        start = time.perf_counter()
        goal = ImaginePaths.Goal(paths=paths, as_given=True)
        goal.pose_of = ImaginePaths.Goal.POSE_OF_CAMERA
        handle = _wait(self.action.send_goal_async(goal))
        if cancel_after_s is not None:
            time.sleep(cancel_after_s)
            start = time.perf_counter()
            handle.cancel_goal_async()
        result = _wait(handle.get_result_async()).result
        return result, time.perf_counter() - start


def _wait(future: Any, timeout_s: float = 60.0) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    if not done.wait(timeout_s):
        raise TimeoutError("no answer from the world model")
    return future.result()


def fan(T_world_camera: NDArray[np.float64], count: int, frames: int) -> list[Path]:
    """Arcs of the camera that begin at a pose and bend evenly to either side."""
    paths = []
    for curvature in np.linspace(-0.6, 0.6, count):
        _, poses = extrapolate_twist(
            T_world_camera, [0.0, 0.0, 0.5], [0.0, 0.5 * curvature, 0.0], 0.25 * frames, 0.25
        )
        path = Path()
        path.header.frame_id = "odom"
        for pose in poses:
            stamped = PoseStamped()
            stamped.pose = pose_from_matrix(pose)
            path.poses.append(stamped)
        paths.append(path)
    return paths


def _spin(node: Node) -> threading.Thread:
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    return thread


def _resident_mib(process: int) -> float:
    pages = int(FilePath(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


@contextlib.contextmanager
def _world_model(backend: str, threads: int) -> Iterator[int]:
    """The node as a process of its own, as on a robot; its number."""
    parameters = {
        "autostart": True,
        "backend": backend,
        "pose_of": "camera",
        "rollout_rate": 0.0,
        "max_frame_age": 600.0,
        "num_threads": threads,
    }
    command = [sys.executable, "-m", "mirage_ros.nodes.world_model_node", "--ros-args"]
    for name, value in parameters.items():
        command += ["-p", f"{name}:={str(value).lower()}"]
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Seconds and MiB by name."""
    with _world_model(options.backend, options.threads) as process:
        return _measured(options, process)


def _measured(options: argparse.Namespace, process: int) -> dict[str, float]:
    tour = closed_loop_tour(options.seed, 60, width=_SIZE[0], height=_SIZE[1])
    with tour.frames as source:
        frames = [source[number] for number in range(60)]
    client, robot = Client(), Node("robot")
    publisher = SourcePublisher(robot, depth_encoding="32FC1", compressed=False)
    threads = [_spin(each) for each in (client, robot)]
    _wait_for(lambda: client.action.server_is_ready(), "the action")
    _wait_for(lambda: publisher.image_subscribers > 0, "the world model's subscriptions")
    still = np.zeros(3)
    for frame in frames:
        assert frame.depth is not None
        stamp_ns = robot.get_clock().now().nanoseconds
        publisher.publish_odometry(stamp_ns, frame.T_world_camera, still, still)
        publisher.publish_frame(stamp_ns, frame.image, frame.depth, frame.camera)
        time.sleep(0.1)
    pose = frames[-1].T_world_camera
    paths = fan(pose, options.candidates, options.frames)
    expected = options.candidates * options.frames
    for _ in range(3):
        client.ask(paths)
    before, times, first, whole = _resident_mib(process), [], [], []
    for _ in range(options.goals):
        received, start = client.received, time.perf_counter()
        result, seconds = client.ask(paths)
        if result.error_code:
            raise RuntimeError(f"error {result.error_code}: {result.error_msg}")
        times.append(seconds)
        first.append(result.first_frame_time.sec + result.first_frame_time.nanosec * 1e-9)
        _wait_for(lambda: client.received - received >= expected, "all frames")  # noqa: B023
        whole.append(time.perf_counter() - start)
    after = _resident_mib(process)
    cancels = [client.ask(paths, 0.02)[1] for _ in range(20)]
    # Before the interpreter ends under them.
    rclpy.shutdown()
    for thread in threads:
        thread.join(10.0)
    figures = {"tokens": float(client.tokens), "memory growth, MiB": after - before}
    for name, values in (
        ("goal to result", times),
        ("goal to first frame", first),
        ("goal to last frame received", whole),
        ("cancel to result", cancels),
    ):
        p50, p95 = np.percentile(values, [50, 95])
        figures |= {f"{name}, p50 s": float(p50), f"{name}, p95 s": float(p95)}
    for name in ("readout", "generate", "decode"):
        figures[f"stage {name}, p50 s"] = client.stages.get(name, 0.0)
    return figures


def _wait_for(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.001)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast ~/imagine answers.")
    parser.add_argument("--backend", choices=BACKENDS, default="readout")
    parser.add_argument("--candidates", type=int, default=9)
    parser.add_argument("--frames", type=int, default=8, help="along each path")
    parser.add_argument("--goals", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1, help="of the engine, as the node has it")
    parser.add_argument("--seed", type=int, default=3, help="of the apartment")
    parser.add_argument("--out", type=FilePath, help="JSON file for the figures")
    options = parser.parse_args()
    rclpy.init()
    try:
        figures = measure(options)
    finally:
        rclpy.try_shutdown()
    for name, value in figures.items():
        print(f"{name:<36}{value:>10.3f}")
    if options.out is not None:
        given = {name: value for name, value in vars(options).items() if name != "out"}
        options.out.write_text(json.dumps({"options": given, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()

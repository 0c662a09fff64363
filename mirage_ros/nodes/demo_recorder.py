"""A node that watches the demo: frames, predictions, status and the latent cloud."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Bool, Float32, UInt32

from mirage_ros.evaluation.outcomes import OutcomeMatcher, Prediction
from mirage_ros.frames import RgbdFrame, fit_frame
from mirage_ros.geometry import PinholeCamera, camera_from_info
from mirage_ros.geometry.interpolation import NANOSECONDS
from mirage_ros.msg import MemoryStatus, PredictedFrame
from mirage_ros.nodes.image_conversion import rgb_from_image
from mirage_ros.nodes.point_cloud import TOKEN_DTYPE
from mirage_ros.nodes.pose_conversion import stamp_to_ns


@contextmanager
def recording(
    source: str, size: tuple[int, int], horizon_s: float, frame_interval_s: float
) -> Iterator[Recorder]:
    """A :class:`Recorder` in a ROS context of its own, for as long as the ``with`` block runs."""
    rclpy.init()
    recorder = Recorder(source, size, horizon_s, frame_interval_s)
    executor = SingleThreadedExecutor()
    executor.add_node(recorder)
    try:
        yield recorder
    finally:
        recorder.destroy_node()
        rclpy.try_shutdown()


class Recorder(Node):
    """Collects what the report needs.

    Args:
        source: name of the node that sends the frames.
        size: width and height of predicted views; frames are fitted to it.
        horizon_s: longest horizon that is predicted, seconds.
        frame_interval_s: time between frames, seconds.
    """

    def __init__(
        self, source: str, size: tuple[int, int], horizon_s: float, frame_interval_s: float
    ) -> None:
        super().__init__("demo_recorder")
        self._size = size
        self._camera: PinholeCamera | None = None
        self.matcher = OutcomeMatcher(
            round(0.55 * frame_interval_s * NANOSECONDS), round((horizon_s + 2.0) * NANOSECONDS)
        )
        self.progress = 0.0
        self.finished = False
        self.frames_sent = 0
        self.rollouts: set[str] = set()
        self.status: MemoryStatus | None = None
        self.cloud: NDArray[Any] | None = None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.create_subscription(Image, "image", self._on_image, QoSProfile(depth=10))
        self.create_subscription(CameraInfo, "camera_info", self._on_info, QoSProfile(depth=1))
        self.create_subscription(
            PredictedFrame, "world_model/predictions", self._on_prediction, QoSProfile(depth=50)
        )
        self.create_subscription(
            MemoryStatus, "world_model/status", self._on_status, QoSProfile(depth=1)
        )
        self.create_subscription(PointCloud2, "world_model/latent_cloud", self._on_cloud, latched)
        self.create_subscription(Float32, f"{source}/progress", self._on_progress, 1)
        self.create_subscription(UInt32, f"{source}/frames_sent", self._on_frames_sent, latched)
        self.create_subscription(Bool, f"{source}/finished", self._on_finished, latched)

    def _on_info(self, msg: CameraInfo) -> None:
        if self._camera is None:
            self._camera = camera_from_info(msg)

    def _on_image(self, msg: Image) -> None:
        if self._camera is None:
            return
        stamp_ns = stamp_to_ns(msg.header.stamp)
        frame = RgbdFrame(stamp_ns, rgb_from_image(msg), None, self._camera, np.eye(4))
        self.matcher.add_frame(stamp_ns, fit_frame(frame, *self._size).image)

    def _on_prediction(self, msg: PredictedFrame) -> None:
        self.rollouts.add(msg.rollout_id)
        coverage = np.frombuffer(msg.coverage.data, dtype=np.uint8)
        self.matcher.add_prediction(
            Prediction(
                stamp_ns=stamp_to_ns(msg.header.stamp),
                horizon_ns=msg.horizon.sec * NANOSECONDS + msg.horizon.nanosec,
                index=msg.index,
                image=rgb_from_image(msg.image),
                coverage=coverage.reshape(msg.coverage.height, msg.coverage.width) > 0,
            )
        )

    def _on_status(self, msg: MemoryStatus) -> None:
        self.status = msg

    def _on_cloud(self, msg: PointCloud2) -> None:
        self.cloud = np.frombuffer(msg.data, dtype=TOKEN_DTYPE)

    def _on_progress(self, msg: Float32) -> None:
        self.progress = float(msg.data)

    def _on_frames_sent(self, msg: UInt32) -> None:
        self.frames_sent = int(msg.data)

    def _on_finished(self, msg: Bool) -> None:
        self.finished = self.finished or bool(msg.data)

    def spin_until(
        self, condition: Callable[[], bool], timeout_s: float, check: Callable[[], None]
    ) -> bool:
        """Take messages until the condition holds or the time is over; whether it holds.

        Args:
            condition: when to stop.
            timeout_s: longest time, seconds.
            check: called now and then; what it raises comes through.

        Raises:
            KeyboardInterrupt: a signal has shut ROS down.
        """
        assert self.executor is not None, "made by recording()"
        deadline = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline:
            check()
            # Take what has come before looking at the clock again.
            try:
                for _ in range(20):
                    self.executor.spin_once(timeout_sec=0.05)
            except ExternalShutdownException:
                raise KeyboardInterrupt from None
        return condition()

    def figures(self, seconds: float) -> dict[str, Any]:
        """Counts and times as the world model reported them last.

        Args:
            seconds: how long frames were sent.

        Raises:
            RuntimeError: no status message has arrived.
        """
        status = self.status
        if status is None:
            raise RuntimeError("the world model has sent no status message")
        return {
            "backend": status.backend,
            "duration_s": seconds,
            "frames_sent": self.frames_sent,
            "frames_arrived": status.images_received,
            "frames_arrived_share": status.images_received / max(self.frames_sent, 1),
            "frames_paired": status.frames_paired,
            "frames_dropped": status.frames_dropped,
            "keyframes_wanted": status.keyframes_wanted,
            "keyframes_stored": status.keyframes_stored,
            "oldest_frame_worked_on_s": float(status.oldest_frame_age),
            "tokens": status.token_count,
            "memory_mib": status.memory_bytes / 2**20,
            "predicted_frames": status.frames_predicted,
            "predicted_frames_per_s": status.frames_predicted / max(seconds, 1e-9),
            "rollouts_seen": len(self.rollouts),
            "timings": {
                t.stage: {"count": t.count, "p50_s": float(t.p50), "p99_s": float(t.p99)}
                for t in status.timings
            },
        }

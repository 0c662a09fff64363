"""The node ``replay``: plays a recorded RGB-D sequence as the topics of a robot."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock as ClockMessage

from mirage_ros.errors import MirageError, SequenceError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import T_BODY_OPTICAL, inverse, log_motion
from mirage_ros.nodes.parameters import ParameterTable, Spec
from mirage_ros.nodes.pose_conversion import ns_to_stamp
from mirage_ros.nodes.running import run_node
from mirage_ros.nodes.source_publisher import SourcePublisher, source_parameters
from mirage_ros.sources.rgbd_sequence import RgbdSequence, open_sequence

REPLAY_PARAMETERS: tuple[Spec, ...] = (
    Spec("sequence", "", "Folder of the sequence, in 7-Scenes or TUM RGB-D layout."),
    Spec("rate_hz", 0.0, "Frames a second; 0: as recorded.", 0.0, 1000.0),
    Spec("loop", False, "Begin again at the end; time goes on, the pose jumps back."),
    Spec("start", 0, "First frame to play.", 0, 2**31 - 1),
    Spec("stop", 0, "Frame to stop before; 0: play to the end.", 0, 2**31 - 1),
    Spec("clock", False, "Publish /clock with recorded time; otherwise stamps are the present."),
    *source_parameters("16UC1"),
)

#: How far ahead of its time a frame is decoded, frames.
_PREFETCH = 8
_CLOCK_PERIOD_S = 0.005


class ReplayNode(Node):
    """Publishes a sequence at its rate.

    The odometry is that of the camera's body (x forward), with the first frame's pose as origin, so
    the extrinsics that a listener needs are ``T_BODY_OPTICAL``.

    Raises:
        MirageError: parameters or sequence cannot be used.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("replay", **kwargs)
        self._stopping = threading.Event()
        try:
            self._set_up()
        except MirageError:
            self.destroy_node()
            raise

    def _set_up(self) -> None:
        self._table = ParameterTable(self, REPLAY_PARAMETERS, is_configured=lambda: True)
        self._table.require_valid()
        self._sequence: RgbdSequence = open_sequence(self._table["sequence"])
        stop = self._table["stop"] or len(self._sequence)
        self._indices = range(len(self._sequence))[self._table["start"] : stop]
        if not self._indices:
            raise MirageError(
                f"start and stop must leave a frame of the {len(self._sequence)}. "
                f"Got start {self._table['start']}, stop {self._table['stop']}"
            )
        rate_hz = self._table["rate_hz"] or self._sequence.rate_hz
        if rate_hz <= 0.0:
            raise MirageError("rate_hz must be given: one frame alone has no rate. Got 0")
        self._period_s = 1.0 / rate_hz
        self._poses = _base_poses(self._sequence.poses, self._indices)
        self._out = SourcePublisher(
            self,
            depth_encoding=self._table["depth_encoding"],
            compressed=self._table["compressed"],
        )
        self._clock_publisher = (
            self.create_publisher(ClockMessage, "/clock", QoSProfile(depth=1))
            if self._table["clock"]
            else None
        )
        self._prefetched: queue.Queue[RgbdFrame | SequenceError] = queue.Queue(_PREFETCH)
        threading.Thread(target=self._prefetch, name="prefetch", daemon=True).start()
        self._position = 0
        self._start_s: float | None = None
        self._start_ns = 0
        self._next_plan_s = 0.0
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(
            min(_CLOCK_PERIOD_S, self._period_s / 4.0), self._tick, clock=steady
        )
        self.get_logger().info(
            f"{len(self._indices)} frames of {self._table['sequence']} at "
            f"{1.0 / self._period_s:.1f} Hz"
        )

    def destroy_node(self) -> None:
        """Stop reading and take the node down."""
        self._stopping.set()
        super().destroy_node()

    def _tick(self) -> None:
        """Publish what is due: clock, plan, at most one frame."""
        if self._start_s is None:
            if self._out.image_subscribers < self._table["wait_for_subscribers"]:
                return
            self._start_s = time.monotonic()
            first_ns = int(self._sequence.stamps_ns[self._indices[0]])
            recorded = self._clock_publisher is not None
            self._start_ns = first_ns if recorded else self.get_clock().now().nanoseconds
        elapsed_s = time.monotonic() - self._start_s
        if self._clock_publisher is not None:
            now = ns_to_stamp(self._start_ns + round(elapsed_s * 1e9))
            self._clock_publisher.publish(ClockMessage(clock=now))
        if self._position >= len(self._indices) and not self._table["loop"]:
            return
        if elapsed_s >= self._position * self._period_s:
            self._publish_next()

    def _publish_next(self) -> None:
        number = self._position % len(self._indices)
        try:
            frame = self._prefetched.get_nowait()
        except queue.Empty:
            # Decoding is behind: the frame goes out as soon as it is there.
            return
        if isinstance(frame, SequenceError):
            self.get_logger().warning(f"a frame is left out: {frame}")
            self._step(number)
            return
        stamp_ns = self._stamp_ns(self._position)
        before = self._poses[max(number - 1, 0)]
        twist = log_motion(inverse(before) @ self._poses[number], self._period_s)
        self._out.publish_odometry(stamp_ns, self._poses[number], *twist)
        self._out.publish_frame(stamp_ns, frame.image, _known(frame.depth), frame.camera)
        if self._table["publish_plan"] and self._position * self._period_s >= self._next_plan_s:
            self._next_plan_s = self._position * self._period_s + 1.0 / self._table["plan_rate"]
            self._publish_plan(number)
        self._step(number)

    def _step(self, number: int) -> None:
        """On to the next frame, and say how far it is."""
        self._position += 1
        done = self._position >= len(self._indices) and not self._table["loop"]
        share = 1.0 if done else (number + 1) / len(self._indices)
        self._out.publish_progress(share, finished=done)

    def _publish_plan(self, number: int) -> None:
        """The recorded poses ahead, where the recording reaches that far."""
        steps = max(1, round(self._table["plan_period"] / self._period_s))
        count = math.ceil(self._table["plan_horizon"] / (steps * self._period_s) - 1e-9)
        ahead = [number + k * steps for k in range(1, count + 1)]
        ahead = [n for n in ahead if n < len(self._indices)]
        if ahead:
            offset = self._position - number
            self._out.publish_plan(
                self._stamp_ns(self._position),
                [self._stamp_ns(offset + n) for n in ahead],
                [self._poses[n] for n in ahead],
            )

    def _stamp_ns(self, position: int) -> int:
        return self._start_ns + round(position * self._period_s * 1e9)

    def _prefetch(self) -> None:
        """Decode frames ahead of their time, on a thread of its own."""
        while not self._stopping.is_set():
            for index in self._indices:
                try:
                    frame: RgbdFrame | SequenceError = self._sequence[index]
                except SequenceError as error:
                    frame = error
                while not self._stopping.is_set():
                    try:
                        self._prefetched.put(frame, timeout=0.2)
                        break
                    except queue.Full:
                        continue
            if not self._table["loop"]:
                return


def _base_poses(
    poses: NDArray[np.float64],  # (N, 4, 4) T_world_camera
    indices: range,
) -> NDArray[np.float64]:  # (M, 4, 4) T_odom_base
    """Poses of the camera's body relative to the first one's."""
    T_world_base = poses[np.array(indices)] @ inverse(T_BODY_OPTICAL)
    relative: NDArray[np.float64] = inverse(T_world_base[0]) @ T_world_base
    return relative


def _known(depth: NDArray[np.float32] | None) -> NDArray[np.float32]:
    assert depth is not None, "recorded RGB-D frames carry depth"
    return np.where(np.isfinite(depth), depth, np.float32(0.0))


def main(args: list[str] | None = None) -> None:
    """Run the node until it is shut down."""
    run_node(ReplayNode, args)


if __name__ == "__main__":
    main()

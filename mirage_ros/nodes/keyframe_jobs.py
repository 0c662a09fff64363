"""Keyframes: which frames become some, and how the engine's thread remembers them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError, MirageError, PoseError
from mirage_ros.geometry.interpolation import PoseUnavailableError
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.nodes.engine import Engine
from mirage_ros.nodes.keyframe_mover import KeyframeMover
from mirage_ros.nodes.pairing import PairedFrame
from mirage_ros.nodes.perception_publisher import PerceptionPublisher
from mirage_ros.nodes.perception_reports import PerceptionReports
from mirage_ros.nodes.pose_source import PoseSource
from mirage_ros.nodes.preceding_frames import PrecedingFrames
from mirage_ros.nodes.statistics import StageTimer
from mirage_ros.nodes.status import Counters
from mirage_ros.nodes.warner import ThrottledWarner
from mirage_ros.nodes.worker import Worker

#: What messages of errors in depth begin with.
_DEPTH = "depth: "


@dataclass(frozen=True)
class Keyframe:
    """A frame that is to be remembered.

    Attributes:
        frame: the messages.
        previous: those of a moment before, None where motion is not looked for.
        T_source_camera: (4, 4) from the camera to what the pose input is of.
        T_world_odom: (4, 4) where odometry's frame was, None where nobody follows it.
    """

    frame: PairedFrame
    previous: PairedFrame | None
    T_source_camera: NDArray[np.float64]
    T_world_odom: NDArray[np.float64] | None


class KeyframeJobs:
    """Chooses keyframes on the executor's thread and stores them on the engine's.

    Args:
        engine: the world model.
        worker: owns it; keyframes are jobs of its slot ``slot``.
        slot: of the worker.
        poses: knows where odometry's frame is.
        mover: lets earlier keyframes follow a localiser.
        publisher: of how keyframes were taken.
        counters: counts keyframes.
        timer: takes the time.
        warner: takes the warnings.
        needs_depth: whether frames without depth are of no use.
        sees_motion: whether the frame before a keyframe is wanted.
        odom_frame: odometry's frame, which a localiser moves; empty: nobody follows it.
        now_ns: the node's clock.
        changed: told, on the engine's thread, that the memory has changed.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        slot: str,
        poses: PoseSource,
        mover: KeyframeMover,
        publisher: PerceptionPublisher,
        counters: Counters,
        timer: StageTimer,
        warner: ThrottledWarner,
        *,
        needs_depth: bool,
        sees_motion: bool,
        odom_frame: str,
        now_ns: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._slot = slot
        self._poses = poses
        self._mover = mover
        self._publisher = publisher
        self._counters = counters
        self._timer = timer
        self._warner = warner
        self._needs_depth = needs_depth
        self._sees_motion = sees_motion
        self._odom_frame = odom_frame
        self._now_ns = now_ns
        self._changed = changed
        self._reports = PerceptionReports(warner)
        self._preceding = PrecedingFrames()
        self._last: PairedFrame | None = None
        self.configure(KeyframePolicy(), 0.0)

    def configure(self, policy: KeyframePolicy, max_frame_age: float) -> None:
        """Choose by ``policy`` from now on, and give up frames older than that, seconds."""
        self._policy = policy
        self._max_frame_age = max_frame_age

    def forget(self) -> None:
        """The next frame is a keyframe, wherever it is taken; from any thread."""
        self._last = None

    def restart(self) -> None:
        """Likewise, and frames from now on do not go on from those before: the pose jumped."""
        self.forget()
        self._preceding.clear()

    def discard(self) -> None:
        """Likewise, and forget the keyframe that waits."""
        self._worker.discard(self._slot)
        self.restart()

    def offer(
        self,
        frame: PairedFrame,
        T_source_camera: NDArray[np.float64],  # (4, 4) from the camera to what poses are of
    ) -> None:
        """A frame came; it is remembered if it is a keyframe."""
        if frame.depth is None and self._needs_depth:
            self._warner.warn(
                "depth", "no depth source is configured (use_depth: false): nothing is remembered"
            )
            return
        last = self._last
        previous = None
        if self._sees_motion:
            previous = self._preceding.before(frame)
            self._preceding.add(frame)
        if not self._policy.wants(
            frame.stamp_ns,
            frame.T_world_camera,
            None if last is None else last.stamp_ns,
            None if last is None else last.T_world_camera,
        ):
            return
        self._last = frame
        self._counters.keyframes_wanted += 1
        T_world_odom = self._odometry_frame(frame.stamp_ns) if self._odom_frame else None
        keyframe = Keyframe(frame, previous, T_source_camera, T_world_odom)
        if self._worker.offer(self._slot, lambda: self._store_in_worker(keyframe)):
            self._counters.keyframes_superseded += 1
            self._warner.warn(
                "image",
                "a keyframe was replaced by a newer one before its turn: the engine cannot keep up",
                "superseded",
            )

    def _odometry_frame(self, stamp_ns: int) -> NDArray[np.float64] | None:  # (4, 4)
        try:
            return self._poses.world_from(self._odom_frame, stamp_ns)
        except (PoseError, PoseUnavailableError) as error:
            self._warner.warn("odom_frame", str(error))
            return None

    def _store_in_worker(self, keyframe: Keyframe) -> None:
        frame = keyframe.frame
        age = (self._now_ns() - frame.stamp_ns) * 1e-9
        if abs(age) > self._max_frame_age:
            self._give_up(
                frame,
                f"a frame was {age:.3f} s old when its turn came (max_frame_age "
                f"{self._max_frame_age} s)"
                + ("; do its clock and use_sim_time agree?" if abs(age) > 60.0 else ""),
            )
            return
        if keyframe.T_world_odom is not None:
            self._mover.follow_localiser(
                frame.stamp_ns, frame.T_world_camera, keyframe.T_world_odom
            )
        try:
            observation = self._engine.store(frame, keyframe.previous, self._without_previous)
        except MirageError as error:
            text = str(error)
            topic = "camera_info" if isinstance(error, CameraError) else "image"
            if text.startswith(_DEPTH):
                topic, text = "depth", text.removeprefix(_DEPTH)
            self._give_up(frame, text, topic)
            return
        model, counters = self._engine.model, self._counters
        counters.add_observation(observation, frame.T_world_camera)
        counters.oldest_frame_age = max(counters.oldest_frame_age, age)
        counters.keyframes_stored += 1
        self._changed()
        self._timer.add("image_to_memory", (self._now_ns() - frame.stamp_ns) * 1e-9)
        self._reports.report(observation.perceived)
        self._publisher.publish(
            observation.perceived,
            frame.image.header.frame_id,
            keyframe.T_source_camera,
            model.T_memory_world,
        )

    def _without_previous(self, reason: str) -> None:
        self._warner.warn(
            "image", f"motion is not looked for, the frame before is of no use: {reason}", "before"
        )

    def _give_up(self, frame: PairedFrame, reason: str, topic: str = "image") -> None:
        self._counters.frames_dropped += 1
        self._warner.warn(topic, reason)
        if self._last is frame:
            # Nothing of this place is in memory, so the next frame is a keyframe again.
            self._last = None

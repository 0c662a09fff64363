"""Brings together image, camera_info, depth, mask and pose that belong to one instant."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import PoseError
from mirage_ros.geometry.interpolation import PoseUnavailableError

#: (stamp_ns, camera frame id, last chance) -> pose of that camera, or PoseUnavailableError.
PoseLookup = Callable[[int, str, bool], NDArray[np.float64]]


@dataclass(frozen=True)
class PairedFrame:
    """Messages of one instant, not yet converted.

    Attributes:
        stamp_ns: the image's stamp.
        image: Image or CompressedImage message.
        info: CameraInfo message.
        depth: Image message, None where depth is not used.
        T_world_camera: (4, 4) pose of the camera's optical frame at the stamp.
        mask: Image message, nonzero where something moves; None where there is none.
    """

    stamp_ns: int
    image: Any
    info: Any
    depth: Any
    T_world_camera: NDArray[np.float64]
    mask: Any = None


@dataclass
class _PendingImage:
    stamp_ns: int
    message: Any
    arrival: float


class _Stamped:
    """The latest messages of one topic by stamp."""

    def __init__(self, topic: str, capacity: int) -> None:
        self.topic = topic
        self._messages: deque[tuple[int, Any]] = deque(maxlen=capacity)

    def add(self, stamp_ns: int, message: Any) -> None:
        self._messages.append((stamp_ns, message))

    def clear(self) -> None:
        self._messages.clear()

    def nearest(self, stamp_ns: int) -> tuple[int | None, Any]:
        """(distance in time in ns, message), or (None, None) while empty."""
        if not self._messages:
            return None, None
        stamp, message = min(self._messages, key=lambda entry: abs(entry[0] - stamp_ns))
        return abs(stamp - stamp_ns), message

    def is_past(self, stamp_ns: int) -> bool:
        """Whether the newest message is of a later time, so that none will come for this one."""
        return any(stamp > stamp_ns for stamp, _ in self._messages)


class FrameAssembler:
    """Pairs messages around each image's stamp in bounded buffers.

    Not thread-safe: called from one executor thread.

    Args:
        lookup_pose: gives the camera's pose at a stamp.
        use_depth: whether a frame waits for a depth message.
        needs_depth: whether it is given up without one.
        use_mask: whether a frame waits for a mask of what moves. It is a help, not a need, as
            depth may be: when the image has waited long enough, or a later one has come, it goes on
            without.
        slop_s: largest difference between the image's stamp and a partner's, seconds.
        wait_s: how long an image waits for its partners, seconds of ``clock``.
        capacity: images that may wait, and messages kept of each partner topic.
        on_drop: told (topic at fault, reason) of each image given up.
        on_without: told (topic, reason) of each frame that goes on without a help.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        lookup_pose: PoseLookup,
        *,
        use_depth: bool,
        use_mask: bool,
        slop_s: float,
        wait_s: float,
        capacity: int,
        on_drop: Callable[[str, str], None],
        on_without: Callable[[str, str], None],
        needs_depth: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookup_pose = lookup_pose
        self._slop_ns = round(slop_s * 1e9)
        self._wait_s = wait_s
        self._capacity = capacity
        self._on_drop = on_drop
        self._on_without = on_without
        self._clock = clock
        self._images: deque[_PendingImage] = deque()
        self._infos = _Stamped("camera_info", capacity)
        self._depths = _Stamped("depth", capacity)
        self._masks = _Stamped("dynamic_mask", capacity)
        depths, masks = [self._depths] if use_depth else [], [self._masks] if use_mask else []
        self._needs = [self._infos, *(depths if needs_depth else [])]
        self._helps = [*([] if needs_depth else depths), *masks]
        self._newest_emitted: int | None = None

    def add_image(self, stamp_ns: int, message: Any) -> None:
        """An image arrived; the oldest waiting one gives way where the buffer is full."""
        if len(self._images) >= self._capacity:
            self._images.popleft()
            self._on_drop("image", f"more than {self._capacity} images wait for their partners")
        self._images.append(_PendingImage(stamp_ns, message, self._clock()))

    def add_info(self, stamp_ns: int, message: Any) -> None:
        """A camera_info arrived."""
        self._infos.add(stamp_ns, message)

    def add_depth(self, stamp_ns: int, message: Any) -> None:
        """A depth image arrived."""
        self._depths.add(stamp_ns, message)

    def add_mask(self, stamp_ns: int, message: Any) -> None:
        """A mask of what moves arrived."""
        self._masks.add(stamp_ns, message)

    def clear(self) -> None:
        """Forget all that waits (after a jump of time)."""
        self._images.clear()
        self._infos.clear()
        self._depths.clear()
        self._masks.clear()
        self._newest_emitted = None

    def poll(self) -> list[PairedFrame]:
        """The frames that are complete by now, oldest first; late images are given up."""
        complete: list[PairedFrame] = []
        waiting: deque[_PendingImage] = deque()
        for pending in self._images:
            overdue = self._clock() - pending.arrival >= self._wait_s
            frame, fault = self._complete(pending, overdue)
            if frame is not None:
                complete.append(frame)
            elif fault is not None:
                self._on_drop(*fault)
            else:
                waiting.append(pending)
        self._images = waiting
        return self._in_order(complete)

    def _in_order(self, frames: list[PairedFrame]) -> list[PairedFrame]:
        kept = []
        for frame in sorted(frames, key=lambda item: item.stamp_ns):
            if self._newest_emitted is not None and frame.stamp_ns <= self._newest_emitted:
                self._on_drop("image", "a newer frame was complete before this one")
                continue
            self._newest_emitted = frame.stamp_ns
            kept.append(frame)
        return kept

    def _complete(
        self, pending: _PendingImage, overdue: bool
    ) -> tuple[PairedFrame | None, tuple[str, str] | None]:
        """(frame, None) if complete, (None, (topic, reason)) if hopeless, else (None, None)."""
        partners: dict[str, Any] = {}
        for buffer in self._needs:
            distance, message = buffer.nearest(pending.stamp_ns)
            if distance is None or distance > self._slop_ns:
                reason = f"an image came without it: {self._lack(distance)}"
                return None, (buffer.topic, reason) if overdue else None
            partners[buffer.topic] = message
        lacking: dict[str, str] = {}
        for buffer in self._helps:
            distance, message = buffer.nearest(pending.stamp_ns)
            if distance is None or distance > self._slop_ns:
                if not overdue and not buffer.is_past(pending.stamp_ns + self._slop_ns):
                    return None, None
                lacking[buffer.topic] = self._lack(distance)
            else:
                partners[buffer.topic] = message
        try:
            pose = self._lookup_pose(pending.stamp_ns, pending.message.header.frame_id, overdue)
        except PoseError as error:
            return None, ("pose", str(error))
        except PoseUnavailableError as error:
            hopeless = overdue or not error.retriable
            return None, ("pose", str(error)) if hopeless else None
        frame = PairedFrame(
            pending.stamp_ns,
            pending.message,
            partners[self._infos.topic],
            partners.get(self._depths.topic),
            pose,
            partners.get(self._masks.topic),
        )
        for topic, reason in lacking.items():
            self._on_without(topic, reason)
        return frame, None

    def _lack(self, distance_ns: int | None) -> str:
        if distance_ns is None:
            return "nothing has arrived"
        return (
            f"the nearest message is {distance_ns * 1e-9:.3f} s away "
            f"(slop {self._slop_ns * 1e-9:.3f} s)"
        )

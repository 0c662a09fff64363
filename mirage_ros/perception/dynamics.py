"""Which parts of a view are not to be remembered: what moves, what is new, what is masked.

Three signs, none of which needs to know what a person looks like:

- *New*: a surface stands where an earlier keyframe saw free space. It may be a person or a chair
  that was put there, so it waits until enough views agree that it stays.
- *Moving*: the picture flows otherwise than depth and the camera's motion explain.
- *Masked*: somebody else says so, such as a segmentation node.

What each marks is cleaned of specks, widened, and any marked pixel excludes its whole latent cell,
because the cell's latents show it. (Stored tokens that have become stale are the memory's part:
:mod:`mirage_ros.memory.carving`.)
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.perception.flow import FlowConfig, residual_flow
from mirage_ros.perception.free_space import (
    FREE,
    SURFACE,
    UNKNOWN,
    FreeSpace,
    FreeSpaceConfig,
    camera_points,
)
from mirage_ros.perception.quarantine import Quarantine, QuarantineConfig


@dataclass(frozen=True)
class DynamicsConfig:
    """Which signs are looked for, and how.

    Attributes:
        quarantine: whether new things wait.
        flow: whether optical flow is looked at, where a frame shortly before is given.
        free_space: what earlier keyframes saw.
        waiting: when new things are believed.
        residual: of the flow.
        samples: points looked at along the side of a latent cell.
        least_samples: connected points fewer than this are specks.
        widen: points by which what is marked is widened.

    Raises:
        ConfigurationError: a value is out of range.
    """

    quarantine: bool = True
    flow: bool = True
    free_space: FreeSpaceConfig = field(default_factory=FreeSpaceConfig)
    waiting: QuarantineConfig = field(default_factory=QuarantineConfig)
    residual: FlowConfig = field(default_factory=FlowConfig)
    samples: int = 4
    least_samples: int = 8
    widen: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= 16:
            raise ConfigurationError(f"samples must be between 1 and 16. Got {self.samples}")
        for name in ("least_samples", "widen"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} must be >= 0. Got {getattr(self, name)}")


@dataclass(frozen=True)
class Dynamics:
    """What of a view is not to be remembered.

    Attributes:
        mask: (H, W) bool.
        new: share of the pixels that wait because they are new, widened.
        moving: share that moves.
        masked: share that was masked from outside.
        reason: why a sign could not be looked for; empty if all could.
        seconds: time spent on ``quarantine`` and ``flow``.
    """

    mask: NDArray[np.bool_]
    new: float
    moving: float
    masked: float
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)


class DynamicsFilter:
    """Marks what is not to be remembered; keeps what it needs of earlier views.

    Args:
        stride: side of a latent cell, pixels.
        config: which signs are looked for, and how.
    """

    def __init__(self, stride: int, config: DynamicsConfig | None = None) -> None:
        self.config = config or DynamicsConfig()
        self._step = max(1, math.ceil(stride / self.config.samples))
        self._free_space = FreeSpace(self.config.free_space)
        self._quarantine = Quarantine(self.config.waiting)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of earlier views."""
        return self._free_space.nbytes

    def clear(self) -> None:
        """Forget all earlier views."""
        self._free_space.clear()
        self._quarantine.clear()

    def look(
        self,
        frame: RgbdFrame,
        previous: RgbdFrame | None = None,
        measured: NDArray[np.float32] | None = None,  # (H, W)
    ) -> Dynamics:
        """What of a keyframe is not to be remembered.

        Args:
            frame: with depth; its ``dynamic`` is the mask from outside.
            previous: what the camera saw a moment before, for the flow.
            measured: what of the depth a sensor measured, 0 elsewhere; None = all of it. Depth
                that was only estimated errs too much to say that something is new.
        """
        shape = frame.image.shape[:2]
        nowhere = np.zeros(shape, dtype=np.bool_)
        new, known, moving, reason = nowhere, None, nowhere, ""
        start = time.perf_counter()
        if self.config.quarantine:
            new, known = self._new(_measured(frame, measured))
        judged = time.perf_counter()
        if self.config.flow and previous is not None:
            flow = residual_flow(previous, frame, self.config.residual)
            reason = flow.reason
            if flow.usable:
                moving = self._cleaned(flow.moving, known)
        flowed = time.perf_counter()
        masked = nowhere if frame.dynamic is None else frame.dynamic
        return Dynamics(
            new | moving | masked,
            float(new.mean()),
            float(moving.mean()),
            float(masked.mean()),
            reason,
            {"quarantine": judged - start, "flow": flowed - judged},
        )

    def remember(
        self,
        frame: RgbdFrame,
        measured: NDArray[np.float32] | None = None,  # (H, W), as of :meth:`look`
    ) -> None:
        """Keep what a frame, with its mask, saw of free space."""
        if self.config.quarantine:
            self._free_space.add(_measured(frame, measured))

    def move(
        self,
        stamps_ns: NDArray[np.int64],  # (K,)
        T_world_camera: NDArray[np.float64],  # (K, 4, 4)
    ) -> None:
        """Let earlier views stand elsewhere."""
        self._free_space.move(stamps_ns, T_world_camera)

    def _new(
        self, frame: RgbdFrame
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:  # (H, W), (h, w) samples
        """Surfaces where earlier views saw free space, unless enough views agree on them.

        And the samples whose surface earlier views saw in its place.
        """
        assert frame.depth is not None
        step, camera = self._step, frame.camera
        offset = step // 2
        depth = frame.depth[offset::step, offset::step]
        rows, columns = np.indices(depth.shape)
        pixels = np.stack([columns * step + offset + 0.5, rows * step + offset + 0.5], axis=-1)
        known = np.isfinite(depth) & (depth > 0.0)
        points = camera_points(
            np.where(known, depth, np.float32(1.0)), pixels, camera, frame.T_world_camera
        )
        verdict = np.full(depth.shape, UNKNOWN, dtype=np.uint8)
        verdict[known] = self._free_space.judge(points[known])
        suspicious = _without_specks(verdict == FREE, self.config.least_samples)
        if suspicious.any():
            suspicious[suspicious] = self._quarantine.waits(points[suspicious], frame.stamp_ns)
        return self._full(suspicious, frame.image.shape[:2]), verdict == SURFACE

    def _cleaned(
        self,
        moving: NDArray[np.bool_],  # (H, W)
        still: NDArray[np.bool_] | None,  # (h, w) samples that stood there before
    ) -> NDArray[np.bool_]:  # (H, W)
        """Pixels brought to the samples and back, without specks, widened.

        What stood in its place before does not move, whatever the flow says: along edges of rich
        scenes flow errs.
        """
        step = self._step
        size = (-(-moving.shape[1] // step), -(-moving.shape[0] // step))
        small = cv2.resize(moving.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        if still is not None:
            small &= ~still[: size[1], : size[0]]
        return self._full(_without_specks(small, self.config.least_samples), moving.shape)

    def _full(
        self, samples: NDArray[np.bool_], shape: tuple[int, ...]
    ) -> NDArray[np.bool_]:  # (H, W)
        """Samples widened and brought to pixels."""
        marks = samples.astype(np.uint8)
        if self.config.widen:
            side = 2 * self.config.widen + 1
            marks = cv2.dilate(marks, np.ones((side, side), np.uint8)).astype(np.uint8)
        full = cv2.resize(marks, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
        result: NDArray[np.bool_] = full > 0
        return result


def _measured(frame: RgbdFrame, measured: NDArray[np.float32] | None) -> RgbdFrame:
    return frame if measured is None else replace(frame, depth=measured)


def _without_specks(
    marks: NDArray[np.bool_],  # (h, w)
    least: int,
) -> NDArray[np.bool_]:  # (h, w)
    """Marks in connected groups of at least so many."""
    if not marks.any():
        return marks
    _, labels, stats, _ = cv2.connectedComponentsWithStats(marks.astype(np.uint8), connectivity=8)
    kept = stats[:, cv2.CC_STAT_AREA] >= least
    kept[0] = False
    result: NDArray[np.bool_] = kept[labels]
    return result

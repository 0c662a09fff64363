"""Any sequence of frames with errors added: of its depth, its clocks, its poses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mirage_ros.errors import ConfigurationError, SequenceError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.interpolation import interpolate_pose
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.sources.depth_errors import DepthErrors
from mirage_ros.sources.frame_source import FrameSource


class DegradedSequence(FrameSource):
    """Another source's frames, recorded or simulated, as worse sensors would give them.

    Images and stamps stay as they are. The errors of a frame depend on the seed and its position
    alone, so frames can be had in any order.

    Args:
        source: gives the frames; closed with this sequence.
        depth_errors: of frames that have depth; None = none.
        seed: of the depth's errors.
        time_offset_s: a frame gets the pose of so many seconds later, or earlier where negative:
            the clock of the images is late by it against that of the poses. Poses are interpolated;
            the first and the last stand for what lies beyond.
        poses: (N, 4, 4) T_world_camera to take instead of the source's, such as those of drifting
            odometry; the time offset applies to them.

    Raises:
        ConfigurationError: the offset is not finite.
        SequenceError: not as many poses as frames.
        PoseError: a given pose is not rigid.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        depth_errors: DepthErrors | None = None,
        seed: int = 0,
        time_offset_s: float = 0.0,
        poses: ArrayLike | None = None,  # (N, 4, 4)
    ) -> None:
        if not math.isfinite(time_offset_s):
            raise ConfigurationError(f"time_offset_s must be finite seconds. Got {time_offset_s}")
        given = np.asarray(source.poses if poses is None else poses, dtype=np.float64)
        if given.shape != (len(source), 4, 4):
            raise SequenceError(
                f"poses must have shape {(len(source), 4, 4)}, one for every frame. "
                f"Got {given.shape}"
            )
        if poses is not None:
            for index, pose in enumerate(given):
                validate_pose(pose, f"pose {index}")
        self._source = source
        self._depth_errors = depth_errors
        self._seed = seed
        self._stamps_ns = source.stamps_ns
        self._poses = _shifted(self._stamps_ns, given, time_offset_s)

    @property
    def camera(self) -> PinholeCamera:
        """Intrinsics of every image, corner convention."""
        return self._source.camera

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) times of exposure, nanoseconds, ascending."""
        return self._stamps_ns.copy()

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) the source's own frame numbers, which may have gaps."""
        return self._source.frame_numbers

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera that the frames come with, errors included."""
        return self._poses.copy()

    @property
    def true_poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera as the source has them."""
        return self._source.poses

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> RgbdFrame:
        """The frame at a position, negative ones counted from the end.

        Raises:
            IndexError: outside the sequence.
            MirageError: the source cannot give the frame.
        """
        frame = self._source[index]
        position = index % len(self)
        depth = frame.depth
        if self._depth_errors is not None and depth is not None:
            depth = self._depth_errors.apply(depth, np.random.default_rng((self._seed, position)))
        return replace(frame, depth=depth, T_world_camera=self._poses[position].copy())

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def _shifted(
    stamps_ns: NDArray[np.int64],  # (N,) ascending
    poses: NDArray[np.float64],  # (N, 4, 4)
    offset_s: float,
) -> NDArray[np.float64]:  # (N, 4, 4)
    """The poses of ``offset_s`` seconds later, those at the ends for what lies beyond."""
    offset_ns = round(offset_s * 1e9)
    if offset_ns == 0:
        return poses.copy()
    due = np.clip(stamps_ns + offset_ns, stamps_ns[0], stamps_ns[-1])
    after = np.searchsorted(stamps_ns, due)
    shifted = np.empty_like(poses)
    for index, (stamp_ns, right) in enumerate(zip(due.tolist(), after.tolist(), strict=True)):
        if stamps_ns[right] == stamp_ns:
            shifted[index] = poses[right]
            continue
        left = right - 1
        share = (stamp_ns - stamps_ns[left]) / (stamps_ns[right] - stamps_ns[left])
        shifted[index] = interpolate_pose(poses[left], poses[right], float(share))
    return shifted

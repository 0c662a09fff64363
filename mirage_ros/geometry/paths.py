"""Poses at which to imagine: along a constant twist, or along a planner's path."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mirage_ros.errors import ConfigurationError, PoseError
from mirage_ros.geometry.interpolation import NANOSECONDS, interpolate_pose
from mirage_ros.geometry.poses import exp_twist, validate_pose

#: Poses closer than this count as one place, metres.
SAME_PLACE = 1e-6
#: Headings closer to the identity than this count as not set (entry of R - I).
UNSET_HEADING = 1e-9


def extrapolate_twist(
    T_world_base: NDArray[np.float64],  # (4, 4)
    linear: ArrayLike,  # (3,) m/s in the body frame
    angular: ArrayLike,  # (3,) rad/s in the body frame
    horizon_s: float,
    period_s: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (T,) seconds, (T, 4, 4)
    """Where a body that keeps its twist will be, every ``period_s`` up to ``horizon_s``.

    The present (offset 0) is left out; the first pose is one period ahead.

    Raises:
        PoseError: the pose is not rigid or the twist not finite.
        ConfigurationError: the period is not positive or longer than the horizon.
    """
    start = validate_pose(T_world_base, "T_world_base")
    v, w = np.asarray(linear, dtype=np.float64), np.asarray(angular, dtype=np.float64)
    if v.shape != (3,) or w.shape != (3,) or not (np.isfinite(v).all() and np.isfinite(w).all()):
        raise PoseError(f"a twist must be two finite vectors of 3. Got {v} and {w}")
    offsets = _offsets(horizon_s, period_s)
    if not offsets.size:
        raise ConfigurationError(
            f"horizon must be at least one period ({period_s} s). Got {horizon_s} s"
        )
    poses = np.stack([start @ exp_twist(v, w, float(offset)) for offset in offsets])
    return offsets, poses


def resample_path(
    poses: NDArray[np.float64],  # (N, 4, 4) T_world_base
    stamps_ns: ArrayLike,  # (N,) int
    start_ns: int,
    frame_period_s: float,
    horizon_s: float | None,
    nominal_speed: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (T,) seconds, (T, 4, 4)
    """The poses along a path every ``frame_period_s`` from ``start_ns`` on.

    Where the stamps increase strictly and reach past ``start_ns`` they are obeyed (translation
    linear, rotation slerp in between; before the first stamp the body is taken to stand at the
    first pose). Otherwise - Nav2 often sends equal stamps - the path is walked at
    ``nominal_speed``, and a path whose headings are all the identity, so not set, gets those of
    its tangent in the world's x-y plane (z up, REP-103).

    The pose at ``start_ns`` itself is left out. The last frame is the last that fits into path and
    horizon (None: the whole path); a path shorter than one period, down to a single pose, gives
    one frame: its end.

    Raises:
        PoseError: the path is empty, a pose is not rigid, or there are not as many stamps as poses.
        ConfigurationError: period, horizon or speed are not positive.
    """
    path = _validated(poses)
    stamps: NDArray[np.int64] = np.asarray(stamps_ns, dtype=np.int64)
    if stamps.shape != (len(path),):
        raise PoseError(f"a path of {len(path)} poses needs as many stamps. Got {stamps.shape}")
    if not nominal_speed > 0.0:
        raise ConfigurationError(f"nominal_speed must be positive m/s. Got {nominal_speed}")
    if len(path) > 1 and (np.diff(stamps) > 0).all() and stamps[-1] > start_ns:
        times = (stamps - start_ns).astype(np.float64) / NANOSECONDS
    else:
        path = _with_tangent_headings(_distinct(path))
        steps = np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=-1)
        times = np.concatenate([[0.0], np.cumsum(steps)]) / nominal_speed
    end = float(times[-1])
    offsets = _offsets(end if horizon_s is None else min(end, horizon_s), frame_period_s)
    if not offsets.size:
        if horizon_s is not None and horizon_s < frame_period_s:
            raise ConfigurationError(
                f"horizon must be at least one period ({frame_period_s} s). Got {horizon_s} s"
            )
        return np.array([frame_period_s]), path[-1:].copy()
    return offsets, np.stack([_pose_at(path, times, float(offset)) for offset in offsets])


def _offsets(horizon_s: float, period_s: float) -> NDArray[np.float64]:  # (T,)
    """Whole periods up to the horizon, without 0."""
    if not (period_s > 0.0 and math.isfinite(period_s)):
        raise ConfigurationError(f"frame period must be positive seconds. Got {period_s}")
    if not (horizon_s >= 0.0 and math.isfinite(horizon_s)):
        raise ConfigurationError(f"horizon must be finite, positive seconds. Got {horizon_s}")
    # The quotient of, say, 0.3 and 0.1 falls just short of 3.
    count = math.floor(horizon_s / period_s + 1e-9)
    return np.arange(1, count + 1, dtype=np.float64) * float(period_s)


def _validated(poses: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4, 4)
    path = np.asarray(poses, dtype=np.float64)
    if path.ndim != 3 or len(path) == 0:
        raise PoseError(f"a path must hold poses, shape (N, 4, 4), N >= 1. Got {path.shape}")
    for index, pose in enumerate(path):
        validate_pose(pose, f"path pose {index}")
    return path


def _distinct(path: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4, 4) -> (M, 4, 4)
    """The path without repeats of a place; of poses at one place the last stays."""
    steps = np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=-1)
    kept: NDArray[np.float64] = path[np.append(steps > SAME_PLACE, True)]
    return kept


def _with_tangent_headings(path: NDArray[np.float64]) -> NDArray[np.float64]:  # (N, 4, 4)
    """The path itself if any heading is set or it has no tangent, else with the tangent's yaw."""
    unset = np.abs(path[:, :3, :3] - np.eye(3)).max() <= UNSET_HEADING
    planar = np.diff(path[:, :2, 3], axis=0)
    moving = np.linalg.norm(planar, axis=-1) > SAME_PLACE
    if not unset or not moving.any():
        return path
    yaw = np.arctan2(planar[:, 1], planar[:, 0])
    # A vertical step has no yaw of its own: it takes the one before it, or the first there is.
    source = np.maximum.accumulate(np.where(moving, np.arange(len(yaw)), -1))
    yaw = yaw[np.where(source >= 0, source, int(np.argmax(moving)))]
    # Each pose looks along the step that leaves it, the last one along the step that reached it.
    yaw = np.append(yaw, yaw[-1])
    turned = path.copy()
    turned[:, 0, 0] = turned[:, 1, 1] = np.cos(yaw)
    turned[:, 1, 0] = np.sin(yaw)
    turned[:, 0, 1] = -turned[:, 1, 0]
    return turned


def _pose_at(
    path: NDArray[np.float64],  # (N, 4, 4)
    times: NDArray[np.float64],  # (N,) seconds, increasing
    time: float,
) -> NDArray[np.float64]:  # (4, 4)
    """The pose at ``time``, the first or the last pose outside the path."""
    index = int(np.searchsorted(times, time))
    if index in (0, len(times)):
        end: NDArray[np.float64] = path[0 if index == 0 else -1]
        return end
    alpha = (time - times[index - 1]) / (times[index] - times[index - 1])
    return interpolate_pose(path[index - 1], path[index], alpha)

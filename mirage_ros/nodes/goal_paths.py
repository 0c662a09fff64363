"""What a goal of ``~/imagine`` asks for, checked: camera poses along every candidate path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nav_msgs.msg import Path
from numpy.typing import NDArray

from mirage_ros.action import ImaginePaths
from mirage_ros.errors import ConfigurationError, MirageError, PoseError
from mirage_ros.geometry import PoseUnavailableError
from mirage_ros.nodes.plan_input import (
    CameraState,
    PathSettings,
    Plan,
    plan_arrays,
    target_poses,
)
from mirage_ros.nodes.pose_conversion import duration_to_ns

_SECOND_NS = 10**9


class GoalError(MirageError):
    """A goal that cannot be followed.

    Attributes:
        code: one of the numbers of ``ImaginePaths.Result``.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class GoalLimits:
    """How much a goal may ask for.

    Attributes:
        candidates: paths.
        frames: of all candidates together.
    """

    candidates: int
    frames: int


@dataclass(frozen=True)
class CandidatePath:
    """Where and when the camera is imagined along one candidate.

    Attributes:
        T_world_camera: (T, 4, 4).
        offsets_ns: (T,) int64, after the newest observation.
        follows: whether it goes on from where the camera is.
    """

    T_world_camera: NDArray[np.float64]
    offsets_ns: NDArray[np.int64]
    follows: bool


def candidate_paths(
    goal: Any,  # ImaginePaths.Goal
    state: CameraState,
    settings: PathSettings,
    limits: GoalLimits,
    world_from: Callable[[str], NDArray[np.float64]],
    T_base_camera: Callable[[], NDArray[np.float64]],
) -> list[CandidatePath]:
    """The candidates of a goal.

    Args:
        goal: with paths, pose_of, frame_period, frame_count and as_given.
        state: the newest observation.
        settings: what holds where the goal says nothing.
        limits: how much may be asked for.
        world_from: (4, 4) pose of a frame in the world; raises PoseUnavailableError.
        T_base_camera: (4, 4); likewise.

    Raises:
        GoalError: the goal cannot be followed; which candidate and why.
    """
    result = ImaginePaths.Result
    if not goal.paths:
        raise GoalError(result.INVALID_PATH, "a goal must hold at least one path. Got none")
    if len(goal.paths) > limits.candidates:
        raise GoalError(
            result.TOO_MANY_CANDIDATES,
            f"a goal may hold {limits.candidates} paths (max_candidates). Got {len(goal.paths)}",
        )
    if goal.pose_of not in (ImaginePaths.Goal.POSE_OF_BASE, ImaginePaths.Goal.POSE_OF_CAMERA):
        raise GoalError(
            result.INVALID_GOAL, f"pose_of must be 0 (base) or 1 (camera). Got {goal.pose_of}"
        )
    settings = _settings(goal, settings)
    count = sum(
        len(path.poses) if goal.as_given else goal.frame_count or settings.frame_count
        for path in goal.paths
    )
    if count > limits.frames:
        raise GoalError(
            result.INVALID_PATH,
            f"a goal may ask for {limits.frames} frames (max_goal_frames). Got {count}",
        )
    try:
        of_camera = goal.pose_of == ImaginePaths.Goal.POSE_OF_CAMERA
        T_pose_camera = np.eye(4) if of_camera else T_base_camera()
    except PoseUnavailableError as error:
        raise GoalError(result.TRANSFORM_FAILED, str(error)) from error
    return [
        _candidate(number, path, goal.as_given, state, settings, world_from, T_pose_camera)
        for number, path in enumerate(goal.paths)
    ]


def _settings(goal: Any, settings: PathSettings) -> PathSettings:
    """The node's settings with what the goal says instead."""
    asked = duration_to_ns(goal.frame_period)
    if asked < 0:
        raise GoalError(
            ImaginePaths.Result.INVALID_GOAL,
            f"frame_period must not be negative. Got {asked / _SECOND_NS} s",
        )
    period = asked / _SECOND_NS if asked else settings.frame_period
    # Half a period more, so that rounding does not cost the last frame.
    horizon = (goal.frame_count + 0.5) * period if goal.frame_count else settings.horizon
    return PathSettings(max(horizon, period), period, settings.nominal_speed)


def _candidate(
    number: int,
    path: Path,
    as_given: bool,
    state: CameraState,
    settings: PathSettings,
    world_from: Callable[[str], NDArray[np.float64]],
    T_pose_camera: NDArray[np.float64],
) -> CandidatePath:
    result = ImaginePaths.Result
    try:
        poses, stamps = plan_arrays(path)
        steps = np.diff(stamps)
        if (steps < 0).any():
            first = int(np.flatnonzero(steps < 0)[0])
            raise PoseError(
                f"stamps must not run backwards. Got {steps[first] / _SECOND_NS} s from pose "
                f"{first} to the next"
            )
        T_world_path = world_from(path.header.frame_id)
        if as_given or len(poses) == 1:
            targets = T_world_path @ poses @ T_pose_camera
            if len(stamps) > 1 and (steps > 0).all() and stamps[0] > state.stamp_ns:
                offsets = stamps - state.stamp_ns
            else:
                period = round(settings.frame_period * _SECOND_NS)
                offsets = np.arange(1, len(poses) + 1, dtype=np.int64) * period
            return CandidatePath(targets, offsets, follows=False)
        plan = Plan(T_world_path @ poses, stamps, arrival=0.0, serial=0)
        offsets, targets = target_poses(state, plan, T_pose_camera, settings)
        return CandidatePath(targets, offsets, follows=True)
    except PoseUnavailableError as error:
        raise GoalError(result.TRANSFORM_FAILED, f"path {number}: {error}") from error
    except (PoseError, ConfigurationError) as error:
        raise GoalError(result.INVALID_PATH, f"path {number}: {error}") from error


def total_frames(candidates: Sequence[CandidatePath]) -> int:
    """Frames of all candidates."""
    return sum(len(candidate.offsets_ns) for candidate in candidates)

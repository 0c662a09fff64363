"""Predicted views for a planner, asked for over ``~/imagine`` as any client would."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.action.client import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from mirage_ros.action import ImaginePaths
from mirage_ros.errors import MirageError
from mirage_ros.geometry import camera_from_info
from mirage_ros.msg import PredictedFrame
from mirage_ros.nodes.image_conversion import depth_from_image, rgb_from_image
from mirage_ros.nodes.pose_conversion import matrix_from_pose, pose_from_matrix
from mirage_ros.planning.views import PlannedView

#: Frames of one goal: a fraction of what the world model allows by default.
_FRAMES = 256


class ImaginingError(MirageError):
    """The world model did not follow a goal; the message is its own."""


class ActionImaginer:
    """Implements :class:`mirage_ros.planning.views.Imaginer`.

    :meth:`imagine` blocks, so it belongs to a thread other than the executor's.

    Args:
        node: to talk from.
        world_model: name of the world model node.
        world_frame: of the poses.
        timeout_s: for a goal.
    """

    def __init__(
        self, node: Node, world_model: str, world_frame: str, timeout_s: float = 60.0
    ) -> None:
        self._node = node
        self._world_frame = world_frame
        self._timeout_s = timeout_s
        self._condition = threading.Condition()
        self._frames: dict[tuple[str, int, int], PredictedFrame] = {}
        group = ReentrantCallbackGroup()
        self._action: Any = ActionClient(
            node, ImaginePaths, f"{world_model}/imagine", callback_group=group
        )
        node.create_subscription(
            PredictedFrame,
            f"{world_model}/predictions",
            self._on_frame,
            QoSProfile(depth=2 * _FRAMES),
            callback_group=group,
        )
        self._stopped = False

    def stop(self) -> None:
        """Let whoever waits go."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()

    def imagine(
        self,
        paths: Sequence[NDArray[np.float64]],  # each (T, 4, 4) T_world_camera
    ) -> list[list[PlannedView]]:
        """The views along every path, one per pose.

        Raises:
            ImaginingError: the world model is not there, does not answer, or refuses.
        """
        # Cut into stretches, and these put together to goals of a size that is taken.
        stretches = [
            (number, path[start : start + _FRAMES])
            for number, path in enumerate(paths)
            for start in range(0, len(path), _FRAMES)
        ]
        views: list[list[PlannedView]] = [[] for _ in paths]
        while stretches:
            size, goal = 0, list[tuple[int, NDArray[np.float64]]]()
            while stretches and size + len(stretches[0][1]) <= _FRAMES and len(goal) < 64:
                size += len(stretches[0][1])
                goal.append(stretches.pop(0))
            answers = self._ask([poses for _, poses in goal])
            for (number, _), answer in zip(goal, answers, strict=True):
                views[number] += answer
        return views

    def _ask(self, paths: list[NDArray[np.float64]]) -> list[list[PlannedView]]:
        if not self._action.wait_for_server(timeout_sec=self._timeout_s):
            raise ImaginingError("the world model's action is not there")
        goal = ImaginePaths.Goal(as_given=True, pose_of=ImaginePaths.Goal.POSE_OF_CAMERA)
        goal.paths = [self._message(path) for path in paths]
        with self._condition:
            self._frames.clear()
        handle = self._wait(self._action.send_goal_async(goal), "the goal was not answered")
        result = self._wait(handle.get_result_async(), "no result came").result
        if result.error_code != ImaginePaths.Result.NONE:
            raise ImaginingError(f"error {result.error_code}: {result.error_msg}")
        keys = [
            [(result.rollout_id, number, index) for index in range(len(path))]
            for number, path in enumerate(paths)
        ]
        wanted = {key for of_path in keys for key in of_path}
        with self._condition:
            complete = self._condition.wait_for(
                lambda: self._stopped or wanted <= self._frames.keys(), self._timeout_s
            )
            if not complete or self._stopped:
                missing = len(wanted - self._frames.keys())
                raise ImaginingError(f"{missing} of {len(wanted)} frames did not come")
            frames = [[self._frames[key] for key in of_path] for of_path in keys]
            self._frames.clear()
        return [[planned_view(frame) for frame in of_path] for of_path in frames]

    def _message(self, path: NDArray[np.float64]) -> Path:
        message = Path()
        message.header.frame_id = self._world_frame
        message.poses = [PoseStamped(pose=pose_from_matrix(pose)) for pose in path]
        return message

    def _wait(self, future: Any, problem: str) -> Any:
        def done(_: Any) -> None:
            with self._condition:
                self._condition.notify_all()

        future.add_done_callback(done)
        with self._condition:
            self._condition.wait_for(lambda: self._stopped or future.done(), self._timeout_s)
        if not future.done():
            raise ImaginingError(problem)
        return future.result()

    def _on_frame(self, frame: PredictedFrame) -> None:
        with self._condition:
            self._frames[frame.rollout_id, frame.candidate, frame.index] = frame
            self._condition.notify_all()


def planned_view(frame: PredictedFrame) -> PlannedView:
    """A frame as a planner takes it.

    Raises:
        MirageError: a message that cannot be used.
    """
    coverage = np.frombuffer(frame.coverage.data, np.uint8)
    return PlannedView(
        image=rgb_from_image(frame.image),
        coverage=coverage.reshape(frame.coverage.height, frame.coverage.width) > 0,
        depth=depth_from_image(frame.depth),
        T_world_camera=matrix_from_pose(frame.camera_pose.pose),
        camera=camera_from_info(frame.camera_info, rectified=True),
        known_fraction=float(frame.known_fraction),
    )

"""The action ``~/imagine``: paths in, frames on ``~/predictions``, what is known in the result.

The server lives as long as the node: one that was taken down with a configuration could not answer.
Every goal is accepted and gets a result with a number and a text; a rejection could not say why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action.server import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from mirage_ros.action import ImaginePaths
from mirage_ros.nodes.awaiting import finished
from mirage_ros.nodes.goals import GoalRun
from mirage_ros.nodes.session import Session


class ImagineAction:
    """The action server.

    Args:
        node: the node.
        session: what is active now, if anything.
    """

    def __init__(self, node: Node, session: Callable[[], Session | None]) -> None:
        self._node = node
        self._session = session
        self._server = ActionServer(
            node,
            ImaginePaths,
            "~/imagine",
            execute_callback=self._execute,
            goal_callback=lambda _: GoalResponse.ACCEPT,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def destroy(self) -> None:
        """Take the server off the node."""
        self._server.destroy()

    async def _execute(self, handle: Any) -> Any:
        """Follow a goal to its end; the executor goes on meanwhile."""
        run = GoalRun(
            handle.request,
            lambda rollout_id, done, total: self._feed_back(handle, rollout_id, done, total),
            lambda: bool(handle.is_cancel_requested),
        )
        session = self._session()
        if session is None:
            run.refuse(ImaginePaths.Result.NOT_ACTIVE, "the node is not active: activate it first")
        else:
            session.goals.submit(run)
        result = await finished(self._node, run.answer)
        if result.error_code == ImaginePaths.Result.NONE:
            handle.succeed()
        elif result.error_code == ImaginePaths.Result.CANCELLED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _feed_back(self, handle: Any, rollout_id: str, done: int, total: int) -> None:
        feedback = ImaginePaths.Feedback(
            rollout_id=rollout_id, frames_done=done, frames_total=total
        )
        handle.publish_feedback(feedback)

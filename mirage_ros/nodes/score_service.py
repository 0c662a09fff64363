"""The service ``~/score_paths``: what candidate paths cost against a goal image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from mirage_ros.action import ImaginePaths
from mirage_ros.errors import MirageError
from mirage_ros.frames import fit_image
from mirage_ros.nodes.awaiting import finished
from mirage_ros.nodes.goals import GoalRun, Rollout
from mirage_ros.nodes.image_conversion import rgb_from_image
from mirage_ros.nodes.session import Session
from mirage_ros.srv import ScorePaths

if TYPE_CHECKING:
    from mirage_ros.world_model import PredictedView

_Code = ImaginePaths.Result


class ScoreService:
    """``~/score_paths``; lives as long as the node.

    Args:
        node: the node.
        session: what is active now, if anything.
    """

    def __init__(self, node: Node, session: Callable[[], Session | None]) -> None:
        self._node = node
        self._session = session
        node.create_service(
            ScorePaths,
            "~/score_paths",
            self._on_request,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    async def _on_request(
        self, request: ScorePaths.Request, response: ScorePaths.Response
    ) -> ScorePaths.Response:
        try:
            await self._answer(request, response)
        except MirageError as error:
            _refuse(response, _Code.INVALID_GOAL, f"goal: {error}")
        except Exception as error:
            _refuse(response, _Code.UNKNOWN, f"{type(error).__name__}: {error}")
        return response

    async def _answer(self, request: ScorePaths.Request, response: ScorePaths.Response) -> None:
        session = self._session()
        if session is None:
            _refuse(response, _Code.NOT_ACTIVE, "the node is not active: activate it first")
            return
        goal = rgb_from_image(request.goal)
        if request.paths:
            run = GoalRun(_as_goal(request), publish=False)
            session.goals.submit(run)
            result = await finished(self._node, run.answer)
            if result.error_code != _Code.NONE:
                _refuse(response, result.error_code, result.error_msg)
                return
        rollout = session.goals.last
        if rollout is None:
            text = "there is no rollout to score: give paths, or call ~/imagine before"
            _refuse(response, _Code.INVALID_PATH, text)
            return
        costs = await finished(self._node, session.run_command(lambda: frame_costs(goal, rollout)))
        response.success, response.rollout_id = True, rollout.rollout_id
        response.frame_counts = [len(views) for views in rollout.views]
        response.frame_costs = np.concatenate(costs).astype(np.float32)
        response.costs = [float(of_path.min()) for of_path in costs]
        response.best_frames = [int(of_path.argmin()) for of_path in costs]
        best = int(np.argmin(response.costs))
        response.message = f"candidate {best} costs least, {response.costs[best]:.3f}"


def frame_costs(
    goal: NDArray[np.uint8],  # (H, W, 3) RGB, of any size
    rollout: Rollout,
) -> list[NDArray[np.float64]]:
    """Cost of every frame of every candidate, 0 (the goal) to 1."""
    from mirage_ros.planning.encoding import dct_cost, dct_encoder
    from mirage_ros.planning.scores import LatentGoal, encoded

    encode, views = dct_encoder(), [view for path in rollout.views for view in path]
    camera = views[0].camera
    wanted = LatentGoal(encode(fit_image(goal, camera.width, camera.height)[None])[0], dct_cost())
    costs = wanted.costs(*encoded([_planned(view) for view in views], encode))
    ends = np.cumsum([len(path) for path in rollout.views])
    return np.split(costs, ends[:-1])


def _planned(view: PredictedView) -> Any:
    from mirage_ros.planning.views import PlannedView

    return PlannedView(
        image=view.image,
        coverage=view.coverage > 0,
        depth=np.ascontiguousarray(view.depth[:: view.cell, :: view.cell]),
        T_world_camera=view.T_world_camera,
        camera=view.camera,
        known_fraction=view.known_fraction,
    )


def _as_goal(request: ScorePaths.Request) -> ImaginePaths.Goal:
    return ImaginePaths.Goal(
        paths=request.paths,
        pose_of=request.pose_of,
        frame_count=request.frame_count,
        as_given=request.as_given,
    )


def _refuse(response: ScorePaths.Response, code: int, text: str) -> None:
    response.success, response.error_code, response.message = False, code, text

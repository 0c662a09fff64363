"""Goals of ``~/imagine``: one at a time on the engine's thread, the newest wins."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mirage_ros.action import ImaginePaths
from mirage_ros.errors import ConfigurationError, GenerationError, MirageError
from mirage_ros.msg import ImaginedCandidate
from mirage_ros.nodes.engine import Engine
from mirage_ros.nodes.goal_paths import (
    CandidatePath,
    GoalError,
    GoalLimits,
    candidate_paths,
    total_frames,
)
from mirage_ros.nodes.plan_input import CameraState, PathSettings
from mirage_ros.nodes.pose_conversion import ns_to_duration, ns_to_stamp
from mirage_ros.nodes.prediction_publisher import PredictionPublisher, RolloutHeader
from mirage_ros.nodes.worker import Worker

if TYPE_CHECKING:
    from mirage_ros.world_model import PredictedView

#: Pictures of a goal that are kept for being scored later, at most.
_KEPT_BYTES = 256 * 2**20

#: Frames published before readers are waited for.
_BURST = 10

_Result = Any  # ImaginePaths.Result


@dataclass
class GoalRun:
    """A goal that is being worked on.

    Attributes:
        goal: ImaginePaths.Goal.
        feedback: takes rollout id, frames sent and frames in all.
        cancelled: whether the client wants it no more.
        publish: whether its frames go out on ~/predictions.
        arrival: when it came, seconds of a monotonic clock.
        answer: what comes of it.
        newer: set when a newer goal takes its place.
    """

    goal: Any
    feedback: Callable[[str, int, int], None] = lambda *_: None
    cancelled: Callable[[], bool] = lambda: False
    publish: bool = True
    arrival: float = field(default_factory=time.perf_counter)
    answer: Future[_Result] = field(default_factory=Future)
    newer: threading.Event = field(default_factory=threading.Event)

    def refuse(self, code: int, message: str, rollout_id: str = "") -> None:
        """End it with an error, unless it has ended."""
        if not self.answer.done():
            result = ImaginePaths.Result(error_code=code, error_msg=message)
            result.rollout_id = rollout_id
            self.answer.set_result(result)


@dataclass(frozen=True)
class Rollout:
    """What a goal showed.

    Attributes:
        rollout_id: its frames' on ~/predictions.
        views: of every candidate, in order along the path.
    """

    rollout_id: str
    views: list[list[PredictedView]]


@dataclass(frozen=True)
class GoalContext:
    """What goals need of the session.

    Attributes:
        state: newest observation, if any.
        settings: how paths are sampled where the goal says nothing.
        limits: how much a goal may ask for.
        world_from: (4, 4) pose of a frame in the world.
        base_extrinsics: (4, 4) T_base_camera of a camera's frame.
        next_rollout_id: makes unique ones.
        seed: the node's.
        world_frame: of camera poses.
    """

    state: Callable[[], CameraState | None]
    settings: Callable[[], PathSettings]
    limits: GoalLimits
    world_from: Callable[[str], NDArray[np.float64]]
    base_extrinsics: Callable[[str], NDArray[np.float64]]
    next_rollout_id: Callable[[], str]
    seed: Callable[[], int]
    world_frame: str


class Goals:
    """Takes goals on the executor's thread, works on them on the engine's.

    Args:
        engine: the world model.
        worker: owns the engine; goals are jobs of its slot ``slot``.
        predictions: frames go out there.
        context: what is needed of the session.
        slot: of the worker.
        preempts: slots whose running jobs a goal interrupts, its own among them.
        between_steps: asked before every layer of a denoising step; does what must not wait.
        changed: told that the memory has changed.
        count: counts published frames.
    """

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        predictions: PredictionPublisher,
        context: GoalContext,
        *,
        slot: str,
        preempts: tuple[str, ...],
        between_steps: Callable[[], None],
        changed: Callable[[], None],
        count: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._predictions = predictions
        self._context = context
        self._slot = slot
        self._preempts = preempts
        self._between_steps = between_steps
        self._changed = changed
        self._count = count
        self._lock = threading.Lock()
        self._newest: GoalRun | None = None
        #: What the last goal that was followed to its end showed; None if it was too large to keep.
        self.last: Rollout | None = None

    def submit(self, run: GoalRun) -> None:
        """Work on a goal as soon as possible; one before it ends as preempted."""
        with self._lock:
            before, self._newest = self._newest, run
            if before is not None:
                before.newer.set()
            superseded = self._worker.offer(
                self._slot, lambda: self._work(run), preempts=self._preempts
            )
        if superseded and before is not None:
            before.refuse(ImaginePaths.Result.PREEMPTED, "a newer goal came before this one's turn")

    def stop(self) -> None:
        """No goal stays without an answer."""
        with self._lock:
            newest, self._newest = self._newest, None
        if newest is not None:
            newest.refuse(ImaginePaths.Result.STOPPED, "the node was deactivated")

    def _work(self, run: GoalRun) -> None:
        """On the engine's thread."""
        from mirage_ros.generation import GenerationCancelled

        result = ImaginePaths.Result
        rollout_id = ""
        try:
            if run.cancelled():
                raise GoalError(result.CANCELLED, "cancelled before its turn")
            state = self._context.state()
            if state is None:
                raise GoalError(
                    result.NO_OBSERVATION,
                    "nothing has been observed yet: image, camera_info and pose are needed once",
                )
            candidates = candidate_paths(
                run.goal,
                state,
                self._context.settings(),
                self._context.limits,
                self._context.world_from,
                lambda: self._context.base_extrinsics(state.camera_frame),
            )
            rollout_id = self._context.next_rollout_id()
            run.answer.set_result(self._imagined(run, state, candidates, rollout_id))
        except GoalError as error:
            run.refuse(error.code, str(error), rollout_id)
        except GenerationCancelled:
            self._interrupted(run, rollout_id)
        except ConfigurationError as error:
            run.refuse(result.INVALID_GOAL, str(error), rollout_id)
        except GenerationError as error:
            run.refuse(result.GENERATION_FAILED, str(error), rollout_id)
        except MirageError as error:
            run.refuse(result.UNKNOWN, str(error), rollout_id)
        except Exception as error:
            run.refuse(result.UNKNOWN, f"{type(error).__name__}: {error}", rollout_id)
            raise

    def _interrupted(self, run: GoalRun, rollout_id: str) -> None:
        result = ImaginePaths.Result
        # Locked, so that a goal that begins again never takes the turn of one that came just now.
        with self._lock:
            if run.newer.is_set():
                run.refuse(result.PREEMPTED, "a newer goal came", rollout_id)
            elif run.cancelled():
                run.refuse(result.CANCELLED, "cancelled by the client", rollout_id)
            elif self._worker.is_stopping:
                run.refuse(result.STOPPED, "the node was deactivated", rollout_id)
            else:
                # A service was in the way; the goal stands.
                self._worker.offer(self._slot, lambda: self._work(run))

    def _imagined(
        self,
        run: GoalRun,
        state: CameraState,
        candidates: list[CandidatePath],
        rollout_id: str,
    ) -> _Result:
        """Send the frames; what there is to say of them.

        Raises:
            GenerationCancelled: it should stop.
            MirageError: it cannot be done.
        """

        def cancelled() -> bool:
            self._between_steps()
            return run.newer.is_set() or run.cancelled() or self._worker.interrupted()

        goal, total = run.goal, total_frames(candidates)
        result = ImaginePaths.Result(rollout_id=rollout_id)
        result.conditioned_on = ns_to_stamp(state.stamp_ns)
        result.candidates = [
            ImaginedCandidate(horizon=[ns_to_duration(int(ns)) for ns in candidate.offsets_ns])
            for candidate in candidates
        ]
        known = [np.zeros(len(c.offsets_ns), np.float32) for c in candidates]
        nearest = [np.zeros(len(c.offsets_ns), np.float32) for c in candidates]
        views = self._engine.imagine_candidates(
            candidates,
            state,
            self._context.seed() if goal.seed < 0 else goal.seed,
            cancelled,
            prompt=goal.prompt,
            commit=goal.commit,
        )
        shown: list[list[PredictedView]] = [[] for _ in candidates]
        for done, (number, view) in enumerate(views, start=1):
            candidate = candidates[number]
            header = RolloutHeader(
                rollout_id=rollout_id,
                candidate=number,
                frame_count=len(candidate.offsets_ns),
                conditioned_on_ns=state.stamp_ns,
                world_frame=self._context.world_frame,
            )
            if run.publish:
                self._predictions.publish(header, view, int(candidate.offsets_ns[view.index]))
                self._count()
            shown[number].append(view)
            if done == 1:
                result.first_frame_time = _since(run.arrival)
            known[number][view.index] = view.known_fraction
            nearest[number][view.index] = view.nearest_surface
            if done % _BURST == 0 or done == total:
                run.feedback(rollout_id, done, total)
                if run.publish:
                    self._predictions.wait_until_taken()
        for number, message in enumerate(result.candidates):
            message.known_fraction = known[number]
            message.nearest_surface = nearest[number]
        size = sum(view.image.nbytes for views in shown for view in views)
        self.last = Rollout(rollout_id, shown) if size <= _KEPT_BYTES else None
        if goal.commit:
            self._changed()
        result.total_time = _since(run.arrival)
        return result


def _since(start: float) -> Any:
    return ns_to_duration(round((time.perf_counter() - start) * 1e9))

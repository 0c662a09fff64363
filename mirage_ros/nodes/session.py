"""What the world model node consists of between configuration and clean-up."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from nav_msgs.msg import Path
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from mirage_ros.errors import ConfigurationError, MirageError, PoseError
from mirage_ros.geometry import PinholeCamera, PoseBuffer, PoseUnavailableError
from mirage_ros.keyframes import KeyframePolicy
from mirage_ros.nodes.calibration import CalibrationCache
from mirage_ros.nodes.cloud_publisher import CloudPublisher
from mirage_ros.nodes.engine import Engine
from mirage_ros.nodes.goal_paths import GoalLimits
from mirage_ros.nodes.goals import GoalContext, Goals
from mirage_ros.nodes.keyframe_jobs import KeyframeJobs
from mirage_ros.nodes.keyframe_mover import KeyframeMover
from mirage_ros.nodes.memory_jobs import MemoryJobs
from mirage_ros.nodes.pairing import PairedFrame
from mirage_ros.nodes.parameters import ParameterTable
from mirage_ros.nodes.perception_publisher import PerceptionPublisher
from mirage_ros.nodes.plan_input import CameraState, PathSettings, Plan, plan_arrays, target_poses
from mirage_ros.nodes.pose_source import PoseSource, pose_source_config
from mirage_ros.nodes.prediction_publisher import PredictionPublisher, RolloutHeader
from mirage_ros.nodes.sensor_inputs import InputConfig, SensorInputs
from mirage_ros.nodes.statistics import StageTimer
from mirage_ros.nodes.status import Counters
from mirage_ros.nodes.trajectory_input import TrajectoryInput
from mirage_ros.nodes.transforms import Transforms
from mirage_ros.nodes.warner import ThrottledWarner
from mirage_ros.nodes.worker import Worker

if TYPE_CHECKING:
    from mirage_ros.world_model import WorldModel

_T = TypeVar("_T")

#: Slots of the worker, most urgent first.
_KEYFRAME, _MOVES, _GOAL, _ROLLOUT, _CLOUD = "keyframe", "moves", "goal", "rollout", "cloud"

#: Those that a rollout does between its steps. It reads a branch of the memory, so what is stored
#: meanwhile does not change it, and a long one must not keep the robot from remembering.
_BETWEEN_STEPS = (_KEYFRAME, _MOVES)


class Session:
    """Inputs, engine, worker and outputs of a configured world model node.

    Methods run on the executor's thread unless their names say worker.

    Args:
        node: the node.
        parameters: its parameters, valid.
        model: the world model, from now on owned by the worker thread.
        transforms: TF, where available; outlives the session.
        warner: takes the warnings.

    Raises:
        ConfigurationError: parameters contradict each other or need what is not installed.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: ParameterTable,
        model: WorldModel,
        transforms: Transforms,
        warner: ThrottledWarner,
    ) -> None:
        self.counters = Counters()
        self.timer = StageTimer()
        self._node = node
        self._parameters = parameters
        self._warner = warner
        self._world_frame: str = parameters["world_frame"]
        self._transforms = transforms
        self._cleanup = ExitStack()
        calibration = CalibrationCache(parameters["image_is_rectified"])
        self._engine = Engine(model, calibration, self.timer)
        slots = (_KEYFRAME, _MOVES, _GOAL, _ROLLOUT, _CLOUD)
        self._worker = Worker(slots, self._worker_failed)
        self.memory = MemoryJobs(
            self._engine, self._worker, self.timer, self._world_frame, self._loaded_in_worker
        )
        self._poses = self._create_pose_source()
        self._state: CameraState | None = None
        self._plan: Plan | None = None
        self._plan_serial = 0
        self._begun_plan_serial = 0
        self._timed_plan_serial = 0
        self._rollouts = 0
        self._run = f"{time.time_ns():x}"
        try:
            self._create_entities(calibration)
            self.apply_parameters()
            self.goals = self._create_goals()
            self._memory_changed()
        except BaseException:
            self.destroy()
            raise

    def _create_entities(self, calibration: CalibrationCache) -> None:
        """Publishers and subscriptions; each takes care of its own removal."""
        node, parameters, warner = self._node, self._parameters, self._warner
        self._predictions = PredictionPublisher(
            node, self._transforms, paced=parameters["playback"] == "realtime"
        )
        self._cleanup.callback(self._predictions.destroy)
        self._cloud = CloudPublisher(node, warner)
        self._cleanup.callback(self._cloud.destroy)
        self._mover = KeyframeMover(
            self._engine,
            self.counters,
            warner,
            parameters["keyframe_move_distance"],
            parameters["keyframe_move_angle"],
            self._memory_changed,
        )
        self._keyframes = self._create_keyframe_jobs()
        self._inputs = SensorInputs(
            node,
            InputConfig(**{name: parameters[name] for name in InputConfig.__dataclass_fields__}),
            self._poses,
            calibration,
            self.counters,
            self.timer,
            warner,
            self._on_frame,
            self._on_time_jump,
        )
        self._cleanup.callback(self._inputs.destroy)
        plan_subscription = node.create_subscription(
            Path,
            "plan",
            warner.guard("plan", self._on_plan),
            QoSProfile(depth=1),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._cleanup.callback(node.destroy_subscription, plan_subscription)
        if parameters["use_corrected_trajectory"]:
            trajectory = TrajectoryInput(
                node,
                warner,
                self._poses,
                lambda: self._state,
                lambda path: self._worker.offer(_MOVES, lambda: self._mover.follow(path)),
            )
            self._cleanup.callback(trajectory.destroy)

    def _create_keyframe_jobs(self) -> KeyframeJobs:
        get = self._parameters
        publisher = PerceptionPublisher(
            self._node, self._transforms, self._world_frame, get["memory_frame"]
        )
        self._cleanup.callback(publisher.destroy)
        return KeyframeJobs(
            self._engine,
            self._worker,
            _KEYFRAME,
            self._poses,
            self._mover,
            publisher,
            self.counters,
            self.timer,
            self._warner,
            needs_depth=get["depth_source"] == "sensor",
            sees_motion=get["optical_flow"],
            odom_frame=get["odom_frame"],
            now_ns=self._now_ns,
            changed=self._memory_changed,
        )

    def _create_goals(self) -> Goals:
        get = self._parameters
        context = GoalContext(
            state=lambda: self._state,
            settings=lambda: self._path_settings,
            limits=GoalLimits(get["max_candidates"], get["max_goal_frames"]),
            world_from=lambda frame_id: self._poses.world_from(frame_id, None),
            base_extrinsics=lambda frame_id: self._poses.base_extrinsics(frame_id),
            next_rollout_id=self._next_rollout_id,
            seed=lambda: self._seed,
            world_frame=self._world_frame,
        )
        return Goals(
            self._engine,
            self._worker,
            self._predictions,
            context,
            slot=_GOAL,
            preempts=(_GOAL, _ROLLOUT),
            between_steps=self._do_urgent_in_worker,
            changed=self._memory_changed,
            count=self.counters.predictions.tick,
        )

    def _next_rollout_id(self) -> str:
        self._rollouts += 1
        return f"{self._run}-{self._rollouts:06d}"

    def apply_parameters(self) -> None:
        """Take over the dynamic parameters."""
        get = self._parameters
        policy = KeyframePolicy(
            distance=get["keyframe_distance"],
            angle=get["keyframe_angle"],
            interval=get["keyframe_interval"],
            min_interval=get["keyframe_min_interval"],
        )
        self._keyframes.configure(policy, get["max_frame_age"])
        self._path_settings = PathSettings(
            get["horizon"], get["frame_period"], get["nominal_speed"]
        )
        self._plan_timeout: float = get["plan_timeout"]
        self._reset_on_jump: bool = get["reset_on_jump"]
        self._seed: int = get["seed"]
        self._cloud.set_limit(get["cloud_points"])

    def start(self) -> None:
        """Begin to work on what arrives."""
        self._inputs.start()
        self._worker.start()

    def stop(self) -> None:
        """Stop working; the memory stays."""
        self._inputs.stop()
        self._state = self._plan = None
        self._keyframes.restart()
        if not self._worker.stop():
            self._warner.warn("engine", "the running job does not stop; it is left behind")
        self.goals.stop()
        self._predictions.clear()

    def destroy(self) -> None:
        """Take everything off the node; stopped before."""
        self._cleanup.close()

    def poll(self) -> None:
        """Frequent: complete waiting frames, publish paced views."""
        self._inputs.poll()
        self._predictions.publish_due()

    def request_rollout(self) -> None:
        """Imagine from the newest observation on, unless a rollout is under way."""
        if self._worker.busy_with(_ROLLOUT) or not self._predictions.has_subscribers:
            return
        if self._predictions.is_playing:
            # Paced playback shows a rollout to its end; only a new plan cuts it short.
            return
        self._worker.offer(_ROLLOUT, self._roll_out_in_worker)

    def request_cloud(self) -> None:
        """Publish the latent cloud if it has changed and somebody listens."""
        if self._cloud.is_wanted:
            self._worker.offer(_CLOUD, self._publish_cloud_in_worker)

    def missing_inputs(self) -> list[str]:
        """Topics that have been silent for too long."""
        return self._inputs.missing()

    def reset_memory(self) -> Future[int]:
        """Forget everything; the tokens that were forgotten, once that is done."""
        # What is seen from now on is stored after the reset, however near to what was forgotten.
        self._keyframes.discard()
        return self._worker.submit(self._reset_in_worker)

    def run_command(self, command: Callable[[], _T]) -> Future[_T]:
        """Run something on the engine's thread; a running rollout begins again after it."""
        return self._worker.submit(command)

    def _create_pose_source(self) -> PoseSource:
        get = self._parameters
        config = pose_source_config(get.__getitem__, self._transforms.available)
        buffer = PoseBuffer(
            max_gap_s=get["pose_max_gap"], max_extrapolation_s=get["pose_max_extrapolation"]
        )
        return PoseSource(
            config,
            buffer,
            self._transforms,
            on_problem=self._warner.warn,
            on_time_jump=self._on_time_jump,
            on_pose_jump=self._on_pose_jump,
        )

    def _on_frame(self, frame: PairedFrame, camera: PinholeCamera) -> None:
        camera_frame: str = frame.image.header.frame_id
        T_source_camera = self._poses.source_extrinsics(camera_frame)
        self._keyframes.offer(frame, T_source_camera)
        linear, angular = self._poses.twist(T_source_camera)
        self._state = CameraState(
            frame.stamp_ns, frame.T_world_camera, linear, angular, camera, camera_frame, frame
        )
        if self._plan is not None and self._plan.serial != self._begun_plan_serial:
            # It came before there was anything to imagine from.
            self._begin_plan(self._plan)

    def _on_plan(self, msg: Path) -> None:
        if not self._inputs.enabled:
            return
        arrival = time.perf_counter()
        try:
            poses, stamps = plan_arrays(msg)
            T_world_frame = self._poses.world_from(msg.header.frame_id, None)
        except (PoseError, PoseUnavailableError) as error:
            self._warner.warn("plan", str(error))
            if not msg.poses:
                self._plan = None
            return
        self._plan_serial += 1
        self._plan = Plan(T_world_frame @ poses, stamps, arrival, self._plan_serial)
        self.timer.add("callback", time.perf_counter() - arrival)
        if self._state is not None:
            self._begin_plan(self._plan)

    def _begin_plan(self, plan: Plan) -> None:
        if self._predictions.has_subscribers:
            self._begun_plan_serial = plan.serial
            self._worker.offer(_ROLLOUT, self._roll_out_in_worker, preempts=(_ROLLOUT,))

    def _on_time_jump(self) -> None:
        self._keyframes.discard()
        self._inputs.clear()
        self._poses.clear()
        self._state = self._plan = None

    def _on_pose_jump(self) -> None:
        self._state = self._plan = None
        self._keyframes.restart()
        if self._reset_on_jump:
            self._keyframes.discard()
            self._worker.submit(self._reset_in_worker)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)

    def _roll_out_in_worker(self) -> None:
        from mirage_ros.generation import GenerationCancelled

        state, plan = self._state, self._plan
        if state is None:
            return
        if plan is not None and time.perf_counter() - plan.arrival > self._plan_timeout:
            plan = None
        pose_of = "camera" if plan is None else self._parameters["plan_pose_of"]
        try:
            T_pose_camera = self._poses.extrinsics_of(pose_of, state.camera_frame)
            offsets_ns, poses = target_poses(state, plan, T_pose_camera, self._path_settings)
        except (PoseError, PoseUnavailableError, ConfigurationError) as error:
            self._warner.warn("plan" if plan is not None else "prediction", str(error))
            return
        header = RolloutHeader(
            rollout_id=self._next_rollout_id(),
            candidate=0,
            frame_count=len(poses),
            conditioned_on_ns=state.stamp_ns,
            world_frame=self._world_frame,
        )
        views = self._engine.imagine(
            poses, state.camera, self._seed, self._between_steps_in_worker, state.frame
        )
        try:
            for view in views:
                self._predictions.publish(header, view, int(offsets_ns[view.index]))
                self.counters.predictions.tick()
                self._do_urgent_in_worker()
                if plan is not None and view.index == 0:
                    self._time_plan_in_worker(plan)
        except GenerationCancelled:
            self.timer.add("cancelled_rollout", 0.0)
            # A service or a newer plan was in the way; what is imagined is still wanted.
            self._worker.offer(_ROLLOUT, self._roll_out_in_worker)
        except MirageError as error:
            # The views before stay; the next rollout may fare better.
            self._warner.warn("prediction", f"a rollout ended early: {error}", "rollout")

    def _between_steps_in_worker(self) -> bool:
        """Whether the rollout should stop; what is more urgent is done first."""
        self._do_urgent_in_worker()
        return self._worker.interrupted()

    def _do_urgent_in_worker(self) -> None:
        for slot in _BETWEEN_STEPS:
            self._worker.run_pending(slot)

    def _time_plan_in_worker(self, plan: Plan) -> None:
        if plan.serial != self._timed_plan_serial:
            self._timed_plan_serial = plan.serial
            self.timer.add("plan_to_first_frame", time.perf_counter() - plan.arrival)

    def _reset_in_worker(self) -> int:
        forgotten = self._engine.model.token_count
        self._engine.model.reset()
        self._mover.forget()
        self._memory_changed()
        return forgotten

    def _loaded_in_worker(self) -> None:
        self._mover.forget()
        self._memory_changed()
        # The next frame is new to this memory, wherever it is taken.
        self._keyframes.forget()

    def _memory_changed(self) -> None:
        """On the worker's thread, or before that has begun."""
        model = self._engine.model
        self.counters.token_count = model.token_count
        self.counters.memory_bytes = model.memory_bytes
        self.counters.reference_bytes = model.reference_bytes
        self.counters.perception_bytes = model.perception.nbytes
        self.counters.newest_observation_ns = model.newest_stamp_ns or 0
        self._cloud.is_stale = True

    def _publish_cloud_in_worker(self) -> None:
        with self.timer.measure("cloud"):
            self._cloud.publish(self._engine, self._world_frame, self._now_ns())

    def _worker_failed(self, slot: str, error: Exception) -> None:
        if not self._node.context.ok():
            # The process is being shut down: publishers are gone before the job could end.
            return
        self._warner.warn("engine", f"{slot}: unexpected {type(error).__name__}: {error}", slot)

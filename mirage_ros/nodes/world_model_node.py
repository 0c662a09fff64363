"""The lifecycle node ``world_model``: sensors in, predicted views and the latent cloud out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile
from rclpy.timer import Timer
from std_msgs.msg import Header

from mirage_ros.errors import ConfigurationError, MirageError
from mirage_ros.msg import MemoryStatus
from mirage_ros.nodes.gpu import release_memory
from mirage_ros.nodes.imagine_action import ImagineAction
from mirage_ros.nodes.log_bridge import LogBridge
from mirage_ros.nodes.memory_services import MemoryServices, memory_path, reason
from mirage_ros.nodes.nano_parameters import nano_settings
from mirage_ros.nodes.parameters import ParameterTable
from mirage_ros.nodes.perception_parameters import perception_settings
from mirage_ros.nodes.running import run_node
from mirage_ros.nodes.score_service import ScoreService
from mirage_ros.nodes.session import Session
from mirage_ros.nodes.status import Setup, diagnostics, memory_status
from mirage_ros.nodes.transforms import Transforms
from mirage_ros.nodes.wan_parameters import wan_settings
from mirage_ros.nodes.warner import ThrottledWarner
from mirage_ros.nodes.world_model_parameters import (
    WORLD_MODEL_PARAMETERS,
    generation_size,
    problem_together,
)

if TYPE_CHECKING:
    from mirage_ros.world_model import WorldModel

#: How often waiting frames are looked after, seconds.
_POLL_PERIOD_S = 0.02
#: How often an idle node says that it is idle, seconds.
_IDLE_PERIOD_S = 10.0


class WorldModelNode(LifecycleNode):
    """Remembers what the camera saw and imagines what it would see; see docs/architecture.md."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("world_model", **kwargs)
        self._session: Session | None = None
        #: Made once: a TF buffer leaves a service behind that cannot be taken off the node.
        self._transforms: Transforms | None = None
        self._is_active = False
        self._warner = ThrottledWarner(self.get_logger())
        self._log_bridge = LogBridge(self.get_logger())
        self._table = ParameterTable(
            self,
            WORLD_MODEL_PARAMETERS,
            problem_together=problem_together,
            is_configured=lambda: self._session is not None,
            on_change=self._on_parameters_changed,
        )
        self._memory_services = MemoryServices(
            self,
            lambda: self._session if self._is_active else None,
            lambda: self._table["memory_directory"],
        )
        self._imagine_action = ImagineAction(
            self, lambda: self._session if self._is_active else None
        )
        self._score_service = ScoreService(self, lambda: self._session if self._is_active else None)
        # Timers run on the machine's clock: a simulation that stands still must not silence status.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._work_timers: list[Timer] = []
        self._idle_timer = self.create_timer(_IDLE_PERIOD_S, self._say_idle, clock=self._steady)
        self._autostart_timer = self.create_timer(0.0, self._autostart, clock=self._steady)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the backend, warm it up, create publishers and subscriptions."""
        self._log_bridge.open()
        try:
            self._table.require_valid()
            self._session = self._build()
        except MirageError as error:
            return self._not_configured(f"{error}")
        except Exception as error:
            # A missing library or device must not take the process down: the operator can mend
            # the parameters and configure again.
            return self._not_configured(f"{type(error).__name__}: {error}")
        self.get_logger().info(f"configured with backend '{self._table['backend']}'")
        return TransitionCallbackReturn.SUCCESS

    def _not_configured(self, why: str) -> TransitionCallbackReturn:
        self.get_logger().error(f"not configured: {why}")
        self._log_bridge.close()
        release_memory()
        return TransitionCallbackReturn.FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to work on what arrives."""
        result = super().on_activate(state)
        if self._session is not None:
            self._session.start()
            self._is_active = True
            self.get_logger().info("active")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop working; the memory stays."""
        self._is_active = False
        if self._session is not None:
            self._session.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the backend and forget everything."""
        self._tear_down()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End all work."""
        self._tear_down()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where configuration can be tried again."""
        self._tear_down()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """End all work and take the node down."""
        self._tear_down()
        self._imagine_action.destroy()
        if self._transforms is not None:
            self._transforms.close()
        super().destroy_node()

    def _build(self) -> Session:
        # torch comes in with the backend: a node that is never configured does not load it.
        from mirage_ros.backends import build_world_model

        get = self._table
        width, height = generation_size(get.__getitem__)
        model = build_world_model(
            get["backend"],
            generation_width=width,
            generation_height=height,
            min_depth=get["min_depth"],
            max_depth=get["max_depth"],
            grids=get["grids"],
            memory=get["memory"],
            capacity=get["capacity"],
            device=get["device"],
            num_threads=get["num_threads"],
            seed=get["seed"],
            nano=nano_settings(get.__getitem__),
            wan=wan_settings(get.__getitem__),
            perception=perception_settings(get.__getitem__),
        )
        if get["memory_file"]:
            self._load(model, memory_path(get["memory_file"], get["memory_directory"]))
        model.warm_up()
        if self._transforms is None:
            self._transforms = Transforms(self)
        session = Session(self, self._table, model, self._transforms, self._warner)
        self._status = self.create_publisher(MemoryStatus, "~/status", QoSProfile(depth=1))
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=1)
        )
        periods = {
            session.poll: _POLL_PERIOD_S,
            session.request_cloud: 1.0 / get["cloud_rate"],
            self._publish_status: 1.0 / get["status_rate"],
        }
        if get["rollout_rate"] > 0.0:
            periods[session.request_rollout] = 1.0 / get["rollout_rate"]
        for callback, period in periods.items():
            guarded = self._while_active(callback)
            self._work_timers.append(self.create_timer(period, guarded, clock=self._steady))
        return session

    def _load(self, model: WorldModel, path: Path) -> None:
        """Start with what a file holds.

        Raises:
            ConfigurationError: it cannot be read, or does not fit.
        """
        try:
            model.load(path, self._table["world_frame"])
        except (MirageError, OSError) as error:
            raise ConfigurationError(f"memory_file: {reason(error, path)}") from error
        self.get_logger().info(f"loaded {model.token_count} tokens from {path}")

    def _while_active(self, callback: Any) -> Any:
        """The callback, run only while active, whose exceptions become warnings."""

        def guarded() -> None:
            if not self._is_active:
                return
            try:
                callback()
            except Exception as error:
                name = getattr(callback, "__name__", "timer")
                self._warner.warn(name, f"unexpected {type(error).__name__}: {error}", name)

        return guarded

    def _tear_down(self) -> None:
        self._is_active = False
        session, self._session = self._session, None
        if session is None:
            return
        session.stop()
        for timer in self._work_timers:
            self.destroy_timer(timer)
        self._work_timers.clear()
        self.destroy_publisher(self._status)
        self.destroy_publisher(self._diagnostics)
        session.destroy()
        self._log_bridge.close()
        del session
        release_memory()

    def _on_parameters_changed(self) -> None:
        if self._session is not None:
            self._session.apply_parameters()

    def _publish_status(self) -> None:
        session = self._session
        if session is None:
            return
        missing = session.missing_inputs()
        if missing:
            names = ", ".join(self.resolve_topic_name(topic) for topic in missing)
            self._warner.warn(
                "input",
                f"nothing for {self._table['input_timeout']:g} s on {names}: is it published, "
                f"remapped, of a compatible QoS?",
                "missing",
            )
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._table["world_frame"])
        get = self._table
        bound = 0 if get["memory"] == "rgb" else get["capacity"]
        setup = Setup(get["backend"], get["memory"], bound)
        status = memory_status(session.counters, session.timer, missing, setup, header)
        self._status.publish(status)
        self._diagnostics.publish(diagnostics(status, self.get_fully_qualified_name()))

    def _say_idle(self) -> None:
        if self._is_active:
            return
        name = self.get_fully_qualified_name()
        step = "configure" if self._session is None else "activate"
        self.get_logger().warning(
            f"waiting, not active: run 'ros2 lifecycle set {name} {step}' "
            f"(or launch with autostart:=true)"
        )

    def _autostart(self) -> None:
        """Runs once, as soon as the node spins."""
        self.destroy_timer(self._autostart_timer)
        if not self._table["autostart"]:
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()


def main(args: list[str] | None = None) -> None:
    """Run the node until it is shut down."""
    run_node(WorldModelNode, args)


if __name__ == "__main__":
    main()

"""MemoryStatus and /diagnostics from the node's counters."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from numpy.typing import NDArray
from std_msgs.msg import Header

from mirage_ros.geometry import rotation_angle, translation_distance
from mirage_ros.msg import MemoryStatus, StageTiming
from mirage_ros.nodes.gpu import gpu_memory
from mirage_ros.nodes.pose_conversion import ns_to_stamp
from mirage_ros.nodes.statistics import RateMeter, StageTimer

if TYPE_CHECKING:
    from mirage_ros.world_model import Observation


#: Fields of the message that are counters by the same names.
_PERCEPTION = (
    "tokens_carved",
    "new_share",
    "moving_share",
    "masked_share",
    "registrations_accepted",
    "registrations_refused",
    "correction_distance",
    "correction_angle",
    "keyframes_moved",
    "moves_refused",
    "perception_bytes",
)


@dataclass
class Counters:
    """What the node counts from configuration on."""

    images: RateMeter = field(default_factory=RateMeter)
    predictions: RateMeter = field(default_factory=RateMeter)
    images_lost: int = 0
    frames_paired: int = 0
    frames_dropped: int = 0
    keyframes_wanted: int = 0
    keyframes_stored: int = 0
    keyframes_superseded: int = 0
    oldest_frame_age: float = 0.0
    token_count: int = 0
    memory_bytes: int = 0
    newest_observation_ns: int = 0
    reference_bytes: int = 0
    tokens_added: int = 0
    tokens_refreshed: int = 0
    tokens_confirmed: int = 0
    tokens_evicted: int = 0
    tokens_carved: int = 0
    new_share: float = 0.0
    moving_share: float = 0.0
    masked_share: float = 0.0
    registrations_accepted: int = 0
    registrations_refused: int = 0
    correction_distance: float = 0.0
    correction_angle: float = 0.0
    keyframes_moved: int = 0
    moves_refused: int = 0
    perception_bytes: int = 0

    def add_observation(
        self,
        observation: Observation,
        T_world_camera: NDArray[np.float64],  # (4, 4) as it came in
    ) -> None:
        """Count what became of one keyframe."""
        update, perceived = observation.update, observation.perceived
        self.tokens_added += update.added
        self.tokens_refreshed += update.refreshed
        self.tokens_confirmed += update.confirmed
        self.tokens_evicted += update.evicted
        if perceived.carving is not None:
            self.tokens_carved += perceived.carving.removed
        dynamics, registration = perceived.dynamics, perceived.registration
        if dynamics is not None:
            self.new_share, self.moving_share = dynamics.new, dynamics.moving
            self.masked_share = dynamics.masked
        elif perceived.frame.dynamic is not None:
            self.masked_share = float(perceived.frame.dynamic.mean())
        else:
            self.masked_share = 0.0
        if registration is not None:
            self.registrations_accepted += registration.accepted
            self.registrations_refused += not registration.accepted
        corrected = perceived.frame.T_world_camera
        self.correction_distance = translation_distance(T_world_camera, corrected)
        self.correction_angle = rotation_angle(T_world_camera, corrected)


@dataclass(frozen=True)
class Setup:
    """What the node runs with since it was configured.

    Attributes:
        backend: name of the backend.
        memory: kind of memory.
        capacity: tokens (or points) it may hold; 0: no bound.
    """

    backend: str
    memory: str
    capacity: int


def memory_status(
    counters: Counters,
    timer: StageTimer,
    missing_inputs: list[str],
    setup: Setup,
    header: Header,
) -> MemoryStatus:
    """The status message of this moment."""
    msg = MemoryStatus(header=header, backend=setup.backend)
    msg.memory, msg.capacity = setup.memory, setup.capacity
    msg.token_count = counters.token_count
    msg.memory_bytes = counters.memory_bytes
    msg.reference_bytes = counters.reference_bytes
    gpu = gpu_memory()
    msg.gpu_memory_bytes, msg.gpu_memory_peak_bytes = gpu.used, gpu.peak
    msg.keyframe_count = counters.keyframes_stored
    msg.tokens_added = counters.tokens_added
    msg.tokens_refreshed = counters.tokens_refreshed
    msg.tokens_confirmed = counters.tokens_confirmed
    msg.tokens_evicted = counters.tokens_evicted
    for name in _PERCEPTION:
        setattr(msg, name, getattr(counters, name))
    msg.newest_observation = ns_to_stamp(counters.newest_observation_ns)
    msg.images_received = counters.images.total
    msg.images_lost = counters.images_lost
    msg.frames_paired = counters.frames_paired
    msg.frames_dropped = counters.frames_dropped
    msg.keyframes_wanted = counters.keyframes_wanted
    msg.keyframes_stored = counters.keyframes_stored
    msg.keyframes_superseded = counters.keyframes_superseded
    msg.oldest_frame_age = counters.oldest_frame_age
    msg.image_rate = counters.images.rate
    msg.frames_predicted = counters.predictions.total
    msg.prediction_rate = counters.predictions.rate
    msg.missing_inputs = missing_inputs
    msg.timings = [
        StageTiming(stage=s.stage, count=s.count, p50=s.p50, p99=s.p99) for s in timer.summaries()
    ]
    return msg


def diagnostics(status: MemoryStatus, node_name: str) -> DiagnosticArray:
    """The same facts for diagnostic tools; WARN while an input is missing."""
    entry = DiagnosticStatus(name=f"{node_name}: world model", hardware_id=status.backend)
    if status.missing_inputs:
        entry.level = DiagnosticStatus.WARN
        entry.message = f"no input on {', '.join(status.missing_inputs)}"
    else:
        entry.level = DiagnosticStatus.OK
        entry.message = f"{status.token_count} tokens from {status.keyframe_count} keyframes"
    values = {
        "memory": status.memory,
        "tokens": f"{status.token_count}",
        "capacity": f"{status.capacity}",
        "tokens_refreshed": f"{status.tokens_refreshed}",
        "tokens_confirmed": f"{status.tokens_confirmed}",
        "tokens_evicted": f"{status.tokens_evicted}",
        "tokens_carved": f"{status.tokens_carved}",
        "new_percent": f"{status.new_share * 100.0:.1f}",
        "moving_percent": f"{status.moving_share * 100.0:.1f}",
        "masked_percent": f"{status.masked_share * 100.0:.1f}",
        "registrations_accepted": f"{status.registrations_accepted}",
        "registrations_refused": f"{status.registrations_refused}",
        "correction_m": f"{status.correction_distance:.3f}",
        "correction_deg": f"{math.degrees(status.correction_angle):.2f}",
        "keyframes_moved": f"{status.keyframes_moved}",
        "moves_refused": f"{status.moves_refused}",
        "perception_mib": f"{status.perception_bytes / 2**20:.2f}",
        "memory_mib": f"{status.memory_bytes / 2**20:.2f}",
        "references_mib": f"{status.reference_bytes / 2**20:.2f}",
        "gpu_mib": f"{status.gpu_memory_bytes / 2**20:.0f}",
        "gpu_peak_mib": f"{status.gpu_memory_peak_bytes / 2**20:.0f}",
        "keyframes": f"{status.keyframe_count}",
        "image_rate_hz": f"{status.image_rate:.1f}",
        "images_lost": f"{status.images_lost}",
        "frames_dropped": f"{status.frames_dropped}",
        "prediction_rate_hz": f"{status.prediction_rate:.1f}",
    }
    for timing in status.timings:
        values[f"{timing.stage}_p50_ms"] = f"{timing.p50 * 1e3:.1f}"
        values[f"{timing.stage}_p99_ms"] = f"{timing.p99 * 1e3:.1f}"
    entry.values = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticArray(header=Header(stamp=status.header.stamp), status=[entry])

"""From what the sensors gave to what is remembered: depth, then pose, then what moves."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import FrameError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import rotation_angle, translation_distance
from mirage_ros.memory.base import CorrectableMemory, SpatialMemory
from mirage_ros.memory.carving import Carving
from mirage_ros.perception.depth import DepthSource
from mirage_ros.perception.drift import DriftCorrection
from mirage_ros.perception.dynamics import Dynamics, DynamicsFilter
from mirage_ros.perception.registration import Registrar, Registration


@dataclass(frozen=True)
class Perceived:
    """A frame as it is to be remembered, and how it came to that.

    Attributes:
        frame: in the memory's frame, with depth, its confidence and the mask of what moves.
        measured: (H, W) float32 z-depth that a sensor measured, metres, 0 elsewhere: estimated
            depth is no evidence against what is remembered.
        depth_reason: why depth is less than it could be; empty: nothing to say.
        registration: how the frame's pose was corrected, None where nobody tried.
        dynamics: what moves, None where nobody looked.
        carving: what the view said about older tokens, None where it was not asked.
        seconds: time spent on ``depth``, ``registration``, ``quarantine`` (what earlier views saw
            of free space included), ``flow`` and ``carving``, where there is such a part.
    """

    frame: RgbdFrame
    measured: NDArray[np.float32]
    depth_reason: str = ""
    registration: Registration | None = None
    dynamics: Dynamics | None = None
    carving: Carving | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def reasons(self) -> dict[str, str]:
        """What could not be done, by what it is about, and why."""
        parts = {
            "depth": self.depth_reason,
            "registration": self.registration.reason if self.registration else "",
            "dynamics": self.dynamics.reason if self.dynamics else "",
            "carving": self.carving.reason if self.carving else "",
        }
        return {about: reason for about, reason in parts.items() if reason}


class Perception:
    """Prepares frames for a memory; keeps what it needs of earlier ones.

    Args:
        depth: where depth comes from; None believes the frame's as it is.
        registrar: finds where a frame was seen from; None believes the pose.
        dynamics: marks what moves; None marks nothing of its own.
        carve: whether memories forget what is seen through.

    Attributes:
        drift: how far the world frame of poses has departed from the memory's.
    """

    def __init__(
        self,
        depth: DepthSource | None = None,
        registrar: Registrar | None = None,
        dynamics: DynamicsFilter | None = None,
        *,
        carve: bool = False,
    ) -> None:
        self._depth = depth
        self._registrar = registrar
        self._dynamics = dynamics
        self._carve = carve
        self._last: NDArray[np.float64] | None = None
        self.drift = DriftCorrection()

    @property
    def corrects_poses(self) -> bool:
        """Whether poses are corrected by what is seen."""
        return self._registrar is not None

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept of earlier frames."""
        return 0 if self._dynamics is None else self._dynamics.nbytes

    def clear(self) -> None:
        """Forget all earlier frames; the world frame is the memory's again."""
        self._last = None
        self.drift.reset()
        if self._depth is not None:
            self._depth.clear()
        if self._dynamics is not None:
            self._dynamics.clear()

    def perceive(
        self,
        frame: RgbdFrame,  # of the memory's size, pose in the world frame
        previous: RgbdFrame | None,  # a moment before, likewise
        memory: SpatialMemory,
    ) -> Perceived:
        """A frame as it is to be remembered; tokens that it refutes are forgotten.

        Raises:
            FrameError: it has no depth, or none that can be believed.
        """
        seconds: dict[str, float] = {}
        start = time.perf_counter()
        placed = replace(frame, T_world_camera=self.drift.apply(frame.T_world_camera))
        placed, measured, depth_reason = self._with_depth(frame, placed, memory)
        seconds["depth"] = time.perf_counter() - start
        registration = None
        start = time.perf_counter()
        if self._registrar is not None and isinstance(memory, CorrectableMemory):
            seen = replace(placed, depth=measured)
            registration = self._registered(self._registrar, frame, seen, memory)
            placed = replace(placed, T_world_camera=self.drift.apply(frame.T_world_camera))
            seconds["registration"] = time.perf_counter() - start
        dynamics = None
        if self._dynamics is not None:
            before = previous
            if previous is not None:
                before = replace(previous, T_world_camera=self.drift.apply(previous.T_world_camera))
            dynamics = self._dynamics.look(placed, before, measured)
            placed = replace(placed, dynamic=dynamics.mask)
            seconds |= dynamics.seconds
            start = time.perf_counter()
            self._dynamics.remember(placed, measured)
            seconds["quarantine"] += time.perf_counter() - start
        carving = None
        start = time.perf_counter()
        if self._carve and isinstance(memory, CorrectableMemory):
            carving = memory.carve(measured, placed.camera, placed.T_world_camera)
            seconds["carving"] = time.perf_counter() - start
        return Perceived(placed, measured, depth_reason, registration, dynamics, carving, seconds)

    def move(
        self,
        stamps_ns: NDArray[np.int64],  # (K,)
        T_world_camera: NDArray[np.float64],  # (K, 4, 4)
    ) -> None:
        """Let the frames of these stamps have been seen from elsewhere."""
        if self._dynamics is not None:
            self._dynamics.move(stamps_ns, T_world_camera)

    def _with_depth(
        self, frame: RgbdFrame, placed: RgbdFrame, memory: SpatialMemory
    ) -> tuple[RgbdFrame, NDArray[np.float32], str]:
        """The placed frame with depth, what of it was measured, and why that is not more."""
        if self._depth is None:
            if frame.depth is None:
                raise FrameError(
                    "a frame to remember must have depth: configure a depth source. Got none"
                )
            return placed, frame.depth, ""

        def known() -> NDArray[np.float32]:
            read = memory.read(placed.camera, placed.T_world_camera[None])
            return np.asarray(read.depth[0].cpu().numpy(), dtype=np.float32)

        estimate = self._depth.estimate(frame, known)
        if not estimate.known:
            raise FrameError(f"depth: {estimate.reason}")
        measured = np.zeros_like(estimate.depth)
        if frame.depth is not None:
            # What a model says of a pixel that the sensor measured as well is still an estimate.
            measured = np.where(estimate.depth == frame.depth, estimate.depth, np.float32(0.0))
        placed = replace(placed, depth=estimate.depth, confidence=estimate.confidence)
        return placed, measured, estimate.reason

    def _registered(
        self,
        registrar: Registrar,
        frame: RgbdFrame,
        placed: RgbdFrame,  # with what was measured alone
        memory: CorrectableMemory,
    ) -> Registration:
        last = self._last
        moved = 0.0 if last is None else translation_distance(last, frame.T_world_camera)
        turned = 0.0 if last is None else rotation_angle(last, frame.T_world_camera)
        target = memory.surfaces(placed.camera, placed.T_world_camera)
        registration = registrar.register(placed, target, moved, turned)
        self.drift.update(frame.T_world_camera, registration)
        if registration.accepted or last is None:
            self._last = frame.T_world_camera
        return registration

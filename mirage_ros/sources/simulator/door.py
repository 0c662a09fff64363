"""A door leaf that swings in an opening between two rooms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.floorplan import DOOR_HEIGHT, DOOR_WIDTH, WALL_THICKNESS, Door
from mirage_ros.sources.simulator.materials import Material
from mirage_ros.sources.simulator.meshes import MeshSet
from mirage_ros.sources.simulator.movers import MovingBody
from mirage_ros.sources.simulator.robot import planar_pose

#: Of the leaf, metres; the opening's lining is 0.03 thick on either side and above.
LEAF_WIDTH, LEAF_HEIGHT, LEAF_THICKNESS = DOOR_WIDTH - 0.07, DOOR_HEIGHT - 0.04, 0.04

_LINING = 0.035


class HingedDoor:
    """A leaf in an opening whose angle follows a schedule.

    Args:
        door: the opening.
        schedule: (time in seconds, degrees) with times ascending; between them the angle is linear,
            before and after it stays. 0 is closed, positive angles open towards larger y (or x,
            where the wall runs along y), negative ones the other way.
        hinge: whether the hinge is at the ``low`` or the ``high`` end of the opening along x or y.
        seed: of where its boards are cut from.

    Raises:
        ConfigurationError: no schedule, times not ascending, or an angle beyond 175 degrees.
    """

    def __init__(
        self,
        door: Door,
        schedule: Sequence[tuple[float, float]],
        *,
        hinge: Literal["low", "high"] = "low",
        seed: int = 0,
    ) -> None:
        times = np.array([time_s for time_s, _ in schedule], dtype=np.float64)
        degrees = np.array([angle for _, angle in schedule], dtype=np.float64)
        if not len(times) or not (np.diff(times) > 0.0).all() or not np.isfinite(times).all():
            raise ConfigurationError(
                f"a door's schedule needs finite times that ascend. Got {times.tolist()}"
            )
        if not (np.abs(degrees) <= 175.0).all():
            raise ConfigurationError(
                f"a door opens by at most 175 degrees either way. Got {degrees.tolist()}"
            )
        self.door = door
        self._times, self._degrees = times, degrees
        self._high = hinge == "high"
        self._seed = seed

    def degrees(self, time_s: float) -> float:
        """How far it is open at a simulated time."""
        return float(np.interp(time_s, self._times, self._degrees))

    def bodies(self, materials: Mapping[str, Material]) -> Sequence[MovingBody]:
        """The leaf, its origin on the floor at the hinge, x along it; it closes the opening."""
        body = MovingBody(MeshSet())
        build = body.builder(np.random.default_rng(self._seed), materials)
        width, height = LEAF_WIDTH, LEAF_HEIGHT
        middle = width / 2.0
        build.box("wood_light", (middle, 0.0, height / 2 + 0.01), (width, LEAF_THICKNESS, height))
        for z, tall in ((0.52, 0.72), (1.45, 0.86)):
            for x in (middle - 0.22, middle + 0.22):
                # Panels stand out of either face.
                build.box("wood_dark", (x, 0.0, z), (0.33, LEAF_THICKNESS + 0.012, tall))
                build.box("wood_light", (x, 0.0, z), (0.29, LEAF_THICKNESS + 0.02, tall - 0.04))
        for face in (-1.0, 1.0):
            y = face * (LEAF_THICKNESS / 2.0 + 0.025)
            build.box("metal", (width - 0.06, y, 1.02), (0.02, 0.05, 0.02))
            build.box(
                "metal",
                (width - 0.11, face * (LEAF_THICKNESS / 2 + 0.05), 1.02),
                (
                    0.12,
                    0.02,
                    0.02,
                ),
            )
        return (body,)

    def poses(self, time_s: float) -> NDArray[np.float64]:  # (1, 4, 4)
        """T_world_body of the leaf at a simulated time."""
        return self.pose_at(self.degrees(time_s))[None]

    def pose_at(self, degrees: float) -> NDArray[np.float64]:  # (4, 4)
        """T_world_body of the leaf at an angle."""
        angle = math.radians(degrees)
        # The hinge sits at the face of the wall towards which the leaf opens.
        face = math.copysign(WALL_THICKNESS / 2.0 - LEAF_THICKNESS / 2.0, degrees)
        end = DOOR_WIDTH / 2.0 - _LINING
        # Along the wall, across it, and heading of a leaf hinged at the end.
        along, heading = (end, math.pi - angle) if self._high else (-end, angle)
        x, y = self.door.centre
        if self.door.along == "x":
            return planar_pose(x + along, y + face, heading)
        return planar_pose(x + face, y + along, math.pi / 2.0 - heading)

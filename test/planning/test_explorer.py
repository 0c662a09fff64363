from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pytest
from wavy_room import T_BASE_CAMERA, RoomImaginer, look, room_floor

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.explorer import Explorer, ExplorerConfig
from mirage_ros.planning.occupancy import OccupancyGrid
from mirage_ros.planning.shortest_path import FloorMap
from mirage_ros.planning.views import PlannedView

FEW = ExplorerConfig(candidates=6, headings=4)


class OneSideUnknown:
    """Remembers everything but the walls at positive x."""

    def imagine(self, paths: Sequence[np.ndarray]) -> list[list[PlannedView]]:
        return [[self._view(pose) for pose in path] for path in paths]

    def _view(self, pose: np.ndarray) -> PlannedView:
        view = look(pose)
        known = np.full_like(view.coverage, pose[0, 2] < 0.3)
        return dataclasses.replace(view, coverage=known)


def test_it_goes_for_what_is_unknown() -> None:
    explorer = Explorer(OneSideUnknown(), T_BASE_CAMERA, FEW)
    start = np.array([0.0, 0.0, math.pi])
    choice = explorer.plan(start, room_floor())
    assert choice is not None
    assert math.cos(choice.pose[2]) > 0.3
    assert choice.gain > 0.1
    # At 0.6 m/s and 1.2 rad/s, with 2 s beside; turns come on top of that.
    assert choice.rate < choice.gain / (2.0 + choice.leg.length / 0.6)


def test_it_stops_where_all_is_known_or_nothing_is_free() -> None:
    explorer = Explorer(RoomImaginer(), T_BASE_CAMERA, FEW)
    assert explorer.plan(np.zeros(3), room_floor()) is None
    with pytest.raises(ConfigurationError, match="speed"):
        ExplorerConfig(speed=0.0)
    unknown = FloorMap.of(OccupancyGrid(-1.0, -1.0, 1.0, 1.0), 0.2)
    choice = Explorer(OneSideUnknown(), T_BASE_CAMERA).plan(np.array([0.0, 0.0, math.pi]), unknown)
    # Turning on the spot is all that is left.
    assert choice is None or choice.leg.length == 0.0

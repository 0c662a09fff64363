from __future__ import annotations

import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.candidates import arc
from mirage_ros.planning.follow import Follower, Leg


def driven(leg: Leg, heading: float) -> tuple[np.ndarray, np.ndarray]:
    """The end and the trace of a drive without inertia."""
    pose = np.array([*leg.corners[0], heading])
    follower = Follower(leg, 0.6, 1.2, 1.0, 3.0)
    trace = [pose]
    for _ in range(2000):
        speed, turn = follower.command(pose)
        assert abs(speed) <= 0.6
        assert abs(turn) <= 1.2
        if follower.finished:
            return pose, np.array(trace)
        pose = arc(pose, speed, turn, np.array([0.05]))[0]
        trace.append(pose)
    raise AssertionError("the follower does not arrive")


def test_it_passes_the_corners_and_ends_with_the_heading() -> None:
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0], [0.5, 2.0]])
    end, trace = driven(Leg(corners, -0.4), 2.5)
    assert end[:2] == pytest.approx(corners[-1], abs=0.05)
    assert end[2] == pytest.approx(
        -0.4 + 2 * math.pi * round((end[2] + 0.4) / 2 / math.pi), abs=0.03
    )
    for corner in corners:
        assert np.hypot(*(trace[:, :2] - corner).T).min() < 0.06
    # Never far from the lines: it turns on the spot at corners.
    on_lines = (
        (np.abs(trace[:, 1]) < 0.06) | (np.abs(trace[:, 0] - 1.0) < 0.06) | (trace[:, 1] > 1.94)
    )
    assert on_lines.all()


def test_a_leg_of_one_corner_only_turns() -> None:
    end, _ = driven(Leg(np.array([[1.0, 1.0]]), 3.0), 0.0)
    assert end == pytest.approx([1.0, 1.0, 3.0], abs=0.03)


def test_legs_are_shortened_along_the_way() -> None:
    leg = Leg(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]]), 0.5)
    assert leg.length == pytest.approx(3.0)
    short = leg.shortened(1.5)
    assert short.corners == pytest.approx(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]))
    assert short.heading is None
    assert leg.shortened(3.5) is leg
    with pytest.raises(ConfigurationError, match="corners"):
        Leg(np.array([[0.0, math.nan]]))
    with pytest.raises(ConfigurationError, match="positive"):
        Follower(leg, 0.0, 1.0, 1.0, 1.0)

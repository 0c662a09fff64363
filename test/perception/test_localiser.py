"""Keyframes that follow a localiser, against what its moves say in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from mirage_ros.errors import PoseError
from mirage_ros.geometry import exp_twist
from mirage_ros.perception.drift import MoveLimits
from mirage_ros.perception.localiser import LocaliserMoves, LocaliserTrace

HERE = np.eye(4)


def at(x: float, y: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, 3] = x, y
    return pose


def drive(trace: LocaliserTrace, stamps: range, T_world_odom: np.ndarray) -> LocaliserMoves | None:
    """A metre a keyframe along odometry's x; what the last one brought about."""
    found = None
    for stamp in stamps:
        found = trace.add(stamp, T_world_odom @ at(float(stamp)), T_world_odom)
    return found


def test_keyframes_take_the_share_of_the_way_since_the_last_move() -> None:
    trace = LocaliserTrace(MoveLimits())
    assert drive(trace, range(5), HERE) is None
    found = drive(trace, range(5, 6), at(0.0, 0.5))
    assert found is not None
    assert found.moves.accepted
    assert found.keyframes.stamps_ns.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(
        found.moves.T_world_camera[:, :2, 3],
        [[k, 0.5 * k / 5.0] for k in range(5)],
        atol=1e-12,
    )
    # The next move counts from this one: odometry was right at keyframe 5.
    assert drive(trace, range(6, 9), at(0.0, 0.5)) is None
    found = drive(trace, range(9, 10), at(0.0, 0.1))
    assert found is not None
    assert found.keyframes.stamps_ns.tolist() == [5, 6, 7, 8]
    np.testing.assert_allclose(
        found.moves.T_world_camera[:, 1, 3], [0.5 - 0.4 * k / 4.0 for k in range(4)], atol=1e-12
    )


def test_the_way_is_odometry_s_own() -> None:
    """A robot that stands while the localiser moves its frame has driven nowhere."""
    trace = LocaliserTrace(MoveLimits())
    drive(trace, range(2), HERE)
    found = trace.add(2, at(0.0, 0.3) @ at(1.0), at(0.0, 0.3))
    assert found is not None
    np.testing.assert_allclose(found.moves.T_world_camera[:, 1, 3], [0.0, 0.3], atol=1e-12)


def test_a_jump_beyond_the_limits_is_refused_and_is_where_the_next_counts_from() -> None:
    trace = LocaliserTrace(MoveLimits(distance=0.5, angle=0.2))
    drive(trace, range(3), HERE)
    found = drive(trace, range(3, 4), at(0.0, 2.0))
    assert found is not None
    assert not found.moves.accepted
    assert "1.33 m" in found.moves.reason
    found = drive(trace, range(4, 5), at(0.0, 2.2))
    assert found is not None
    assert found.moves.accepted
    assert found.keyframes.stamps_ns.tolist() == [3]


def test_small_moves_add_up() -> None:
    trace = LocaliserTrace(MoveLimits())
    found = [
        trace.add(stamp, at(float(stamp), 0.003 * stamp), at(0.0, 0.003 * stamp))
        for stamp in range(4)
    ]
    assert [number for number, each in enumerate(found) if each is not None] == [2]
    turned = exp_twist([0.0, 0.0, 0.0], [0.0, 0.0, 0.001], 1.0)
    assert trace.add(4, at(4.0), turned @ at(0.0, 0.009)) is None
    assert trace.add(5, at(5.0), turned @ turned @ at(0.0, 0.009)) is not None


def test_time_that_goes_back_begins_anew() -> None:
    trace = LocaliserTrace(MoveLimits())
    drive(trace, range(5, 8), HERE)
    assert trace.add(1, at(1.0, 0.4), at(0.0, 0.4)) is None
    found = trace.add(2, at(2.0), HERE)
    assert found is not None
    assert found.keyframes.stamps_ns.tolist() == [1]


def test_poses_that_are_not_rigid_are_refused() -> None:
    trace = LocaliserTrace(MoveLimits())
    with pytest.raises(PoseError, match="T_world_odom"):
        trace.add(0, HERE, 2.0 * HERE)
    with pytest.raises(PoseError, match="T_world_camera"):
        trace.add(0, 2.0 * HERE, HERE)

"""Drift of wheel odometry against closed forms; wheels are turned by hand, without physics."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.odometry import OdometryDrift, RollingSign, WheelOdometry
from mirage_ros.sources.simulator.robot import TRACK, WHEEL_RADIUS, heading_of

STEP = 0.01


def odometry(drift: OdometryDrift, seed: int = 0) -> WheelOdometry:
    made = WheelOdometry(0.0, 0.0, 0.0, drift, np.random.default_rng(seed))
    made.update(np.zeros(2), 0.1)
    return made


def drive(wheels: WheelOdometry, metres: float) -> np.ndarray:
    for k in range(1, round(metres / STEP) + 1):
        wheels.update(np.full(2, k * STEP / WHEEL_RADIUS), 0.1)
    return wheels.reading.T_odom_base


@pytest.mark.parametrize("seed", range(4))
def test_a_sign_that_stays_turns_the_heading_by_rate_times_distance(seed):
    rate, error = math.radians(1.0), 0.02
    drift = OdometryDrift(distance_error=error, heading_error=rate, roll_length=math.inf)
    pose = drive(odometry(drift, seed), 30.0)
    turned = heading_of(pose)
    assert abs(turned) == pytest.approx(math.radians(30.0), abs=1e-9)
    # A circle's arc of the way as it is believed, 30 m times 0.98 or 1.02.
    believed = np.hypot(pose[0, 3], pose[1, 3]) / (2.0 * math.sin(abs(turned) / 2.0)) * abs(turned)
    assert abs(believed / 30.0 - 1.0) == pytest.approx(error, rel=1e-4)


def test_both_signs_of_either_error_occur():
    drift = OdometryDrift(distance_error=0.02, heading_error=0.01, roll_length=1e9)
    poses = [drive(odometry(drift, seed), 1.0) for seed in range(24)]
    outcomes = {(heading_of(pose) > 0.0, pose[0, 3] > 1.0) for pose in poses}
    assert len(outcomes) == 4


def test_turning_on_the_spot_and_standing_err_not():
    drift = OdometryDrift(distance_error=0.1, heading_error=0.1)
    wheels = odometry(drift)
    for k in range(1, 101):
        angle = 0.01 * k * TRACK / 2.0 / WHEEL_RADIUS
        wheels.update(np.array([-angle, angle]), 0.1)
    assert heading_of(wheels.reading.T_odom_base) == pytest.approx(1.0, abs=1e-12)
    assert wheels.reading.speed == pytest.approx(0.0, abs=1e-12)


def test_signs_are_drawn_at_every_length_and_roll_in_between():
    signs = RollingSign(2.0, np.random.default_rng(3))
    drawn = [signs.at(2.0 * k) for k in range(400)]
    assert set(np.round(drawn, 9)) == {-1.0, 1.0}
    # 400 fair draws: both counts within five standard deviations, and as for neighbours.
    assert abs(sum(drawn)) < 100
    assert abs(np.dot(drawn[1:], drawn[:-1])) < 100
    for k in range(20):
        assert signs.at(2.0 * k + 1.0) == pytest.approx((drawn[k] + drawn[k + 1]) / 2.0)
    way = np.linspace(0.0, 40.0, 4001)
    values = np.array([signs.at(x) for x in way])
    # The steepest that half a cosine from -1 to 1 over 2 m gets.
    assert np.abs(np.diff(values)).max() <= math.pi / 2.0 * 0.01 + 1e-9


def test_signs_that_roll_make_a_random_walk():
    """After n lengths the error's variance is that of n draws, not their sum."""
    length, metres, rate = 0.5, 20.0, 0.02
    drift = OdometryDrift(heading_error=rate, roll_length=length)
    errors = [heading_of(drive(odometry(drift, seed), metres)) for seed in range(60)]
    # Every draw weighs one length, the two at the ends a half.
    expected = rate * length * math.sqrt(metres / length - 0.5)
    assert np.std(errors) == pytest.approx(expected, rel=0.3)
    assert max(map(abs, errors)) < 0.5 * rate * metres


def test_one_seed_makes_one_drift():
    drift = OdometryDrift(0.01, 0.01, 0.02, 0.02, 0.5)
    first, again, other = (drive(odometry(drift, seed), 3.0) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_rolling_errors_leave_the_other_draws_alone():
    plain = drive(odometry(OdometryDrift(0.01, 0.01), 1), 3.0)
    rolling = drive(odometry(OdometryDrift(0.01, 0.01, heading_error=1e-12), 1), 3.0)
    np.testing.assert_allclose(plain, rolling, atol=1e-10)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"distance_error": 0.6}, "distance_error must be between 0 and 0.5. Got 0.6"),
        ({"heading_error": -0.1}, "heading_error must be between"),
        ({"roll_length": 0.0}, "roll_length must be positive"),
        ({"roll_length": math.nan}, "roll_length must be positive"),
    ],
)
def test_impossible_drift_is_refused(values, expected):
    with pytest.raises(ConfigurationError, match=expected):
        OdometryDrift(**values)

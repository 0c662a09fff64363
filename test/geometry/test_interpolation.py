import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, InterpolationError, PoseError
from mirage_ros.geometry.interpolation import (
    AddResult,
    PoseBuffer,
    PoseUnavailableError,
    interpolate_pose,
    is_jump,
)
from mirage_ros.geometry.poses import exp_twist, rotation_angle

MS = 1_000_000
#: A stamp of the present day, where a float64 of seconds no longer resolves nanoseconds.
T0 = 1_763_000_000_123_456_789


def yaw(angle: float, x: float = 0.0) -> np.ndarray:
    pose = exp_twist([0, 0, 0], [0, 0, 1], angle)
    pose[0, 3] = x
    return pose


def constant_motion(seconds: float) -> np.ndarray:
    """Straight translation at 2 m/s and turning about a fixed tilted axis at 1.5 rad/s."""
    pose = exp_twist([0, 0, 0], np.array([0.6, 0.0, 0.8]) * 1.5, seconds)
    pose[:3, 3] = np.array([2.0, -1.0, 0.5]) * seconds
    return pose


def filled(stamps_ms: list[int], **limits: float) -> PoseBuffer:
    buffer = PoseBuffer(**limits)
    for ms in stamps_ms:
        assert buffer.add(T0 + ms * MS, constant_motion(ms / 1000)) is AddResult.ADDED
    return buffer


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0, 1.5])
def test_turn_about_one_axis_is_linear_in_angle(alpha: float) -> None:
    pose = interpolate_pose(yaw(0.2, 1.0), yaw(1.2, 3.0), alpha)
    np.testing.assert_allclose(pose, yaw(0.2 + alpha, 1.0 + 2.0 * alpha), atol=1e-12)


def test_shorter_way_round() -> None:
    pose = interpolate_pose(yaw(math.radians(170)), yaw(math.radians(-170)), 0.5)
    np.testing.assert_allclose(pose, yaw(math.pi), atol=1e-12)


@pytest.mark.parametrize("angle", [1e-12, 1e-9, 1e-7, 1e-4])
def test_tiny_angles_keep_their_share(angle: float) -> None:
    pose = interpolate_pose(yaw(0.3), yaw(0.3 + angle), 0.25)
    assert abs(rotation_angle(yaw(0.3), pose) - angle / 4) < 1e-15 + 1e-7 * angle


def test_half_turn_still_gives_a_rotation() -> None:
    pose = interpolate_pose(yaw(0.0), yaw(math.pi), 0.5)
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert abs(rotation_angle(yaw(0.0), pose) - math.pi / 2) < 1e-9


def test_buffer_interpolates_constant_motion_exactly() -> None:
    buffer = filled([0, 100, 150, 300])
    for ms in (0, 1, 99, 100, 120, 299, 300):
        np.testing.assert_allclose(
            buffer.interpolate(T0 + ms * MS), constant_motion(ms / 1000), atol=1e-12
        )


def test_answers_cannot_change_the_buffer() -> None:
    buffer = filled([0, 100])
    buffer.interpolate(T0)[:] = 0.0
    np.testing.assert_array_equal(buffer.interpolate(T0), np.eye(4))


def test_extrapolates_at_constant_velocity_up_to_the_limit() -> None:
    buffer = filled([0, 100], max_extrapolation_s=0.05)
    np.testing.assert_allclose(buffer.interpolate(T0 + 150 * MS), constant_motion(0.15), atol=1e-12)
    with pytest.raises(PoseUnavailableError, match=r"too late: 0\.050000001 s after") as caught:
        buffer.interpolate(T0 + 150 * MS + 1)
    assert caught.value.retriable
    with pytest.raises(PoseUnavailableError, match="at most 0 s allowed") as caught:
        buffer.interpolate(T0 + 101 * MS, extrapolate=False)
    assert caught.value.retriable


def test_extrapolation_does_not_amplify_noise_of_dense_poses() -> None:
    buffer = PoseBuffer()
    buffer.add(T0, yaw(0.0, 0.0))
    buffer.add(T0 + 99 * MS, yaw(0.0, 0.0))
    buffer.add(T0 + 100 * MS, yaw(0.0, 0.001))  # 1 m/s over the last millisecond alone
    assert abs(buffer.interpolate(T0 + 150 * MS)[0, 3]) <= 0.002


def test_single_pose_answers_only_its_own_stamp() -> None:
    buffer = filled([0])
    np.testing.assert_array_equal(buffer.interpolate(T0), np.eye(4))
    with pytest.raises(PoseUnavailableError, match="two poses") as caught:
        buffer.interpolate(T0 + MS)
    assert caught.value.retriable


def test_empty_buffer_asks_to_wait() -> None:
    with pytest.raises(PoseUnavailableError, match="none has arrived") as caught:
        PoseBuffer().interpolate(T0)
    assert caught.value.retriable
    assert isinstance(caught.value, InterpolationError)


def test_too_early_never_comes() -> None:
    buffer = filled([0, 100])
    with pytest.raises(PoseUnavailableError, match=r"too early: 0\.003 s before") as caught:
        buffer.interpolate(T0 - 3 * MS)
    assert not caught.value.retriable


def test_gap_is_refused_for_good_inside_and_for_now_at_the_end() -> None:
    buffer = filled([0, 501], max_gap_s=0.5)
    with pytest.raises(PoseUnavailableError, match=r"a gap of 0\.501 s, at most 0\.5 s") as caught:
        buffer.interpolate(T0 + 250 * MS)
    assert not caught.value.retriable
    with pytest.raises(PoseUnavailableError, match="gap") as caught:
        buffer.interpolate(T0 + 510 * MS)
    assert caught.value.retriable
    np.testing.assert_allclose(buffer.interpolate(T0 + 501 * MS), constant_motion(0.501))


def test_gap_of_exactly_the_limit_is_allowed() -> None:
    np.testing.assert_allclose(
        filled([0, 500], max_gap_s=0.5).interpolate(T0 + 250 * MS),
        constant_motion(0.25),
        atol=1e-12,
    )


def test_stale_and_jumped_back_poses_are_left_out() -> None:
    buffer = filled([0, 2000, 2100], jump_back_s=1.0)
    assert buffer.add(T0 + 2100 * MS, np.eye(4)) is AddResult.STALE
    assert buffer.add(T0 + 1100 * MS, np.eye(4)) is AddResult.STALE
    assert buffer.add(T0 + 1100 * MS - 1, np.eye(4)) is AddResult.JUMPED_BACK
    assert not buffer.jumped_back(T0 + 1100 * MS)
    assert buffer.jumped_back(T0 + 1100 * MS - 1)
    assert len(buffer) == 3
    buffer.clear()
    assert len(buffer) == 0
    assert buffer.newest_stamp_ns is None
    assert buffer.newest_pose is None
    assert buffer.add(T0, np.eye(4)) is AddResult.ADDED


def test_bounded_by_age_and_by_capacity() -> None:
    aged = filled(list(range(0, 3100, 100)), max_age_s=1.0)
    assert len(aged) == 11
    with pytest.raises(PoseUnavailableError, match="too early"):
        aged.interpolate(T0 + 1999 * MS)
    full = filled(list(range(100)), capacity=10)
    assert len(full) == 10
    assert full.newest_stamp_ns == T0 + 99 * MS
    np.testing.assert_array_equal(full.newest_pose, constant_motion(0.099))


def test_bad_poses_and_limits_are_refused() -> None:
    with pytest.raises(PoseError, match="finite"):
        PoseBuffer().add(T0, np.full((4, 4), np.nan))
    for limits in (
        {"capacity": 1},
        {"max_age_s": 0.0},
        {"max_gap_s": -1.0},
        {"max_gap_s": math.nan},
        {"max_extrapolation_s": -0.1},
        {"jump_back_s": -0.1},
    ):
        with pytest.raises(ConfigurationError, match="Got"):
            PoseBuffer(**limits)


def test_jump_is_motion_faster_than_the_body() -> None:
    assert not is_jump(yaw(0.0, 0.0), yaw(0.0, 0.19), 0.1, 2.0, 3.0)
    assert is_jump(yaw(0.0, 0.0), yaw(0.0, 0.21), 0.1, 2.0, 3.0)
    assert not is_jump(yaw(0.0), yaw(0.29), 0.1, 2.0, 3.0)
    assert is_jump(yaw(0.0), yaw(0.31), 0.1, 2.0, 3.0)
    assert is_jump(yaw(0.31), yaw(0.0), -0.1, 2.0, 3.0)

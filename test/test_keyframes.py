from __future__ import annotations

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry import exp_twist
from mirage_ros.keyframes import KeyframePolicy, chosen_keyframes

SECOND = 1_000_000_000
POLICY = KeyframePolicy(distance=0.2, angle=0.3, interval=5.0, min_interval=0.5)


def _wants(T: np.ndarray, elapsed_s: float, policy: KeyframePolicy = POLICY) -> bool:
    return policy.wants(round(elapsed_s * SECOND), T, 0, np.eye(4))


def test_the_first_frame_is_a_keyframe() -> None:
    assert POLICY.wants(0, np.eye(4), None, None)


@pytest.mark.parametrize(
    ("linear", "angular", "elapsed", "wanted"),
    [
        ([0.19, 0, 0], [0, 0, 0.29], 1.0, False),
        ([0.21, 0, 0], [0, 0, 0], 1.0, True),
        ([0, 0, 0], [0, -0.31, 0], 1.0, True),
        ([0, 0, 0], [0, 0, 0], 5.1, True),
        ([2.0, 0, 0], [0, 0, 2.0], 0.4, False),
    ],
)
def test_distance_angle_and_time(
    linear: list[float], angular: list[float], elapsed: float, wanted: bool
) -> None:
    assert _wants(exp_twist(linear, angular, 1.0), elapsed) is wanted


def test_no_interval_means_never_by_time_alone() -> None:
    assert not _wants(np.eye(4), 1e4, KeyframePolicy())


def test_negative_limits_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"distance.*Got -0\.1"):
        KeyframePolicy(distance=-0.1)


def test_keyframes_are_those_that_the_node_takes() -> None:
    poses = np.tile(np.eye(4), (7, 1, 1))
    poses[:, 0, 3] = [0.0, 0.1, 0.2, 0.3, 0.39, 0.41, 0.6]
    stamps = np.arange(7) * SECOND
    assert chosen_keyframes(poses, stamps) == [0, 2, 5]
    assert chosen_keyframes(poses, stamps, KeyframePolicy(distance=0.35)) == [0, 4]

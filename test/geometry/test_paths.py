import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, PoseError
from mirage_ros.geometry.paths import extrapolate_twist, resample_path
from mirage_ros.geometry.poses import exp_twist

S = 1_000_000_000
NOW = 1_763_000_000 * S


def place(x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> np.ndarray:
    pose = exp_twist([0, 0, 0], [0, 0, 1], yaw)
    pose[:3, 3] = x, y, z
    return pose


def path(*places: tuple[float, ...]) -> np.ndarray:
    return np.stack([place(*p) for p in places])


def unstamped(poses: np.ndarray, period: float, horizon: float | None, speed: float):
    return resample_path(poses, np.zeros(len(poses), np.int64), NOW, period, horizon, speed)


def test_constant_twist_drives_an_arc() -> None:
    v, w = 0.8, 0.5
    start = place(1.0, 2.0, 0.3)
    offsets, poses = extrapolate_twist(start, [v, 0, 0], [0, 0, w], 2.0, 0.25)
    np.testing.assert_allclose(offsets, np.arange(1, 9) * 0.25)
    for t, pose in zip(offsets, poses, strict=True):
        arc = place(v / w * math.sin(w * t), v / w * (1 - math.cos(w * t)), w * t)
        np.testing.assert_allclose(pose, start @ arc, atol=1e-12)


def test_period_that_divides_the_horizon_in_decimals_only() -> None:
    offsets, _ = extrapolate_twist(np.eye(4), [1, 0, 0], [0, 0, 0], 0.3, 0.1)
    assert len(offsets) == 3


@pytest.mark.parametrize(("horizon", "period"), [(2.0, 0.0), (2.0, -1.0), (0.1, 0.25), (-1, 0.25)])
def test_bad_times_are_refused(horizon: float, period: float) -> None:
    with pytest.raises(ConfigurationError, match="Got"):
        extrapolate_twist(np.eye(4), [1, 0, 0], [0, 0, 0], horizon, period)


def test_bad_twist_is_refused() -> None:
    with pytest.raises(PoseError, match="twist"):
        extrapolate_twist(np.eye(4), [1, 0, math.nan], [0, 0, 0], 1.0, 0.1)


def test_increasing_stamps_are_obeyed() -> None:
    poses = path((0, 0, 0.0), (1, 0, 1.0), (1, 3, 1.0))
    stamps = [NOW - S, NOW + S, NOW + 2 * S]
    offsets, out = resample_path(poses, stamps, NOW, 0.5, None, 9.0)
    np.testing.assert_allclose(offsets, [0.5, 1.0, 1.5, 2.0])
    expected = [place(0.75, 0, 0.75), place(1, 0, 1.0), place(1, 1.5, 1.0), place(1, 3, 1.0)]
    np.testing.assert_allclose(out, expected, atol=1e-12)


def test_before_the_first_stamp_the_body_waits() -> None:
    poses = path((0, 0), (1, 0))
    offsets, out = resample_path(poses, [NOW + S, NOW + 2 * S], NOW, 0.5, None, 9.0)
    np.testing.assert_allclose(out[:, 0, 3], [0.0, 0.0, 0.5, 1.0])
    np.testing.assert_allclose(offsets, [0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize(
    "stamps", [[0, 0, 0], [NOW, NOW, NOW], [NOW, NOW - 1, NOW + S], [NOW - 3, NOW - 2, NOW - 1]]
)
def test_other_stamps_walk_at_the_nominal_speed(stamps: list[int]) -> None:
    poses = path((0, 0, 0.1), (2, 0, 0.1), (2, 1, 0.1))
    offsets, out = resample_path(poses, stamps, NOW, 0.5, None, 2.0)
    np.testing.assert_allclose(offsets, [0.5, 1.0, 1.5])
    np.testing.assert_allclose(
        out, [place(1, 0, 0.1), place(2, 0, 0.1), place(2, 1, 0.1)], atol=1e-12
    )


def test_horizon_cuts_the_path() -> None:
    offsets, _ = unstamped(path((0, 0), (100, 0)), 0.25, 2.0, 0.5)
    np.testing.assert_allclose(offsets, np.arange(1, 9) * 0.25)


def test_unset_headings_take_the_tangent() -> None:
    poses = path((0, 0), (0, 0), (1, 1), (0, 1))
    _, out = unstamped(poses, math.sqrt(2) / 2, None, 1.0)
    # Half-way along the diagonal (45 degrees) the body has half turned to the next step (180).
    np.testing.assert_allclose(out[0], place(0.5, 0.5, math.radians(112.5)), atol=1e-12)
    np.testing.assert_allclose(out[1], place(1, 1, math.radians(180)), atol=1e-9)


def test_vertical_steps_keep_the_yaw_before_them() -> None:
    poses = np.stack([place(0, 0), place(0, 0, 0, 1), place(0, 1, 0, 1), place(0, 1, 0, 2)])
    _, out = unstamped(poses, 0.5, None, 1.0)
    for pose in out:
        np.testing.assert_allclose(pose[:3, :3], place(0, 0, math.pi / 2)[:3, :3], atol=1e-12)


def test_one_set_heading_keeps_all() -> None:
    poses = path((0, 0, 0.0), (0, 1, 0.0), (0, 2, 0.2))
    _, out = unstamped(poses, 1.0, None, 1.0)
    np.testing.assert_allclose(out, [place(0, 1, 0.0), place(0, 2, 0.2)], atol=1e-12)


@pytest.mark.parametrize(
    "poses", [path((1, 2, 0.4)), path((1, 2, 0.1), (1, 2, 0.4)), path((0.9, 2, 0.4), (1, 2, 0.4))]
)
def test_short_paths_give_their_end(poses: np.ndarray) -> None:
    offsets, out = unstamped(poses, 0.25, 2.0, 1.0)
    np.testing.assert_array_equal(offsets, [0.25])
    np.testing.assert_allclose(out, [place(1, 2, 0.4)])


def test_bad_paths_are_refused() -> None:
    good = path((0, 0), (1, 0))
    with pytest.raises(PoseError, match=r"Got \(0, 4, 4\)"):
        resample_path(np.zeros((0, 4, 4)), [], NOW, 0.25, 2.0, 1.0)
    with pytest.raises(PoseError, match="as many stamps"):
        resample_path(good, [0], NOW, 0.25, 2.0, 1.0)
    bad = good.copy()
    bad[1, 0, 3] = math.nan
    with pytest.raises(PoseError, match="path pose 1 must be finite"):
        unstamped(bad, 0.25, 2.0, 1.0)
    with pytest.raises(ConfigurationError, match="nominal_speed"):
        unstamped(good, 0.25, 2.0, 0.0)
    with pytest.raises(ConfigurationError, match="horizon"):
        unstamped(good, 0.25, 0.1, 1.0)

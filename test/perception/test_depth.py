"""What is believed of a sensor's depth, on surfaces whose pixels are known one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import PinholeCamera, exp_twist
from mirage_ros.perception.depth import (
    DepthEstimate,
    DepthNoise,
    FrozenDepthCheck,
    FrozenDepthConfig,
    SensorDepth,
    SensorDepthConfig,
)

CAMERA = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)


def frame_of(depth: np.ndarray | None, seed: int = 0, x: float = 0.0) -> RgbdFrame:
    image = np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    pose = exp_twist([x, 0.0, 0.0], [0.0, 0.0, 0.0], 1.0)
    return RgbdFrame(seed, image, None if depth is None else depth, CAMERA, pose)


def wall(depth: float) -> np.ndarray:
    return np.full((48, 64), depth, dtype=np.float32)


def step() -> np.ndarray:
    """A surface at 1 m on the left of column 32, one at 3 m from there on."""
    depth = wall(1.0)
    depth[:, 32:] = 3.0
    return depth


def floor(height: float = 0.2) -> np.ndarray:
    """The floor under a camera that looks straight ahead, 0 above the horizon."""
    rows = np.arange(48) + 0.5 - CAMERA.cy
    z = np.where(rows > 1.0, height * CAMERA.fy / np.maximum(rows, 1.0), 0.0)
    return np.repeat(z[:, None], 64, axis=1).astype(np.float32)


def measured() -> np.ndarray:
    """A wall at 2 m as a sensor sees it."""
    noise = np.random.default_rng(7).normal(0.0, 0.01, (48, 64))
    return (2.0 + noise).astype(np.float32)


def estimate(depth: np.ndarray | None, **values: object) -> DepthEstimate:
    def never() -> np.ndarray:
        raise AssertionError("a sensor's depth needs no memory")

    return SensorDepth(SensorDepthConfig(**values)).estimate(frame_of(depth), never)


def test_noise_grows_with_the_square_of_depth() -> None:
    noise = DepthNoise(0.001, 0.002)
    assert noise.sigma(np.array([0.0, 1.0, 3.0])) == pytest.approx([0.001, 0.003, 0.019])


def test_a_wall_is_believed_as_far_as_its_noise_allows() -> None:
    noise = DepthNoise(0.0, 0.025)
    near = estimate(wall(1.0), noise=noise, half_sigma=0.1)
    far = estimate(wall(2.0), noise=noise, half_sigma=0.1)
    assert (near.depth == 1.0).all()
    assert near.reason == ""
    assert near.confidence == pytest.approx(1.0 / (1.0 + 0.25**2))
    assert far.confidence == pytest.approx(0.5), "sigma is 0.1 m there"


def test_a_confidence_that_the_sensor_gives_counts_as_a_factor() -> None:
    given = np.random.default_rng(0).uniform(0.0, 1.0, (48, 64)).astype(np.float32)
    frame = frame_of(wall(2.0))
    found = SensorDepth().estimate(replace(frame, confidence=given))
    assert found.confidence == pytest.approx(given * SensorDepth().estimate(frame).confidence)


def test_holes_stay_holes() -> None:
    depth = wall(2.0)
    depth[10:20, 10:20] = 0.0
    depth[30:40, 10:20] = np.nan
    depth[30:40, 30:40] = np.inf
    depth[10:20, 30:40] = -1.0
    found = estimate(depth)
    expected = np.ones((48, 64), bool)
    expected[10:20, 10:20] = expected[30:40, 10:20] = False
    expected[30:40, 30:40] = expected[10:20, 30:40] = False
    assert (found.depth == np.where(expected, 2.0, 0.0)).all()
    assert ((found.confidence > 0.0) == expected).all()
    assert len(np.unique(found.confidence)) == 2, "the rim of a hole is no edge"


def test_what_is_out_of_range_is_unknown() -> None:
    depth = wall(2.0)
    depth[:, :20], depth[:, 40:] = 0.3, 7.0
    found = estimate(depth, min_depth=0.5, max_depth=5.0)
    assert (found.depth[:, 20:40] == 2.0).all()
    assert (found.depth[:, :20] == 0.0).all()
    assert (found.depth[:, 40:] == 0.0).all()


def test_pixels_beside_an_edge_are_believed_less() -> None:
    found = estimate(step(), edge_radius=2, edge_confidence=0.25)
    assert (found.depth == step()).all()
    plain = estimate(wall(1.0)).confidence[0, 0], estimate(wall(3.0)).confidence[0, 0]
    for columns, factor in ((slice(0, 29), 1.0), (slice(29, 32), 0.25)):
        assert found.confidence[:, columns] == pytest.approx(plain[0] * factor)
    for columns, factor in ((slice(32, 35), 0.25), (slice(35, 64), 1.0)):
        assert found.confidence[:, columns] == pytest.approx(plain[1] * factor)


@pytest.mark.parametrize("between", [1.2, 1.5, 2.0, 2.8])
def test_flying_pixels_are_taken_out(between: float) -> None:
    # 1.5 m is halfway in inverse depth, so the pixel is on a line with either neighbour.
    depth = step()
    depth[:, 32] = between
    found = estimate(depth)
    assert (found.depth[:, 32] == 0.0).all()
    assert (found.confidence[:, 32] == 0.0).all()
    others = np.arange(64) != 32
    assert (found.depth[:, others] == depth[:, others]).all()


def test_specks_are_taken_out_and_small_things_are_not() -> None:
    depth = wall(2.0)
    depth[5, 5] = 1.0
    depth[20:22, 20:22] = 1.0
    depth[30:34, 40:44] = 1.0
    found = estimate(depth, min_patch=12)
    assert found.depth[5, 5] == 0.0
    assert (found.depth[20:22, 20:22] == 0.0).all()
    assert (found.depth[30:34, 40:44] == 1.0).all()
    assert (found.depth == 0.0).sum() == 5


def test_a_grazing_floor_has_no_edges() -> None:
    depth = floor()
    steps = depth[27:-1, 0] / depth[28:, 0] - 1.0
    assert steps.max() > 0.2, "neighbours differ by more than any edge's ratio"
    found = estimate(depth, edge_ratio=0.05)
    assert (found.depth == depth).all()
    one_column = found.confidence[:, 0]
    sigma = DepthNoise().sigma(depth[:, 0])
    expected = np.where(depth[:, 0] > 0.0, 1.0 / (1.0 + (sigma / 0.1) ** 2), 0.0)
    assert one_column == pytest.approx(expected, abs=1e-6)


def test_a_thing_on_the_grazing_floor_has_edges() -> None:
    depth = floor()
    depth[20:36, 20:30] = 1.0
    found = estimate(depth)
    sigma = float(DepthNoise().sigma(np.array(1.0)))
    full = 1.0 / (1.0 + (sigma / 0.1) ** 2)
    assert (found.depth == depth).all()
    assert found.confidence[25:30, 22:28] == pytest.approx(full)
    assert found.confidence[26:30, 20] == pytest.approx(full * 0.3), "the floor beyond is farther"


@pytest.mark.parametrize(
    ("depth", "reason"),
    [
        (None, "Got none"),
        (wall(0.0), "no pixel"),
        (wall(np.nan), "no pixel"),
        (wall(50.0), "Got 50 to 50 m"),
        ((np.indices((48, 64)).sum(axis=0) % 2 * 2.0 + 1.0).astype(np.float32), "loose"),
    ],
)
def test_no_depth_says_why(depth: np.ndarray | None, reason: str) -> None:
    found = estimate(depth)
    assert not found.known
    assert reason in found.reason
    assert found.depth.shape == found.confidence.shape == (48, 64)
    assert (found.confidence == 0.0).all()


def test_a_frozen_depth_is_refused_until_it_moves_again() -> None:
    source = SensorDepth()
    assert source.estimate(frame_of(measured(), 0)).reason == ""
    found = source.estimate(frame_of(measured(), 1, x=0.05))
    assert "frozen" in found.reason
    assert not found.known
    assert source.estimate(frame_of(measured() * np.float32(1.01), 2, x=0.1)).reason == ""
    unchecked = SensorDepth(SensorDepthConfig(check_frozen=False))
    for number in range(2):
        assert unchecked.estimate(frame_of(measured(), number, x=0.05 * number)).known


def test_frozen_needs_a_new_image_and_a_moved_camera() -> None:
    first = frame_of(measured(), 0)
    turn = exp_twist([0, 0, 0], [0, 0.1, 0], 1.0)
    for other, frozen in (
        (frame_of(measured(), 0, x=0.05), False),
        (frame_of(measured(), 1, x=0.0), False),
        (frame_of(measured() + np.float32(1e-3), 1, x=0.05), False),
        (frame_of(None, 1, x=0.05), False),
        (frame_of(measured(), 1, x=0.05), True),
        (replace(frame_of(measured(), 1), T_world_camera=turn), True),
    ):
        check = FrozenDepthCheck()
        assert check.check(first) == ""
        assert bool(check.check(other)) == frozen


def test_a_slow_camera_adds_up_what_it_moves() -> None:
    check = FrozenDepthCheck(FrozenDepthConfig(distance=0.2))
    told = [bool(check.check(frame_of(measured(), n, x=0.08 * n))) for n in range(5)]
    assert told == [False, False, False, True, True]


def test_a_wall_that_the_camera_drives_along_is_not_frozen() -> None:
    # Its depth grows downwards only, so moving sideways shows the same depth.
    leaning = np.repeat(np.linspace(1.0, 2.0, 48, dtype=np.float32)[:, None], 64, axis=1)
    sideways, check = FrozenDepthCheck(), FrozenDepthCheck()
    assert [sideways.check(frame_of(leaning, n, x=0.1 * n)) for n in range(3)] == ["", "", ""]
    assert check.check(frame_of(leaning, 0)) == ""
    ahead = replace(frame_of(leaning, 1), T_world_camera=exp_twist([0, 0, 0.1], [0, 0, 0], 1.0))
    assert "frozen" in check.check(ahead)


def test_one_depth_everywhere_is_not_called_frozen() -> None:
    check = FrozenDepthCheck()
    assert [check.check(frame_of(wall(2.0), n, x=0.1 * n)) for n in range(3)] == ["", "", ""]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("min_depth", 0.0),
        ("max_depth", float("inf")),
        ("half_sigma", 0.0),
        ("edge_confidence", 1.5),
        ("edge_radius", -1),
        ("min_patch", 0),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        SensorDepthConfig(**{name: value})


def test_noise_out_of_range_is_refused() -> None:
    for a, b in ((-1.0, 0.1), (0.0, 0.0), (0.1, float("nan"))):
        with pytest.raises(ConfigurationError, match="noise a and b"):
            DepthNoise(a, b)

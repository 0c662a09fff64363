import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, FrameError, PoseError
from mirage_ros.evaluation import consistency
from mirage_ros.evaluation.consistency import (
    BORDER_PX,
    WORST_FLOW_ERROR_PX,
    WORST_REPROJECTION_ERROR,
    photometric_consistency,
    reprojection_consistency,
)
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist

FACING = PinholeCamera(320, 256, 200.0, 200.0, 160.0, 128.0)
#: WorldScore's cells a pixel of such a picture.
CELLS = 512 / math.sqrt(320 * 256) / 8


@pytest.fixture(scope="module")
def drive(room) -> list[RgbdFrame]:
    return room.path(5)


def images(frames: list[RgbdFrame]) -> list[np.ndarray]:
    return [frame.image for frame in frames]


def poses(frames: list[RgbdFrame]) -> np.ndarray:
    return np.stack([frame.T_world_camera for frame in frames])


def depths(frames: list[RgbdFrame]) -> list[np.ndarray]:
    return [frame.depth for frame in frames if frame.depth is not None]


def windows(pixels: np.ndarray, corners: list[tuple[int, int]]) -> list[np.ndarray]:
    """Views of a wall 2 m ahead: moving 1 cm to the right moves the picture 1 pixel."""
    return [np.ascontiguousarray(pixels[y : y + 256, x : x + 320]) for x, y in corners]


def sideways(metres: list[float]) -> np.ndarray:
    T_world_camera = np.tile(np.eye(4), (len(metres), 1, 1))
    T_world_camera[:, 0, 3] = metres
    return T_world_camera


FLAT_WALL = np.full((256, 320), 2.0, dtype=np.float32)


# --- photometric


def test_equal_pictures_are_photometrically_consistent(make_texture) -> None:
    picture = make_texture(0, 200)
    found = photometric_consistency([picture, picture, picture])
    assert found.error_px == pytest.approx(0.0, abs=1e-3)
    assert found.score == pytest.approx(1.0, abs=1e-3)
    assert found.pairs == 2


def test_shifted_and_moving_pictures_are_nearly_so(make_texture, drive) -> None:
    shifted = windows(make_texture(0, 500), [(100, 100), (104, 97), (108, 94)])
    assert photometric_consistency(shifted).error_px < 0.02
    assert photometric_consistency(images(drive)).score > 0.9


def test_unrelated_pictures_are_not(make_texture) -> None:
    pictures = [make_texture(seed, 200) for seed in (1, 2, 3)]
    found = photometric_consistency(pictures)
    assert found.score == 0.0
    assert found.error_px > WORST_FLOW_ERROR_PX


def test_patches_that_jump_about_lower_the_score(drive) -> None:
    rng = np.random.default_rng(0)
    spoiled = [picture.copy() for picture in images(drive)]
    for picture in spoiled:
        patch = picture[20:52, 20:52].copy()
        for y, x in rng.integers(20, 200, (20, 2)):
            picture[y : y + 32, x : x + 32] = patch
    found = photometric_consistency(spoiled)
    assert found.score < photometric_consistency(images(drive)).score - 0.2


class GivenFlow:
    """Flow that is known instead of estimated: one for the way there, one for the way back."""

    def __init__(self, there: np.ndarray, back: np.ndarray) -> None:
        self.flows = [there, back]

    def calc(self, first: np.ndarray, second: np.ndarray, flow: None) -> np.ndarray:
        self.flows.reverse()
        return self.flows[1]


def constant_flow(x: float, y: float) -> np.ndarray:
    return np.broadcast_to(np.array([x, y], dtype=np.float32), (100, 120, 2)).copy()


def test_the_error_is_the_distance_that_there_and_back_leaves(monkeypatch) -> None:
    there, back = constant_flow(2.0, 1.0), constant_flow(-2.3, -0.6)
    monkeypatch.setattr(consistency, "_flow", lambda: GivenFlow(there, back))
    blank = np.zeros((100, 120, 3), dtype=np.uint8)
    found = photometric_consistency([blank, blank])
    assert found.error_px == pytest.approx(0.5, abs=1e-5)
    assert found.score == pytest.approx(1.0 - 0.5 / 1.1920, abs=1e-5)


def test_the_way_back_begins_where_the_way_there_ends(monkeypatch) -> None:
    # There: 4 to the right. Back: as far as the column says, which is 4 only where x = 60.
    back = constant_flow(0.0, 0.0)
    back[..., 0] = -4.0 + 0.01 * (np.arange(120) - 60)
    monkeypatch.setattr(consistency, "_flow", lambda: GivenFlow(constant_flow(4.0, 0.0), back))
    blank = np.zeros((100, 120, 3), dtype=np.uint8)
    landed = np.arange(BORDER_PX, 120 - BORDER_PX) + 4
    expected = np.abs(0.01 * (landed - 60)).mean()
    assert photometric_consistency([blank, blank]).error_px == pytest.approx(expected, abs=1e-5)


def test_the_border_does_not_count(monkeypatch) -> None:
    there = constant_flow(9.0, 9.0)
    there[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = 0.0
    monkeypatch.setattr(consistency, "_flow", lambda: GivenFlow(there, constant_flow(0.0, 0.0)))
    blank = np.zeros((100, 120, 3), dtype=np.uint8)
    assert photometric_consistency([blank, blank]).error_px == 0.0


def test_photometric_consistency_refuses_what_it_cannot_measure() -> None:
    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    with pytest.raises(ConfigurationError, match="Got 1"):
        photometric_consistency([picture])
    with pytest.raises(FrameError, match="one shape"):
        photometric_consistency([picture, picture[:40]])
    with pytest.raises(FrameError, match="Got 64x30"):
        photometric_consistency([picture[:30], picture[:30]])


# --- reprojection


def test_true_pictures_land_on_each_other(drive, room) -> None:
    found = reprojection_consistency(images(drive), room.camera, poses(drive), depths(drive))
    assert found.error_px < 0.2
    assert found.error_cells == pytest.approx(found.error_px * CELLS)
    assert found.score == pytest.approx(1.0 - found.error_cells / WORST_REPROJECTION_ERROR)
    assert found.score > 0.95
    assert found.valid_share > 0.95
    # Steps of 1, 2 and 4 among five pictures.
    assert (found.pairs, found.failed, found.blank) == (4 + 3 + 1, 0, 0)
    assert found.lifted_by == "depth"


def test_a_misplaced_picture_errs_by_its_displacement(make_texture) -> None:
    pictures = windows(make_texture(0, 500), [(100, 100), (102, 100)])
    still = reprojection_consistency(pictures, FACING, sideways([0.0, 0.0]), [FLAT_WALL] * 2)
    assert still.error_px == pytest.approx(2.0, abs=0.05)
    assert still.score == pytest.approx(1.0 - 2.0 * CELLS / 1.0719, abs=0.02)
    moved = reprojection_consistency(pictures, FACING, sideways([0.0, 0.02]), [FLAT_WALL] * 2)
    assert moved.error_px < 0.05


def test_an_error_of_depth_shows_as_parallax(make_texture) -> None:
    # 10 cm of motion at 2 m are 10 pixels, at 2.5 m they would be 8.
    pictures = windows(make_texture(0, 500), [(100, 100), (110, 100)])
    farther = [FLAT_WALL * np.float32(1.25)] * 2
    found = reprojection_consistency(pictures, FACING, sideways([0.0, 0.1]), farther)
    assert found.error_px == pytest.approx(2.0, abs=0.05)


def test_noise_and_pose_errors_lower_the_score(drive, room) -> None:
    rng = np.random.default_rng(0)
    true = reprojection_consistency(images(drive), room.camera, poses(drive), depths(drive))
    noisy = [
        np.clip(picture + rng.normal(0.0, 25.0, picture.shape), 0, 255).astype(np.uint8)
        for picture in images(drive)
    ]
    with_noise = reprojection_consistency(noisy, room.camera, poses(drive), depths(drive))
    assert with_noise.score < true.score - 0.02
    shaken = poses(drive)
    for pose in shaken:
        pose[:] = pose @ exp_twist(np.zeros(3), rng.normal(0.0, np.radians(0.4), 3), 1.0)
    for depth in (depths(drive), None):
        found = reprojection_consistency(images(drive), room.camera, shaken, depth)
        assert found.score < true.score - 0.3


def test_without_depth_features_are_triangulated(drive, room) -> None:
    found = reprojection_consistency(images(drive), room.camera, poses(drive))
    assert found.lifted_by == "triangulation"
    assert found.error_px < 0.2
    assert found.pairs == 8
    assert found.valid_share > 0.95


def test_triangulation_forgives_what_another_depth_explains(make_texture) -> None:
    # Half the motion told puts the wall at half the depth; nothing in the pictures speaks against.
    pictures = windows(make_texture(0, 500), [(100 + 6 * i, 100) for i in range(5)])
    told = sideways([0.03 * i for i in range(5)])
    assert reprojection_consistency(pictures, FACING, told).error_px < 0.1
    with_depth = reprojection_consistency(pictures, FACING, told, [FLAT_WALL] * 5)
    # 3 pixels a step: 4 pairs of one step, 3 of two, 1 of four; the last is past the gate.
    assert with_depth.error_px == pytest.approx((4 * 3.0 + 3 * 6.0) / 7, abs=0.05)
    assert (with_depth.pairs, with_depth.failed) == (7, 1)
    assert with_depth.score == pytest.approx(
        (1.0 - with_depth.error_cells / WORST_REPROJECTION_ERROR) * 7 / 8
    )


def test_triangulation_does_not_forgive_motion_across_the_epipolar_lines(make_texture) -> None:
    # Every second picture 2 pixels too low.
    corners = [(100 + 6 * i, 100 - 2 * (i % 2)) for i in range(5)]
    pictures = windows(make_texture(0, 500), corners)
    told = sideways([0.06 * i for i in range(5)])
    found = reprojection_consistency(pictures, FACING, told, steps=(1,))
    assert found.error_px == pytest.approx(2.0, abs=0.1)


def test_turning_on_the_spot_needs_no_parallax(room) -> None:
    turn = exp_twist(np.zeros(3), [0.0, np.radians(2.0), 0.0], 1.0)
    frames = [room.frame(np.linalg.matrix_power(turn, k)) for k in range(4)]
    found = reprojection_consistency(images(frames), room.camera, poses(frames))
    assert found.error_px < 0.2
    assert found.pairs == 5


def test_unrelated_pictures_fail(make_texture) -> None:
    pictures = [make_texture(seed, 320)[:256] for seed in (1, 2, 3)]
    for depth in ([FLAT_WALL] * 3, None):
        found = reprojection_consistency(pictures, FACING, sideways([0.0, 0.0, 0.0]), depth)
        assert (found.pairs, found.failed, found.blank) == (0, 3, 0)
        assert found.score == 0.0
        assert math.isnan(found.error_px)
        assert not found.valid_share > 0.1


def test_what_cannot_be_judged_has_no_score(make_texture, drive, room) -> None:
    flat = [np.full((256, 320, 3), 90, dtype=np.uint8)] * 3
    unknown = [np.zeros_like(depth) for depth in depths(drive)]
    apart = poses(drive)
    apart[1::2] = apart[1::2] @ np.diag([-1.0, 1.0, -1.0, 1.0])
    for found in (
        reprojection_consistency(flat, FACING, sideways([0.0, 0.0, 0.0])),
        reprojection_consistency(images(drive), room.camera, poses(drive), unknown),
        reprojection_consistency(images(drive), room.camera, apart, depths(drive), steps=(1,)),
    ):
        assert (found.pairs, found.failed) == (0, 0)
        assert found.blank > 0
        assert math.isnan(found.score)
        assert math.isnan(found.valid_share)


def test_reprojection_consistency_refuses_what_does_not_fit(drive, room) -> None:
    pictures, told, depth = images(drive), poses(drive), depths(drive)
    with pytest.raises(FrameError, match="camera's size"):
        reprojection_consistency(pictures, room.camera.resized(160, 128), told, depth)
    with pytest.raises(ConfigurationError, match="Got 5 and 4"):
        reprojection_consistency(pictures, room.camera, told[:4], depth)
    with pytest.raises(FrameError, match="one map"):
        reprojection_consistency(pictures, room.camera, told, depth[:4])
    with pytest.raises(FrameError, match="one map"):
        reprojection_consistency(pictures, room.camera, told, [d[:128] for d in depth])
    with pytest.raises(ConfigurationError, match="steps"):
        reprojection_consistency(pictures, room.camera, told, depth, steps=(0,))
    with pytest.raises(ConfigurationError, match="at least three"):
        reprojection_consistency(pictures[:2], room.camera, told[:2])
    with pytest.raises(PoseError, match=r"T_world_camera\[1\]"):
        reprojection_consistency(pictures[:2], room.camera, told[:2] * [[[1]], [[2]]], depth[:2])


def test_pictures_in_unit_floats_are_the_same(drive, room) -> None:
    as_floats = [(picture / 255.0).astype(np.float32) for picture in images(drive)]
    found = reprojection_consistency(
        as_floats[:2], room.camera, poses(drive)[:2], depths(drive)[:2]
    )
    same = reprojection_consistency(
        images(drive)[:2], room.camera, poses(drive)[:2], depths(drive)[:2]
    )
    assert found == same
    assert photometric_consistency(as_floats[:2]) == photometric_consistency(images(drive)[:2])

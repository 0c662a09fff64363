import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, FrameError, PoseError
from mirage_ros.evaluation.camera_control import (
    MIN_INLIERS,
    camera_control,
    camera_control_score,
    pose_errors,
    recover_pose,
)
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import exp_twist

ASKED = exp_twist([0.1, -0.05, 0.2], [0.02, 0.08, -0.03], 1.0)


@pytest.fixture(scope="module")
def reference(room) -> RgbdFrame:
    return room.frame(np.eye(4))


@pytest.fixture(scope="module")
def true_view(room) -> np.ndarray:
    return room.frame(ASKED).image


def test_the_pose_of_a_true_view_is_found(room, reference, true_view) -> None:
    found = recover_pose(true_view, room.camera, [reference])
    assert found is not None
    rotation, translation = pose_errors(found.T_world_camera, ASKED)
    assert rotation < 0.05
    assert translation < 0.005
    assert MIN_INLIERS < found.inliers <= found.matches


def test_several_references_are_taken_together(room, reference, true_view) -> None:
    other = room.frame(exp_twist([-0.2, 0.0, 0.1], [0.0, 0.05, 0.0], 1.0))
    alone = recover_pose(true_view, room.camera, [reference])
    both = recover_pose(true_view, room.camera, [reference, other])
    assert alone is not None
    assert both is not None
    assert both.matches > 1.3 * alone.matches
    assert pose_errors(both.T_world_camera, ASKED)[0] < 0.05


def test_picture_and_reference_may_be_of_different_cameras(room, reference, true_view) -> None:
    # Halved by averaging 2x2 pixels, which is exact with pixel corners. Half a pixel wrong in one
    # of the two would be a quarter of a degree.
    halved = cv2.resize(true_view, (160, 128), interpolation=cv2.INTER_AREA)
    found = recover_pose(halved, room.camera.resized(160, 128), [reference])
    assert found is not None
    rotation, translation = pose_errors(found.T_world_camera, ASKED)
    assert rotation < 0.08
    assert translation < 0.01


def test_a_view_from_elsewhere_errs_by_its_distance(room, reference, true_view) -> None:
    off = ASKED @ exp_twist([0.2, 0.0, 0.0], [0.0, math.radians(6.0), 0.0], 1.0)
    expected = pose_errors(off, ASKED)
    found = camera_control([true_view], room.camera, off[None], [[reference]])
    assert found.rotation_deg == pytest.approx(6.0, abs=0.05)
    assert found.rotation_deg == pytest.approx(expected[0], abs=0.05)
    assert found.translation_m == pytest.approx(expected[1], abs=0.005)
    assert found.score == camera_control_score(found.rotation_deg, found.translation_m)


def test_noise_lowers_the_score_a_little(room, reference, true_view) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(true_view + rng.normal(0.0, 30.0, true_view.shape), 0, 255).astype(np.uint8)
    true, spoiled = (
        camera_control([picture], room.camera, ASKED[None], [[reference]]).score
        for picture in (true_view, noisy)
    )
    assert 0.9 < spoiled < true <= 1.0


def test_failures_are_counted_and_score_nothing(room, reference, true_view, make_texture) -> None:
    pictures = [true_view, make_texture(9, 320)[:256], true_view]
    asked = np.tile(ASKED, (3, 1, 1))
    found = camera_control(pictures, room.camera, asked, [[reference]] * 3)
    alone = camera_control(pictures[:1], room.camera, asked[:1], [[reference]])
    assert (found.recovered, found.failed, found.blank) == (2, 1, 0)
    assert found.rotation_deg == pytest.approx(alone.rotation_deg)
    assert found.score == pytest.approx(alone.score * 2 / 3)
    none = camera_control(pictures[1:2], room.camera, asked[:1], [[reference]])
    assert (none.recovered, none.failed, none.score) == (0, 1, 0.0)
    assert math.isnan(none.rotation_deg)
    assert math.isnan(none.translation_m)


def test_without_landmarks_a_view_cannot_be_judged(room, reference, true_view) -> None:
    assert reference.depth is not None
    unknown = replace(reference, depth=np.zeros_like(reference.depth))
    for references in ([unknown], []):
        found = camera_control([true_view], room.camera, ASKED[None], [references])
        assert (found.recovered, found.failed, found.blank) == (0, 0, 1)
        assert math.isnan(found.score)


@pytest.mark.parametrize(
    ("rotation_deg", "translation_m", "score"),
    [
        (0.0, 0.0, 1.0),
        (7.5, 0.25, 0.5),
        (0.0, 0.375, 0.5),
        (11.25, 0.0, 0.5),
        (0.0, 9.0, 0.0),
        (90.0, 0.0, 0.0),
    ],
)
def test_the_score_is_the_geometric_mean_of_two_scores(
    rotation_deg: float, translation_m: float, score: float
) -> None:
    assert camera_control_score(rotation_deg, translation_m) == pytest.approx(score)


def test_what_does_not_fit_is_refused(room, reference, true_view) -> None:
    with pytest.raises(ConfigurationError, match="Got 0 pictures"):
        camera_control([], room.camera, ASKED[None][:0], [])
    with pytest.raises(ConfigurationError, match="Got 1 pictures, 2 poses, 1 references"):
        camera_control([true_view], room.camera, np.tile(ASKED, (2, 1, 1)), [[reference]])
    with pytest.raises(FrameError, match="camera's size"):
        recover_pose(true_view[:128], room.camera, [reference])
    with pytest.raises(FrameError, match="needs depth"):
        recover_pose(true_view, room.camera, [replace(reference, depth=None)])
    with pytest.raises(PoseError, match="T_world_camera"):
        camera_control([true_view], room.camera, 2.0 * ASKED[None], [[]])
    with pytest.raises(PoseError, match="T_world_found"):
        pose_errors(2.0 * ASKED, ASKED)

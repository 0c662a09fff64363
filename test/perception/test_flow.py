"""Residual flow on a wall and a panel before it, both drawn by intersecting rays with planes."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.perception.flow import FlowConfig, FlowEvidence, residual_flow

CAMERA = PinholeCamera(256, 192, 180.0, 180.0, 128.0, 96.0)
PERIOD_NS = 66_666_667
WALL_Z, PANEL_Z = 3.0, 1.6
PANEL_HALF = np.array([0.3, 0.45])
TEXELS_PER_METRE = 60.0


def _texture(seed: int) -> NDArray[np.float32]:  # (H, W, 3)
    noise = np.random.default_rng(seed).uniform(0.0, 255.0, (600, 600, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) * 4.0 - 380.0, 0.0, 255.0)


WALL, PANEL = _texture(0), _texture(1)


def _plane(
    texture: NDArray[np.float32], z: float, pose: NDArray[np.float64], shift: float
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Colours (H, W, 3), depth (H, W) and places on the plane (H, W, 2) of a wall at world z."""
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((CAMERA.height, CAMERA.width)))
    directions = rays @ pose[:3, :3].T
    depth = (z - pose[2, 3]) / directions[..., 2]
    places = (pose[:3, 3] + depth[..., None] * directions)[..., :2] - np.array([shift, 0.0])
    texels = (places * TEXELS_PER_METRE + 300.0).astype(np.float32)
    colours = cv2.remap(texture, texels[..., 0], texels[..., 1], cv2.INTER_LINEAR)
    return colours.astype(np.float32), depth, places


def _frame(
    number: int,
    pose: NDArray[np.float64],
    panel_x: float | None = None,
    half: NDArray[np.float64] = PANEL_HALF,
) -> tuple[RgbdFrame, NDArray[np.bool_]]:
    """A frame of the wall, with a panel about ``panel_x`` before it, and where the panel is."""
    colours, depth, _ = _plane(WALL, WALL_Z, pose, 0.0)
    mask = np.zeros(depth.shape, dtype=np.bool_)
    if panel_x is not None:
        front, nearer, places = _plane(PANEL, PANEL_Z, pose, panel_x)
        mask = (np.abs(places) < half).all(axis=-1)
        colours[mask], depth[mask] = front[mask], nearer[mask]
    image = np.clip(np.rint(colours), 0, 255).astype(np.uint8)
    stamp_ns = number * PERIOD_NS
    return RgbdFrame(stamp_ns, image, depth.astype(np.float32), CAMERA, pose), mask


def _pose(x: float, z: float = 0.0, yaw: float = 0.0) -> NDArray[np.float64]:
    pose = exp_twist([0.0, 0.0, 0.0], [0.0, yaw, 0.0], 1.0)
    pose[:3, 3] = x, 0.0, z
    return pose


FIRST, SECOND = _pose(0.0), _pose(0.03, 0.02, 0.01)


def _refused(evidence: FlowEvidence, words: str) -> bool:
    return not evidence.usable and not evidence.moving.any() and words in evidence.reason


@pytest.mark.parametrize("step_m", [0.04, -0.06])
def test_a_panel_that_moves_is_found_and_the_wall_is_not_marked(step_m: float) -> None:
    previous, _ = _frame(0, FIRST, 0.0)
    frame, panel = _frame(1, SECOND, step_m)
    evidence = residual_flow(previous, frame)
    assert evidence.usable, evidence.reason
    assert evidence.moving[panel].mean() > 0.85
    # Flow cannot be sharper than the patches that it is found by.
    beside = cv2.dilate(panel.astype(np.uint8), np.ones((25, 25))) > 0
    assert not evidence.moving[~beside].any()


@pytest.mark.parametrize("panel_x", [None, 0.1])
@pytest.mark.parametrize("move", [_pose(0.0), SECOND, _pose(-0.05, 0.06, -0.02)])
def test_a_still_scene_is_not_marked_however_the_camera_moves(
    panel_x: float | None, move: NDArray[np.float64]
) -> None:
    previous, _ = _frame(0, FIRST, panel_x)
    evidence = residual_flow(previous, _frame(1, move, panel_x)[0])
    assert evidence.usable, evidence.reason
    assert not evidence.moving.any()
    assert evidence.median_residual_px < 0.3


def test_depth_noise_and_small_errors_of_poses_do_not_mark_a_still_scene() -> None:
    rng = np.random.default_rng(4)
    for _ in range(4):
        previous, _ = _frame(0, FIRST, 0.1)
        frame, _ = _frame(1, SECOND, 0.1)
        assert frame.depth is not None
        noise = rng.normal(size=frame.depth.shape) * 0.003 * frame.depth**2
        error = exp_twist(rng.normal(0.0, 0.006, 3), rng.normal(0.0, 0.003, 3), 1.0)
        frame = replace(
            frame,
            depth=(frame.depth + noise).astype(np.float32),
            T_world_camera=frame.T_world_camera @ error,
        )
        evidence = residual_flow(previous, frame)
        assert evidence.usable, evidence.reason
        assert not evidence.moving.any()


def test_a_panel_is_found_although_the_poses_err() -> None:
    previous, _ = _frame(0, FIRST, 0.0)
    frame, panel = _frame(1, SECOND, 0.05)
    error = exp_twist([0.006, 0.0, 0.0], [0.003, -0.003, 0.0], 1.0)
    frame = replace(frame, T_world_camera=frame.T_world_camera @ error)
    evidence = residual_flow(previous, frame)
    assert evidence.usable, evidence.reason
    assert evidence.moving[panel].mean() > 0.85
    assert evidence.moving[~panel].mean() < 0.1


def test_a_panel_without_depth_is_found_across_its_epipolar_lines() -> None:
    """The camera goes ahead, so that lines leave the centre; the panel goes sideways."""
    previous, _ = _frame(0, FIRST, 0.0)
    frame, panel = _frame(1, _pose(0.0, 0.08), 0.08)
    assert frame.depth is not None
    frame = replace(frame, depth=np.where(panel, np.float32(np.nan), frame.depth))
    evidence = residual_flow(previous, frame)
    assert evidence.usable, evidence.reason
    above_or_below = panel & (np.abs(CAMERA.pixel_centres()[..., 1] - CAMERA.cy) > 15.0)
    assert evidence.moving[above_or_below].mean() > 0.7


def test_the_mask_has_the_frame_s_size_whatever_the_working_size() -> None:
    config = FlowConfig(width=128, residual_px=0.75)
    previous, _ = _frame(0, FIRST, 0.0)
    frame, panel = _frame(1, SECOND, 0.06)
    evidence = residual_flow(previous, frame, config)
    assert evidence.usable, evidence.reason
    assert evidence.moving.shape == panel.shape
    assert evidence.moving[panel].mean() > 0.8


def test_large_pose_errors_make_the_flow_unusable() -> None:
    previous, _ = _frame(0, FIRST, 0.1)
    frame, _ = _frame(1, SECOND, 0.1)
    for error in ([0.2, 0.0, 0.0], [0.0, 0.15, 0.0]):
        wrong = replace(frame, T_world_camera=frame.T_world_camera @ _moved(error))
        assert _refused(residual_flow(previous, wrong), "poses")
    turned = exp_twist([0.0, 0.0, 0.0], [0.0, 0.1, 0.0], 1.0)
    wrong = replace(frame, T_world_camera=frame.T_world_camera @ turned)
    assert _refused(residual_flow(previous, wrong), "poses")


def _moved(by: list[float]) -> NDArray[np.float64]:
    pose = np.eye(4)
    pose[:3, 3] = by
    return pose


def test_what_fills_most_of_the_picture_cannot_be_told_from_a_wrong_pose() -> None:
    half = np.array([0.9, 0.9])
    previous, _ = _frame(0, FIRST, 0.0, half)
    frame, panel = _frame(1, SECOND, 0.08, half)
    assert panel.mean() > 0.7
    assert _refused(residual_flow(previous, frame), "moves")


def test_a_scene_cut_is_unusable() -> None:
    previous, _ = _frame(0, FIRST)
    frame, _ = _frame(1, SECOND)
    other = np.clip(_plane(PANEL, WALL_Z, SECOND, 0.0)[0], 0, 255).astype(np.uint8)
    assert _refused(residual_flow(previous, replace(frame, image=other)), "another scene")


def test_frames_of_two_cameras_or_sizes_are_unusable() -> None:
    previous, _ = _frame(0, FIRST)
    frame, _ = _frame(1, SECOND)
    zoomed = replace(frame, camera=replace(CAMERA, fx=200.0))
    assert _refused(residual_flow(previous, zoomed), "one camera")
    small = RgbdFrame(
        0, previous.image[:96, :128].copy(), None, CAMERA.cropped(0, 0, 128, 96), FIRST
    )
    assert _refused(residual_flow(small, frame), "one camera")


@pytest.mark.parametrize("stamp_ns", [0, -1_000_000, 2_000_000_000])
def test_frames_at_the_same_time_in_the_wrong_order_or_far_apart_are_unusable(
    stamp_ns: int,
) -> None:
    previous, _ = _frame(0, FIRST)
    frame, _ = _frame(1, SECOND)
    assert _refused(residual_flow(previous, replace(frame, stamp_ns=stamp_ns)), "older")


@pytest.mark.parametrize("fill", [0.0, np.nan, -1.0, np.inf])
def test_without_any_depth_the_flow_is_unusable(fill: float) -> None:
    previous, _ = _frame(0, FIRST, 0.0)
    frame, _ = _frame(1, SECOND, 0.08)
    assert frame.depth is not None
    empty = replace(frame, depth=np.full_like(frame.depth, fill))
    assert _refused(residual_flow(previous, empty), "too little")
    assert _refused(residual_flow(previous, replace(frame, depth=None)), "no depth")


def test_pictures_without_texture_are_unusable() -> None:
    previous, _ = _frame(0, FIRST)
    frame, _ = _frame(1, SECOND)
    grey = np.full_like(frame.image, 127)
    evidence = residual_flow(replace(previous, image=grey), replace(frame, image=grey))
    assert _refused(evidence, "too little")


def test_pictures_that_are_too_small_are_unusable() -> None:
    camera = CAMERA.resized(40, 30)
    image, depth = np.zeros((30, 40, 3), dtype=np.uint8), np.ones((30, 40), dtype=np.float32)
    previous = RgbdFrame(0, image, depth, camera, FIRST)
    evidence = residual_flow(previous, replace(previous, stamp_ns=PERIOD_NS))
    assert _refused(evidence, "40x30")


@pytest.mark.parametrize(
    ("name", "value"), [("max_moving", 1.5), ("residual_px", 0.0), ("max_gap_s", np.nan)]
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        FlowConfig(**{name: value})

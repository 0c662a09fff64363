"""The world model with its perception: what is prepared, corrected and refused, all together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from wavy_room import CAMERA, HALF, look, look_from

from mirage_ros.backends import build_world_model
from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import exp_twist, inverse, rotation_angle, translation_distance
from mirage_ros.memory import Keyframes
from mirage_ros.perception.depth import DepthEstimate, KnownDepth
from mirage_ros.perception.dynamics import DynamicsConfig, DynamicsFilter
from mirage_ros.perception.pipeline import Perception
from mirage_ros.perception.registration import Registrar
from mirage_ros.perception.settings import PerceptionSettings
from mirage_ros.world_model import WorldModel

STILL = PerceptionSettings(optical_flow=False)
REGISTERED = replace(STILL, registration=True)


def built(settings: PerceptionSettings | None, **kwargs: object) -> WorldModel:
    return build_world_model(
        "readout",
        generation_width=CAMERA.width,
        generation_height=CAMERA.height,
        perception=settings,
        **kwargs,  # type: ignore[arg-type]
    )


def frame(x: float, y: float, heading: float, stamp: int = 0) -> RgbdFrame:
    view = look_from((x, y, heading))
    return RgbdFrame(stamp, view.image, view.depth, CAMERA, view.T_world_camera)


def tour() -> list[RgbdFrame]:
    """Turning about in the middle of the room; corners give every direction a hold."""
    return [frame(0.0, 0.0, 0.3 * number, number * 10**9) for number in range(21)]


def test_frames_are_believed_as_they_come_unless_told_otherwise() -> None:
    plain, perceiving = built(None), built(STILL)
    for seen in tour():
        first, second = plain.observe(seen), perceiving.observe(seen)
        assert first.perceived.frame.dynamic is None
        assert second.perceived.dynamics is not None
        assert not second.perceived.frame.dynamic.any()
        assert not second.perceived.reasons
        assert second.perceived.carving.removed == 0
    np.testing.assert_array_equal(plain.T_memory_world, np.eye(4))


def test_drift_is_taken_out_of_poses_and_put_back_into_views() -> None:
    """Odometry slips by 6 cm and 2 degrees; the memory does not."""
    model = built(REGISTERED)
    for seen in tour():
        model.observe(seen)
    slip = exp_twist([0.05, 0.03, 0.0], [0.0, 0.0, 0.035], 1.0)
    true = frame(-0.4, -0.3, 0.7, 30 * 10**9)
    slipped = replace(true, T_world_camera=slip @ true.T_world_camera)
    registered = model.observe(slipped).perceived
    assert registered.registration.accepted
    assert registered.registration.reason == ""
    assert translation_distance(registered.frame.T_world_camera, true.T_world_camera) < 0.02
    assert rotation_angle(registered.frame.T_world_camera, true.T_world_camera) < 0.01
    assert translation_distance(model.T_memory_world, inverse(slip)) < 0.04
    # A view asked for in the slipped odometry's frame shows what is there in truth.
    path = (slip @ frame(0.0, 0.1, 1.0).T_world_camera)[None]
    view = next(model.imagine(path, CAMERA))
    truth = frame(0.0, 0.1, 1.0)
    np.testing.assert_array_equal(view.T_world_camera, path[0])
    slipped_away = np.abs(view.depth - truth.depth)[view.coverage > 0]
    # A cell has one depth: a wall seen aslant is some centimetres off within it.
    assert slipped_away.mean() < 0.15
    # So does the cloud: its walls stand where the slipped robot sees them.
    cloud = model.cloud().positions @ inverse(slip)[:3, :3].T + inverse(slip)[:3, 3]
    off = np.abs(np.abs(cloud[:, :2]).max(axis=1) - HALF)
    assert np.median(off) < 0.03
    model.reset()
    np.testing.assert_array_equal(model.T_memory_world, np.eye(4))


def test_a_refused_registration_leaves_the_pose() -> None:
    model = built(REGISTERED)
    first = model.observe(frame(0.0, 0.0, 0.0))
    assert not first.perceived.registration.accepted
    assert "tokens lie in view" in first.perceived.reasons["registration"]
    np.testing.assert_array_equal(
        first.perceived.frame.T_world_camera, frame(0, 0, 0).T_world_camera
    )
    assert model.token_count > 0


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_depth_that_says_nothing_is_refused_and_deletes_nothing(value: float) -> None:
    model = built(REGISTERED)
    for seen in tour():
        model.observe(seen)
    before = model.memory.cloud()
    bad = frame(0.1, 0.0, 0.2, 40 * 10**9)
    bad = replace(bad, depth=np.full_like(bad.depth, value))
    for _ in range(4):
        with pytest.raises(FrameError, match="depth: expected some depth"):
            model.observe(bad)
    np.testing.assert_array_equal(model.memory.cloud().positions, before.positions)


def test_frozen_depth_is_refused_and_deletes_nothing() -> None:
    model = built(REGISTERED)
    for seen in tour():
        model.observe(seen)
    count = model.token_count
    stuck = frame(0.0, 0.0, 0.1, 50 * 10**9)
    model.observe(stuck)
    count = model.token_count
    for number in range(1, 5):
        moved = frame(0.1 * number, 0.0, 0.1 + 0.5 * number, (50 + number) * 10**9)
        with pytest.raises(FrameError, match="frozen"):
            model.observe(replace(moved, depth=stuck.depth))
    assert model.token_count == count


class DoubledDepth:
    """A model in the sensor's place, wrong by a factor of two and sure of it."""

    def estimate(self, frame: RgbdFrame, known: KnownDepth) -> DepthEstimate:
        depth = look(frame.T_world_camera).depth
        return DepthEstimate(np.float32(2.0) * depth, np.ones_like(depth))

    def clear(self) -> None:
        """Keeps nothing."""


@pytest.mark.parametrize("has_sensor", [True, False])
def test_estimated_depth_is_no_evidence_against_the_memory(has_sensor: bool) -> None:
    """It says that everything is twice as far; nothing is forgotten, moved or called new for it."""
    model = built(REGISTERED)
    for seen in tour():
        model.observe(seen)
    before = model.memory.count
    model.perception = Perception(
        DoubledDepth(), Registrar(), DynamicsFilter(16, DynamicsConfig(flow=False)), carve=True
    )
    for number in range(4):
        seen = frame(0.0, 0.0, 0.1 * number, (60 + number) * 10**9)
        seen = seen if has_sensor else replace(seen, depth=None)
        perceived = model.observe(seen).perceived
        assert not perceived.measured.any()
        assert not perceived.registration.accepted
        assert perceived.dynamics.new == 0.0
        assert (perceived.carving.through, perceived.carving.removed) == (0, 0)
    assert model.memory.count >= before


def test_a_mask_from_outside_is_not_remembered() -> None:
    model = built(STILL)
    seen = frame(0.0, 0.0, 0.0)
    mask = np.zeros(seen.image.shape[:2], dtype=bool)
    mask[:, :64] = True
    observation = model.observe(replace(seen, dynamic=mask))
    assert observation.update.added == 4 * 6
    assert observation.perceived.dynamics.masked == 0.5


def test_moved_keyframes_show_where_they_stand_now() -> None:
    model = built(STILL)
    seen = tour()
    for each in seen:
        model.observe(each)
    move = exp_twist([0.3, 0.1, 0.0], [0.0, 0.0, 0.2], 1.0)
    poses = np.stack([move @ each.T_world_camera for each in seen])
    stamps = np.array([each.stamp_ns for each in seen])
    held = len(model.memory.keyframes())
    assert model.move_keyframes(Keyframes(stamps, poses)) == held
    before = next(built_of(seen).imagine(seen[3].T_world_camera[None], CAMERA))
    after = next(model.imagine(poses[3][None], CAMERA))
    assert (before.coverage == after.coverage).mean() > 0.98
    assert np.abs(before.image.astype(int) - after.image.astype(int)).mean() < 2.0


def built_of(frames: list[RgbdFrame]) -> WorldModel:
    model = built(STILL)
    for each in frames:
        model.observe(each)
    return model


def test_points_cannot_be_put_right() -> None:
    with pytest.raises(
        ConfigurationError, match=r"registration needs .*Got one of kind 'RgbMemory'"
    ):
        built(REGISTERED, memory="rgb_fair")
    points = built(STILL, memory="rgb")
    observation = points.observe(frame(0.0, 0.0, 0.0))
    assert observation.perceived.carving is None
    with pytest.raises(ConfigurationError, match=r"moving keyframes needs"):
        points.move_keyframes(Keyframes(np.zeros(0, np.int64), np.zeros((0, 4, 4))))


def test_unknown_depth_source_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"depth must be one of .*Got 'lidar'"):
        PerceptionSettings(depth="lidar")

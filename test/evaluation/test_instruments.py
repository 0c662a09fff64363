"""The geometric metrics where the truth is known: true pictures score high, spoiled ones lower."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.camera_control import camera_control
from mirage_ros.evaluation.consistency import photometric_consistency, reprojection_consistency
from mirage_ros.evaluation.picture import as_bytes, as_unit
from mirage_ros.frames import RgbdFrame, fit_frame
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.sources.rgbd_sequence import open_sequence

SEQUENCE = Path(
    os.environ.get(
        "MIRAGE_SEQUENCE",
        Path(__file__).parents[2].parent / "shared" / "data" / "7scenes_redkitchen",
    )
)


def through_codec(picture: np.ndarray) -> np.ndarray:
    codec = DctCodec()
    frames = torch.from_numpy(as_unit(picture)).permute(2, 0, 1)[None]
    return as_bytes(codec.decode(codec.encode(frames))[0].permute(1, 2, 0).numpy())


def shuffled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture's patches of 32x32 pixels in another order."""
    rows, columns = picture.shape[0] // 32, picture.shape[1] // 32
    patches = picture.reshape(rows, 32, columns, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)
    mixed = rng.permutation(patches).reshape(rows, columns, 32, 32, 3).swapaxes(1, 2)
    return mixed.reshape(picture.shape)


@pytest.fixture(scope="module")
def simulated() -> list[RgbdFrame]:
    """A robot that drives 5 cm and turns 1.5 degrees from frame to frame."""
    pytest.importorskip("mujoco", reason="the simulator needs mujoco")
    from mirage_ros.sources.simulator import Simulator, build_apartment
    from mirage_ros.sources.simulator.headless import OffscreenContext

    if OffscreenContext is None:
        pytest.skip("no EGL or OSMesa to render with")
    simulator = Simulator(build_apartment(0))
    step = exp_twist([0.05, 0.0, 0.0], [0.0, 0.0, np.radians(1.5)], 1.0)
    frames, T_world_base = [], simulator.T_world_base
    for number in range(6):
        pose = T_world_base @ simulator.T_base_camera
        image, depth = simulator.render_from(pose)
        frames.append(RgbdFrame(number, image, depth, simulator.camera, pose))
        T_world_base = T_world_base @ step
    simulator.close()
    return frames


@pytest.fixture(scope="module")
def recorded() -> list[RgbdFrame]:
    """Six consecutive frames of a hand-held camera."""
    if not SEQUENCE.is_dir():
        pytest.skip(f"no recorded sequence at {SEQUENCE}; set MIRAGE_SEQUENCE to have this tested")
    sequence = open_sequence(SEQUENCE)
    return [fit_frame(sequence[number], 320, 256) for number in range(6)]


@pytest.fixture(params=["simulated", "recorded"])
def frames(request) -> list[RgbdFrame]:
    return request.getfixturevalue(request.param)


def test_true_pictures_score_high_and_spoiled_ones_lower(frames) -> None:
    rng = np.random.default_rng(0)
    camera, depth = frames[0].camera, [frame.depth for frame in frames]
    poses = np.stack([frame.T_world_camera for frame in frames])
    true = [frame.image for frame in frames]
    coded = [through_codec(picture) for picture in true]
    mixed = [shuffled(picture, rng) for picture in true]

    flow = [photometric_consistency(pictures).score for pictures in (true, coded, mixed)]
    assert 1.0 > flow[0] > 0.7
    assert abs(flow[1] - flow[0]) < 0.1
    assert flow[2] == 0.0
    for lifted_by in (depth, None):
        landed = [
            reprojection_consistency(pictures, camera, poses, lifted_by).score
            for pictures in (true, coded, mixed)
        ]
        assert landed[0] > 0.88
        assert landed[0] - 0.1 < landed[1] < landed[0]
        assert landed[2] < 0.1


def test_poses_that_are_off_lower_3d_consistency(frames) -> None:
    rng = np.random.default_rng(1)
    camera, depth = frames[0].camera, [frame.depth for frame in frames]
    poses = np.stack([frame.T_world_camera for frame in frames])
    true = [frame.image for frame in frames]
    steady = reprojection_consistency(true, camera, poses, depth).score
    shaken = [
        pose @ exp_twist(rng.normal(0.0, 0.01, 3), rng.normal(0.0, np.radians(0.2), 3), 1.0)
        for pose in poses
    ]
    assert reprojection_consistency(true, camera, np.stack(shaken), depth).score < steady - 0.2


def test_the_pose_is_found_from_the_frame_before(frames) -> None:
    poses = np.stack([frame.T_world_camera for frame in frames])
    pictures = [frame.image for frame in frames[1:]]
    before = [[frame] for frame in frames[:-1]]
    camera = frames[0].camera
    found = camera_control(pictures, camera, poses[1:], before)
    assert (found.recovered, found.failed, found.blank) == (5, 0, 0)
    assert found.rotation_deg < 0.3
    assert found.translation_m < 0.01
    # The picture of the frame before shows the pose before, exactly.
    late = camera_control([frame.image for frame in frames[:-1]], camera, poses[1:], before)
    moved = [np.linalg.norm(b[:3, 3] - a[:3, 3]) for a, b in itertools.pairwise(poses)]
    assert late.translation_m == pytest.approx(np.mean(moved), abs=1e-4)

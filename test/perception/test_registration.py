"""Registration against known displacements of scenes in closed form."""

from dataclasses import replace

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import (
    T_BODY_OPTICAL,
    exp_twist,
    inverse,
    rotation_angle,
    translation_distance,
)
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import SurfacePoints
from mirage_ros.perception.registration import Registrar, RegistrationConfig

CAMERA = PinholeCamera(320, 256, 190.0, 190.0, 160.0, 128.0)
#: Planes normal . x = offset with normals towards the camera, at the origin, looking along z.
FLOOR = ((0.0, -1.0, 0.0), -0.9)
LEFT = ((1.0, 0.0, 0.0), -1.2)
BACK = ((0.0, 0.0, -1.0), -3.0)
CORNER = (FLOOR, LEFT, BACK)
#: Somewhere in the world, looking along its x axis.
HERE = np.array([[1, 0, 0, 40.0], [0, 1, 0, -7.0], [0, 0, 1, 1.0], [0, 0, 0, 1]]) @ T_BODY_OPTICAL

Planes = tuple[tuple[tuple[float, float, float], float], ...]


def render(planes: Planes, T_scene_camera: np.ndarray) -> np.ndarray:
    """Depth of the nearest plane along each pixel's ray."""
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((256, 320)))
    depth = np.full((256, 320), np.inf)
    for normal, offset in planes:
        local = T_scene_camera[:3, :3].T @ np.array(normal)
        distance = offset - np.array(normal) @ T_scene_camera[:3, 3]
        with np.errstate(divide="ignore"):
            z = distance / (rays @ local)
        depth = np.where(z > 0.0, np.minimum(depth, z), depth)
    return np.where(depth < 10.0, depth, 0.0).astype(np.float32)


def remembered(planes: Planes) -> SurfacePoints:
    """Tokens as the view from the scene's origin leaves them: one every 16 pixels."""
    depth = render(planes, np.eye(4))[8::16, 8::16].astype(np.float64)
    points = CAMERA.unproject(CAMERA.pixel_centres()[8::16, 8::16], depth).reshape(-1, 3)
    points = points[depth.ravel() > 0.0]
    normals = np.zeros_like(points)
    for normal, offset in planes:
        normals[np.abs(points @ np.array(normal) - offset) < 1e-4] = normal
    return SurfacePoints(
        points @ HERE[:3, :3].T + HERE[:3, 3],
        (normals @ HERE[:3, :3].T).astype(np.float32),
        np.zeros(len(points), dtype=np.int64),
    )


def seen(planes: Planes, T_scene_camera: np.ndarray, error: np.ndarray) -> RgbdFrame:
    """What a camera sees whose odometry errs by a motion of its own frame."""
    image = np.zeros((256, 320, 3), dtype=np.uint8)
    guess = HERE @ T_scene_camera @ error
    return RgbdFrame(10**10, image, render(planes, T_scene_camera), CAMERA, guess)


STEP = exp_twist([0.10, 0.02, 0.15], [0.01, 0.08, -0.02], 1.0)
ERROR = exp_twist([0.03, -0.02, 0.04], [0.01, -0.03, 0.01], 1.0)


def test_a_known_displacement_before_a_corner_is_recovered() -> None:
    frame = seen(CORNER, STEP, ERROR)
    result = Registrar().register(frame, remembered(CORNER), 1.0, 0.1)
    assert result.accepted, result.reason
    assert translation_distance(result.T_world_camera, HERE @ STEP) < 0.003
    assert rotation_angle(result.T_world_camera, HERE @ STEP) < 0.002
    assert result.inlier_share > 0.95
    assert result.rms < 0.005


def test_a_right_pose_stays() -> None:
    result = Registrar().register(seen(CORNER, STEP, np.eye(4)), remembered(CORNER), 0.2, 0.1)
    assert result.accepted
    assert translation_distance(result.T_world_camera, HERE @ STEP) < 0.001
    assert rotation_angle(result.T_world_camera, HERE @ STEP) < 0.0005


def test_noise_of_the_sensor_does_not_keep_it_from_being_recovered() -> None:
    frame = seen(CORNER, STEP, ERROR)
    noise = np.random.default_rng(0).standard_normal((256, 320))
    depth = frame.depth * (1.0 + 0.003 * frame.depth * noise)
    depth[40:120, 60:140] = np.nan
    noisy = replace(frame, depth=depth.astype(np.float32))
    result = Registrar().register(noisy, remembered(CORNER), 1.0, 0.1)
    assert result.accepted, result.reason
    assert translation_distance(result.T_world_camera, HERE @ STEP) < 0.008
    assert rotation_angle(result.T_world_camera, HERE @ STEP) < 0.004


def test_along_a_flat_wall_the_odometry_is_kept() -> None:
    # The error is 3 cm to the right (along the wall), 4 cm towards it.
    frame = seen((BACK,), np.eye(4), exp_twist([0.03, 0.0, 0.04], [0.0, 0.0, 0.0], 1.0))
    result = Registrar().register(frame, remembered((BACK,)), 1.0, 0.1)
    assert result.accepted, result.reason
    found = inverse(HERE) @ result.T_world_camera
    np.testing.assert_allclose(found[:3, 3], [0.03, 0.0, 0.0], atol=0.002)


def test_the_covariance_is_large_where_the_geometry_tells_nothing() -> None:
    config = RegistrationConfig()
    moved, turned = 0.5, 0.2
    prior = np.hypot(config.odometry_floor, config.odometry_distance * moved) ** 2
    prior_angle = (
        np.hypot(
            np.hypot(config.odometry_floor, config.odometry_bend * moved),
            config.odometry_angle * turned,
        )
        ** 2
    )
    frame = seen((BACK,), np.eye(4), np.eye(4))
    wall = Registrar(config).register(frame, remembered((BACK,)), moved, turned).covariance
    np.testing.assert_allclose(wall, wall.T)
    assert (np.linalg.eigvalsh(wall) > 0.0).all()
    # The camera looks along the world's x: that is known, with both tilts of the wall.
    assert wall[0, 0] < 0.05 * prior
    np.testing.assert_allclose(wall[[1, 2], [1, 2]], prior, rtol=0.05)
    np.testing.assert_allclose(wall[3, 3], prior_angle, rtol=0.05)
    assert max(wall[4, 4], wall[5, 5]) < 0.05 * prior_angle
    frame = seen(CORNER, np.eye(4), np.eye(4))
    corner = Registrar(config).register(frame, remembered(CORNER), moved, turned).covariance
    assert np.diag(corner)[:3].max() < 0.1 * prior
    assert np.diag(corner)[3:].max() < 0.05 * prior_angle


def test_a_refusal_gives_the_guess_and_the_odometrys_covariance() -> None:
    config = RegistrationConfig(max_distance=0.02)
    frame = seen(CORNER, STEP, ERROR)
    result = Registrar(config).register(frame, remembered(CORNER), 1.0, 0.0)
    assert not result.accepted
    assert "the correction is 0.0" in result.reason
    assert "at most 0.02 m" in result.reason
    np.testing.assert_array_equal(result.T_world_camera, frame.T_world_camera)
    distance = config.odometry_floor**2 + config.odometry_distance**2
    np.testing.assert_allclose(np.diag(result.covariance)[:3], distance)


def test_an_angle_beyond_the_limit_is_refused() -> None:
    turn = exp_twist([0.0, 0.0, 0.0], [0.0, 0.04, 0.0], 1.0)
    frame = seen(CORNER, np.eye(4), turn)
    target = remembered(CORNER)
    assert Registrar().register(frame, target, 1.0, 0.1).accepted
    result = Registrar(RegistrationConfig(max_angle=0.02)).register(frame, target, 1.0, 0.1)
    assert not result.accepted
    assert "2.3 degrees" in result.reason


@pytest.mark.parametrize("bad", ["none", "zero", "nan", "infinite"])
def test_a_frame_without_depth_is_refused(bad: str) -> None:
    value = {"none": None, "zero": 0.0, "nan": np.nan, "infinite": np.inf}[bad]
    depth = None if value is None else np.full((256, 320), value, dtype=np.float32)
    frame = replace(seen(CORNER, STEP, ERROR), depth=depth)
    result = Registrar().register(frame, remembered(CORNER), 1.0, 0.1)
    assert not result.accepted
    assert "depth" in result.reason
    np.testing.assert_array_equal(result.T_world_camera, frame.T_world_camera)


def test_an_empty_memory_and_one_of_elsewhere_are_refused() -> None:
    nothing = SurfacePoints(np.zeros((0, 3)), np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    frame = seen(CORNER, STEP, ERROR)
    behind = remembered(CORNER)
    behind = replace(behind, positions=behind.positions - [20.0, 0.0, 0.0])
    for target in (nothing, behind):
        result = Registrar().register(frame, target, 1.0, 0.1)
        assert not result.accepted
        assert "0 remembered tokens lie in view" in result.reason


def test_surfaces_that_the_frame_sees_through_are_no_evidence() -> None:
    # Remembered: a wall 1 m ahead. Seen: nothing until 3 m.
    near = remembered((((0.0, 0.0, -1.0), -1.0),))
    result = Registrar().register(seen((BACK,), np.eye(4), np.eye(4)), near, 1.0, 0.1)
    assert not result.accepted
    assert "tokens lie on the frame's surfaces" in result.reason


def test_too_small_an_overlap_is_refused() -> None:
    target = remembered(CORNER)
    few = SurfacePoints(*(getattr(target, n)[:70] for n in ("positions", "normals", "stamps_ns")))
    frame = seen(CORNER, np.eye(4), np.eye(4))
    assert Registrar().register(frame, few, 1.0, 0.1).accepted
    result = Registrar(RegistrationConfig(min_overlap=0.6)).register(frame, few, 1.0, 0.1)
    assert not result.accepted
    assert "of the frame is remembered" in result.reason


@pytest.mark.parametrize("by", ["dynamic", "confidence"])
def test_what_moves_or_is_doubted_takes_no_part(by: str) -> None:
    frame = seen(CORNER, STEP, ERROR)
    someone = np.zeros((256, 320), dtype=bool)
    someone[30:230, 90:250] = True
    # Too near to be told from the wall by its distance alone.
    depth = np.where(someone, frame.depth - 0.06, frame.depth).astype(np.float32)
    target = remembered(CORNER)
    blind = Registrar().register(replace(frame, depth=depth), target, 1.0, 0.1)
    told = {"dynamic": someone, "confidence": np.where(someone, 0.1, 1.0).astype(np.float32)}[by]
    masked = replace(frame, depth=depth, **{by: told})
    result = Registrar().register(masked, target, 1.0, 0.1)
    assert result.accepted, result.reason
    assert translation_distance(result.T_world_camera, HERE @ STEP) < 0.004
    assert translation_distance(blind.T_world_camera, HERE @ STEP) > 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_distance": 0.0},
        {"block": 1},
        {"min_depth": 11.0},
        {"min_inlier_share": 1.5},
        {"confidence": -1.0},
        {"max_rms": float("nan")},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RegistrationConfig(**wrong)

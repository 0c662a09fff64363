"""The simulated apartment, robot and camera, against closed forms and MuJoCo's own ray casts."""

from __future__ import annotations

import math

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import ConfigurationError, PoseError  # noqa: E402
from mirage_ros.geometry import T_BODY_OPTICAL, PinholeCamera, rotation_angle  # noqa: E402
from mirage_ros.sources.simulator import (  # noqa: E402
    DriveLimits,
    OdometryDrift,
    RgbdRenderer,
    RobotCamera,
    Simulator,
    Tour,
    build_apartment,
)
from mirage_ros.sources.simulator.headless import OffscreenContext  # noqa: E402
from mirage_ros.sources.simulator.robot import RADIUS, heading_of, planar_pose  # noqa: E402

needs_gl = pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with")


@pytest.fixture(scope="module")
def scene():
    return build_apartment(0)


@pytest.fixture
def hall(scene):
    """A simulator at the middle of the hall's free floor, facing along the hall."""
    made = Simulator(scene)
    yield made
    made.close()


def drive(simulator: Simulator, speed: float, turn_rate: float, seconds: float) -> None:
    simulator.set_command(speed, turn_rate)
    simulator.step(seconds)


# --- drive


def test_straight_drive_covers_speed_times_time(hall):
    start = hall.T_world_base
    drive(hall, 0.4, 0.0, 3.0)
    way = np.linalg.inv(start) @ hall.T_world_base
    # Less v^2 / 2a while speeding up.
    expected = 0.4 * 3.0 - 0.4**2 / (2 * hall.limits.acceleration)
    assert way[0, 3] == pytest.approx(expected, abs=0.01)
    assert abs(way[1, 3]) < 2e-3
    assert rotation_angle(start, hall.T_world_base) < 5e-3
    assert hall.velocity[0] == pytest.approx(0.4, rel=0.01)


def test_turn_in_place_turns_by_rate_times_time(hall):
    start = hall.T_world_base
    drive(hall, 0.0, 0.6, 2.0)
    expected = 0.6 * 2.0 - 0.6**2 / (2 * hall.limits.turn_acceleration)
    assert heading_of(np.linalg.inv(start) @ hall.T_world_base) == pytest.approx(expected, rel=0.02)
    assert np.linalg.norm((hall.T_world_base - start)[:2, 3]) < 0.01


def test_commands_are_clipped_and_speed_rises_with_the_acceleration(scene):
    limits = DriveLimits(speed=0.5, acceleration=1.0)
    simulator = Simulator(scene, limits=limits)
    drive(simulator, 9.0, 0.0, 0.25)
    assert simulator.commanded_velocity[0] == pytest.approx(0.25, abs=1e-6)
    drive(simulator, 9.0, 0.0, 0.75)
    assert simulator.commanded_velocity[0] == pytest.approx(0.5)


def test_a_wall_stops_the_robot(scene):
    """Driven at a stretch of wall between doors and furniture, it ends a radius from it."""
    hall = scene.plan.room("hall").rectangle
    xs = np.arange(hall.x_min + 0.5, hall.x_max - 0.5, 0.05)
    reach = np.array([(x, hall.y_max - RADIUS - 0.03) for x in xs])
    beyond = np.array([(x, hall.y_max + 0.06) for x in xs])
    # Where the wall is shut and the floor in front is free over the robot's width.
    shut = (scene.free_space.clearance_at(beyond) == 0) & (
        scene.free_space.clearance_at(reach) >= RADIUS - 0.05
    )
    wide = np.convolve(shut, np.ones(13), mode="same") >= 13
    x = float(xs[np.flatnonzero(wide)[0]])
    start = planar_pose(x, hall.y_max - 0.6, math.pi / 2)
    simulator = Simulator(scene, start)
    drive(simulator, 0.5, 0.0, 4.0)
    assert simulator.touches
    assert simulator.T_world_base[1, 3] == pytest.approx(hall.y_max - RADIUS, abs=0.01)
    assert simulator.T_world_base[2, 2] > 0.99  # it stands upright


def test_furniture_stops_the_robot(scene):
    furniture = scene.furniture["living"][0]
    room = scene.plan.room("living").rectangle
    x, y = furniture.centre
    for dx, dy, heading in (
        (1, 0, math.pi),
        (-1, 0, 0.0),
        (0, 1, -math.pi / 2),
        (0, -1, math.pi / 2),
    ):
        half = furniture.width / 2 if dx else furniture.depth / 2
        at = np.array([[x + dx * (half + 0.45), y + dy * (half + 0.45)]])
        inside = room.x_min < at[0, 0] < room.x_max and room.y_min < at[0, 1] < room.y_max
        if inside and scene.free_space.clearance_at(at)[0] > RADIUS + 0.1:
            simulator = Simulator(scene, planar_pose(at[0, 0], at[0, 1], heading))
            drive(simulator, 0.5, 0.0, 3.0)
            gap = np.abs(simulator.T_world_base[:2, 3] - [x, y])[0 if dx else 1] - half
            assert simulator.touches
            assert gap == pytest.approx(RADIUS, abs=0.06)
            return
    pytest.fail("no side of the first piece of furniture is free")


def test_starting_in_a_wall_is_refused(scene):
    x, y = scene.furniture["living"][0].centre
    with pytest.raises(ConfigurationError, match="free floor about its start"):
        Simulator(scene, planar_pose(x, y, 0.0))


def test_commands_must_be_finite(hall):
    with pytest.raises(ConfigurationError, match="finite"):
        hall.set_command(math.nan, 0.0)


# --- odometry


def test_odometry_is_the_truth_without_drift(hall):
    for speed, turn_rate in ((0.4, 0.0), (0.0, 0.8), (0.3, -0.8), (0.2, 0.5)):
        drive(hall, speed, turn_rate, 1.0)
    drive(hall, 0.0, 0.0, 0.6)
    error = np.linalg.inv(hall.T_world_base) @ hall.odometry.T_odom_base
    assert np.linalg.norm(error[:2, 3]) < 0.01
    assert abs(heading_of(error)) < 0.01
    assert hall.odometry.speed == pytest.approx(0.0, abs=1e-3)


def test_odometry_drifts_by_seed(scene):
    def final(seed: int) -> np.ndarray:
        drift = OdometryDrift(scale_error=0.01, noise=0.01)
        simulator = Simulator(scene, drift=drift, seed=seed)
        drive(simulator, 0.5, 0.0, 2.0)
        return simulator.odometry.T_odom_base

    np.testing.assert_array_equal(final(1), final(1))
    assert np.linalg.norm(final(1) - final(2)) > 1e-3


# --- camera


def wall_facing(scene) -> tuple[np.ndarray, float]:
    """A camera that looks straight at bare wall above all furniture, and the distance."""
    room = scene.plan.room("living").rectangle
    x, y = room.centre
    T_world_camera = np.eye(4)
    T_world_camera[:3, 3] = x, y, 2.25
    T_world_camera = T_world_camera @ T_BODY_OPTICAL  # looks along +x
    return T_world_camera, room.x_max - x


@needs_gl
def test_depth_of_a_flat_wall_is_its_distance_in_every_pixel(scene):
    simulator = Simulator(scene, camera=RobotCamera(horizontal_fov=12.0))
    T_world_camera, distance = wall_facing(scene)
    _, depth = simulator.render_from(T_world_camera)
    np.testing.assert_allclose(depth, distance, rtol=2e-4)
    simulator.close()


@needs_gl
def test_depth_agrees_with_rays(hall):
    """z-depth at pixel centres against rays cast into the same meshes, away from edges."""
    camera, T_world_camera = hall.camera, hall.T_world_camera
    _, depth = hall.render()
    groups = np.array([1, 0, 0, 0, 0, 0], np.uint8)
    found, expected = [], []
    for v in range(8, camera.height, 24):
        for u in range(8, camera.width, 24):
            inverse = 1.0 / depth[v - 1 : v + 2, u - 1 : u + 2]
            # Inverse depth is affine over the image of a plane.
            bend = np.abs(inverse[0] + inverse[2] - 2 * inverse[1]).max()
            if max(bend, np.abs(inverse @ [1, -2, 1]).max()) > 1e-4 * inverse[1, 1]:
                continue
            ray = T_world_camera[:3, :3] @ camera.unproject(
                np.array([u + 0.5, v + 0.5]), np.array(1.0)
            )
            length = np.linalg.norm(ray)
            hit = np.zeros(1, np.int32)
            distance = mujoco.mj_ray(
                hall.model, hall.data, T_world_camera[:3, 3], ray / length, groups, 1, -1, hit
            )
            found.append(depth[v, u])
            expected.append(distance / length)
    assert len(found) > 60
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@needs_gl
def test_intrinsics_match_the_picture():
    """Small bright balls appear where the camera projects their middles, any principal point."""
    rng = np.random.default_rng(0)
    camera = PinholeCamera(200, 160, 150.0, 140.0, 90.0, 85.0)
    for _ in range(6):
        u, v, z = rng.uniform(20, 180), rng.uniform(20, 140), rng.uniform(1.0, 4.0)
        T_world_camera = np.eye(4)
        T_world_camera[:3, 3] = 0.5, -1.0, 1.2
        T_world_camera = T_world_camera @ T_BODY_OPTICAL
        point = camera.unproject(np.array([u, v]), np.array(z))
        at = T_world_camera[:3, :3] @ point + T_world_camera[:3, 3]
        spec = mujoco.MjSpec()
        spec.worldbody.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[0.03 * z, 0, 0],
            pos=at.tolist(),
            rgba=[1, 1, 1, 1],
        )
        model = spec.compile()
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        renderer = RgbdRenderer(model, camera, max_range=10.0, hidden_groups=())
        _, depth = renderer.render(data, T_world_camera)
        renderer.close()
        rows, columns = np.nonzero(depth)
        assert columns.mean() + 0.5 == pytest.approx(u, abs=0.25)
        assert rows.mean() + 0.5 == pytest.approx(v, abs=0.25)
        assert depth[depth > 0].min() == pytest.approx(z - 0.03 * z, rel=2e-3)


@needs_gl
def test_every_room_is_furnished_textured_and_well_lit(scene):
    simulator = Simulator(scene)
    thumbnails = []
    for room in scene.rooms:
        x, y = scene.free_space.viewpoint(room.rectangle)
        for heading in (0.3, 1.9, 3.4, 5.0):
            pose = planar_pose(x, y, heading) @ simulator.T_base_camera
            image, depth = simulator.render_from(pose)
            assert (depth > 0).all()
            assert depth.min() > 0.1  # nothing is cut off by the near plane
            grey = image.mean(axis=2)
            assert 60 < grey.mean() < 200
            assert (grey < 8).mean() < 0.05
            assert (grey > 252).mean() < 0.1
            assert np.abs(np.diff(grey, axis=1)).mean() > 0.8
            thumbnails.append(grey[::16, ::16].ravel())
    thumbs = np.array(thumbnails)
    differences = np.abs(thumbs[:, None] - thumbs[None]).mean(axis=2)
    assert differences[~np.eye(len(thumbs), dtype=bool)].min() > 5.0  # views can be told apart
    simulator.close()


@needs_gl
def test_one_seed_makes_one_world_and_another_seed_another(scene):
    def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
        simulator = Simulator(build_apartment(seed))
        drive(simulator, 0.4, 0.3, 1.0)
        result = simulator.render()
        simulator.close()
        return result

    first, again, other = picture(0), picture(0), picture(1)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).mean() > 0.5


@needs_gl
def test_frame_carries_true_pose_and_time(hall):
    drive(hall, 0.3, 0.0, 0.5)
    frame = hall.frame()
    assert frame.stamp_ns == 500_000_000
    np.testing.assert_allclose(frame.T_world_camera, hall.T_world_base @ hall.T_base_camera)
    assert frame.camera == hall.camera
    assert (frame.camera.width, frame.camera.height) == (320, 256)
    with pytest.raises(PoseError):
        hall.render_from(np.zeros((4, 4)))


@pytest.mark.parametrize(
    ("name", "value"), [("width", 0), ("horizontal_fov", 179.0), ("mount_height", 2.0)]
)
def test_impossible_cameras_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=f"camera {name} must be between"):
        RobotCamera(**{name: value})


# --- rooms and tours


@pytest.mark.parametrize("seed", range(5))
def test_apartments_have_connected_furnished_rooms(seed):
    scene = build_apartment(seed)
    assert len(scene.rooms) >= 5
    for room in scene.rooms:
        assert len(scene.furniture[room.kind]) >= 2
        for piece in scene.furniture[room.kind]:
            assert room.rectangle.inflated(1e-6).contains(piece)
            assert not any(piece.overlaps(door.zone(0.3)) for door in scene.doors)
    start = scene.free_space.viewpoint(scene.plan.room("hall").rectangle)
    for room in (room for room in scene.rooms if room.kind != "hall"):
        path = scene.free_space.path(start, scene.free_space.viewpoint(room.rectangle))
        assert scene.free_space.clearance_at(path).min() > RADIUS + 0.05
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 0.11


@pytest.mark.parametrize("seed", [0, 3])
def test_tour_ends_without_touching_anything_where_previews_said(seed):
    scene = build_apartment(seed)
    tour = Tour(scene)
    simulator = Simulator(scene, tour.start)
    progress, errors, turns, pending, visited = [0.0], [], [], [], set()
    while not tour.finished and simulator.time < 1.3 * tour.duration:
        simulator.set_command(*tour.command(simulator.T_world_base))
        if len(progress) % 20 == 0:
            preview = tour.preview(2.0, 0.25)
            assert [round(offset, 6) for offset, _ in preview] == [0.25 * k for k in range(9)]
            pending.append((simulator.time + 2.0, preview[-1][1]))
        simulator.step(0.05)
        if pending and simulator.time >= pending[0][0] - 1e-6:
            error = np.linalg.inv(pending.pop(0)[1]) @ simulator.T_world_base
            errors.append(math.hypot(error[0, 3], error[1, 3]))
            turns.append(abs(heading_of(error)))
        assert not simulator.touches, f"touched something at {simulator.T_world_base[:2, 3]}"
        progress.append(tour.progress)
        x, y = simulator.T_world_base[:2, 3]
        visited |= {
            room.kind
            for room in scene.rooms
            if room.rectangle.x_min < x < room.rectangle.x_max
            and room.rectangle.y_min < y < room.rectangle.y_max
        }
    assert tour.finished
    assert progress[-1] == 1.0
    assert (np.diff(progress) >= -1e-9).all()
    assert visited == {room.kind for room in scene.rooms}
    assert max(errors) < 0.06
    assert max(turns) < 0.12
    assert tour.command(simulator.T_world_base) == (0.0, 0.0)


def test_preview_leaves_the_tour_alone(scene):
    tour, other = Tour(scene), Tour(scene)
    pose = tour.start
    tour.command(pose)
    tour.preview(5.0, 0.5)
    other.command(pose)
    assert tour.command(pose) == other.command(pose)
    assert tour.progress == other.progress


def test_tours_of_unknown_rooms_are_refused(scene):
    with pytest.raises(ConfigurationError, match=r"rooms out of .*kitchen.*Got \['cellar'"):
        Tour(scene, ["cellar", "kitchen"])

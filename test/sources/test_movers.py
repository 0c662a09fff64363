"""People and things that move, in what is rendered and in closed form."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import ConfigurationError
from mirage_ros.geometry import T_BODY_OPTICAL
from mirage_ros.sources.simulator import (
    ApartmentScene,
    HingedDoor,
    MovedChair,
    RobotCamera,
    Simulator,
    WalkingFigure,
    build_apartment,
)
from mirage_ros.sources.simulator.door import LEAF_THICKNESS, LEAF_WIDTH
from mirage_ros.sources.simulator.figure_shape import HEEL, TOE
from mirage_ros.sources.simulator.floorplan import DOOR_WIDTH
from mirage_ros.sources.simulator.headless import OffscreenContext
from mirage_ros.sources.simulator.movers import ABSENT
from mirage_ros.sources.simulator.robot import heading_of, planar_pose

needs_gl = pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with")

CAMERA = RobotCamera(96, 80)
LINE = np.array([[0.0, 0.0], [4.0, 0.0]])


@cache
def apartment() -> ApartmentScene:
    return build_apartment(0)


def hall() -> tuple[float, float]:
    return apartment().free_space.viewpoint(apartment().plan.room("hall").rectangle)


def eye(x: float, y: float, heading: float, height: float = 1.1) -> np.ndarray:
    pose = planar_pose(x, y, heading)
    pose[2, 3] = height
    return pose @ T_BODY_OPTICAL


def points_of(depth: np.ndarray, T_world_camera: np.ndarray, mask: np.ndarray) -> np.ndarray:
    camera = CAMERA.intrinsics
    points = camera.unproject(camera.pixel_centres(), depth)[mask]
    return points @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]


# --- a figure's walk


def test_a_figure_walks_its_path_at_its_speed_and_waits():
    figure = WalkingFigure(LINE, speed=0.8, start_s=2.0, waits=[(1.6, 3.0)])
    for time_s, x in ((0.0, 0.0), (2.0, 0.0), (3.0, 0.8), (4.0, 1.6), (6.9, 1.6), (8.0, 2.4)):
        assert figure.position(time_s) == pytest.approx((x, 0.0, 0.0), abs=1e-9)
    assert figure.end_s == pytest.approx(2.0 + 5.0 + 3.0)
    assert figure.position(99.0)[0] == pytest.approx(4.0)


def test_a_figure_turns_where_its_path_does():
    figure = WalkingFigure([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]], speed=1.0)
    assert figure.position(1.0)[2] == pytest.approx(0.0, abs=1e-6)
    assert figure.position(2.0)[2] == pytest.approx(math.pi / 4, abs=0.1)
    assert figure.position(3.0)[2] == pytest.approx(math.pi / 2, abs=1e-6)
    back = WalkingFigure([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]], speed=1.0)
    headings = [back.position(t)[2] for t in np.arange(0.0, 4.0, 0.05)]
    assert abs(headings[-1] - headings[0]) == pytest.approx(math.pi)
    assert np.abs(np.diff(headings)).max() < 0.4


def test_an_endless_figure_goes_around_for_ever():
    square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    figure = WalkingFigure(square, speed=1.0, endless=True)
    assert math.isinf(figure.end_s)
    for time_s in (0.3, 1.7, 3.9):
        now, later = figure.position(time_s), figure.position(time_s + 4.0 * 25)
        assert now[:2] == pytest.approx(later[:2], abs=1e-6)
    around = np.array([figure.position(t) for t in np.arange(0.0, 8.0, 0.02)])
    assert np.hypot(*np.diff(around[:, :2], axis=0).T).max() < 0.03
    turns = np.diff(around[:, 2])
    assert np.abs((turns + math.pi) % (2 * math.pi) - math.pi).max() < 0.15


@pytest.mark.parametrize("height", [1.6, 1.75])
def test_feet_stay_on_the_floor_and_in_step(height):
    figure = WalkingFigure(LINE, speed=1.2, height=height)
    scale = height / 1.75
    soles = np.array([[forward * scale, 0.0, up * scale] for forward, up in (HEEL, TOE)])
    times = np.arange(0.0, 4.0 / 1.2, 0.01)
    lowest, slides = [], []
    previous = None
    for time_s in times:
        feet = figure.poses(time_s)[5:7]
        ends = soles @ np.swapaxes(feet[:, :3, :3], 1, 2) + feet[:, None, :3, 3]
        lowest.append(ends[..., 2].min())
        standing = int(np.argmin(ends[..., 2].min(axis=1)))
        if previous is not None and previous[0] == standing:
            slides.append((ends[standing, :, 0].mean() - previous[1][standing, :, 0].mean()) / 0.01)
        previous = standing, ends
    np.testing.assert_allclose(lowest, 0.0, atol=1e-9)
    # The foot that bears the figure goes far slower than the figure does.
    assert abs(np.median(slides)) < 0.4


def test_limbs_hang_together_and_rest_where_the_figure_stands():
    figure = WalkingFigure(LINE, speed=1.2, start_s=1.0)
    lengths = []
    for time_s in np.arange(1.0, 4.0, 0.13):
        trunk, *limbs = figure.poses(time_s)
        joints = np.array([limb[:3, 3] for limb in limbs])
        pairs = ((0, 2), (1, 3), (2, 4), (3, 5), (6, 8), (7, 9))
        lengths.append([np.linalg.norm(joints[a] - joints[b]) for a, b in pairs])
        assert 0.75 < trunk[2, 3] < 0.95
    np.testing.assert_allclose(lengths, [[0.43, 0.43, 0.40, 0.40, 0.29, 0.29]] * len(lengths))
    np.testing.assert_array_equal(figure.poses(0.0), figure.poses(0.9))
    moving = figure.poses(2.1) - figure.poses(2.2)
    assert np.abs(moving[1, :3, :3]).max() > 0.05


def test_a_figure_can_be_away_before_and_after():
    figure = WalkingFigure(LINE, speed=1.0, start_s=1.0, only_while_walking=True)
    assert [figure.is_there(t) for t in (0.9, 1.0, 4.9, 5.1)] == [False, True, True, False]
    np.testing.assert_array_equal(figure.poses(0.9), np.tile(ABSENT, (11, 1, 1)))
    assert figure.poses(1.1)[0, 2, 3] > 0.5


def test_a_figure_keeps_to_the_free_floor():
    scene = apartment()
    kinds = ("living", "hall", "bedroom")
    stops = [scene.free_space.viewpoint(scene.plan.room(kind).rectangle) for kind in kinds]
    figure = WalkingFigure.through(scene.free_space, stops, speed=1.0, wait_s=2.0)
    way = np.array([figure.position(t)[:2] for t in np.arange(0.0, figure.end_s, 0.1)])
    assert scene.free_space.clearance_at(way).min() > 0.2
    np.testing.assert_allclose(way[0], stops[0], atol=1e-6)
    still = np.hypot(*np.diff(way, axis=0).T) < 1e-6
    assert still.sum() * 0.1 == pytest.approx(2.0, abs=0.25)
    np.testing.assert_allclose(way[:-1][still].mean(axis=0), stops[1], atol=0.05)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ([[0.0, 0.0]], {}),
        ([[0.0, 0.0], [0.0, 0.0]], {}),
        ([[0.0, math.nan], [1.0, 0.0]], {}),
        (LINE, {"speed": 0.0}),
        (LINE, {"waits": [(9.0, 1.0)]}),
    ],
)
def test_impossible_walks_are_refused(path, options):
    with pytest.raises(ConfigurationError, match="figure"):
        WalkingFigure(path, **options)


# --- what is seen


@needs_gl
def test_a_figure_is_seen_where_its_path_says_and_gone_after():
    x, y = hall()
    figure = WalkingFigure([(x, y), (x + 3.0, y)], speed=1.0, start_s=1.0, only_while_walking=True)
    simulator = Simulator(apartment(), camera=CAMERA, movers=[figure])
    view = eye(x - 1.0, y, 0.0)
    colour, still = simulator.render_from(view, with_movers=False)
    for time_s in (1.5, 2.5, 3.2):
        image, depth = simulator.render_from(view, time_s)
        nearer = depth < still - 0.05
        assert nearer.sum() > 100
        # Everything else is as it was.
        np.testing.assert_array_equal(depth[depth > still - 1e-6], still[depth > still - 1e-6])
        seen = points_of(depth, view, nearer)
        assert np.median(seen[:, 0]) == pytest.approx(figure.position(time_s)[0], abs=0.2)
        assert np.median(seen[:, 1]) == pytest.approx(y, abs=0.1)
        assert 1.5 < seen[:, 2].max() < 1.85
        assert np.abs(image.astype(int) - colour)[nearer].mean() > 10
    for time_s in (0.5, 4.5):
        image, depth = simulator.render_from(view, time_s)
        np.testing.assert_array_equal(depth, still)
        np.testing.assert_array_equal(image, colour)
    simulator.close()


@needs_gl
def test_without_movers_nothing_differs():
    """Drive and picture are bit by bit those of a simulator that never heard of movers."""
    x, y = hall()
    movers = [
        WalkingFigure([(x, y), (x + 3.0, y)]),
        MovedChair([(0.0, (x + 0.8, y, 1.0))]),
        HingedDoor(apartment().doors[0], [(0.0, 45.0)]),
    ]
    plain = Simulator(apartment(), camera=CAMERA)
    moved = Simulator(apartment(), camera=CAMERA, movers=movers)
    for simulator in (plain, moved):
        simulator.set_command(0.4, 0.2)
        simulator.step(0.5)
        simulator.render()
        simulator.step(0.5)
    np.testing.assert_array_equal(plain.T_world_base, moved.T_world_base)
    assert not moved.touches
    expected = plain.render()
    for found, wanted in zip(
        moved.render_from(moved.T_world_camera, with_movers=False), expected, strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
    assert (moved.render()[1] != expected[1]).any()
    assert (plain.render_from(plain.T_world_camera, 3.0)[1] == expected[1]).all()
    for simulator in (plain, moved):
        simulator.close()


@needs_gl
def test_movers_follow_the_simulated_time():
    x, y = hall()
    figure = WalkingFigure([(x + 0.5, y), (x + 3.0, y)], speed=1.0)
    simulator = Simulator(apartment(), camera=CAMERA, movers=[figure])
    first = simulator.render()[1]
    simulator.step(1.0)
    np.testing.assert_array_equal(
        simulator.render()[1], simulator.render_from(simulator.T_world_camera, 1.0)[1]
    )
    # The figure walks away at 1 m/s from a robot that stands.
    ahead = [depth[30:45, 40:56].min() for depth in (first, simulator.render()[1])]
    assert ahead[1] - ahead[0] == pytest.approx(1.0, abs=0.2)
    simulator.close()


# --- a door


@pytest.mark.parametrize("number", [0, 5])
@pytest.mark.parametrize("hinge", ["low", "high"])
def test_a_door_follows_its_schedule(number, hinge):
    door = apartment().doors[number]
    leaf = HingedDoor(door, [(1.0, 0.0), (2.0, 90.0), (4.0, -90.0)], hinge=hinge)
    for time_s, degrees in ((0.0, 0.0), (1.5, 45.0), (2.0, 90.0), (3.0, 0.0), (9.0, -90.0)):
        assert leaf.degrees(time_s) == pytest.approx(degrees)
    along, across = (0, 1) if door.along == "x" else (1, 0)
    centre = np.array(door.centre)

    def middle(time_s: float) -> np.ndarray:
        pose = leaf.poses(time_s)[0]
        return (pose[:2, :2] @ [LEAF_WIDTH / 2, 0.0] + pose[:2, 3]) - centre

    assert abs(middle(0.0)[along]) < 0.01  # fills the opening
    assert abs(middle(0.0)[across]) < 0.06
    side = -1.0 if hinge == "low" else 1.0
    for time_s, sense in ((2.0, 1.0), (9.0, -1.0)):
        assert middle(time_s)[across] == pytest.approx(sense * LEAF_WIDTH / 2, abs=0.06)
        assert middle(time_s)[along] == pytest.approx(side * DOOR_WIDTH / 2, abs=0.06)
    turn = heading_of(leaf.poses(1.5)[0]) - heading_of(leaf.poses(0.0)[0])
    assert abs((turn + math.pi) % (2 * math.pi) - math.pi) == pytest.approx(math.pi / 4)


@needs_gl
def test_a_shut_door_hides_the_next_room():
    door = apartment().doors[0]
    simulator = Simulator(
        apartment(), camera=CAMERA, movers=[HingedDoor(door, [(0.0, 0.0), (1.0, 90.0)])]
    )
    x, y = door.centre
    view = eye(x, y - 0.7, math.pi / 2)
    distance = 0.7 - LEAF_THICKNESS
    shut, open_ = (simulator.render_from(view, time_s)[1][38:42, 30:66] for time_s in (0.0, 1.0))
    assert np.abs(shut - distance).max() < 0.1
    assert np.median(open_) > 1.2
    simulator.close()


def test_impossible_doors_are_refused():
    door = apartment().doors[0]
    for schedule in ([], [(1.0, 0.0), (1.0, 90.0)], [(0.0, 180.0)], [(math.nan, 0.0)]):
        with pytest.raises(ConfigurationError, match="door"):
            HingedDoor(door, schedule)


# --- a chair


@needs_gl
def test_a_chair_stands_where_it_was_put_last():
    x, y = hall()
    places = [(1.0, (x + 0.3, y, 0.0)), (2.0, (x + 1.2, y, 2.0))]
    chair = MovedChair(places)
    assert [chair.place(t) for t in (0.5, 1.0, 1.9, 2.0, 9.0)] == [
        None,
        places[0][1],
        places[0][1],
        places[1][1],
        places[1][1],
    ]
    simulator = Simulator(apartment(), camera=CAMERA, movers=[chair])
    view = eye(x - 1.0, y, 0.0, 0.7)
    _, still = simulator.render_from(view, with_movers=False)
    np.testing.assert_array_equal(simulator.render_from(view, 0.5)[1], still)
    for time_s, (_, (at_x, at_y, _)) in ((1.5, places[0]), (2.5, places[1])):
        depth = simulator.render_from(view, time_s)[1]
        seen = points_of(depth, view, depth < still - 0.05)
        assert len(seen) > 100
        assert np.abs(seen[:, 0] - at_x).max() < 0.35
        assert np.abs(seen[:, 1] - at_y).max() < 0.35
        assert 0.85 < seen[:, 2].max() < 1.0
    simulator.close()


@pytest.mark.parametrize(
    "places", [[], [(1.0, (0, 0, 0)), (1.0, (1, 0, 0))], [(0.0, (math.inf, 0, 0))]]
)
def test_impossible_chairs_are_refused(places):
    with pytest.raises(ConfigurationError, match="chair"):
        MovedChair(places)

"""Movers drawn for an apartment: where they may be, and when."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator import (
    ApartmentScene,
    HingedDoor,
    MovedChair,
    Mover,
    Tour,
    WalkingFigure,
    build_apartment,
    draw_movers,
)


@cache
def apartment(seed: int) -> tuple[ApartmentScene, Tour]:
    scene = build_apartment(seed)
    return scene, Tour(scene)


@cache
def everything(seed: int) -> tuple[Mover, ...]:
    scene, tour = apartment(seed)
    return draw_movers(scene, tour, seed=seed, people=2, moving_chair=True, moving_door=True)


def test_nothing_moves_unless_asked_for():
    assert draw_movers(*apartment(0)) == ()
    assert [type(mover) for mover in everything(0)] == [
        WalkingFigure,
        WalkingFigure,
        MovedChair,
        HingedDoor,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_people_walk_through_rooms_for_ever(seed):
    scene, _ = apartment(seed)
    figures = [mover for mover in everything(seed) if isinstance(mover, WalkingFigure)]
    for figure in figures:
        way = np.array([figure.position(t)[:2] for t in np.arange(0.0, 120.0, 0.5)])
        assert scene.free_space.clearance_at(way).min() > 0.2
        visited = {
            room.kind
            for room in scene.rooms
            for x, y in way
            if room.rectangle.x_min < x < room.rectangle.x_max
            and room.rectangle.y_min < y < room.rectangle.y_max
        }
        assert len(visited) >= 3
        late = np.array([figure.position(t)[:2] for t in np.arange(5000.0, 5030.0, 0.5)])
        assert np.hypot(*np.diff(late, axis=0).T).sum() > 5.0
    assert figures[0].position(10.0) != figures[1].position(10.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_chair_is_elsewhere_at_every_visit(seed):
    scene, tour = apartment(seed)
    chair = everything(seed)[2]
    area = scene.plan.room("living").rectangle
    visits: list[list[tuple[float, float, float]]] = [[]]
    for time_s, pose in tour.preview(1.2 * tour.duration, 1.0):
        x, y = pose[:2, 3]
        if area.x_min < x < area.x_max and area.y_min < y < area.y_max:
            visits[-1].append(chair.place(time_s))
        elif visits[-1]:
            visits.append([])
    visits = [places for places in visits if places]
    assert len(visits) == 3
    # Still during a visit, moved between two.
    assert [len(set(places)) for places in visits] == [1, 1, 1]
    spots = np.array([places[0][:2] for places in visits])
    for a, b in ((0, 1), (1, 2)):
        assert np.hypot(*(spots[a] - spots[b])) >= 0.8
    assert scene.free_space.clearance_at(spots).min() >= 0.3
    off = np.linalg.norm(spots[:, None] - tour.path[None], axis=2).min(axis=1)
    assert off.min() > 0.45


@pytest.mark.parametrize("seed", range(3))
def test_the_door_opens_and_closes_where_there_is_room(seed):
    scene, _ = apartment(seed)
    door = everything(seed)[3]
    degrees = np.array([door.degrees(t) for t in np.arange(0.0, 120.0, 0.5)])
    assert np.ptp(degrees) > 30.0
    assert (np.abs(degrees) >= 20.0 - 1e-9).all()
    assert abs(np.sign(degrees).sum()) == len(degrees)
    poses = np.stack([door.pose_at(angle) for angle in degrees])
    tips = poses[:, :2, 3] + 0.9 * poses[:, :2, 0]
    assert scene.free_space.clearance_at(tips).min() > 0.0


def test_one_seed_draws_one_household_whatever_else_is_asked_for():
    scene, tour = apartment(0)
    (alone,) = draw_movers(scene, tour, people=1)
    np.testing.assert_array_equal(alone.poses(33.0), everything(0)[0].poses(33.0))
    (other,) = draw_movers(scene, tour, seed=1, people=1)
    assert np.abs(other.poses(33.0) - alone.poses(33.0)).max() > 0.1


def test_a_chair_moves_by_the_clock_where_no_tour_is_known():
    (chair,) = draw_movers(apartment(0)[0], moving_chair=True)
    places = [chair.place(t) for t in (0.0, 29.0, 31.0, 61.0)]
    assert places[0] == places[1]
    assert len(set(places)) == 3


def test_a_negative_crowd_is_refused():
    with pytest.raises(ConfigurationError, match="people must not be negative"):
        draw_movers(*apartment(0), people=-1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 9))
def test_any_apartment_can_be_lived_in(seed):
    assert len(everything(seed)) == 4

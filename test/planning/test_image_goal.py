from __future__ import annotations

import math

import numpy as np
import pytest
from wavy_room import T_BASE_CAMERA, RoomImaginer, look_from, room_floor

from mirage_ros.errors import ConfigurationError
from mirage_ros.planning.candidates import viewpoints
from mirage_ros.planning.encoding import dct_cost, dct_encoder
from mirage_ros.planning.gallery import Gallery, Hypothesis
from mirage_ros.planning.image_goal import ImageGoalConfig, ImageGoalPlanner
from mirage_ros.planning.planar import turn_between
from mirage_ros.planning.pose_search import SearchConfig, search
from mirage_ros.planning.scores import LatentGoal

GOAL = (0.8, -0.6, 2.0)


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    poses = viewpoints(room_floor(), (0.0, 0.0), spacing=0.7, headings=8)
    return Gallery.imagined(RoomImaginer(), dct_encoder(), poses, T_BASE_CAMERA, dct_cost())


def error(pose: np.ndarray) -> tuple[float, float]:
    return float(np.hypot(*(pose[:2] - GOAL[:2]))), abs(turn_between(float(pose[2]), GOAL[2]))


def test_the_gallery_ranks_a_near_pose_first(gallery: Gallery) -> None:
    goal = dct_encoder()(look_from(GOAL).image[None])[0]
    ranked = gallery.rank(goal, 5)
    assert [one.cost for one in ranked] == sorted(one.cost for one in ranked)
    metres, radians = error(ranked[0].pose)
    assert metres < 0.7
    assert radians < math.radians(20.0)


def test_turns_are_told_from_shifts_of_the_image() -> None:
    encode = dct_encoder()
    pose = np.array([[0.2, 0.1, 0.5]])
    gallery = Gallery.imagined(RoomImaginer(), encode, pose, T_BASE_CAMERA, dct_cost())
    for turn in (-0.38, 0.38):  # a pooled cell is 32 of 80 pixels' focal length
        turned = encode(look_from((0.2, 0.1, 0.5 + turn)).image[None])[0]
        assert gallery.rank(turned, 1)[0].pose[2] == pytest.approx(0.5 + turn, abs=0.02)


def test_the_search_finds_the_pose() -> None:
    encode = dct_encoder()
    goal = LatentGoal(encode(look_from(GOAL).image[None])[0], dct_cost())
    start = [
        Hypothesis(np.add(GOAL, (0.3, -0.2, 0.15)), 1.0),
        Hypothesis(np.array([-1.0, 1.0, 0.0]), 1.0),
    ]
    imaginer = RoomImaginer()
    config = SearchConfig(keep=(2, 1, 1, 1, 1, 1))
    result = search(goal, start, imaginer, encode, T_BASE_CAMERA, config, np.random.default_rng(0))
    metres, radians = error(result.pose)
    assert metres < 0.08
    assert radians < math.radians(3.0)
    assert imaginer.calls == 6
    assert result.views == 24 * (2 + 2 + 1 + 1 + 1 + 1)
    assert len(result.tried) == 6
    assert [one.cost for one in result.tried] == sorted(one.cost for one in result.tried)
    again = search(goal, start, imaginer, encode, T_BASE_CAMERA, config, np.random.default_rng(0))
    assert (again.pose == result.pose).all()


def test_the_planner_drives_there_and_stops(gallery: Gallery) -> None:
    imaginer = RoomImaginer()
    planner = ImageGoalPlanner(
        imaginer, dct_encoder(), dct_cost(), room_floor(), T_BASE_CAMERA, gallery
    )
    planner.set_goal(look_from(GOAL).image)
    pose = np.array([-1.8, 1.7, 0.0])
    legs = 0
    while (leg := planner.plan(pose)) is not None:
        legs += 1
        assert legs < 20
        assert leg.corners[0] == pytest.approx(pose[:2])
        assert leg.length <= planner.config.near + planner.config.horizon
        pose = np.array([*leg.corners[-1], pose[2] if leg.heading is None else leg.heading])
    metres, radians = error(pose)
    assert metres < 0.2
    assert radians < math.radians(6.0)
    assert legs >= 2


def test_bad_configurations_are_told(gallery: Gallery) -> None:
    with pytest.raises(ConfigurationError, match="elites"):
        SearchConfig(samples=8, elites=8)
    with pytest.raises(ConfigurationError, match="horizon"):
        ImageGoalConfig(horizon=0.0)
    imaginer = RoomImaginer()
    planner = ImageGoalPlanner(
        imaginer, dct_encoder(), dct_cost(), room_floor(), T_BASE_CAMERA, gallery
    )
    with pytest.raises(ConfigurationError, match="goal image"):
        planner.plan(np.zeros(3))

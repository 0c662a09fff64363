from __future__ import annotations

import math

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, PoseError
from mirage_ros.geometry import exp_twist
from mirage_ros.planning.candidates import arc, arcs, camera_path, clear_paths, lattice, viewpoints
from mirage_ros.planning.occupancy import OccupancyConfig, OccupancyGrid
from mirage_ros.planning.planar import planar_matrices, planar_pose_of, turn_between, wrapped
from mirage_ros.planning.shortest_path import FloorMap

START = np.array([1.0, -2.0, 0.7])


@pytest.mark.parametrize("rate", [-1.3, 0.0, 0.4])
def test_arcs_end_where_the_twist_leads(rate: float) -> None:
    times = np.array([0.5, 1.0, 2.5])
    ends = arc(START, 0.6, rate, times)
    for end, duration in zip(ends, times, strict=True):
        motion = exp_twist([0.6, 0.0, 0.0], [0.0, 0.0, rate], float(duration))
        expected = planar_matrices(START[None])[0] @ motion
        assert planar_matrices(end[None])[0] == pytest.approx(expected, abs=1e-12)


def test_a_whole_circle_ends_where_it_began() -> None:
    end = arc(START, 0.5, 1.0, np.array([2.0 * math.pi]))[0]
    assert end[:2] == pytest.approx(START[:2], abs=1e-12)


def test_arcs_and_lattice_have_their_poses() -> None:
    options = {"speed": 0.5, "turn_rates": (-0.5, 0.0, 0.5), "horizon": 2.0, "period": 0.5}
    paths = arcs(START, **options)
    assert [path.shape for path in paths] == [(4, 3)] * 3
    grown = lattice(START, **options, headings=4)
    assert len(grown) == 12
    for number, path in enumerate(grown):
        assert (path[:4] == paths[number // 4]).all()
        assert path[4, :2] == pytest.approx(path[3, :2])
        assert turn_between(path[3, 2], path[4, 2]) == pytest.approx(
            turn_between(0.0, number % 4 * math.pi / 2)
        )
    with pytest.raises(ConfigurationError, match="period"):
        arcs(START, speed=1.0, turn_rates=(0.0,), horizon=0.1, period=0.5)
    with pytest.raises(ConfigurationError, match="heading"):
        lattice(START, **options, headings=0)


def corridor() -> FloorMap:
    grid = OccupancyGrid(0.0, 0.0, 6.0, 2.0, OccupancyConfig(resolution=0.1))
    for x in np.arange(0.5, 3.6, 0.1):
        grid.stand(float(x), 1.0, 0.45)
    return FloorMap.of(grid, 0.2)


def test_paths_into_the_unknown_are_not_clear() -> None:
    start = np.array([1.0, 1.0, 0.0])
    paths = arcs(start, speed=1.0, turn_rates=(-1.0, 0.0, 1.0), horizon=2.0, period=0.2)
    assert clear_paths(paths, corridor()) == [1]
    far = arcs(start, speed=1.0, turn_rates=(0.0,), horizon=4.0, period=0.2)
    assert clear_paths(far, corridor()) == []


def test_viewpoints_are_reachable_and_the_same_for_a_seed() -> None:
    floor = corridor()
    poses = viewpoints(floor, (1.0, 1.0), spacing=0.5, headings=6)
    assert len(poses) % 6 == 0
    assert len(poses) >= 6 * 5
    assert (floor.clearance_at(poses[:, :2]) >= floor.radius).all()
    assert len(np.unique(poses.round(6), axis=0)) == len(poses)
    one, two = (
        viewpoints(floor, (1.0, 1.0), spacing=0.5, headings=6, rng=np.random.default_rng(4))
        for _ in range(2)
    )
    assert (one == two).all()
    assert sorted(map(tuple, one.round(6))) == sorted(map(tuple, poses.round(6)))
    with pytest.raises(ConfigurationError, match="spacing"):
        viewpoints(floor, (1.0, 1.0), spacing=0.0, headings=6)


def test_camera_paths_and_planar_poses() -> None:
    mount = np.eye(4)
    mount[0, 3] = 0.1
    pose = np.array([[1.0, 2.0, math.pi / 2]])
    assert camera_path(pose, mount)[0, :3, 3] == pytest.approx([1.0, 2.1, 0.0])
    assert planar_pose_of(planar_matrices(pose)[0]) == pytest.approx(pose[0])
    assert wrapped(np.array([3 * math.pi / 2])) == pytest.approx([-math.pi / 2])
    with pytest.raises(PoseError, match="finite"):
        planar_matrices([[0.0, 0.0, math.nan]])

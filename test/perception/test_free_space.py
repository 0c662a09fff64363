"""Free space against planes and boxes in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walls import HEIGHT, WIDTH, wall

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.perception.free_space import FREE, SURFACE, UNKNOWN, FreeSpace, FreeSpaceConfig


def knowing(*frames: RgbdFrame, config: FreeSpaceConfig | None = None) -> FreeSpace:
    space = FreeSpace(config)
    for frame in frames:
        space.add(frame)
    return space


def at(frame: RgbdFrame, x: float, z: float, stamp: int = 0) -> RgbdFrame:
    """The frame seen from elsewhere."""
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return replace(frame, T_world_camera=pose, stamp_ns=stamp)


@pytest.mark.parametrize(
    ("point", "verdict"),
    [
        ((0.0, 0.0, 1.0), FREE),
        ((0.0, 0.0, 1.85), FREE),  # the tolerance at 1.85 m is 10 cm
        ((0.0, 0.0, 1.95), SURFACE),
        ((0.0, 0.0, 2.05), SURFACE),
        ((0.0, 0.0, 2.2), UNKNOWN),  # behind the wall
        ((0.0, 0.0, -1.0), UNKNOWN),  # behind the camera
        ((5.0, 0.0, 1.0), UNKNOWN),  # outside the view
    ],
)
def test_before_at_and_behind_a_wall(point: tuple[float, ...], verdict: int) -> None:
    assert knowing(wall()).judge(np.array([point])).tolist() == [verdict]


def test_a_later_view_knows_better() -> None:
    """A board came to 1 m after the wall was seen, and another view saw it there."""
    board = at(wall(distance=1.0), 0.0, -0.2, stamp=5)
    point = np.array([[0.0, 0.0, 0.8]])
    assert knowing(at(wall(), 0.0, 0.0)).judge(point) == FREE
    assert knowing(at(wall(), 0.0, 0.0), board).judge(point) == SURFACE
    assert knowing(board, at(wall(), 0.0, 0.0)).judge(point) == FREE


def test_a_view_that_cannot_tell_is_passed_over() -> None:
    hidden = at(wall(distance=0.5), 0.0, -0.2, stamp=5)
    assert knowing(wall(), hidden).judge(np.array([[0.0, 0.0, 1.0]])) == FREE
    unknown = replace(at(wall(), 0.0, -0.2), depth=np.zeros((HEIGHT, WIDTH), np.float32))
    assert knowing(wall(), unknown).judge(np.array([[0.0, 0.0, 1.0]])) == FREE


def test_beside_an_edge_nothing_is_free() -> None:
    frame = wall()
    assert frame.depth is not None
    frame.depth[:, 48:] = 1.0
    space = knowing(frame)
    across = np.linspace(-0.3, 0.3, 101)
    points = np.stack([across, np.zeros(101), np.full(101, 0.7)], axis=-1)
    assert (space.judge(points) == FREE).all()
    points[:, 2] = 1.5
    verdict = space.judge(points)
    # Pixel 48 is at x = (48 - 48.5) / 80; a point in its block or the next could lie on the edge.
    edge = points[:, 0] / 1.5 * 80.0 + 48.5
    assert (verdict[edge < 40.0] == FREE).all()
    assert (verdict[edge > 46.0] != FREE).all()


def test_holes_and_masks_say_nothing() -> None:
    points = np.array([[0.0, 0.0, 1.0]])
    dynamic = np.ones((HEIGHT, WIDTH), dtype=bool)
    assert knowing(replace(wall(), dynamic=dynamic)).judge(points) == UNKNOWN
    nothing = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    assert knowing(replace(wall(), depth=nothing)).judge(points) == UNKNOWN
    assert FreeSpace().judge(points).tolist() == [UNKNOWN]


def test_far_points_are_not_judged() -> None:
    config = FreeSpaceConfig(max_depth=1.2)
    points = np.array([[0.0, 0.0, 1.1], [0.0, 0.0, 1.3]])
    assert knowing(wall(), config=config).judge(points).tolist() == [FREE, UNKNOWN]


def test_bounded_and_without_repeats() -> None:
    space = FreeSpace(FreeSpaceConfig(capacity=3))
    for number in range(8):
        space.add(at(wall(), 0.5 * number, 0.0, number))
        space.add(at(wall(), 0.5 * number, 0.0, number))
    assert len(space) == 3
    assert space.nbytes == 3 * 2 * 4 * (WIDTH // 4) * (HEIGHT // 4)
    # The oldest went.
    assert space.judge(np.array([[0.0, 0.0, 1.0], [3.5, 0.0, 1.0]])).tolist() == [UNKNOWN, FREE]
    space.clear()
    assert len(space) == 0


def test_moved_views_judge_from_where_they_stand() -> None:
    space = knowing(at(wall(), 0.0, 0.0, 7))
    away = np.eye(4)
    away[0, 3] = 10.0
    space.move(np.array([3, 7]), np.stack([np.eye(4), away]))
    points = np.array([[0.0, 0.0, 1.0], [10.0, 0.0, 1.0]])
    assert space.judge(points).tolist() == [UNKNOWN, FREE]


@pytest.mark.parametrize("values", [{"capacity": 0}, {"margin": -0.1}, {"noise": float("nan")}])
def test_nonsense_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="Got"):
        FreeSpaceConfig(**values)  # type: ignore[arg-type]

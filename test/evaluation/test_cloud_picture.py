from __future__ import annotations

import numpy as np

from mirage_ros.evaluation.cloud_picture import plan_and_side, render_cloud

RED, GREEN, BLUE, WHITE = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8
)


def where(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Mean column and row of a colour's pixels."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    assert len(rows), "the colour is not in the picture"
    return np.array([columns.mean(), rows.mean()])


def test_the_nearest_point_is_painted_on_top() -> None:
    line = np.linspace(-1, 1, 100)
    low = np.stack([line, line, np.zeros(100)], axis=1)
    high = low + np.array([0.0, 0.0, 0.001])
    # A ceiling far above, which is left out.
    low[::20, 2] = 2.0
    colours = np.repeat(np.stack([RED, GREEN]), 100, axis=0)
    for order in (slice(None), slice(None, None, -1)):
        positions = np.concatenate([low, high]).astype(np.float32)[order]
        picture = render_cloud(positions, colours[order], 200, 150, tilt=np.pi / 2, turn=0.0)
        assert (picture == GREEN).all(axis=2).any()
        assert not (picture == RED).all(axis=2).any()


def test_an_empty_cloud_is_an_empty_picture() -> None:
    nothing = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
    assert np.unique(render_cloud(*nothing, 64, 48)).size == 1
    assert plan_and_side(*nothing, width=64, height=48).shape == (2 * (48 + 22) + 4, 64, 3)


def test_one_point_is_a_square_in_the_middle() -> None:
    picture = render_cloud(np.array([[5.0, 5.0, 5.0]], np.float32), RED[None], 101, 101)
    np.testing.assert_allclose(where(picture, RED), [50, 50], atol=1)
    assert int((picture == RED).all(axis=2).sum()) == 13**2


def test_the_plan_shows_x_and_y_and_the_side_shows_x_and_z() -> None:
    positions = np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 2]], np.float32)
    # Floor all around, so that what is highest is the ceiling of a room.
    floor = np.stack([*np.meshgrid([0.5, 1.5, 2.5], [0.5, 1.5, 2.5]), np.zeros((3, 3))], axis=-1)
    positions = np.concatenate([positions, floor.reshape(-1, 3).astype(np.float32)])
    colours = np.concatenate([np.stack([RED, GREEN, BLUE, WHITE]), np.full((9, 3), 90, np.uint8)])
    both = plan_and_side(positions, colours, width=400, height=300)
    plan, side = both[22:322], both[-300:]
    assert where(plan, GREEN)[0] > where(plan, RED)[0] + 100
    assert where(plan, BLUE)[1] < where(plan, RED)[1] - 100
    assert not (plan == WHITE).all(axis=2).any(), "the ceiling would hide what is below it"
    assert where(side, GREEN)[0] > where(side, RED)[0] + 100
    assert where(side, WHITE)[1] < where(side, RED)[1] - 100
    # Seen from -y, what is at y = 0 hides what is behind it.
    assert not (side == BLUE).all(axis=2).any()

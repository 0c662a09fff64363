from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from wavy_room import CAMERA, HALF, look_from

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.planning.encoding import dct_cost, dct_encoder
from mirage_ros.planning.scores import (
    ImageCostConfig,
    LatentGoal,
    cell_coverage,
    encoded,
    information_gain,
    nearest_surface,
    pixel_costs,
)

CONFIG = ImageCostConfig((1.0, 0.0, 1.0), scale=1.0, unknown_cost=0.6, least_coverage=0.25)


def goal_and_views() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    goal = rng.standard_normal((3, 4, 6)).astype(np.float32)
    return goal, np.stack([goal, goal.copy(), rng.standard_normal((3, 4, 6)).astype(np.float32)])


def test_latent_costs_are_the_formula() -> None:
    goal, views = goal_and_views()
    coverage = np.ones((3, 4, 6))
    coverage[1, :, :2] = 0.0
    costs = LatentGoal(goal, CONFIG).costs(views, coverage)
    assert costs[0] == pytest.approx(0.0, abs=1e-6)
    assert costs[1] == pytest.approx(0.6 / 3, abs=1e-6)
    errors = (views[2] - goal)[[0, 2]].astype(np.float64)
    errors[0] -= errors[0].mean()
    squares = (errors**2).mean(axis=0)
    assert costs[2] == pytest.approx((squares / (squares + 1.0)).mean(), rel=1e-5)


def test_channels_without_weight_and_brightness_do_not_matter() -> None:
    goal, views = goal_and_views()
    views[0, 1] += 5.0
    views[0, 0] += 2.0
    known = np.ones((3, 4, 6))
    assert LatentGoal(goal, CONFIG).costs(views, known)[0] == pytest.approx(0.0, abs=1e-6)
    bare = dataclasses.replace(CONFIG, brightness=None)
    assert LatentGoal(goal, bare).costs(views, known)[0] == pytest.approx(2.0 / 3.0, rel=1e-5)


def test_a_moved_goal_is_found_where_it_is_moved_to() -> None:
    goal, views = goal_and_views()
    views[0] = np.roll(goal, 2, axis=2)
    matcher = LatentGoal(goal, dataclasses.replace(CONFIG, brightness=None))
    costs = [matcher.costs(views, np.ones((3, 4, 6)), shift)[0] for shift in (-2, -1, 0, 1, 2)]
    assert costs[4] == pytest.approx(0.0, abs=1e-6)
    assert min(costs[:4]) > 0.2


def test_views_that_know_too_little_gain_nothing() -> None:
    goal, views = goal_and_views()
    coverage = np.zeros((3, 4, 6))
    coverage[0, 0, :5] = 1.0  # 5 of 24 cells, alike
    costs = LatentGoal(goal, CONFIG).costs(views, coverage)
    assert costs == pytest.approx([0.6, 0.6, 0.6])


def test_bad_shapes_and_weights_are_told() -> None:
    goal, views = goal_and_views()
    with pytest.raises(FrameError, match="3 channels"):
        LatentGoal(goal[:2], CONFIG)
    with pytest.raises(FrameError, match="must have latents"):
        LatentGoal(goal, CONFIG).costs(views[:, :, :3], np.ones((3, 3, 6)))
    with pytest.raises(ConfigurationError, match="weights"):
        ImageCostConfig((0.0, 0.0))
    with pytest.raises(ConfigurationError, match="scale"):
        ImageCostConfig((1.0,), scale=0.0)


def test_costs_in_latents_and_pixels_grow_with_the_distance() -> None:
    encode = dct_encoder()
    goal = look_from((0.0, 0.0, 0.3)).image
    views = [look_from((0.15 * step, 0.0, 0.3)) for step in range(5)]
    in_latents = LatentGoal(encode(goal[None])[0], dct_cost()).costs(*encoded(views, encode))
    in_pixels = pixel_costs(goal, views)
    for costs in (in_latents, in_pixels):
        assert costs[0] == pytest.approx(0.0, abs=1e-6)
        assert (np.diff(costs) > 0.0).all()
        assert costs.max() <= 1.0


def test_coverage_of_cells() -> None:
    view = look_from((0.0, 0.0, 0.0))
    known = view.coverage.copy()
    known[:16, :8] = False
    shares = cell_coverage([dataclasses.replace(view, coverage=known)], (6, 8))[0]
    assert shares[0, 0] == pytest.approx(0.5)
    assert shares.sum() == pytest.approx(47.5)


def test_information_gain_counts_the_unknown() -> None:
    view = look_from((0.0, 0.0, 0.0))
    nothing = dataclasses.replace(
        view, coverage=~view.coverage, depth=np.full((6, 8), 2.5, dtype=np.float32)
    )
    assert information_gain([view]) == 0.0
    assert information_gain([nothing], max_range=5.0) == pytest.approx(0.5)
    assert information_gain([view, nothing, nothing], overlap=0.5) == pytest.approx(0.75)
    no_depth = dataclasses.replace(nothing, depth=np.zeros((6, 8), dtype=np.float32))
    assert information_gain([no_depth]) == pytest.approx(1.0)
    with pytest.raises(ConfigurationError, match="overlap"):
        information_gain([view], overlap=1.0)


def test_the_nearest_surface_is_the_wall_ahead() -> None:
    view = look_from((0.5, 0.0, 0.0))
    assert nearest_surface(view, half_width=0.3, low=0.1, high=1.5) == pytest.approx(HALF - 0.5)
    assert math.isinf(nearest_surface(view, half_width=0.3, low=5.0, high=6.0))
    with pytest.raises(ConfigurationError, match="half_width"):
        nearest_surface(view, half_width=0.0, low=0.1, high=1.0)


def test_views_check_their_shapes() -> None:
    view = look_from((0.0, 0.0, 0.0))
    with pytest.raises(FrameError, match="image"):
        dataclasses.replace(view, image=view.image[:-1])
    with pytest.raises(FrameError, match="coverage"):
        dataclasses.replace(view, coverage=view.coverage.astype(np.uint8))
    with pytest.raises(FrameError, match="divides"):
        dataclasses.replace(view, depth=np.zeros((7, 5), dtype=np.float32))
    assert (CAMERA.height, CAMERA.width) == view.coverage.shape

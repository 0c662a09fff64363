"""Lights that are drawn for an apartment, and views of it from beside its tour."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator needs mujoco")

from mirage_ros.errors import PoseError
from mirage_ros.sources.simulator import RobotCamera, WalkingFigure, build_apartment, robot_tour
from mirage_ros.sources.simulator.apartment import ApartmentScene, Lighting
from mirage_ros.sources.simulator.headless import OffscreenContext
from mirage_ros.sources.simulator.tour import Tour

needs_gl = pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with")

OPTIONS = {"camera": RobotCamera(64, 48), "rate_hz": 4.0, "duration_s": 1.0}


def drawn(seed: int) -> Lighting:
    return Lighting.drawn(np.random.default_rng(seed))


def test_one_generator_draws_one_light():
    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(50))
def test_drawn_lights_light_every_surface_and_blow_out_no_floor_or_ceiling(seed):
    lights = drawn(seed).lights
    assert [np.sign(light.direction[2]) for light in lights] == [-1.0, 1.0]
    total_ambient = np.sum([light.ambient for light in lights], axis=0)
    assert 0.85 * 0.35 <= total_ambient.min() <= total_ambient.max() <= 0.6
    for light in lights:
        assert min(light.diffuse) >= 0.85 * 0.2
        assert np.abs(light.direction[:2]).max() <= 0.8
        # Both have one colour: the tint of the apartment.
        np.testing.assert_allclose(
            np.divide(light.diffuse, light.diffuse[0]), np.divide(total_ambient, total_ambient[0])
        )
        # Floors and ceilings see one light each.
        assert (total_ambient + light.diffuse).max() <= 1.0


@needs_gl
def test_the_light_changes_colours_and_nothing_else():
    def frame(lighting: Lighting | None):
        with robot_tour(0, lighting=lighting, **OPTIONS) as sequence:
            return sequence[0]

    usual, same, other = frame(None), frame(Lighting()), frame(drawn(1))
    np.testing.assert_array_equal(usual.image, same.image)
    np.testing.assert_array_equal(usual.depth, other.depth)
    np.testing.assert_array_equal(usual.T_world_camera, other.T_world_camera)
    assert np.abs(usual.image.astype(int) - other.image).mean() > 4.0
    assert 20 < other.image.mean() < 240


# --- views from elsewhere


def walker(scene: ApartmentScene) -> list[WalkingFigure]:
    """Somebody who goes along the tour a little ahead of the robot."""
    return [WalkingFigure(Tour(scene).path[20:200], speed=0.6)]


@needs_gl
def test_a_view_from_a_frame_s_own_pose_is_the_still_frame():
    with robot_tour(0, movers=walker, **OPTIONS) as sequence:
        for index in (0, -1):
            still = sequence.still(index)
            seen = sequence.seen_from(sequence.poses[index], index)
            np.testing.assert_array_equal(seen.image, still.image)
            np.testing.assert_array_equal(seen.depth, still.depth)
            assert seen.stamp_ns == still.stamp_ns
            assert seen.camera == sequence.camera
            # Somebody stands there, whom it does not show.
            assert (sequence[index].image != seen.image).any(axis=-1).sum() > 30


@needs_gl
def test_a_view_from_elsewhere_is_the_frame_that_was_taken_there():
    with robot_tour(0, **OPTIONS) as sequence:
        elsewhere = sequence.poses[-1]
        seen = sequence.seen_from(elsewhere, 0)
        taken = sequence[-1]
        np.testing.assert_array_equal(seen.image, taken.image)
        np.testing.assert_array_equal(seen.T_world_camera, elsewhere)
        assert seen.stamp_ns == sequence.stamps_ns[0]
        assert (seen.image != sequence[0].image).mean() > 0.1
        # What it returns is its own.
        seen.T_world_camera[:] = 0.0
        np.testing.assert_array_equal(elsewhere, sequence.poses[-1])


@needs_gl
def test_views_that_cannot_be_are_refused():
    with robot_tour(0, **OPTIONS) as sequence:
        with pytest.raises(PoseError):
            sequence.seen_from(np.zeros((4, 4)), 0)
        with pytest.raises(IndexError):
            sequence.seen_from(np.eye(4), len(sequence))


def test_the_light_leaves_the_apartment_as_it_is():
    plain, lit = build_apartment(2), build_apartment(2, drawn(5))
    assert plain.furniture == lit.furniture
    for name, material in plain.materials.items():
        np.testing.assert_array_equal(material.pixels, lit.materials[name].pixels)
    assert len(lit.spec.lights) == 2
    expected = [light.diffuse for light in drawn(5).lights]
    np.testing.assert_allclose([light.diffuse for light in lit.spec.lights], expected)

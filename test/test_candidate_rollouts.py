"""Several paths at once: what each shows does not depend on the others."""

from __future__ import annotations

import numpy as np
import pytest
from stand_ins import CAMERA, DemandingGenerator, model, path
from walls import CAMERA as WIDE
from walls import wall

from mirage_ros.backends import build_world_model
from mirage_ros.errors import PoseError
from mirage_ros.world_model import PredictedView, WorldModel


def together(
    engine: WorldModel, paths: list[np.ndarray], **options: object
) -> list[list[PredictedView]]:
    views: list[list[PredictedView]] = [[] for _ in paths]
    for number, view in engine.imagine_candidates(paths, WIDE, **options):
        views[number].append(view)
    return views


@pytest.fixture
def engine() -> WorldModel:
    engine = build_world_model("readout", generation_width=64, generation_height=32)
    for x in (0.0, 0.5):
        engine.observe(wall(x))
    assert engine.token_count > 0
    return engine


def at(x: float, z: float) -> np.ndarray:
    pose = np.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return pose


def test_candidates_are_what_they_are_alone_bit_for_bit(engine: WorldModel) -> None:
    ahead = np.stack([at(0.1 * k, 0) for k in range(20)])
    aside = np.stack([at(0.0, 0.3 * k) for k in range(3)])
    unseen = np.stack([at(-40.0, 0)])
    paths = [ahead, aside, unseen]
    for given, views in zip(paths, together(engine, paths), strict=True):
        alone = list(engine.imagine(given, WIDE))
        assert [view.index for view in views] == list(range(len(given)))
        for ours, theirs in zip(views, alone, strict=True):
            np.testing.assert_array_equal(ours.image, theirs.image)
            np.testing.assert_array_equal(ours.coverage, theirs.coverage)
            np.testing.assert_array_equal(ours.depth, theirs.depth)
            assert ours.nearest_surface == theirs.nearest_surface


def test_the_nearest_surface_is_measured_along_the_ray(engine: WorldModel) -> None:
    (view,) = engine.imagine(at(0.0, 0)[None], WIDE)
    seen = view.coverage > 0
    rays = view.camera.unproject(view.camera.pixel_centres(), np.ones(view.depth.shape))
    distances = (view.depth * np.linalg.norm(rays, axis=-1))[seen]
    assert view.nearest_surface == pytest.approx(distances.min(), rel=0.05)
    (far,) = engine.imagine(at(-40.0, 0)[None], WIDE)
    assert far.known_fraction == 0.0
    assert far.nearest_surface == np.inf


def test_candidates_that_invent_keep_to_their_own_branch_and_share_their_noise() -> None:
    alone, both = DemandingGenerator(), DemandingGenerator()
    given = [path(8), path(8) + np.eye(4) * 0.0]
    given[1][:, 1, 3] = 1.0
    for one in given:
        list(model(chunk=4, generator=alone).imagine(one, CAMERA, seed=3))
    engine = model(chunk=4, generator=both)
    numbers = [number for number, _ in engine.imagine_candidates(given, CAMERA, seed=3)]
    # A chunk of the first, the same of the second, and so on.
    assert numbers == 4 * [0] + 4 * [1] + 3 * [0] + 3 * [1] + [0] + [1]
    seeds = [condition.seed for condition in both.conditions]
    assert seeds[0::2] == seeds[1::2] == [c.seed for c in alone.conditions[:3]]


def test_no_path_is_refused(engine: WorldModel) -> None:
    with pytest.raises(PoseError, match="at least one camera path"):
        engine.imagine_candidates([], WIDE)
    with pytest.raises(PoseError, match="camera pose 0 must be finite"):
        engine.imagine_candidates([path(2), path(3) * np.nan], WIDE)

"""Planning episodes with the small model beside the readout."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_nano import tiny_nano

from mirage_ros.evaluation.benchmark_nano_rows import MEAN, READOUT
from mirage_ros.generation.nano_model import save_nano
from mirage_ros.geometry import exp_twist

pytest.importorskip("mujoco")

from mirage_ros.evaluation.benchmark_nano_episodes import (
    EpisodeScale,
    measure,
    nano_world_model,
    section,
)
from mirage_ros.evaluation.episode_apartment import EpisodeSizes
from mirage_ros.evaluation.episode_imaginers import ModelImaginer
from mirage_ros.evaluation.episodes import Outcome
from mirage_ros.planning.views import views_apart

SIZES = EpisodeSizes(width=96, height=64, tour_s=12.0, spacing=1.5, headings=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_nano(folder, tiny_nano())
    return folder


def test_a_view_does_not_depend_on_what_else_is_asked_for(folder: Path, room) -> None:
    model = nano_world_model(folder, SIZES)
    for frame in room.path(3):
        model.observe(frame)
    poses = np.stack([exp_twist([0.1 * k, 0, 0], [0, 0.3 * k, 0], 1.0) for k in range(5)])
    imaginer = ModelImaginer(model, room.camera)
    for pose, view in zip(poses, views_apart(imaginer, poses), strict=True):
        (alone,) = imaginer.imagine([pose[None]])[0]
        assert np.array_equal(alone.T_world_camera, pose)
        assert np.array_equal(view.T_world_camera, pose)
        # To within the rounding of what goes through the model together.
        assert np.abs(alone.image.astype(int) - view.image).max() <= 1
        assert np.array_equal(alone.coverage, view.coverage)


def test_a_path_is_one_film(folder: Path, room) -> None:
    model = nano_world_model(folder, SIZES)
    for frame in room.path(3):
        model.observe(frame)
    paths = [
        np.stack([exp_twist([0.1 * k, 0, 0], [0, 0.1 * k * side, 0], 1.0) for k in range(count)])
        for side, count in ((1.0, 4), (-1.0, 2))
    ]
    films = ModelImaginer(model, room.camera).imagine(paths)
    for path, film in zip(paths, films, strict=True):
        alone = list(model.imagine(path, room.camera))
        assert len(film) == len(alone) == len(path)
        for view, other in zip(film, alone, strict=True):
            assert np.abs(view.image.astype(int) - other.image).max() <= 1


def test_the_same_episodes_are_driven_with_both(folder: Path) -> None:
    found = measure(folder, [3000], EpisodeScale(1, SIZES), seed=0)
    readout, nano = found[READOUT], found[MEAN]
    assert len(readout) == len(nano) == 1
    assert (readout[0].shortest, readout[0].known) == (nano[0].shortest, nano[0].known)
    assert np.array_equal(readout[0].trace[0], nano[0].trace[0]), "they start at one place"
    assert readout[0].views > 0 < nano[0].views


def test_rates_stand_side_by_side() -> None:
    good = Outcome(
        3000, 0, "imagination", True, False, 0.1, math.radians(3.0), 9.0, 2.0, 1.5, 0.9, 0.2, 40,
        np.zeros((1, 3)), (),
    )  # fmt: skip
    bad = replace(good, distance=0.5)
    (table,) = section({READOUT: [good, bad], MEAN: [good, good]}).tables
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows[READOUT][:2] == (2, 50.0)
    assert rows[MEAN][:2] == (2, 100.0)
    assert rows[READOUT][4] == pytest.approx(0.3)
    assert rows[MEAN][5] == pytest.approx(3.0)
    assert rows[MEAN][6] == 40

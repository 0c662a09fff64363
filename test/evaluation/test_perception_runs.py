"""What is remembered against the truth, on walls whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.perception_runs import (
    AskedView,
    ask_views,
    common_psnr,
    drive,
    ghosts,
    score,
)
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import LatentMemory
from mirage_ros.perception.pipeline import Perception

CAMERA = PinholeCamera(64, 32, 60.0, 60.0, 32.0, 16.0)
SIZE = (64, 32)
SECOND = 1_000_000_000


def wall(stamp_ns: int, metres: float = 3.0) -> RgbdFrame:
    """A smooth pattern on a wall straight ahead."""
    rows, columns = np.indices((32, 64))
    waves = [np.sin(columns / 9.0 + k) * np.cos(rows / 7.0 - k) for k in range(3)]
    image = np.rint(127.5 + 100.0 * np.stack(waves, axis=-1)).astype(np.uint8)
    depth = np.full((32, 64), metres, dtype=np.float32)
    return RgbdFrame(stamp_ns, image, depth, CAMERA, np.eye(4))


def with_box(frame: RgbdFrame, metres: float, columns: slice) -> RgbdFrame:
    """Something nearer in all rows of some columns."""
    assert frame.depth is not None
    depth, image = frame.depth.copy(), frame.image.copy()
    depth[:, columns], image[:, columns] = metres, 200
    return replace(frame, depth=depth, image=image)


def remembered(*frames: RgbdFrame) -> LatentMemory:
    memory = LatentMemory(DctCodec())
    for frame in frames:
        memory.observe(frame)
    return memory


def test_tokens_before_the_true_wall_are_ghosts() -> None:
    memory = remembered(with_box(wall(0), 2.0, slice(0, 32)))
    found = ghosts(memory, wall, SIZE)
    cells = memory.placed_tokens().cells
    assert memory.count == 8
    assert sorted(cells[found].tolist()) == [0, 1, 4, 5], "the left half of a grid of 4 x 2"
    among = cells < 4
    assert sorted(cells[ghosts(memory, wall, SIZE, among)].tolist()) == [0, 1]


def test_a_token_is_no_ghost_if_part_of_its_cell_is_as_near_in_truth() -> None:
    memory = remembered(with_box(wall(0), 2.0, slice(0, 32)))

    def truth(stamp_ns: int) -> RgbdFrame:
        return with_box(wall(stamp_ns), 2.0, slice(0, 3))

    found = ghosts(memory, truth, SIZE)
    assert sorted(memory.placed_tokens().cells[found].tolist()) == [1, 5]


@pytest.mark.parametrize(("truth_m", "ghost"), [(3.09, False), (3.11, True)])
def test_ten_centimetres_make_a_ghost(truth_m: float, ghost: bool) -> None:
    memory = remembered(wall(0, 3.0))
    assert ghosts(memory, lambda stamp: wall(stamp, truth_m), SIZE).tolist() == [ghost] * 8


@pytest.mark.parametrize(("truth_m", "ghost"), [(8.23, False), (8.26, True)])
def test_far_away_it_is_three_percent(truth_m: float, ghost: bool) -> None:
    memory = remembered(wall(0, 8.0))
    assert ghosts(memory, lambda stamp: wall(stamp, truth_m), SIZE).tolist() == [ghost] * 8


def test_free_to_the_end_of_the_range_is_free() -> None:
    memory = remembered(wall(0, 3.0))
    assert ghosts(memory, lambda stamp: wall(stamp, 0.0), SIZE).all()


def test_a_drive_remembers_its_keyframes_and_counts_what_it_cannot() -> None:
    told = []

    def sensor(number: int) -> RgbdFrame:
        frame = wall(number * SECOND)
        return replace(frame, depth=None) if number == 4 else frame

    driven = drive(
        sensor,
        [0, 2, 4, 6],
        Perception(),
        SIZE,
        watch=lambda number, model, seen: told.append((number, model.token_count)),
    )
    assert [number for number, _ in told] == [0, 2, 6]
    assert told[-1][1] == driven.memory.count == 8
    assert (len(driven.observations), driven.dropped, driven.removed) == (3, 1, 0)
    assert driven.perceive_ms >= 0.0


def test_two_drives_remember_the_same() -> None:
    views = []
    for _ in range(2):
        driven = drive(lambda n: wall(n * SECOND), [0, 1, 2], Perception(), SIZE)
        views.append(ask_views(driven.model, [wall(7)])[0])
    np.testing.assert_array_equal(views[0].image, views[1].image)
    assert views[0].covered.all()
    # A smooth pattern goes through the codec's few channels almost unharmed.
    assert views[0].psnr_db() > 25.0


def test_views_can_be_asked_for_from_elsewhere() -> None:
    driven = drive(lambda n: wall(n * SECOND), [0], Perception(), SIZE)
    aside = np.eye(4)
    aside[0, 3] = 32 / 60.0 * 3.0
    view = ask_views(driven.model, [wall(7)], aside[None])[0]
    assert view.covered[:, :32].all()
    assert not view.covered[:, 32:].any(), "the wall ends where it was not seen"


def flat(level: int, covered: slice) -> AskedView:
    mask = np.zeros((4, 8), dtype=np.bool_)
    mask[:, covered] = True
    image = np.full((4, 8, 3), level, dtype=np.uint8)
    return AskedView(image, mask, np.zeros_like(image))


def test_scores_are_means_over_views() -> None:
    near, far = flat(51, slice(0, 8)), flat(102, slice(0, 2))
    # Errors of 0.2 and 0.4 everywhere.
    expected = [-20.0 * math.log10(0.2), -20.0 * math.log10(0.4)]
    found = score([near, far, flat(255, slice(0, 0))])
    assert found.psnr_db == pytest.approx(sum(expected) / 2.0, abs=1e-4)
    assert found.coverage == pytest.approx((1.0 + 0.25 + 0.0) / 3.0)


def test_common_pixels_are_those_of_all_ways() -> None:
    one, other = flat(0, slice(0, 8)), flat(51, slice(4, 8))
    one.image[:, 4:] = 102
    assert common_psnr([[one], [other]]) == pytest.approx(
        [-20.0 * math.log10(0.4), -20.0 * math.log10(0.2)], abs=1e-4
    )
    assert all(math.isnan(value) for value in common_psnr([[one], [flat(0, slice(0, 0))]]))
    assert all(math.isnan(value) for value in common_psnr([[], []]))

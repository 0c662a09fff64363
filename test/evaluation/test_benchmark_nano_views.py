"""Figures of the small model's benchmark against plain numpy, and when its targets are met."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tiny_nano import tiny_nano

from mirage_ros.codec import DctCodec
from mirage_ros.evaluation.benchmark_nano_rows import (
    DRAFT,
    MEAN,
    NO_MEMORY,
    READOUT,
    SAMPLE,
    Cast,
    Company,
)
from mirage_ros.evaluation.benchmark_nano_scenes import AHEAD, BACK, Moment, Question
from mirage_ros.evaluation.benchmark_nano_view_section import (
    in_order,
    recorded_targets,
    simulated_targets,
    view_section,
)
from mirage_ros.evaluation.benchmark_nano_views import (
    ALL,
    BLURRED,
    COVERED,
    HOLES,
    RowScores,
    ViewScore,
    measure,
    score_of,
)
from mirage_ros.evaluation.image_metrics import RegionMetrics, ViewMetrics
from mirage_ros.evaluation.protocol import CODEC, Size, through_codec

SIZE = Size(96, 64)


def view(
    kind: str, db: float, holes_db: float, share: float, sharp: float = 1.0, energy: float = 1.0
) -> ViewScore:
    """A view of ``db`` where it is covered and ``holes_db`` elsewhere; all pixels have ``db``."""
    covered = RegionMetrics(1.0 - share, db, 0.5, sharp)
    holes = RegionMetrics(share, holes_db if share else math.nan, 0.5, sharp)
    whole = RegionMetrics(1.0, db, 0.5, sharp)
    return ViewScore(
        kind, ViewMetrics(covered, holes, whole), {COVERED: energy, HOLES: energy, ALL: energy}
    )


def test_views_count_by_their_share_and_their_gradients() -> None:
    row = RowScores([view(AHEAD, 20.0, 10.0, 0.4, 0.5, 3.0), view(BACK, 30.0, 16.0, 0.2, 0.9, 1.0)])
    assert row.psnr_db() == pytest.approx(25.0)
    assert row.psnr_db(HOLES) == pytest.approx((0.4 * 10.0 + 0.2 * 16.0) / 0.6)
    assert row.psnr_db(COVERED) == pytest.approx((0.6 * 20.0 + 0.8 * 30.0) / 1.4)
    assert row.sharpness() == pytest.approx((3.0 * 0.5 + 0.9) / 4.0)
    assert row.share(HOLES) == pytest.approx(0.3)
    assert row.of_kind(BACK).psnr_db() == 30.0
    whole = RowScores([view(BACK, 30.0, 0.0, 0.0)])
    assert math.isnan(whole.psnr_db(HOLES)), "there are none"
    assert math.isnan(whole.seconds_per_frame)


def test_a_score_is_that_of_plain_numpy() -> None:
    rng = np.random.default_rng(1)
    image, truth, reference = rng.integers(0, 256, (3, 32, 48, 3)).astype(np.uint8)
    covered = rng.random((32, 48)) < 0.7
    found = score_of(AHEAD, image, truth, reference, covered)

    def decibels(mask: np.ndarray) -> float:
        error = (image[mask].astype(float) - truth[mask].astype(float)) / 255.0
        return -10.0 * math.log10(float(np.mean(error**2)))

    assert found.metrics.covered.psnr_db == pytest.approx(decibels(covered), abs=1e-4)
    assert found.metrics.uncovered.psnr_db == pytest.approx(decibels(~covered), abs=1e-4)
    units = reference / 255.0
    energy = np.sum(np.diff(units, axis=0) ** 2) + np.sum(np.diff(units, axis=1) ** 2)
    assert found.energy[ALL] == pytest.approx(energy, rel=1e-5)
    assert found.energy[COVERED] + found.energy[HOLES] < found.energy[ALL]


@pytest.fixture(scope="module")
def question(room) -> Question:
    return Question(AHEAD, [SIZE.fit(frame) for frame in room.path(5)])


@pytest.fixture(scope="module")
def scores(question: Question) -> dict[str, RowScores]:
    """Of a model whose head is zero, in a room in closed form."""
    cast = Cast(tiny_nano(zero_head=True), 2)
    rows = [cast.readout, cast.draft, cast.mean, cast.sample, cast.without_memory[0]]
    company, found = Company(rows, SIZE), dict[str, RowScores]()
    moments = [Moment(question.truth[:1], [question]), Moment([], [question])]
    measure(company, moments, found, seed=1)
    assert not any(model.token_count for model in company.models.values())
    return found


def test_rows_and_views(scores: dict[str, RowScores]) -> None:
    names = [READOUT, BLURRED, DRAFT, MEAN, SAMPLE, NO_MEMORY, CODEC]
    assert in_order(scores) == names
    assert {len(scores[name].views) for name in names} == {2 * 4}, "the first is given"
    timed = {name for name in names if len(scores[name].seconds) == 2}
    assert timed == {READOUT, DRAFT, MEAN, SAMPLE, NO_MEMORY}


def test_a_model_without_a_head_is_worth_the_draft(scores: dict[str, RowScores]) -> None:
    assert scores[MEAN].views == scores[DRAFT].views
    for region in (ALL, COVERED):
        of_sample = scores[SAMPLE].psnr_db(region)
        assert of_sample == pytest.approx(scores[DRAFT].psnr_db(region), abs=0.01)
    assert scores[MEAN].psnr_db() > scores[READOUT].psnr_db() + 0.5
    assert scores[NO_MEMORY].sharpness() == pytest.approx(0.0, abs=1e-6)


def test_the_codecs_row_is_the_best_there_is(
    scores: dict[str, RowScores], question: Question
) -> None:
    codec = DctCodec()
    errors = []
    for frame in question.truth[1:]:
        off = through_codec(codec, frame.image).astype(float) - frame.image
        errors.append(-10.0 * math.log10(float(np.mean((off / 255.0) ** 2))))
    assert scores[CODEC].psnr_db() == pytest.approx(float(np.mean(errors)), abs=1e-3)
    assert scores[CODEC].sharpness() == pytest.approx(1.0)
    assert scores[BLURRED].sharpness() < 0.5 * scores[READOUT].sharpness()


def test_what_is_covered_is_the_same_for_all(scores: dict[str, RowScores]) -> None:
    shares = {tuple(v.metrics.covered.share for v in row.views) for row in scores.values()}
    assert len(shares) == 1


def test_the_section_holds_all_rows(scores: dict[str, RowScores]) -> None:
    section = view_section("Views", "Some.", scores, simulated_targets(scores), [])
    table, by_kind = section.tables
    assert [row[0] for row in table.rows] == in_order(scores)
    assert table.rows[2][1] == round(scores[DRAFT].psnr_db(), 2)
    assert by_kind.rows[2][1] == table.rows[2][1], "all chunks are ahead"
    assert by_kind.rows[2][4] is None, "and none back"
    assert table.caption.startswith("8 views")


@pytest.mark.parametrize(
    ("mean", "holes", "sample", "sharp", "met"),
    [
        (22.5, 14.0, 20.5, 0.8, (True, True, True, True)),
        (22.4, 14.0, 20.5, 0.8, (False, True, True, True)),
        (22.5, 13.9, 20.5, 0.8, (True, False, True, True)),
        (22.5, 14.0, 20.4, 0.8, (True, True, True, False)),
        (22.5, 14.0, 20.5, 0.7, (True, True, False, True)),
    ],
)
def test_targets_of_apartments(
    mean: float, holes: float, sample: float, sharp: float, met: tuple[bool, ...]
) -> None:
    rows = {
        READOUT: (20.0, 10.0, 1.0),
        BLURRED: (21.0, 10.0, 0.3),
        DRAFT: (22.0, 10.0, 0.5),
        MEAN: (mean, holes, 0.4),
        SAMPLE: (sample, 12.0, sharp),
    }
    scores = {name: RowScores([view(BACK, a, b, 0.5, c)]) for name, (a, b, c) in rows.items()}
    assert tuple(target.met for target in simulated_targets(scores)) == met


def test_targets_of_real_frames() -> None:
    rows = {READOUT: (20.0, 10.0), MEAN: (20.0, 10.1), SAMPLE: (19.9, 10.0)}
    scores = {name: RowScores([view(BACK, a, b, 0.5)]) for name, (a, b) in rows.items()}
    assert [target.met for target in recorded_targets(scores)] == [True, True, False, False]
    none = {name: RowScores([view(BACK, 20.0, 0.0, 0.0)]) for name in rows}
    assert [target.met for target in recorded_targets(none)] == [True, None, True, None]

"""Curves of long rollouts, steps and closed loops of the small model's benchmark."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tiny_nano import tiny_nano

from mirage_ros.evaluation import benchmark_nano_long as long
from mirage_ros.evaluation import benchmark_nano_steps as steps
from mirage_ros.evaluation.benchmark_nano_pictures import Sheet
from mirage_ros.evaluation.benchmark_nano_rows import (
    MEAN,
    NO_MEMORY,
    NO_MEMORY_SAMPLE,
    READOUT,
    SAMPLE,
    Cast,
)
from mirage_ros.evaluation.benchmark_nano_scenes import AHEAD, LongWay, Moment, Question
from mirage_ros.evaluation.protocol import Size
from mirage_ros.frames import RgbdFrame

SIZE = Size(96, 64)


@pytest.fixture(scope="module")
def path(room) -> list[RgbdFrame]:
    return [SIZE.fit(frame) for frame in room.path(17)]


def test_a_curve_goes_chunk_by_chunk(path: list[RgbdFrame]) -> None:
    truth = [replace(f, image=f.image.clip(40, 200)) for f in path[1:]]
    offsets = [2] * 8 + [20] * 8
    images = [frame.image + np.uint8(off) for frame, off in zip(truth, offsets, strict=True)]
    found = long.curve(images, truth, 0.1)
    wanted = [-20.0 * math.log10(off / 255.0) for off in (2, 20)]
    assert found.psnr_db == pytest.approx(wanted, abs=1e-3)
    assert found.sharpness[0] > 1.0, "the codec smooths what these pictures have"


def test_what_is_lost_is_beside_the_readout() -> None:
    readout = [30.0, 30.0, 26.0, 26.0]
    assert long.lost([32.0, 32.0, 28.0, 28.0], readout, 2) == pytest.approx(0.0)
    assert long.lost([32.0, 32.0, 26.5, 26.5], readout, 2) == pytest.approx(1.5)


@pytest.mark.parametrize(("last", "met"), [(25.1, True), (24.9, False)])
def test_the_target_of_long_rollouts(last: float, met: bool) -> None:
    flat = long.Curve([25.0] * 20, [1.0] * 20, 0.1)
    falls = long.Curve([26.0] * 15 + [last] * 5, [1.0] * 20, 0.1)
    section = long.section([{READOUT: flat, MEAN: falls, SAMPLE: flat}])
    assert [target.met for target in section.targets] == [met, True]
    assert len(section.plots[0].series[1].y) == 20
    assert section.tables[0].rows[1][1:4] == (26.0, last, pytest.approx(26.0 - last))


def test_long_rollouts_with_and_without_memory(path: list[RgbdFrame]) -> None:
    company = long.contenders_of(Cast(tiny_nano(zero_head=True), 2), SIZE)
    found = long.measure(company, LongWay(path[::8], path), seed=0)
    assert list(found) == [READOUT, MEAN, SAMPLE, NO_MEMORY, NO_MEMORY_SAMPLE]
    assert all(len(curve.psnr_db) == 2 for curve in found.values())
    # Without a head nothing is made of nothing: the draft of an empty readout is grey.
    assert found[NO_MEMORY].sharpness == pytest.approx([0.0, 0.0], abs=1e-6)
    assert found[MEAN].sharpness[1] > 0.1
    assert not any(model.token_count for model in company.models.values())


def test_steps_are_timed_by_stage(path: list[RgbdFrame]) -> None:
    moment = Moment(path[:1], [Question(AHEAD, path[:9])])
    found = steps.measure(Cast(tiny_nano(), 2), [moment], SIZE, seed=0, steps=(1, 3))
    assert list(found) == [1, 3]
    for figures in found.values():
        assert len(figures.scores.views) == 8
        stages = figures.stages
        assert 0.0 < stages["denoise_step"] < stages["generate"]
        whole = stages["readout"] + stages["generate"] + stages["write_back"] + stages["decode"]
        assert whole <= figures.scores.seconds_per_frame
    section = steps.section(found, SIZE, 1)
    assert [row[0] for row in section.tables[0].rows] == [1, 3]
    (target,) = section.targets
    rate = 1.0 / found[1].scores.seconds_per_frame
    assert target.measured == pytest.approx(rate, abs=0.01)
    assert target.met is (rate >= 8.0)
    assert section.plots[2].series[0].y[0] == pytest.approx(1e3 / rate)


def test_a_sheet_shows_some_views(tmp_path, path: list[RgbdFrame]) -> None:
    from PIL import Image

    sheet = Sheet(["a"], most=2, every=2)
    assert sheet.write(tmp_path, "none.png") == []
    for level in range(5):
        question = Question(AHEAD, path[level : level + 2])
        covered = np.ones((64, 96), dtype=np.bool_)
        picture = np.full((64, 96, 3), 10 * level, dtype=np.uint8)
        sheet.see(question, {"a": [picture, picture], "b": []}, [covered, covered])
    (found,) = sheet.write(tmp_path, "sheets/some.png")
    shown = np.asarray(Image.open(tmp_path / found.file))
    assert shown.shape == (2 * 64, 3 * 96 + 2 * 4, 3)
    assert np.array_equal(shown[64:, :96], path[3].image), "the third chunk's last view"
    assert (shown[:64, -96:] == 0).all()
    assert (shown[64:, -96:] == 20).all()
    assert "From left: true; what of it is remembered (orange: not); a." in found.caption

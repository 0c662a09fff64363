import math

import cv2
import numpy as np
import pytest
import torch

from mirage_ros.cli import main
from mirage_ros.codec import DctCodec
from mirage_ros.evaluation import benchmark_growth, benchmark_quality, benchmark_tour
from mirage_ros.evaluation.benchmark_readout import plain_readout
from mirage_ros.evaluation.result_file import read_result
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(64, 32, 60.0, 60.0, 32.0, 16.0)


def numbers(values, what):  # type: ignore[no-untyped-def]
    return values


def frames(count: int) -> list[RgbdFrame]:
    """A cloudy wall at 2 m, passed at a cell's width a frame."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (3, 5 + count, 3), dtype=np.uint8)
    wall = cv2.resize(coarse, (64 + 16 * count, 32), interpolation=cv2.INTER_CUBIC)
    depth = np.full((32, 64), 2.0, dtype=np.float32)
    result = []
    for number in range(count):
        pose = np.eye(4)
        pose[0, 3] = number * 16 / 60.0 * 2.0
        image = np.ascontiguousarray(wall[:, 16 * number : 16 * number + 64])
        result.append(RgbdFrame(number, image, depth, CAMERA, pose))
    return result


def test_a_tour_is_stored_and_the_next_chunk_is_read() -> None:
    memories = benchmark_tour.contenders(DctCodec())
    costs = [
        benchmark_tour.follow(name, memory, frames(25), 2, numbers)
        for name, memory in memories.items()
    ]
    by_name = {cost.name: cost for cost in costs}
    assert by_name["latent, every cell"].count == [9 * 8, 17 * 8]
    # A view differs from the one before by a column of cells, and by the angle.
    assert 8 + 8 * 2 <= by_name["latent"].count[0] < 9 * 8
    assert 8 + 16 * 2 <= by_name["latent"].count[1] < 17 * 8
    assert by_name["RGB as published"].count == [9 * 64 * 32, 17 * 64 * 32]
    section = benchmark_tour.section(costs, (64, 32), "A wall.")
    ratio = next(
        target for target in section.targets if "RGB as published / latent, MiB" in target.name
    )
    latent, rgb = by_name["latent"].mib[-1], by_name["RGB as published"].mib[-1]
    assert ratio.measured == pytest.approx(rgb / latent, abs=0.06)
    assert ratio.met is (rgb / latent >= 55.0)


def growth(seconds: list[float], count: list[int]) -> benchmark_growth.Growth:
    return benchmark_growth.Growth(10, count, seconds, capacity=1000)


@pytest.mark.parametrize(
    ("rise", "met"), [(0.0, True), (0.00005, True), (0.0005, False), (-0.0005, False)]
)
def test_time_is_flat_if_the_laps_are(rise: float, met: bool) -> None:
    chunks = np.arange(200)
    grown = growth((0.1 + rise * np.maximum(chunks - 50, 0)).tolist(), [500] * 200)
    section = benchmark_growth.section(
        grown, growth([1.0], [900]), {"all": (1, 20.0, 1.0, 20.0, 1.0)}
    )
    assert section.targets[0].met is met


def test_a_second_lap_is_held_against_the_first() -> None:
    for second, met in ((505, True), (515, False)):
        grown = growth([0.1] * 30, [500] * 10 + [second] * 20)
        kept = {"all": (1, math.nan, 0.0, math.nan, 0.0)}
        section = benchmark_growth.section(grown, growth([1.0], [1001]), kept)
        assert section.targets[1].met is met
        assert section.targets[2].met is False, "above its capacity"


def test_the_plain_way_copies_the_nearest_token() -> None:
    latent = CAMERA.latent(16)
    centres = latent.unproject(latent.pixel_centres(), np.full((2, 4), 2.0)).reshape(-1, 3)
    position = torch.from_numpy(np.concatenate([centres, 1.5 * centres[:3], 0.5 * centres[:2]]))
    features = torch.arange(13.0)[:, None]
    views = plain_readout(position.float(), features, latent, np.eye(4)[None])
    assert views[0, :, 0].tolist() == [11.0, 12.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_storage_is_compared_on_the_same_views() -> None:
    results = benchmark_quality.measure(DctCodec(), frames(12)[::2], frames(12)[1::2], numbers)
    by_name = {result.name: result for result in results}
    exact, compact = by_name["every cell, float32"], by_name["every cell, compact"]
    assert exact.count == compact.count == 6 * 8
    assert compact.nbytes < exact.nbytes / 3
    assert 0.0 < exact.psnr_db - compact.psnr_db < 3.0
    assert by_name["merged, compact (default)"].count < exact.count
    section = benchmark_quality.section("a wall", results)
    assert section.tables[0].rows[0][6] == 0.0


@pytest.mark.slow
def test_the_command_writes_results_and_page(tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("mujoco")
    assert main(["benchmark", "--quick", "--parts", "tour,readout", "--out", str(tmp_path)]) == 0
    result = read_result(tmp_path / "benchmark.json")
    assert [section.title for section in result.sections] == [
        "Efficiency: latent against RGB",
        "Readout and branches",
    ]
    assert "<html" in (tmp_path / "report.html").read_text()
    assert "bytes a token" in capsys.readouterr().out


def test_unknown_parts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--parts", "speed"]) == 2
    assert (
        "parts are some of tour, growth, readout, quality. Got 'speed'" in capsys.readouterr().err
    )

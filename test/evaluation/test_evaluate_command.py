"""``mirage evaluate`` from the command line to its report."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from walls import HEIGHT, WIDTH, write_walls

from mirage_ros import cli
from mirage_ros.evaluation.contenders import LATENT, RGB_FAIR, RGB_PUBLISHED
from mirage_ros.evaluation.protocol import CODEC, NEAREST
from mirage_ros.evaluation.result_file import read_result
from mirage_ros.sources.simulator.headless import OffscreenContext

SPANS = ["--memory", "0:4:2", "--targets", "1:3:2", "--path", "0:4:1"]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "recording"
    write_walls(folder, [0.1 * k for k in range(5)])
    return folder


def test_a_recording_is_evaluated(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(recording), *SPANS, "--quick", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert str(out / "report.html") in printed
    result = read_result(out / "evaluate.json")
    assert result.inputs["size of views"] == f"{WIDTH}x{HEIGHT}"
    assert result.command.startswith(f"mirage evaluate {recording} --memory 0:4:2")
    views, loop, path = result.sections
    rows = {str(row[0]): row for row in views.tables[0].rows}
    for name in (LATENT, RGB_PUBLISHED, RGB_FAIR, NEAREST, CODEC):
        assert name in rows
        assert name in printed
    covered, psnr_all = rows[LATENT][1], rows[LATENT][4]
    assert isinstance(covered, float)
    assert covered > 90.0
    assert isinstance(psnr_all, float)
    assert psnr_all > 20.0
    assert [len(plot.series) for plot in views.plots] == [5, 4]
    assert views.plots[0].series[0].x == (1.0, 3.0)
    # 0, 0.2 and 0.4 m are keyframes.
    assert "3 frames with the first" in loop.text
    assert "which is not gone back" in loop.text
    assert [len(table.rows) for table in loop.tables] == [4, 4]
    assert [len(table.rows) for table in path.tables] == [6, 6]
    assert len(result.targets) == 8
    for picture in (*views.pictures, *loop.pictures, *path.pictures):
        with Image.open(out / picture.file) as strip:
            assert strip.size == (5 * WIDTH + 4 * 4, HEIGHT)
    assert len(views.pictures) == 2
    assert "data:image/jpeg;base64," in (out / "report.html").read_text()


def test_views_have_the_size_asked_for(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [*SPANS, "--size", "64x32", "--grids", "2", "--quick", "--out", str(out)]
    assert cli.main(["evaluate", str(recording), *options]) == 0
    result = read_result(out / "evaluate.json")
    assert result.inputs["size of views"] == "64x32"
    assert "--size 64x32 --grids 2 --quick" in result.command


@pytest.mark.slow
@pytest.mark.skipif(OffscreenContext is None, reason="no EGL or OSMesa to render with")
def test_the_simulator_is_evaluated_on_a_closed_tour(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="the simulator needs mujoco")
    out = tmp_path / "out"
    options = ["--quick", "--size", "96x64", "--out", str(out)]
    assert cli.main(["evaluate", "sim:1", *options]) == 0
    result = read_result(out / "evaluate.json")
    assert result.inputs["dataset"] == "simulated apartment 1, 96x64 at 5 Hz"
    views, loop, _ = result.sections
    assert "a closed tour of 25 frames" in loop.text
    recalled = {row[0]: row for row in loop.tables[0].rows}
    # The last frame before the end is taken near the first, so the memory still shows it.
    assert recalled[LATENT][3] == pytest.approx(recalled[LATENT][2], abs=6.0)
    codec = next(row for row in views.tables[0].rows if row[0] == CODEC)
    assert codec[1] == 100.0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--size", "96"], "such as 320x256. Got '96'"),
        (["--size", "40x32"], "multiple of 32. Got 40"),
        (["--memory", "0:4"], "such as 0:190:10. Got '0:4'"),
        (["--memory", "0:4:2", "--targets", "7:7:1"], "Got [7], which are not"),
        (["--grids", "3"], "Got 3"),
    ],
)
def test_bad_options_are_told_in_one_line(
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    error: str,
) -> None:
    defaults = ["--targets", "1:3:2"] if "--targets" not in options else []
    defaults += ["--memory", "0:4:2"] if "--memory" not in options else []
    arguments = [str(recording), *defaults, *options, "--out", str(tmp_path / "out")]
    assert cli.main(["evaluate", *arguments]) == cli.USAGE
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("mirage evaluate: error: ")
    assert error in told
    assert not (tmp_path / "out" / "report.html").exists()


def test_frames_too_small_for_any_view_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savetxt(tmp_path / "frame-000000.pose.txt", np.eye(4))
    cv2.imwrite(str(tmp_path / "frame-000000.color.png"), np.zeros((24, 40, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "frame-000000.depth.png"), np.ones((24, 40), np.uint16))
    assert cli.main(["evaluate", str(tmp_path), "--memory", "0:0:1"]) == cli.USAGE
    assert "at least 32x32, unless --size is given. Got 40x24" in capsys.readouterr().err


def test_a_dataset_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", str(tmp_path / "nowhere")]) == cli.FAILED
    assert "nowhere" in capsys.readouterr().err
    assert cli.main(["evaluate", "sim:x"]) == cli.USAGE

import json
import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mirage_ros.evaluation import readout_quality
from mirage_ros.evaluation.datasets import open_dataset
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.memory import LatentMemoryConfig

CAMERA = PinholeCamera(96, 64, 80.0, 80.0, 48.5, 32.5)
SEQUENCE = Path(
    os.environ.get(
        "MIRAGE_SEQUENCE",
        Path(__file__).parents[2].parent / "shared" / "data" / "7scenes_redkitchen",
    )
)


def picture_on_a_wall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    waves = [np.sin(3.0 * x + 2.0 * y), np.cos(2.0 * x - 4.0 * y), np.sin(5.0 * x) * np.cos(y)]
    return np.rint(255.0 * (0.5 + 0.4 * np.stack(waves, axis=-1))).astype(np.uint8)


def wall(offset_x: float) -> RgbdFrame:
    """A wavy picture on a wall 2 m ahead, seen from ``offset_x`` metres to the right."""
    uv = CAMERA.pixel_centres()
    x = (uv[..., 0] - CAMERA.cx) / CAMERA.fx * 2.0 + offset_x
    y = (uv[..., 1] - CAMERA.cy) / CAMERA.fy * 2.0
    pose = np.eye(4)
    pose[0, 3] = offset_x
    depth = np.full((64, 96), 2.0, dtype=np.float32)
    return RgbdFrame(0, picture_on_a_wall(x, y), depth, CAMERA, pose)


def write_sequence(directory: Path, offsets: list[float]) -> None:
    np.savetxt(directory / "camera-intrinsics.txt", [[80.0, 0, 48.0], [0, 80.0, 32.0], [0, 0, 1]])
    for number, offset in enumerate(offsets):
        frame, stem = wall(offset), str(directory / f"frame-{number:06d}")
        assert frame.depth is not None
        cv2.imwrite(f"{stem}.color.png", frame.image[..., ::-1])
        cv2.imwrite(f"{stem}.depth.png", (frame.depth * 1000).astype(np.uint16))
        np.savetxt(f"{stem}.pose.txt", frame.T_world_camera)


def test_reading_what_was_remembered_equals_the_codec() -> None:
    frames = [wall(0.0)]
    exact = LatentMemoryConfig(features="float16")
    memory, nearest, cloud, codec = readout_quality.measure(frames, frames, config=exact)
    assert memory.covered == nearest.covered == codec.covered == cloud.covered == 1.0
    assert memory.psnr_db == pytest.approx(codec.psnr_db, abs=0.1)
    assert memory.sharpness == pytest.approx(1.0, abs=0.01)
    assert codec.sharpness == 1.0
    assert nearest.psnr_db == math.inf
    assert memory.elements == 24
    assert cloud.elements == 96 * 64


def test_a_whole_cell_aside_the_memory_beats_copying() -> None:
    memory, nearest, _, _ = readout_quality.measure([wall(0.0)], [wall(0.4)])
    assert memory.covered >= 5.0 / 6.0
    assert memory.psnr_db > nearest.psnr_db + 6.0


def test_the_command_writes_table_json_and_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sequence(tmp_path, [0.0, 0.1, 0.2, 0.3])
    report, pictures = tmp_path / "report.json", tmp_path / "pictures"
    options = ["--memory", "0:2:2", "--targets", "1:3:2"]
    outputs = ["--json", str(report), "--pictures", str(pictures)]
    assert readout_quality.main([str(tmp_path), *options, *outputs]) == 0
    assert "latent memory" in capsys.readouterr().out
    rows = json.loads(report.read_text())["rows"]
    assert rows[0]["name"] == "latent memory"
    assert rows[0]["elements"] == 2 * 24
    assert rows[0]["psnr_db"] > 20.0
    strips = sorted(pictures.iterdir())
    assert len(strips) == 2
    assert cv2.imread(str(strips[0])).shape == (64, 3 * 96, 3)


def test_bad_input_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert readout_quality.main([str(tmp_path / "nowhere")]) == 2
    write_sequence(tmp_path, [0.0])
    assert readout_quality.main([str(tmp_path), "--memory", "0:0:1", "--targets", "5:5:1"]) == 2
    assert "Got [5]" in capsys.readouterr().err
    only = ["--memory", "0:0:1", "--targets", "0:0:1"]
    assert readout_quality.main([str(tmp_path), *only, "--grids", "3"]) == 2
    assert "Got 3" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 200])
def test_real_frames_clear_the_bar(first: int) -> None:
    """Coverage, PSNR and sharpness that the readout of real frames must reach."""
    if not SEQUENCE.is_dir():
        pytest.skip(f"no recorded sequence at {SEQUENCE}; set MIRAGE_SEQUENCE to have this tested")
    dataset = open_dataset(str(SEQUENCE))
    sources = dataset.numbered(f"{first}:{first + 190}:10")
    targets = dataset.numbered(f"{first + 4}:{first + 184}:20")
    memory = readout_quality.measure(sources, targets)[0]
    assert memory.covered >= 0.97
    assert memory.psnr_db >= 18.6
    assert memory.sharpness >= 0.8

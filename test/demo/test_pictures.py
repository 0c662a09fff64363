from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
av = pytest.importorskip("av")

import cv2  # noqa: E402

from mirage_ros.demo.cloud_file import cloud_arrays, unpack_rgb, write_ply  # noqa: E402
from mirage_ros.demo.video import (  # noqa: E402
    contact_sheet,
    outcome_panels,
    tinted,
    write_picture,
)
from mirage_ros.evaluation.outcomes import Outcome, Prediction  # noqa: E402
from mirage_ros.evaluation.video_file import write_video  # noqa: E402
from mirage_ros.nodes.point_cloud import TOKEN_DTYPE, pack_rgb  # noqa: E402


def _outcome(value: int = 100) -> Outcome:
    coverage = np.zeros((32, 48), dtype=bool)
    coverage[:, :24] = True
    image = np.full((32, 48, 3), value, np.uint8)
    prediction = Prediction(10**9, 10**9, 3, image, coverage)
    return Outcome(prediction, np.full_like(image, 30), np.full_like(image, 200))


def test_the_tint_touches_only_what_was_invented() -> None:
    picture = tinted(_outcome())
    assert (picture[:, :24] == 100).all()
    assert (picture[:, 24:] != 100).any(axis=2).all()


def test_panels_show_actual_then_predicted() -> None:
    panels = outcome_panels(_outcome())
    bottom = panels[-1]
    assert (bottom[:48] == 30).all()
    assert (bottom[52 : 52 + 48] == 100).all()


def test_a_contact_sheet_spans_the_whole_time(tmp_path: Path) -> None:
    outcomes = [_outcome(value) for value in range(50, 90)]
    sheet = contact_sheet(outcomes, rows=4)
    height = outcome_panels(outcomes[0]).shape[0]
    assert sheet.shape[0] == 4 * height + 3 * 4
    assert sheet[height - 1, 52 + 5, 0] == 50
    assert sheet[-1, 52 + 5, 0] == 89
    write_picture(tmp_path / "sheet.png", sheet)
    read = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, sheet)


def test_a_picture_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*nowhere"):
        write_picture(tmp_path / "nowhere" / "a.png", np.zeros((2, 2, 3), np.uint8))


def test_the_video_plays_back_with_all_its_frames(tmp_path: Path) -> None:
    frames = [np.full((33, 49, 3), 10 * k, np.uint8) for k in range(12)]
    write_video(tmp_path / "v.mp4", frames, rate_hz=4.0)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == 4.0
    assert len(decoded) == 12
    assert decoded[0].shape == (32, 48, 3)
    assert abs(int(decoded[11].mean()) - 110) < 4


def _cloud() -> np.ndarray:
    cloud = np.zeros(3, dtype=TOKEN_DTYPE)
    cloud["x"], cloud["y"], cloud["z"] = [0.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.1, 0.2]
    cloud["rgb"] = pack_rgb(np.array([[255, 0, 1], [2, 254, 0], [9, 8, 253]], np.uint8))
    cloud["confidence"], cloud["observed"] = 0.5, 1
    return cloud


def test_colours_survive_packing() -> None:
    np.testing.assert_array_equal(
        unpack_rgb(_cloud()["rgb"]), [[255, 0, 1], [2, 254, 0], [9, 8, 253]]
    )


def test_the_ply_file_reads_back(tmp_path: Path) -> None:
    write_ply(tmp_path / "c.ply", _cloud())
    header, _, body = (tmp_path / "c.ply").read_bytes().partition(b"end_header\n")
    assert b"element vertex 3" in header
    types = {b"float": "<f4", b"uchar": "u1"}
    fields = [line.split()[1:] for line in header.splitlines() if line.startswith(b"property")]
    vertices = np.frombuffer(body, np.dtype([(n.decode(), types[t]) for t, n in fields]))
    np.testing.assert_allclose(vertices["z"], [0.0, 0.1, 0.2])
    np.testing.assert_array_equal(vertices["green"], [0, 254, 8])


def test_a_cloud_is_taken_apart_into_positions_and_colours() -> None:
    positions, colours = cloud_arrays(_cloud())
    np.testing.assert_allclose(positions, [[0, 0, 0], [1, 0, 0.1], [1, 1, 0.2]])
    np.testing.assert_array_equal(colours[1], [2, 254, 0])

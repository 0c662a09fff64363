"""Readers of recorded sequences, on small ones written here and on the real one where it is."""

from __future__ import annotations

import math
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mirage_ros.errors import SequenceError
from mirage_ros.geometry import pose_from_quaternion
from mirage_ros.sources import open_sequence

WIDTH, HEIGHT = 8, 6


def write_images(image: Path, depth: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    units = rng.integers(1, 60000, (HEIGHT, WIDTH), dtype=np.uint16)
    units[0, 0], units[0, 1] = 0, 65535
    cv2.imwrite(str(image), pixels[..., ::-1])
    cv2.imwrite(str(depth), units)
    return pixels, units


def write_seven_scenes(directory: Path, numbers: list[int]) -> dict[int, tuple]:
    written = {}
    for number in numbers:
        stem = directory / f"frame-{number:06d}"
        angle = 0.1 * number
        pose = pose_from_quaternion(
            [number, 2, 3], [0, 0, math.sin(angle / 2), math.cos(angle / 2)]
        )
        np.savetxt(f"{stem}.pose.txt", pose)
        images = write_images(Path(f"{stem}.color.png"), Path(f"{stem}.depth.png"), number)
        written[number] = (*images, pose)
    return written


def write_tum(directory: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Colour at 0, 0.1, 0.2, 0.3 s; poses turn about z by 1 rad/s and run along x at 2 m/s."""
    written = []
    start = 1305031102
    colours, depths, poses = ["# colour"], ["# depth"], ["# poses"]
    for index in range(4):
        image, depth = directory / f"c{index}.png", directory / f"d{index}.png"
        written.append(write_images(image, depth, index))
        colours.append(f"{start}.{index}00000 {image.name}")
        depths.append(f"{start}.{index}15000 {depth.name}")
    for index in range(15):
        t = 0.02 * index + 0.01
        poses.append(
            f"{start}.{round(t * 1e6):06d} {2 * t} 0 1 0 0 {math.sin(t / 2)} {math.cos(t / 2)}"
        )
    (directory / "rgb.txt").write_text("\n".join(colours))
    (directory / "depth.txt").write_text("\n".join(depths))
    (directory / "groundtruth.txt").write_text("\n".join(poses))
    return written


def test_seven_scenes_frames_are_read_back_exactly(tmp_path):
    written = write_seven_scenes(tmp_path, [0, 2, 6])
    sequence = open_sequence(tmp_path)
    assert (len(sequence), sequence.layout, sequence.left_out) == (3, "7-Scenes", 0)
    assert sequence.frame_numbers.tolist() == [0, 2, 6]
    assert sequence.stamps_ns.tolist() == [0, 66666666, 200000000]
    assert sequence.stamps_ns.dtype == np.int64
    for frame, (pixels, units, pose) in zip(sequence, written.values(), strict=True):
        np.testing.assert_array_equal(frame.image, pixels)
        expected = units.astype(np.float32) / 1000
        expected[0, :2] = 0.0
        np.testing.assert_array_equal(frame.depth, expected)
        np.testing.assert_allclose(frame.T_world_camera, pose, atol=1e-12)
    np.testing.assert_allclose(sequence.poses[2], written[6][2], atol=1e-12)


def test_seven_scenes_intrinsics_move_to_pixel_corners(tmp_path):
    write_seven_scenes(tmp_path, [0])
    default = open_sequence(tmp_path).camera
    assert (default.fx, default.fy, default.cx, default.cy) == (585.0, 585.0, 320.5, 240.5)
    assert (default.width, default.height) == (WIDTH, HEIGHT)
    np.savetxt(tmp_path / "camera-intrinsics.txt", [[7, 0, 3.5], [0, 8, 2.5], [0, 0, 1]])
    camera = open_sequence(tmp_path).camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (7.0, 8.0, 4.0, 3.0)


@pytest.mark.parametrize("word", ["nan", "-inf", "-1.#IND00"])
def test_seven_scenes_lost_frames_are_left_out_and_counted(tmp_path, word):
    write_seven_scenes(tmp_path, [0, 1, 2])
    (tmp_path / "frame-000001.pose.txt").write_text(" ".join([word] * 16))
    sequence = open_sequence(tmp_path)
    assert sequence.frame_numbers.tolist() == [0, 2]
    assert sequence.left_out == 1


def test_rounded_rotations_are_made_rigid(tmp_path):
    written = write_seven_scenes(tmp_path, [3])
    np.savetxt(tmp_path / "frame-000003.pose.txt", written[3][2], fmt="%.3f")
    rotation = open_sequence(tmp_path).poses[0, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation, written[3][2][:3, :3], atol=1e-3)


def break_missing_depth(directory: Path) -> str:
    (directory / "frame-000002.depth.png").unlink()
    return "frame-000002.depth.png: expected the depth image"


def break_short_pose(directory: Path) -> str:
    (directory / "frame-000002.pose.txt").write_text("1 0 0 0 0 1 0 0")
    return "frame-000002.pose.txt: expected .*4x4 numbers.* Got 8 numbers"


def break_pose_text(directory: Path) -> str:
    (directory / "frame-000002.pose.txt").write_text("hello " * 16)
    return "frame-000002.pose.txt: expected a camera-to-world pose"


def break_pose_scale(directory: Path) -> str:
    np.savetxt(directory / "frame-000002.pose.txt", np.diag([2.0, 2.0, 2.0, 1.0]))
    return "frame-000002.pose.txt: expected a rigid"


def break_intrinsics(directory: Path) -> str:
    np.savetxt(directory / "camera-intrinsics.txt", np.zeros((3, 3)))
    return "camera-intrinsics.txt: expected a camera matrix"


def break_first_image(directory: Path) -> str:
    (directory / "frame-000000.color.png").write_bytes(b"not a picture")
    return "frame-000000.color.png: expected a colour image"


@pytest.mark.parametrize(
    "damage",
    [
        break_missing_depth,
        break_short_pose,
        break_pose_text,
        break_pose_scale,
        break_intrinsics,
        break_first_image,
    ],
)
def test_damaged_seven_scenes_name_the_file(tmp_path, damage):
    write_seven_scenes(tmp_path, [0, 2])
    message = damage(tmp_path)
    with pytest.raises(SequenceError, match=message):
        open_sequence(tmp_path)


def test_a_damaged_frame_raises_when_it_is_asked_for(tmp_path):
    write_seven_scenes(tmp_path, [0, 1, 2])
    cv2.imwrite(str(tmp_path / "frame-000001.depth.png"), np.zeros((3, 3), np.uint16))
    cv2.imwrite(str(tmp_path / "frame-000002.depth.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    sequence = open_sequence(tmp_path)
    with pytest.raises(SequenceError, match=r"frame-000001.depth.png: expected 8x6 .*Got 3x3"):
        _ = sequence[1]
    with pytest.raises(SequenceError, match=r"frame-000002.depth.png: expected .*16 bit"):
        _ = sequence[-1]


def test_tum_frames_are_associated_and_poses_interpolated(tmp_path):
    written = write_tum(tmp_path)
    sequence = open_sequence(tmp_path)
    # No pose precedes the first colour image, and none follows the last.
    assert (sequence.layout, sequence.left_out) == ("TUM RGB-D", 2)
    assert sequence.frame_numbers.tolist() == [1, 2]
    assert sequence.stamps_ns.tolist() == [1305031102100000000, 1305031102200000000]
    assert sequence.rate_hz == pytest.approx(10.0)
    camera = sequence.camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (525.0, 525.0, 320.0, 240.0)
    for index, t in enumerate((0.1, 0.2)):
        expected = pose_from_quaternion([2 * t, 0, 1], [0, 0, math.sin(t / 2), math.cos(t / 2)])
        np.testing.assert_allclose(sequence.poses[index], expected, atol=1e-9)
        frame = sequence[index]
        pixels, units = written[index + 1]
        np.testing.assert_array_equal(frame.image, pixels)
        assert frame.depth is not None
        np.testing.assert_allclose(frame.depth[1:], units[1:] / 5000.0, rtol=1e-6)


def test_tum_frames_without_depth_near_in_time_are_left_out(tmp_path):
    write_tum(tmp_path)
    text = (tmp_path / "depth.txt").read_text().replace(".115000", ".121000")
    (tmp_path / "depth.txt").write_text(text)
    assert open_sequence(tmp_path).frame_numbers.tolist() == [2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("depth.txt", None, "depth.txt: expected lines of 'timestamp filename'"),
        ("rgb.txt", "# nothing", "rgb.txt: expected lines .*Got none"),
        ("rgb.txt", "soon c0.png", "rgb.txt:1: expected 'timestamp filename'"),
        ("groundtruth.txt", "1.0 1 2 3", "groundtruth.txt:1: expected 'timestamp tx"),
        ("groundtruth.txt", "1.0 1 2 3 0 0 0 0", "groundtruth.txt: expected a pose"),
        ("groundtruth.txt", "1.0 1 2 3 0 0 0 1", "expected at least one TUM RGB-D frame"),
    ],
)
def test_damaged_tum_lists_name_the_file(tmp_path, name, content, message):
    write_tum(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(SequenceError, match=message):
        open_sequence(tmp_path)


def test_tum_listed_image_that_is_missing(tmp_path):
    write_tum(tmp_path)
    (tmp_path / "c2.png").unlink()
    with pytest.raises(SequenceError, match=r"c2.png: expected an image that a list names"):
        open_sequence(tmp_path)


def test_other_directories_are_refused(tmp_path):
    with pytest.raises(SequenceError, match=r"expected a 7-Scenes sequence .* or a TUM RGB-D one"):
        open_sequence(tmp_path)
    with pytest.raises(SequenceError, match=r"expected the directory"):
        open_sequence(tmp_path / "absent")


def real_sequence() -> Path:
    root = Path(__file__).resolve().parents[2]
    default = root.parent / "shared" / "data" / "7scenes_redkitchen"
    path = Path(os.environ.get("MIRAGE_SEQUENCE", default))
    if not path.is_dir():
        pytest.skip(f"no recorded sequence at {path}; set MIRAGE_SEQUENCE to have this tested")
    return path


def test_real_sequence():
    sequence = open_sequence(real_sequence())
    assert len(sequence) > 1
    frame = sequence[len(sequence) // 2]
    assert frame.depth is not None
    known = frame.depth[frame.depth > 0]
    assert known.size > 0.5 * frame.depth.size
    assert 0.3 < float(np.median(known)) < 10.0
    assert (np.diff(sequence.stamps_ns) > 0).all()
    steps = np.linalg.norm(np.diff(sequence.poses[:, :3, 3], axis=0), axis=1)
    assert steps.max() < 0.5

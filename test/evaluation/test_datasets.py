"""One way to open recordings, bags and the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError, SequenceError
from mirage_ros.evaluation.datasets import frame_numbers, load, open_dataset
from mirage_ros.sources import BagOptions, BagTopics


def test_a_directory_in_a_known_layout(small_sequence):
    folder = small_sequence(7)
    with open_dataset(str(folder)) as dataset:
        assert (dataset.name, len(dataset)) == ("sequence", 7)
        assert "7-Scenes" in dataset.origin
        assert str(folder) in dataset.origin
        assert [int(frame.image[0, 0, 0]) for frame in dataset] == [5 * n for n in range(7)]
        assert dataset[-1].T_world_camera[2, 3] == pytest.approx(0.3)
        chosen = dataset.numbered("1:5:2")
        assert [int(frame.image[0, 0, 0]) for frame in chosen] == [5, 15, 25]
        with pytest.raises(ConfigurationError, match=r"from 0 to 6. Got \[7\]"):
            dataset.numbered("5:7:1")
        with pytest.raises(IndexError):
            _ = dataset[7]


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_bag_as_directory_and_as_file(tmp_path, storage):
    pytest.importorskip("rosbags", reason="bags are read by way of rosbags")
    from bag_files import FRAMES, IMAGE, pixels_of, records, write_bag

    path = write_bag(tmp_path / "run_7", records(), storage)
    file = next(each for each in path.iterdir() if each.suffix != ".yaml")
    for given, name in ((path, "run_7"), (file, file.name)):
        with open_dataset(str(given)) as dataset:
            assert (dataset.name, len(dataset)) == (name, FRAMES)
            assert "rosbag2" in dataset.origin
            np.testing.assert_array_equal(dataset[3].image, pixels_of(3)[0])
    options = BagOptions(BagTopics(image="/other"))
    with pytest.raises(SequenceError, match=rf"image topic /other .*{IMAGE}"):
        open_dataset(str(path), bag=options)
    (path / "metadata.yaml").unlink()
    with pytest.raises(SequenceError, match=r"without metadata\.yaml"):
        open_dataset(str(path))


@pytest.mark.parametrize(("spec", "name"), [("sim", "sim:0"), ("sim:2", "sim:2")])
def test_the_simulator(spec, name):
    pytest.importorskip("mujoco", reason="the simulator needs mujoco")
    with open_dataset(spec, width=64, height=48, rate_hz=10.0, duration_s=0.5) as dataset:
        assert (dataset.name, len(dataset)) == (name, 6)
        assert f"apartment {name[-1]}, 64x48 at 10 Hz" in dataset.origin
        assert (dataset.frames.camera.width, dataset.frames.camera.height) == (64, 48)
        assert np.diff(dataset.frames.stamps_ns) == pytest.approx(1e8, abs=3e6)


def test_simulated_frames_are_numbered_and_the_same_again():
    simulator = pytest.importorskip("mirage_ros.sources.simulator.headless", exc_type=ImportError)
    if simulator.OffscreenContext is None:
        pytest.skip("no EGL or OSMesa to render with")
    pairs = []
    for _ in range(2):
        with open_dataset("sim:1", width=64, height=48, duration_s=1.0) as dataset:
            pairs.append(dataset.numbered("1:5:4"))
    for first, again in zip(*pairs, strict=True):
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.depth, again.depth)
        np.testing.assert_array_equal(first.T_world_camera, again.T_world_camera)
    assert (pairs[0][0].image != pairs[0][1].image).any()


@pytest.mark.parametrize("spec", ["sim:", "sim:-1", "sim:three", "sim:1:2"])
def test_the_simulator_s_seed_is_a_number(spec):
    with pytest.raises(ConfigurationError, match=rf"'sim:SEED'.* Got '{spec}'"):
        open_dataset(spec)


def test_what_is_no_dataset_is_told(tmp_path: Path):
    with pytest.raises(SequenceError, match="Got neither"):
        open_dataset(str(tmp_path))
    with pytest.raises(SequenceError, match="no directory"):
        open_dataset(str(tmp_path / "absent"))
    (tmp_path / "video.mp4").write_bytes(b"0")
    with pytest.raises(SequenceError, match=r"rosbag2 recording .*another kind of file"):
        open_dataset(str(tmp_path / "video.mp4"))
    with pytest.raises(ConfigurationError, match="rate_hz"):
        open_dataset("sim", rate_hz=0.0)
    with pytest.raises(ConfigurationError, match="camera width"):
        open_dataset("sim", width=3)


@pytest.mark.parametrize("text", ["", "0:10", "10:0:1", "0:10:0", "a:b:c", "-4:10:2"])
def test_unusable_frame_ranges_are_refused(text):
    with pytest.raises(ConfigurationError, match="FIRST:LAST:STEP"):
        frame_numbers(text)


def test_frame_ranges_include_both_ends():
    assert frame_numbers("4:24:10") == [4, 14, 24]


def test_frames_are_found_by_their_own_numbers(small_sequence):
    folder = small_sequence(5)
    for suffix in ("color.png", "depth.png", "pose.txt"):
        (folder / f"frame-000001.{suffix}").unlink()
    frames = open_dataset(str(folder)).frames
    assert [int(frame.image[0, 0, 0]) for frame in load(frames, [2, 4])] == [10, 20]
    with pytest.raises(ConfigurationError, match=r"Got \[1\]"):
        load(frames, [0, 1])

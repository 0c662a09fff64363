"""Bags that are damaged, or from which no frame can be made: what is said about them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags are read by way of rosbags")

from bag_files import (
    DEPTH,
    FRAMES,
    IMAGE,
    INFO,
    PERIOD_NS,
    POSE,
    START_NS,
    STATIC,
    Record,
    base_pose,
    info_message,
    odometry_message,
    records,
    transforms_message,
    without,
    write_bag,
)

from mirage_ros.errors import ConfigurationError, PoseError, SequenceError
from mirage_ros.geometry import PinholeCamera
from mirage_ros.sources import BagOptions, BagTopics, RosbagSequence

STORAGES = ("sqlite3", "mcap")


def open_bag(path: Path, content: list[Record], **options) -> RosbagSequence:
    return RosbagSequence(write_bag(path / "bag", content), BagOptions(**options))


@pytest.mark.parametrize(("encoding", "kind"), [("yuv422", "image"), ("8UC2", "depth")])
def test_unknown_encodings_are_told(tmp_path, encoding, kind):
    topic = IMAGE if kind == "image" else DEPTH
    content = records()
    for record in content:
        if record.topic == topic:
            record.message.encoding = encoding
    path = write_bag(tmp_path / "bag", content)
    with pytest.raises(SequenceError, match=rf"one {kind} topic .* in .*{topic} \(.*{encoding}\)"):
        RosbagSequence(path)
    with pytest.raises(SequenceError, match=rf"{topic} at stamp \d+ ns: .*Got '{encoding}'"):
        RosbagSequence(path, BagOptions(BagTopics(**{kind: topic})))


def test_images_of_another_size_than_calibrated_are_refused(tmp_path):
    content = without(INFO)
    other = PinholeCamera(32, 24, 40.0, 40.0, 16.0, 12.0)
    content += [
        Record(INFO, "sensor_msgs/msg/CameraInfo", info_message(START_NS + n * PERIOD_NS, other))
        for n in range(FRAMES)
    ]
    with pytest.raises(SequenceError, match=r"image_raw at stamp .*calibrated size .*\(24, 32\)"):
        open_bag(tmp_path, content)


def test_a_calibration_that_changes_is_refused(tmp_path):
    content = records()
    infos = [record for record in content if record.topic == INFO]
    infos[-1].message.k = infos[-1].message.k * 1.01
    with pytest.raises(SequenceError, match=r"one calibration on .*Got 2 different ones in 6"):
        open_bag(tmp_path, content)


def test_an_uncalibrated_camera_is_refused(tmp_path):
    content = records()
    for record in content:
        if record.topic == INFO:
            record.message.k = np.zeros(9)
    with pytest.raises(SequenceError, match=r"usable calibration on .*uncalibrated"):
        open_bag(tmp_path, content)


def test_poses_of_several_frames_on_one_topic_are_refused(tmp_path):
    content = records()
    stamp_ns = START_NS + 1
    other = odometry_message(stamp_ns, base_pose(stamp_ns), "other")
    content.append(Record(POSE, "nav_msgs/msg/Odometry", other))
    with pytest.raises(SequenceError, match=r"poses of one frame .*\('odom', 'other'\)"):
        open_bag(tmp_path, content)


def test_frames_that_are_not_connected_are_told(tmp_path):
    content = without(STATIC)
    link = transforms_message([("base_link", "lidar", np.zeros(3), [0.0, 0.0, 0.0, 1.0])])
    content.append(Record(STATIC, "tf2_msgs/msg/TFMessage", link))
    with pytest.raises(
        SequenceError, match=r"poses of 'base_link', images in 'camera' .*\['base_link', 'lidar'\]"
    ):
        open_bag(tmp_path, content)


def test_transforms_that_are_none_are_told(tmp_path):
    content = without(STATIC)
    link = transforms_message([("base_link", "camera", np.zeros(3), [0.0, 0.0, 0.0, 0.0])])
    content.append(Record(STATIC, "tf2_msgs/msg/TFMessage", link))
    with pytest.raises(SequenceError, match="from 'base_link' to 'camera': quaternion must"):
        open_bag(tmp_path, content)


def test_poses_of_another_time_give_no_frame(tmp_path):
    content = without(POSE)
    late = [START_NS + 3_600_000_000_000 + n * 20_000_000 for n in range(5)]
    content += [
        Record(POSE, "nav_msgs/msg/Odometry", odometry_message(s, base_pose(s))) for s in late
    ]
    with pytest.raises(SequenceError, match=r"6 without pose \(stamp .* is too early: .*5 usable"):
        open_bag(tmp_path, content)


def test_poses_that_are_all_unusable_give_no_frame(tmp_path):
    content = records()
    for record in content:
        if record.topic == POSE:
            record.message.pose.pose.orientation.w = 3.0
    with pytest.raises(SequenceError, match=r"6 without pose .*0 usable and 28 unusable poses"):
        open_bag(tmp_path, content)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_truncated_bags_are_told(tmp_path, storage, share):
    path = write_bag(tmp_path / "bag", records(), storage)
    data = next(file for file in path.iterdir() if file.suffix in (".db3", ".mcap"))
    content = data.read_bytes()
    data.write_bytes(content[: int(share * len(content))])
    for given in (path, data):
        with pytest.raises(SequenceError, match=r"expected a rosbag2 recording .* that is whole"):
            RosbagSequence(given)


def test_a_damaged_message_is_told(tmp_path):
    path = write_bag(tmp_path / "bag", records(), "sqlite3")
    with closing(sqlite3.connect(path / "bag.db3")) as database, database:
        database.execute("UPDATE messages SET data = substr(data, 1, 40) WHERE id % 7 = 0")
    with pytest.raises(SequenceError, match=r"that is whole\. Got SerdeError"):
        RosbagSequence(path)


def test_what_is_no_bag_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "old.bag").write_text("#ROSBAG V2.0")
    for name, got in (
        ("absent", "no such file"),
        ("", "a directory without metadata.yaml"),
        ("notes.txt", "another kind of file"),
        ("old.bag", "a bag of ROS 1"),
    ):
        with pytest.raises(SequenceError, match=f"expected a rosbag2 recording .*Got {got}"):
            RosbagSequence(tmp_path / name)
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: 3")
    with pytest.raises(SequenceError, match="that is whole"):
        RosbagSequence(tmp_path)


def test_a_bag_whose_storage_is_missing_is_told(tmp_path):
    path = write_bag(tmp_path / "bag", records())
    shutil.move(path / "bag.db3", tmp_path / "elsewhere.db3")
    with pytest.raises(SequenceError, match="files are missing"):
        RosbagSequence(path)


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match=r"slop_s .*Got -0\.1"):
        BagOptions(slop_s=-0.1)
    with pytest.raises(ConfigurationError, match=r"pose_max_gap_s .* and 0\.0"):
        BagOptions(pose_max_gap_s=0.0)
    with pytest.raises(PoseError, match="T_base_camera"):
        BagOptions(T_base_camera=np.zeros((4, 4)))

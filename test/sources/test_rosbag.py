"""Bags of a robot whose motion is known in closed form, written by rosbags and read back."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="bags are read by way of rosbags")

from bag_files import (
    CAMERA,
    DEPTH,
    FRAMES,
    IMAGE,
    INFO,
    PERIOD_NS,
    POSE,
    START_NS,
    STATIC,
    STORE,
    T_BASE_CAMERA,
    Record,
    base_pose,
    header,
    image_message,
    info_message,
    make,
    odometry_message,
    pixels_of,
    png_message,
    pose_message,
    records,
    without,
    write_bag,
)
from rosbags.rosbag2 import Writer

from mirage_ros.errors import SequenceError
from mirage_ros.geometry import PinholeCamera
from mirage_ros.geometry.rectify import Rectifier
from mirage_ros.sources import BagOptions, BagTopics, RosbagSequence

STORAGES = ("sqlite3", "mcap")


def open_bag(path: Path, content: list[Record], **options) -> RosbagSequence:
    return RosbagSequence(write_bag(path / "bag", content), BagOptions(**options))


def check_frame(sequence: RosbagSequence, index: int, number: int) -> None:
    stamp_ns = START_NS + number * PERIOD_NS
    frame = sequence[index]
    colour, depth = pixels_of(number)
    assert frame.stamp_ns == stamp_ns
    np.testing.assert_array_equal(frame.image, colour)
    metres = depth.astype(np.float32) * np.float32(1e-3)
    metres[0, :2] = 0.0
    np.testing.assert_array_equal(frame.depth, metres)
    np.testing.assert_allclose(frame.T_world_camera, base_pose(stamp_ns) @ T_BASE_CAMERA, atol=1e-9)
    np.testing.assert_array_equal(frame.T_world_camera, sequence.poses[index])
    assert frame.camera == sequence.camera


# --- what is read


@pytest.mark.parametrize("storage", STORAGES)
def test_frames_are_read_back_exactly(tmp_path, storage):
    path = write_bag(tmp_path / "bag", records(), storage)
    with RosbagSequence(path) as sequence:
        assert (len(sequence), sequence.left_out, sequence.layout) == (FRAMES, 0, "rosbag2")
        assert sequence.topics == BagTopics(IMAGE, INFO, DEPTH, POSE)
        assert sequence.camera == CAMERA
        assert sequence.stamps_ns.tolist() == [START_NS + n * PERIOD_NS for n in range(FRAMES)]
        assert sequence.stamps_ns.dtype == np.int64
        assert sequence.frame_numbers.tolist() == list(range(FRAMES))
        assert sequence.rate_hz == pytest.approx(10.0)
        for number in reversed(range(FRAMES)):
            check_frame(sequence, number, number)
        check_frame(sequence, -1, FRAMES - 1)
        assert [frame.stamp_ns for frame in sequence] == sequence.stamps_ns.tolist()
        with pytest.raises(IndexError):
            _ = sequence[FRAMES]


@pytest.mark.parametrize(("storage", "suffix"), [("sqlite3", "db3"), ("mcap", "mcap")])
def test_a_storage_file_alone_is_a_bag(tmp_path, storage, suffix):
    path = write_bag(tmp_path / "bag", records(), storage)
    (path / "metadata.yaml").unlink()
    with RosbagSequence(path / f"bag.{suffix}") as sequence:
        check_frame(sequence, 2, 2)


def test_two_messages_recorded_at_one_time_are_told_apart(tmp_path):
    """All of the bag is recorded at one time, as a slow disk does it with what has queued up."""
    path = tmp_path / "bag"
    content = sorted(records(), key=lambda record: record.topic)
    with Writer(path, version=9) as bag:
        topics = {record.topic: record.msgtype for record in content}
        connections = {
            t: bag.add_connection(t, kind, typestore=STORE) for t, kind in topics.items()
        }
        for record in content:
            data = STORE.serialize_cdr(record.message, record.msgtype)
            bag.write(connections[record.topic], START_NS, data)
    with RosbagSequence(path) as sequence:
        for number in range(FRAMES):
            check_frame(sequence, number, number)


def test_threads_read_one_bag_at_a_time(tmp_path):
    with open_bag(tmp_path, records()) as sequence:
        failures: list[BaseException] = []

        def read(first: int) -> None:
            try:
                for step in range(3 * FRAMES):
                    check_frame(sequence, (first + step) % FRAMES, (first + step) % FRAMES)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


def test_float_depth_and_compressed_colour(tmp_path):
    content = without(IMAGE, DEPTH)
    for number in range(FRAMES):
        stamp_ns = START_NS + number * PERIOD_NS
        colour, depth = pixels_of(number)
        metres = depth.astype(np.float32) * np.float32(1e-3)
        metres[0, :2] = np.nan, -1.0
        content += [
            Record(
                f"{IMAGE}/compressed",
                "sensor_msgs/msg/CompressedImage",
                png_message(colour, stamp_ns),
            ),
            Record(DEPTH, "sensor_msgs/msg/Image", image_message(metres, "32FC1", stamp_ns)),
        ]
    with open_bag(tmp_path, content) as sequence:
        assert sequence.topics.image == f"{IMAGE}/compressed"
        check_frame(sequence, 3, 3)


@pytest.mark.parametrize("name", ["PoseStamped", "PoseWithCovarianceStamped"])
def test_stamped_poses_need_to_be_told_of_what_they_are(tmp_path, name):
    content = without(POSE, STATIC)
    for stamp_ns in range(START_NS, START_NS + FRAMES * PERIOD_NS, 20_000_000):
        pose = pose_message(base_pose(stamp_ns))
        if name == "PoseWithCovarianceStamped":
            kind = "geometry_msgs/msg/PoseWithCovariance"
            pose = make(kind, pose=pose, covariance=np.zeros(36))
        kind = f"geometry_msgs/msg/{name}"
        content.append(Record("/pose", kind, make(kind, header=header(stamp_ns, "map"), pose=pose)))
    path = write_bag(tmp_path / "bag", content)
    with RosbagSequence(path, BagOptions(T_base_camera=T_BASE_CAMERA)) as sequence:
        check_frame(sequence, 1, 1)
    with pytest.raises(SequenceError, match=r"expected T_base_camera .* Got poses of ''"):
        RosbagSequence(path)
    links = write_bag(tmp_path / "with_tf", [*content, records()[0]])
    with RosbagSequence(links, BagOptions(base_frame="base_link")) as sequence:
        check_frame(sequence, 1, 1)


def test_odometry_of_the_camera_itself_needs_no_extrinsics(tmp_path):
    content = without(POSE, STATIC)
    content += [
        Record(POSE, "nav_msgs/msg/Odometry", odometry_message(s, base_pose(s), "camera"))
        for s in (START_NS, START_NS + 400_000_000)
    ]
    with open_bag(tmp_path, content) as sequence:
        # Two poses 0.4 s apart are enough: the motion between them is uniform.
        assert (len(sequence), sequence.left_out_for) == (5, {"pose": 1})
        np.testing.assert_allclose(
            sequence.poses[3], base_pose(START_NS + 3 * PERIOD_NS), atol=1e-12
        )


def test_distortion_is_taken_out_of_colour_and_depth(tmp_path):
    content = without(INFO)
    for number in range(FRAMES):
        message = info_message(START_NS + number * PERIOD_NS)
        message.d = np.array([0.2, 0.0, 0.0, 0.0, 0.0])
        content.append(Record(INFO, "sensor_msgs/msg/CameraInfo", message))
    path = write_bag(tmp_path / "bag", content)
    colour, depth = pixels_of(1)
    metres = np.where(depth == 65535, 0, depth).astype(np.float32) * np.float32(1e-3)
    rectifier = Rectifier(CAMERA, "plumb_bob", np.array([0.2, 0, 0, 0, 0]))
    with RosbagSequence(path) as sequence:
        np.testing.assert_array_equal(sequence[1].image, rectifier.rectify_image(colour))
        np.testing.assert_array_equal(sequence[1].depth, rectifier.rectify_depth(metres))
        assert (sequence[1].image != colour).any()
    with RosbagSequence(path, BagOptions(image_is_rectified=True)) as sequence:
        check_frame(sequence, 1, 1)


# --- pairing


def test_images_without_partners_are_left_out_and_counted(tmp_path):
    stamps = [START_NS + n * PERIOD_NS for n in range(FRAMES)]
    content = [
        record
        for record in records()
        if not (record.topic == DEPTH and record.stamp_ns == stamps[1] + 6_000_000)
        and not (record.topic == INFO and record.stamp_ns == stamps[3] - 4_000_000)
        and not (record.topic == POSE and record.stamp_ns > stamps[4] + 20_000_000)
    ]
    with open_bag(tmp_path, content) as sequence:
        assert sequence.frame_numbers.tolist() == [0, 2, 4]
        assert sequence.left_out_for == {"camera_info": 1, "depth": 1, "pose": 1}
        assert sequence.left_out == 3
        for index, number in enumerate((0, 2, 4)):
            check_frame(sequence, index, number)


def test_the_nearest_depth_within_the_slop_is_taken(tmp_path):
    content = records()
    wrong = np.full((CAMERA.height, CAMERA.width), 77, np.uint16)
    for number in range(FRAMES):
        for offset_ns in (-9_000_000, 7_000_000):
            stamp_ns = START_NS + number * PERIOD_NS + offset_ns
            message = image_message(wrong, "16UC1", stamp_ns)
            content.append(Record(DEPTH, "sensor_msgs/msg/Image", message))
    path = write_bag(tmp_path / "bag", content)
    with RosbagSequence(path) as sequence:
        check_frame(sequence, 4, 4)
    with pytest.raises(SequenceError, match=r"within 0.005 s .*6 images .*: 6 without depth"):
        RosbagSequence(path, BagOptions(slop_s=0.005))
    with RosbagSequence(path, BagOptions(slop_s=0.006)) as sequence:
        assert len(sequence) == FRAMES


def test_gaps_between_poses_are_not_bridged(tmp_path):
    gap = range(START_NS + 90_000_000, START_NS + 310_000_000)
    content = [r for r in records() if not (r.topic == POSE and r.stamp_ns in gap)]
    path = write_bag(tmp_path / "bag", content)
    with RosbagSequence(path, BagOptions(pose_max_gap_s=0.1)) as sequence:
        assert sequence.frame_numbers.tolist() == [0, 4, 5]
    with RosbagSequence(path) as sequence:
        assert len(sequence) == FRAMES


def test_poses_that_are_none_are_not_interpolated_with(tmp_path):
    content = records()
    for record in content:
        if record.topic == POSE and START_NS < record.stamp_ns < START_NS + 30_000_000:
            record.message.pose.pose.position.x = float("nan")
            record.message.pose.pose.orientation.w = 0.0
    with open_bag(tmp_path, content) as sequence:
        check_frame(sequence, 0, 0)


def test_repeated_stamps_count_once(tmp_path):
    content = records()
    content.append(next(record for record in records() if record.topic == IMAGE))
    with open_bag(tmp_path, content) as sequence:
        assert (len(sequence), sequence.left_out_for) == (FRAMES, {"stamp of its own": 1})


# --- topics


def second_camera() -> list[Record]:
    """An infrared camera in a namespace of its own, and a second odometry."""
    more = []
    for number in range(FRAMES):
        stamp_ns = START_NS + number * PERIOD_NS
        colour, _ = pixels_of(number)
        more += [
            Record(
                "/ir/image",
                "sensor_msgs/msg/Image",
                image_message(colour[..., 0], "mono8", stamp_ns),
            ),
            Record(
                "/ir/camera_info",
                "sensor_msgs/msg/CameraInfo",
                info_message(stamp_ns, PinholeCamera(16, 12, 9.0, 9.0, 8.0, 6.0)),
            ),
            Record("/visual", "nav_msgs/msg/Odometry", odometry_message(stamp_ns, np.eye(4))),
        ]
    return more


def test_ambiguous_topics_are_listed_and_can_be_named(tmp_path):
    path = write_bag(tmp_path / "bag", [*records(), *second_camera()])
    listed = (
        r"image topic.*Got /cam/color/image_raw \(sensor_msgs/msg/Image, 6 messages, rgb8\), /ir"
    )
    with pytest.raises(SequenceError, match=listed):
        RosbagSequence(path)
    with pytest.raises(SequenceError, match=r"one pose topic, .*Got /odom .*, /visual "):
        RosbagSequence(path, BagOptions(BagTopics(image=IMAGE)))
    topics = BagTopics(image=IMAGE, pose="odom")
    with RosbagSequence(path, BagOptions(topics)) as sequence:
        # Of two camera_info topics, the one beside the image is taken.
        assert sequence.topics == BagTopics(IMAGE, INFO, DEPTH, POSE)
        check_frame(sequence, 0, 0)


@pytest.mark.parametrize(
    ("missing", "kind"),
    [(IMAGE, "image"), (INFO, "camera_info"), (DEPTH, "depth"), (POSE, "pose")],
)
def test_missing_topics_are_told_with_those_there_are(tmp_path, missing, kind):
    path = write_bag(tmp_path / "bag", without(missing))
    there = next(t for t in (IMAGE, DEPTH) if t != missing)
    with pytest.raises(SequenceError, match=rf"expected one {kind} topic .*Got .*{there} \("):
        RosbagSequence(path)


def test_a_bag_without_depth_is_read_only_when_that_is_asked_for(tmp_path):
    with open_bag(tmp_path, without(DEPTH), allow_no_depth=True) as sequence:
        assert (len(sequence), sequence.topics.depth) == (FRAMES, "")
        assert sequence[2].depth is None
        np.testing.assert_array_equal(sequence[2].image, pixels_of(2)[0])


@pytest.mark.parametrize("name", ["/cam/nothing", DEPTH.removeprefix("/"), POSE])
def test_a_named_topic_has_to_be_there_and_of_its_type(tmp_path, name):
    path = write_bag(tmp_path / "bag", records())
    with pytest.raises(SequenceError, match=f"the camera_info topic /{name.lstrip('/')} of type"):
        RosbagSequence(path, BagOptions(BagTopics(camera_info=name)))

"""One pass over a bag that notes when everything was taken, and keeps no picture."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import PoseError, SequenceError
from mirage_ros.geometry.camera_info import calibration_key
from mirage_ros.geometry.poses import QUATERNION_NORM_TOLERANCE, poses_from_quaternions
from mirage_ros.sources.bag_reader import BagReader, stamp_ns_of
from mirage_ros.sources.bag_topics import ODOMETRY, POSE, BagTopics, static_transform_topics
from mirage_ros.sources.static_transforms import StaticTransforms, frame_name


@dataclass(frozen=True)
class BagIndex:
    """What is known of a bag without its pictures.

    Attributes:
        images: (N, 2) int64, header stamp and time of recording of every image, nanoseconds;
            ascending by stamp, no stamp twice.
        depths: (M, 2) int64, likewise.
        infos: (K, 2) int64, likewise.
        repeated_images: number of images whose stamp another one has too.
        info: the calibration, ``sensor_msgs/CameraInfo``.
        pose_stamps: (P,) int64 nanoseconds, strictly ascending.
        poses: (P, 4, 4) float64, from ``pose_frame`` to the world.
        unusable_poses: number of poses that are not finite or not rotations.
        image_frame: frame id of the images.
        pose_frame: what the poses are of, as odometry says it; empty with other types.
        transforms: frames that are fixed to each other.
    """

    images: NDArray[np.int64]
    depths: NDArray[np.int64]
    infos: NDArray[np.int64]
    repeated_images: int
    info: Any
    pose_stamps: NDArray[np.int64]
    poses: NDArray[np.float64]
    unusable_poses: int
    image_frame: str
    pose_frame: str
    transforms: StaticTransforms


@dataclass
class _Times:
    """Stamps and times of recording of one topic's messages."""

    values: array[int] = field(default_factory=lambda: array("q"))

    def add(self, message: Any, recorded_ns: int) -> None:
        self.values.extend((stamp_ns_of(message), recorded_ns))

    def ascending(self) -> NDArray[np.int64]:  # (N, 2)
        """By stamp; of equal stamps, the one recorded first."""
        times = np.array(self.values, dtype=np.int64).reshape(-1, 2)
        times = times[np.lexsort((times[:, 1], times[:, 0]))]
        fresh: NDArray[np.int64] = times[np.diff(times[:, 0], prepend=-1) > 0]
        return fresh

    def __len__(self) -> int:
        return len(self.values) // 2


@dataclass
class _Poses:
    """Poses of one topic as rows of x y z qx qy qz qw."""

    topic: str
    msgtype: str
    stamps: array[int] = field(default_factory=lambda: array("q"))
    rows: array[float] = field(default_factory=lambda: array("d"))
    frames: set[tuple[str, str]] = field(default_factory=set)

    def add(self, message: Any) -> None:
        pose = message.pose if self.msgtype == POSE else message.pose.pose
        p, q = pose.position, pose.orientation
        self.stamps.append(stamp_ns_of(message))
        self.rows.extend((p.x, p.y, p.z, q.x, q.y, q.z, q.w))
        child = message.child_frame_id if self.msgtype == ODOMETRY else ""
        self.frames.add((frame_name(message.header.frame_id), frame_name(child)))

    def ascending(self) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
        """Stamps, the poses that can be used, and how many cannot."""
        stamps = np.array(self.stamps, dtype=np.int64)
        rows = np.array(self.rows, dtype=np.float64).reshape(-1, 7)
        norms = np.linalg.norm(rows[:, 3:], axis=1)
        usable = np.isfinite(rows).all(axis=1) & (np.abs(norms - 1.0) <= QUATERNION_NORM_TOLERANCE)
        stamps, rows = stamps[usable], rows[usable]
        order = np.argsort(stamps, kind="stable")
        stamps, rows = stamps[order], rows[order]
        fresh = np.diff(stamps, prepend=-1) > 0
        poses = poses_from_quaternions(rows[fresh, :3], rows[fresh, 3:])
        return stamps[fresh], poses, int((~usable).sum())


def index_bag(bag: BagReader, topics: BagTopics) -> BagIndex:
    """Read all of a bag's messages on ``topics`` once, in order, and note their stamps.

    Images are not decoded. The time it takes is that of reading the topics' bytes from the disk.

    Raises:
        SequenceError: the bag is damaged, has no calibration or several different ones, or poses
            of several frames on one topic.
    """
    images, depths, infos = _Times(), _Times(), _Times()
    poses = _Poses(topics.pose, bag.types[topics.pose])
    transforms = StaticTransforms()
    static = static_transform_topics(bag)
    calibrations: dict[tuple[object, ...], Any] = {}
    image_frame: str | None = None
    wanted = {topics.image, topics.camera_info, topics.depth, topics.pose, *static} - {""}
    for topic, recorded_ns, message in bag.messages(sorted(wanted)):
        if topic == topics.image:
            images.add(message, recorded_ns)
            if image_frame is None:
                image_frame = frame_name(message.header.frame_id)
        elif topic == topics.depth:
            depths.add(message, recorded_ns)
        elif topic == topics.camera_info:
            infos.add(message, recorded_ns)
            calibrations.setdefault(calibration_key(message), message)
        elif topic == topics.pose:
            poses.add(message)
        else:
            _add_transforms(bag, topic, transforms, message)
    if len(calibrations) != 1:
        raise SequenceError(
            f"{bag.path}: expected one calibration on {topics.camera_info} for all images. "
            f"Got {len(calibrations)} different ones in {len(infos)} messages"
        )
    if len(poses.frames) > 1:
        raise SequenceError(
            f"{bag.path}: expected poses of one frame in another one on {topics.pose}. "
            f"Got (frame_id, child_frame_id) {sorted(poses.frames)}"
        )
    fresh = images.ascending()
    stamps, matrices, unusable = poses.ascending()
    return BagIndex(
        images=fresh,
        depths=depths.ascending(),
        infos=infos.ascending(),
        repeated_images=len(images) - len(fresh),
        info=next(iter(calibrations.values())),
        pose_stamps=stamps,
        poses=matrices,
        unusable_poses=unusable,
        image_frame=image_frame or "",
        pose_frame=next(iter(poses.frames))[1] if poses.frames else "",
        transforms=transforms,
    )


def _add_transforms(bag: BagReader, topic: str, transforms: StaticTransforms, message: Any) -> None:
    try:
        transforms.add(message)
    except PoseError as error:
        raise SequenceError(
            f"{bag.path}: expected rigid transforms on {topic}. Got {error}"
        ) from error

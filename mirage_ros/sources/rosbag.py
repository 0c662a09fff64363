"""RGB-D frames of a recorded rosbag2 bag (sqlite3 or MCAP), without ROS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import CameraError, ConfigurationError, FrameError, SequenceError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.camera_info import camera_from_info
from mirage_ros.geometry.interpolation import NANOSECONDS, PoseBuffer, PoseUnavailableError
from mirage_ros.geometry.poses import validate_pose
from mirage_ros.geometry.rectify import Rectifier
from mirage_ros.sources.bag_index import BagIndex, index_bag
from mirage_ros.sources.bag_reader import BagReader
from mirage_ros.sources.bag_topics import COMPRESSED_IMAGE, BagTopics, choose_topics
from mirage_ros.sources.frame_source import FrameSource
from mirage_ros.sources.image_messages import (
    depth_from_image,
    rgb_from_compressed,
    rgb_from_image,
)


@dataclass(frozen=True)
class BagOptions:
    """How a bag is read.

    Attributes:
        topics: which topics; those not named are found by type.
        T_base_camera: (4, 4) pose of the camera's optical frame in the frame that the poses are of,
            the identity where they are the camera's own; None: from /tf_static in the bag.
        base_frame: the frame that the poses are of, where T_base_camera is None; empty: the
            odometry's child_frame_id.
        image_is_rectified: images are rectified already: take P of camera_info, ignore distortion.
        slop_s: largest time between an image and its camera_info and depth, seconds.
        pose_max_gap_s: poses further apart are not interpolated between, seconds.
        allow_no_depth: read a bag without any depth topic; the frames' depth is None.

    Raises:
        ConfigurationError: a time is out of range.
        PoseError: ``T_base_camera`` is not rigid.
    """

    topics: BagTopics = field(default_factory=BagTopics)
    T_base_camera: NDArray[np.float64] | None = None
    base_frame: str = ""
    image_is_rectified: bool = False
    slop_s: float = 0.02
    pose_max_gap_s: float = 0.5
    allow_no_depth: bool = False

    def __post_init__(self) -> None:
        if not self.slop_s >= 0.0 or not self.pose_max_gap_s > 0.0:
            raise ConfigurationError(
                "slop_s must not be negative and pose_max_gap_s positive, seconds. "
                f"Got {self.slop_s} and {self.pose_max_gap_s}"
            )
        if self.T_base_camera is not None:
            validate_pose(self.T_base_camera, "T_base_camera")


@dataclass(frozen=True)
class _Entry:
    """One frame in the bag: (stamp, time of recording) of its messages, nanoseconds."""

    number: int
    image: tuple[int, int]
    depth: tuple[int, int] | None
    T_world_camera: NDArray[np.float64]


class RosbagSequence(FrameSource):
    """Frames of a bag, read and decoded when asked for; safe to index from several threads.

    Opening reads the chosen topics once from beginning to end and keeps about half a kilobyte per
    image and a hundred bytes per pose. A frame then costs two look-ups by time (see
    :class:`~mirage_ros.sources.bag_reader.BagReader`) and the decoding. An image is left out where
    no camera_info or depth lies within the slop, or the poses around its stamp are missing. The
    world is the frame that the poses are given in.

    Args:
        path: the bag's directory, or one storage file.
        options: how to read it; None = the defaults.

    Attributes:
        path: the bag.
        layout: always ``rosbag2``.
        topics: the topics that are read.
        camera: intrinsics of every image after rectification, corner convention.
        left_out: number of images that make no frame, which are not counted in ``len``.
        left_out_for: the same by what was missing.

    Raises:
        SequenceError: not a bag, a damaged one, or one from which no frame can be made; the message
            says what is missing.
        ConfigurationError: the package ``rosbags`` is not installed.
    """

    layout = "rosbag2"

    def __init__(self, path: str | Path, options: BagOptions | None = None) -> None:
        self.path = Path(path).expanduser()
        self._options = BagOptions() if options is None else options
        self._bag = BagReader(self.path)
        try:
            self.topics = choose_topics(
                self._bag, self._options.topics, allow_no_depth=self._options.allow_no_depth
            )
            index = index_bag(self._bag, self.topics)
            self._rectifier = self._make_rectifier(index)
            self.left_out_for: dict[str, int] = {}
            self._entries = self._pair(index, self._extrinsics(index))
            # Encodings and sizes that cannot be used are told now rather than later.
            _ = self[0]
        except BaseException:
            self._bag.close()
            raise

    @property
    def camera(self) -> PinholeCamera:
        """Intrinsics of every image after rectification, corner convention."""
        return self._rectifier.camera

    @property
    def left_out(self) -> int:
        """Number of images that make no frame."""
        return sum(self.left_out_for.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> RgbdFrame:
        """The frame at a position, negative ones counted from the end.

        Raises:
            IndexError: outside the sequence.
            SequenceError: an image cannot be read, or is not of the calibrated size.
        """
        entry = self._entries[index]
        image = self._image(entry)
        depth = None if entry.depth is None else self._depth(entry.depth)
        return RgbdFrame(entry.image[0], image, depth, self.camera, entry.T_world_camera.copy())

    @property
    def stamps_ns(self) -> NDArray[np.int64]:
        """(N,) times of exposure, nanoseconds, ascending."""
        return np.array([entry.image[0] for entry in self._entries], dtype=np.int64)

    @property
    def frame_numbers(self) -> NDArray[np.int64]:
        """(N,) positions among all images of the bag, from 0, which have gaps where some miss."""
        return np.array([entry.number for entry in self._entries], dtype=np.int64)

    @property
    def poses(self) -> NDArray[np.float64]:
        """(N, 4, 4) T_world_camera of every frame, optical convention; nothing is decoded."""
        return np.stack([entry.T_world_camera for entry in self._entries])

    def close(self) -> None:
        """Close the bag's files; no frame can be read afterwards."""
        self._bag.close()

    def _image(self, entry: _Entry) -> NDArray[np.uint8]:  # (H, W, 3)
        topic = self.topics.image
        message = self._bag.message(topic, entry.image[1], entry.image[0])
        try:
            if self._bag.types[topic] == COMPRESSED_IMAGE:
                image = rgb_from_compressed(message)
            else:
                image = rgb_from_image(message)
            return self._rectifier.rectify_image(image)
        except FrameError as error:
            raise self._unusable(topic, entry.image[0], error) from error

    def _depth(self, times: tuple[int, int]) -> NDArray[np.float32]:  # (H, W)
        topic = self.topics.depth
        message = self._bag.message(topic, times[1], times[0])
        try:
            return self._rectifier.rectify_depth(depth_from_image(message))
        except FrameError as error:
            raise self._unusable(topic, times[0], error) from error

    def _unusable(self, topic: str, stamp_ns: int, error: FrameError) -> SequenceError:
        return SequenceError(f"{self.path}: {topic} at stamp {stamp_ns} ns: {error}")

    def _make_rectifier(self, index: BagIndex) -> Rectifier:
        try:
            if self._options.image_is_rectified:
                camera = camera_from_info(index.info, rectified=True)
                return Rectifier(camera, "plumb_bob", np.zeros(5))
            return Rectifier.from_info(index.info)
        except CameraError as error:
            raise SequenceError(
                f"{self.path}: expected a usable calibration on {self.topics.camera_info}. "
                f"Got {error}"
            ) from error

    def _extrinsics(self, index: BagIndex) -> NDArray[np.float64]:  # (4, 4) T_base_camera
        if self._options.T_base_camera is not None:
            return validate_pose(self._options.T_base_camera)
        base, camera = self._options.base_frame.lstrip("/") or index.pose_frame, index.image_frame
        found = index.transforms.lookup(base, camera) if base and camera else None
        if found is None:
            raise SequenceError(
                f"{self.path}: expected T_base_camera (the identity where the poses are the "
                f"camera's own), or /tf_static from the frame that the poses are of to the image's "
                f"frame. Got poses of '{base}', images in '{camera}' and frames "
                f"{index.transforms.frames}"
            )
        return found

    def _pair(
        self,
        index: BagIndex,
        T_base_camera: NDArray[np.float64],  # (4, 4)
    ) -> list[_Entry]:
        """Every image that has all its partners."""
        poses = _buffer(index, self._options.pose_max_gap_s)
        slop_ns = round(self._options.slop_s * NANOSECONDS)
        with_info = _nearest(index.infos, index.images, slop_ns)[1]
        nearest_depth, with_depth = _nearest(index.depths, index.images, slop_ns)
        missing = {
            "stamp of its own": index.repeated_images,
            "camera_info": 0,
            "depth": 0,
            "pose": 0,
        }
        why_no_pose = ""
        entries = []
        for number, (stamp_ns, recorded_ns) in enumerate(index.images.tolist()):
            depth = None
            if not with_info[number]:
                missing["camera_info"] += 1
                continue
            if self.topics.depth:
                if not with_depth[number]:
                    missing["depth"] += 1
                    continue
                depth_stamp_ns, depth_recorded_ns = index.depths[nearest_depth[number]].tolist()
                depth = (depth_stamp_ns, depth_recorded_ns)
            try:
                T_world_base = poses.interpolate(stamp_ns, extrapolate=False)
            except PoseUnavailableError as error:
                missing["pose"] += 1
                why_no_pose = why_no_pose or f" ({error})"
                continue
            T_world_camera = T_world_base @ T_base_camera
            entries.append(_Entry(number, (stamp_ns, recorded_ns), depth, T_world_camera))
        self.left_out_for = {what: count for what, count in missing.items() if count}
        if not entries:
            reasons = ", ".join(f"{n} without {what}" for what, n in self.left_out_for.items())
            raise SequenceError(
                f"{self.path}: expected at least one image with camera_info and depth within "
                f"{self._options.slop_s} s and a pose at its stamp. Got {len(index.images)} images "
                f"on {self.topics.image}: {reasons or 'none'}{why_no_pose}; {len(index.poses)} "
                f"usable and {index.unusable_poses} unusable poses on {self.topics.pose}"
            )
        return entries


def _buffer(index: BagIndex, max_gap_s: float) -> PoseBuffer:
    """All poses of a bag, to be interpolated between."""
    span_ns = int(np.ptp(index.pose_stamps)) if len(index.pose_stamps) else 0
    buffer = PoseBuffer(
        capacity=max(2, len(index.poses)),
        max_age_s=span_ns / NANOSECONDS + 1.0,
        max_gap_s=max_gap_s,
        max_extrapolation_s=0.0,
    )
    for stamp_ns, pose in zip(index.pose_stamps.tolist(), index.poses, strict=True):
        buffer.add(stamp_ns, pose)
    return buffer


def _nearest(
    partners: NDArray[np.int64],  # (M, 2) stamp first, ascending
    images: NDArray[np.int64],  # (N, 2) likewise
    slop_ns: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:  # (N,) row of the nearest, (N,) near enough
    if not len(partners):
        return np.zeros(len(images), np.int64), np.zeros(len(images), np.bool_)
    stamps, wanted = partners[:, 0], images[:, 0]
    after = np.clip(np.searchsorted(stamps, wanted), 0, len(stamps) - 1)
    before = np.clip(after - 1, 0, None)
    nearest = np.where(wanted - stamps[before] <= np.abs(stamps[after] - wanted), before, after)
    return nearest, np.abs(stamps[nearest] - wanted) <= slop_ns

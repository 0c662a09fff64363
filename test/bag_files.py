"""Writes small rosbag2 recordings of a robot whose motion is known, for tests that read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mirage_ros.geometry import fill_camera_info, pose_from_quaternion
from mirage_ros.geometry.camera import PinholeCamera

STORE = get_typestore(Stores.LATEST)

#: Of the first image, nanoseconds; doubles would round stamps of this size.
START_NS = 1_700_000_000_123_456_789
PERIOD_NS = 100_000_000
FRAMES = 6
CAMERA = PinholeCamera(16, 12, 20.0, 21.0, 8.25, 6.5)

IMAGE, INFO, DEPTH = "/cam/color/image_raw", "/cam/color/camera_info", "/cam/depth/image_raw"
POSE, STATIC = "/odom", "/tf_static"

#: base_link -> mast -> camera; the second is written the other way round, camera -> mast.
T_BASE_MAST = pose_from_quaternion([0.1, 0.0, 0.8], [0.0, 0.0, math.sin(0.2), math.cos(0.2)])
T_CAMERA_MAST = pose_from_quaternion([0.0, 0.3, -0.1], [0.5, -0.5, 0.5, 0.5])
T_BASE_CAMERA = T_BASE_MAST @ np.linalg.inv(T_CAMERA_MAST)


@dataclass
class Record:
    """One message to be written."""

    topic: str
    msgtype: str
    message: Any

    @property
    def stamp_ns(self) -> int:
        header = self.message.header if hasattr(self.message, "header") else None
        return START_NS if header is None else header.stamp.sec * 10**9 + header.stamp.nanosec


def make(name: str, **fields: Any) -> Any:
    return STORE.types[name](**fields)


def header(stamp_ns: int, frame_id: str) -> Any:
    seconds, rest = divmod(stamp_ns, 10**9)
    stamp = make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image_message(
    pixels: np.ndarray, encoding: str, stamp_ns: int, frame_id: str = "camera"
) -> Any:
    data = np.ascontiguousarray(pixels)
    return make(
        "sensor_msgs/msg/Image",
        header=header(stamp_ns, frame_id),
        height=data.shape[0],
        width=data.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=data.strides[0],
        data=np.frombuffer(data.tobytes(), np.uint8),
    )


def png_message(pixels: np.ndarray, stamp_ns: int) -> Any:
    data = cv2.imencode(".png", pixels[..., ::-1])[1].reshape(-1)
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=header(stamp_ns, "camera"),
        format="rgb8; png compressed bgr8",
        data=data,
    )


def info_message(stamp_ns: int, camera: PinholeCamera = CAMERA) -> Any:
    region = {"x_offset": 0, "y_offset": 0, "height": 0, "width": 0, "do_rectify": False}
    message = make(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp_ns, "camera"),
        height=0,
        width=0,
        distortion_model="",
        d=[],
        k=[],
        r=[],
        p=[],
        binning_x=0,
        binning_y=0,
        roi=make("sensor_msgs/msg/RegionOfInterest", **region),
    )
    fill_camera_info(camera, message)
    for name in "dkrp":
        setattr(message, name, np.array(getattr(message, name), np.float64))
    return message


def vector(kind: str, xyz: Iterable[float]) -> Any:
    return make(f"geometry_msgs/msg/{kind}", **dict(zip("xyz", map(float, xyz), strict=True)))


def pose_message(pose: np.ndarray) -> Any:
    """Of a pose that turns about z only."""
    half = math.atan2(pose[1, 0], pose[0, 0]) / 2.0
    orientation = {"x": 0.0, "y": 0.0, "z": math.sin(half), "w": math.cos(half)}
    return make(
        "geometry_msgs/msg/Pose",
        position=vector("Point", pose[:3, 3]),
        orientation=make("geometry_msgs/msg/Quaternion", **orientation),
    )


def odometry_message(stamp_ns: int, pose: np.ndarray, child: str = "base_link") -> Any:
    twist = make(
        "geometry_msgs/msg/Twist",
        linear=vector("Vector3", (0, 0, 0)),
        angular=vector("Vector3", (0, 0, 0)),
    )
    covariance = np.zeros(36)
    return make(
        "nav_msgs/msg/Odometry",
        header=header(stamp_ns, "odom"),
        child_frame_id=child,
        pose=make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=pose_message(pose),
            covariance=covariance,
        ),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=covariance),
    )


def transforms_message(links: Iterable[tuple[str, str, np.ndarray, list[float]]]) -> Any:
    """Of (parent, child, translation, quaternion x y z w)."""
    transforms = []
    for parent, child, translation, quaternion in links:
        rotation = make(
            "geometry_msgs/msg/Quaternion", **dict(zip("xyzw", quaternion, strict=True))
        )
        transforms.append(
            make(
                "geometry_msgs/msg/TransformStamped",
                header=header(START_NS, parent),
                child_frame_id=child,
                transform=make(
                    "geometry_msgs/msg/Transform",
                    translation=vector("Vector3", translation),
                    rotation=rotation,
                ),
            )
        )
    return make("tf2_msgs/msg/TFMessage", transforms=transforms)


def base_pose(stamp_ns: int) -> np.ndarray:
    """The robot runs along x at 2 m/s and turns at 1 rad/s."""
    t = (stamp_ns - START_NS) * 1e-9
    return pose_from_quaternion([2.0 * t, 1.0, 0.0], [0, 0, math.sin(t / 2), math.cos(t / 2)])


def pixels_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Colour (H, W, 3) uint8, and depth (H, W) uint16 millimetres with two unknown pixels."""
    rng = np.random.default_rng(number)
    colour = rng.integers(0, 256, (CAMERA.height, CAMERA.width, 3), dtype=np.uint8)
    depth = rng.integers(300, 9000, (CAMERA.height, CAMERA.width), dtype=np.uint16)
    depth[0, :2] = 0, 65535
    return colour, depth


def records() -> list[Record]:
    """A whole bag: images at 10 Hz, depth 6 ms later, camera_info 4 ms earlier, poses at 50 Hz."""
    made = [
        Record(
            STATIC,
            "tf2_msgs/msg/TFMessage",
            transforms_message(
                [
                    ("base_link", "mast", T_BASE_MAST[:3, 3], [0, 0, math.sin(0.2), math.cos(0.2)]),
                    ("/camera", "mast", T_CAMERA_MAST[:3, 3], [0.5, -0.5, 0.5, 0.5]),
                ]
            ),
        )
    ]
    for number in range(FRAMES):
        stamp_ns = START_NS + number * PERIOD_NS
        colour, depth = pixels_of(number)
        made += [
            Record(INFO, "sensor_msgs/msg/CameraInfo", info_message(stamp_ns - 4_000_000)),
            Record(IMAGE, "sensor_msgs/msg/Image", image_message(colour, "rgb8", stamp_ns)),
            Record(
                DEPTH,
                "sensor_msgs/msg/Image",
                image_message(depth, "16UC1", stamp_ns + 6_000_000),
            ),
        ]
    first, last = START_NS - 30_000_000, START_NS + (FRAMES - 1) * PERIOD_NS + 30_000_000
    made += [
        Record(POSE, "nav_msgs/msg/Odometry", odometry_message(stamp_ns, base_pose(stamp_ns)))
        for stamp_ns in range(first, last, 20_000_000)
    ]
    return made


def without(*topics: str) -> list[Record]:
    """The same bag less some topics."""
    return [record for record in records() if record.topic not in topics]


def write_bag(path: Path, content: list[Record], storage: str = "sqlite3") -> Path:
    """Write messages in the order of their stamps, as if each had been recorded 3 ms later."""
    plugin = StoragePlugin[storage.upper()]
    with Writer(path, version=9, storage_plugin=plugin) as bag:
        connections: dict[str, Any] = {}
        for record in sorted(content, key=lambda each: each.stamp_ns):
            if record.topic not in connections:
                connections[record.topic] = bag.add_connection(
                    record.topic, record.msgtype, typestore=STORE
                )
            data = STORE.serialize_cdr(record.message, record.msgtype)
            bag.write(connections[record.topic], record.stamp_ns + 3_000_000, data)
    return path

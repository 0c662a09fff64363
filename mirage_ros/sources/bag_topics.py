"""Which topics of a bag hold the camera: as named, or found by type and by what is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mirage_ros.errors import SequenceError
from mirage_ros.sources.bag_reader import BagReader
from mirage_ros.sources.image_messages import COLOUR_ENCODINGS, DEPTH_ENCODINGS

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
POSE = "geometry_msgs/msg/PoseStamped"
POSE_WITH_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
TRANSFORMS = "tf2_msgs/msg/TFMessage"

#: Types that each kind of topic may have.
TYPES: dict[str, tuple[str, ...]] = {
    "image": (IMAGE, COMPRESSED_IMAGE),
    "camera_info": (CAMERA_INFO,),
    "depth": (IMAGE,),
    "pose": (ODOMETRY, POSE, POSE_WITH_COVARIANCE),
}

_ENCODINGS = {
    "image": f" in {', '.join(COLOUR_ENCODINGS)} or compressed",
    "depth": f" in {', '.join(DEPTH_ENCODINGS)}",
}


@dataclass(frozen=True)
class BagTopics:
    """The topics to read; an empty name is found by type.

    Attributes:
        image: sensor_msgs/Image or CompressedImage, colour or grey.
        camera_info: sensor_msgs/CameraInfo; found beside the image where there are several.
        depth: sensor_msgs/Image, 16UC1 millimetres or 32FC1 metres, registered to the image.
        pose: nav_msgs/Odometry, geometry_msgs/PoseStamped or PoseWithCovarianceStamped.
    """

    image: str = ""
    camera_info: str = ""
    depth: str = ""
    pose: str = ""


def choose_topics(bag: BagReader, wanted: BagTopics, *, allow_no_depth: bool) -> BagTopics:
    """The topic of each kind; ``depth`` stays empty where there is none and that is allowed.

    Raises:
        SequenceError: a topic that is named is missing or of another type, or one that is not named
            is missing or ambiguous; the message lists the topics that the bag holds.
    """
    image = _choose(bag, "image", wanted.image, _is_colour)
    depth = _choose(bag, "depth", wanted.depth, _is_depth, required=not allow_no_depth)
    beside = _info_topic_of(image)
    camera_info = wanted.camera_info or (beside if beside in _of_type(bag, "camera_info") else "")
    return BagTopics(
        image=image,
        camera_info=_choose(bag, "camera_info", camera_info),
        depth=depth,
        pose=_choose(bag, "pose", wanted.pose),
    )


def static_transform_topics(bag: BagReader) -> list[str]:
    """Topics with transforms that hold for ever."""
    return [
        topic
        for topic, msgtype in bag.types.items()
        if topic.endswith("/tf_static") and msgtype == TRANSFORMS
    ]


def _choose(
    bag: BagReader,
    kind: str,
    name: str,
    suits: Callable[[BagReader, str], bool] = lambda _bag, _topic: True,
    *,
    required: bool = True,
) -> str:
    """The topic of a kind: the one that is named, or the only one of its type that suits."""
    types = " or ".join(TYPES[kind])
    if name:
        topic = f"/{name.lstrip('/')}"
        if bag.types.get(topic) not in TYPES[kind]:
            raise SequenceError(
                f"{bag.path}: expected the {kind} topic {topic} of type {types}. "
                f"Got {_listed(bag, bag.types)}"
            )
        return topic
    found = [topic for topic in _of_type(bag, kind) if suits(bag, topic)]
    if len(found) == 1:
        return found[0]
    if found:
        raise SequenceError(
            f"{bag.path}: expected one {kind} topic, or the name of the one to read. "
            f"Got {_listed(bag, found)}"
        )
    if required:
        raise SequenceError(
            f"{bag.path}: expected one {kind} topic of type {types}"
            f"{_ENCODINGS.get(kind, '')}. Got {_listed(bag, bag.types)}"
        )
    return ""


def _of_type(bag: BagReader, kind: str) -> list[str]:
    """Topics that have messages, all of a type that the kind may have."""
    return [
        topic
        for topic, msgtype in bag.types.items()
        if msgtype in TYPES[kind] and bag.counts[topic] > 0
    ]


def _is_colour(bag: BagReader, topic: str) -> bool:
    encoding = _encoding(bag, topic)
    if bag.types[topic] == COMPRESSED_IMAGE:
        # compressed_depth_image_transport has its own way of packing depth into a PNG.
        return "compressedDepth" not in encoding
    return encoding in COLOUR_ENCODINGS


def _is_depth(bag: BagReader, topic: str) -> bool:
    return _encoding(bag, topic) in DEPTH_ENCODINGS


def _encoding(bag: BagReader, topic: str) -> str:
    """Of the first image of a topic; the format where it is compressed."""
    message = bag.first(topic)
    return str(getattr(message, "encoding", getattr(message, "format", "unknown")))


def _info_topic_of(image: str) -> str:
    """Where image_transport looks for the camera_info of an image: beside it."""
    base = image.removesuffix("/compressed")
    return f"{base.rpartition('/')[0]}/camera_info"


def _listed(bag: BagReader, topics: Iterable[str]) -> str:
    """Topics with types and numbers of messages, and encodings of images."""
    names = []
    for topic in topics:
        facts = [bag.types[topic], f"{bag.counts[topic]} messages"]
        if bag.types[topic] in TYPES["image"] and bag.counts[topic] > 0:
            facts.append(_encoding(bag, topic))
        names.append(f"{topic} ({', '.join(facts)})")
    return ", ".join(names) or "a bag without topics"

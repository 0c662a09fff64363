"""Where sensor data comes from on a desk without a robot."""

from mirage_ros.sources.bag_topics import BagTopics
from mirage_ros.sources.rgbd_sequence import RgbdSequence, open_sequence
from mirage_ros.sources.rosbag import BagOptions, RosbagSequence

__all__ = ["BagOptions", "BagTopics", "RgbdSequence", "RosbagSequence", "open_sequence"]

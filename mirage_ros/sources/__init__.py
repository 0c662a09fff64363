"""Where sensor data comes from on a desk without a robot."""

from mirage_ros.sources.rgbd_sequence import RgbdSequence, open_sequence

__all__ = ["RgbdSequence", "open_sequence"]

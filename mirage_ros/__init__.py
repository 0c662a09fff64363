"""Latent spatial memory world model for ROS 2.

The core (everything but ``mirage_ros.nodes``) imports without ROS; ``mirage_ros.nodes`` imports
without torch. Nothing is imported here, so that either half loads alone.
"""

__version__ = "0.1.0"

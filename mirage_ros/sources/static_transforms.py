"""Frames that are fixed to each other, as ``/tf_static`` names and connects them."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import PoseError
from mirage_ros.geometry.poses import inverse, pose_from_quaternion


class StaticTransforms:
    """A tree of rigidly connected frames."""

    def __init__(self) -> None:
        #: Of each frame, its neighbours: T_frame_neighbour.
        self._neighbours: dict[str, dict[str, NDArray[np.float64]]] = {}

    def add(self, message: Any) -> None:
        """Take the transforms of a ``tf2_msgs/TFMessage``; a later one replaces an earlier.

        Raises:
            PoseError: a transform is not finite, or its quaternion is not of unit norm.
        """
        for stamped in message.transforms:
            parent, child = frame_name(stamped.header.frame_id), frame_name(stamped.child_frame_id)
            t, q = stamped.transform.translation, stamped.transform.rotation
            try:
                pose = pose_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            except PoseError as error:
                raise PoseError(f"transform from '{parent}' to '{child}': {error}") from error
            self._neighbours.setdefault(parent, {})[child] = pose
            self._neighbours.setdefault(child, {})[parent] = inverse(pose)

    def lookup(self, target: str, source: str) -> NDArray[np.float64] | None:  # (4, 4)
        """T_target_source, None where nothing connects the two."""
        if target == source:
            return np.eye(4)
        found = {target: np.eye(4)}
        waiting = deque([target])
        while waiting:
            frame = waiting.popleft()
            for neighbour, pose in self._neighbours.get(frame, {}).items():
                if neighbour not in found:
                    found[neighbour] = found[frame] @ pose
                    waiting.append(neighbour)
        return found.get(source)

    @property
    def frames(self) -> list[str]:
        """Names of all frames."""
        return sorted(self._neighbours)


def frame_name(frame_id: str) -> str:
    """A frame id without the slash that some drivers still put before it."""
    return str(frame_id).lstrip("/")

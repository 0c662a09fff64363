"""Closed loops: the camera leaves and comes back; is what it left still there?

Two protocols, which ask different questions:

*Recall.* The memory is given the first frame and then the keyframes of the way, as the node would
give them. The view from the first pose is predicted right after the first frame, when nothing else
is known, and again at the end. Both are compared with the true first frame. What the second lost
against the first is what the way did to the memory: what was overwritten, merged, forgotten or
hidden. A closed tour really comes back, and all its frames are given but the last one, which is
what is asked for. A recording that does not come back ends where it ends: its frames backwards
would show the memory once more what it is asked for.

*Rollout.* The memory is given the first frame and nothing else. The world model imagines a path
that leaves and returns to the first pose, chunk by chunk without any observation, and its last
frame is compared with the true first frame. This is the closed loop of video world models
(RealEstate10K). Poses of a recording that does not come back are gone back in reverse. A generator
that starts from a frame starts from the first one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.protocol import (
    Contender,
    Distance,
    Image,
    Mask,
    Progress,
    Size,
    View,
    ViewFigures,
    imagined,
    no_progress,
    view_figures,
)
from mirage_ros.frames import RgbdFrame
from mirage_ros.keyframes import KeyframePolicy


@dataclass(frozen=True)
class Recall:
    """The first view, before and after the way.

    Attributes:
        at_once: remembered from the first frame alone.
        at_end: after everything.
        image: the view at the end.
        elements: tokens or points held at the end.
    """

    at_once: ViewFigures
    at_end: ViewFigures
    image: Image
    elements: int


@dataclass(frozen=True)
class Rollout:
    """The last frame of a path imagined from the first frame alone.

    Attributes:
        last: against the true first frame.
        image: the last frame.
        least_known: least share of a frame on the way that was remembered: how far the camera left.
    """

    last: ViewFigures
    image: Image
    least_known: float


def keyframes(
    stamps_ns: NDArray[np.int64],  # (N,)
    T_world_camera: NDArray[np.float64],  # (N, 4, 4)
    policy: KeyframePolicy | None = None,
) -> list[int]:
    """Which frames of a way the node would remember; the first is always one."""
    policy = policy or KeyframePolicy()
    kept: list[int] = []
    for index, (stamp_ns, pose) in enumerate(zip(stamps_ns, T_world_camera, strict=True)):
        last = kept[-1] if kept else None
        if policy.wants(
            int(stamp_ns),
            pose,
            None if last is None else int(stamps_ns[last]),
            None if last is None else T_world_camera[last],
        ):
            kept.append(index)
    return kept


def some_poses(
    T_world_camera: NDArray[np.float64],  # (N, 4, 4)
    most: int,
) -> NDArray[np.float64]:  # (M, 4, 4)
    """At most ``most`` poses of a path, evenly chosen, the first and the last among them.

    Raises:
        ConfigurationError: no pose, or fewer than two allowed.
    """
    if len(T_world_camera) == 0 or most < 2:
        raise ConfigurationError(
            "a path needs at least one pose, and room for two. "
            f"Got {len(T_world_camera)}, at most {most}"
        )
    count = min(most, len(T_world_camera))
    chosen = np.rint(np.linspace(0, len(T_world_camera) - 1, count)).astype(np.int64)
    return T_world_camera[chosen]


def there_and_back(
    T_world_camera: NDArray[np.float64],  # (N, 4, 4)
) -> NDArray[np.float64]:  # (2 N - 1, 4, 4)
    """A path and the same in reverse; the last pose, where it turns, comes once."""
    return np.concatenate([T_world_camera, T_world_camera[:-1][::-1]])


def recall(
    contender: Contender,
    codec: Codec,
    frames: Sequence[RgbdFrame],  # the first, then the keyframes of the way
    size: Size,
    *,
    distance: Distance | None = None,
    progress: Progress = no_progress,
) -> Recall:
    """Remember a way and predict the first view again.

    Raises:
        ConfigurationError: no frame.
        MirageError: a frame cannot be remembered.
    """
    if not frames:
        raise ConfigurationError("a closed loop needs a first frame. Got none")
    model = contender.world_model(codec, size)
    first = size.fit(frames[0])
    model.observe(first)
    at_once = _figures(contender, imagined(model, first), first, codec, distance)
    for frame in progress(frames[1:], f"recall: {contender.name}"):
        model.observe(frame)
    image, covered = imagined(model, first)
    at_end = _figures(contender, (image, covered), first, codec, distance)
    return Recall(at_once, at_end, image, model.token_count)


def rollout(
    contender: Contender,
    codec: Codec,
    first: RgbdFrame,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4) from the first pose to the first pose
    size: Size,
    *,
    distance: Distance | None = None,
) -> Rollout:
    """Remember one frame, imagine a path that ends where it was taken, and compare.

    Raises:
        ConfigurationError: the path does not end at the frame's pose.
        PoseError: no pose, or one that is not rigid.
        MirageError: the frame cannot be remembered.
    """
    if len(T_world_camera) and not np.array_equal(T_world_camera[-1], first.T_world_camera):
        raise ConfigurationError(
            "a closed loop must end at the pose of its first frame. Got another one"
        )
    model = contender.world_model(codec, size)
    first = size.fit(first)
    model.observe(first)
    views = list(model.imagine(T_world_camera, first.camera, first_frame=first))
    last = (views[-1].image, views[-1].coverage > 0)
    figures = _figures(contender, last, first, codec, distance)
    return Rollout(figures, views[-1].image, min(view.known_fraction for view in views))


def _figures(
    contender: Contender,
    made: tuple[Image, Mask],
    first: RgbdFrame,  # fitted
    codec: Codec,
    distance: Distance | None,
) -> ViewFigures:
    image, covered = made
    view = View(contender.name, image, covered, is_memory=True, seconds=math.nan)
    return view_figures([view], first.image, codec, distance)[0]

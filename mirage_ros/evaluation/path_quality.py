"""Whether the frames of an imagined path show one world, from where they were asked to.

The three measures are WorldScore's, with substitutes for its networks that every report has to name
(:data:`~mirage_ros.evaluation.consistency.FLOW_METHOD` and its like). Features are lifted by the
true depth, and a view's pose is recovered against the true frame at the pose asked for. The true
frames' own score is what a perfect prediction would get; their camera control is exact by
construction. Consistency does not ask for right pictures: a fixed cloud of points is consistent,
and can exceed true frames whose poses are noisy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mirage_ros.codec.base import Codec
from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.evaluation.camera_control import CameraControl, camera_control
from mirage_ros.evaluation.consistency import (
    PhotometricConsistency,
    ReprojectionConsistency,
    photometric_consistency,
    reprojection_consistency,
)
from mirage_ros.evaluation.protocol import (
    CODEC,
    Contender,
    Image,
    Progress,
    Size,
    no_progress,
    through_codec,
)
from mirage_ros.frames import RgbdFrame

#: Name of the true frames' row.
TRUTH = "true frames"


@dataclass(frozen=True)
class PathQuality:
    """What the pictures of a path are worth.

    Attributes:
        name: who made them.
        photometric: flow there and back.
        reprojection: features of one picture in another.
        control: poses recovered against poses asked for.
    """

    name: str
    photometric: PhotometricConsistency
    reprojection: ReprojectionConsistency
    control: CameraControl


def path_pictures(
    contenders: Sequence[Contender],
    codec: Codec,
    sources: Sequence[RgbdFrame],
    path: Sequence[RgbdFrame],
    size: Size,
    progress: Progress = no_progress,
) -> dict[str, list[Image]]:
    """Pictures of a path by who made them: the truth, the codec, then every memory.

    Every memory is given the sources and imagines the whole path in one rollout, which begins with
    the path's first frame where the contender's generator starts from one.

    Raises:
        ConfigurationError: fewer than two frames in the path.
        MirageError: a frame cannot be remembered.
    """
    if len(path) < 2:
        raise ConfigurationError(f"a path needs at least two frames. Got {len(path)}")
    truth = [size.fit(frame).image for frame in path]
    pictures = {TRUTH: truth, CODEC: [through_codec(codec, image) for image in truth]}
    poses = np.stack([frame.T_world_camera for frame in path])
    for contender in contenders:
        model = contender.world_model(codec, size)
        for frame in progress(sources, f"path: {contender.name}"):
            model.observe(frame)
        views = model.imagine(poses, path[0].camera, first_frame=path[0])
        pictures[contender.name] = [view.image for view in views]
    return pictures


def path_quality(
    name: str, pictures: Sequence[Image], path: Sequence[RgbdFrame], size: Size
) -> PathQuality:
    """What pictures of a path are worth.

    Raises:
        ConfigurationError: not one picture for every frame, or fewer than two.
        FrameError: a frame without depth, or pictures of another size.
    """
    if len(pictures) != len(path):
        raise ConfigurationError(
            f"there must be a picture for every frame. Got {len(pictures)} and {len(path)}"
        )
    frames = [size.fit(frame) for frame in path]
    depth = []
    for frame in frames:
        if frame.depth is None:
            raise FrameError("the frames of a path must have depth. Got one without")
        depth.append(frame.depth)
    camera, poses = frames[0].camera, np.stack([frame.T_world_camera for frame in frames])
    return PathQuality(
        name,
        photometric_consistency(pictures),
        reprojection_consistency(pictures, camera, poses, depth),
        camera_control(pictures, camera, poses, [[frame] for frame in frames]),
    )

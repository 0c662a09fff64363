"""Where a predicted view seems to be taken from, against where it was asked to be taken from.

WorldScore (Duan et al. 2025, arXiv 2504.00983) takes the camera's path from DROID-SLAM and aligns
its scale. Here :data:`POSE_METHOD` stands in for it, and every report has to say so: with metric
depth there is a pose for every single view and no scale to align, so wrong scale counts as error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.evaluation.features import Features, depth_at, detect, match
from mirage_ros.evaluation.image_metrics import means
from mirage_ros.evaluation.picture import Picture
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import (
    inverse,
    rotation_angle,
    translation_distance,
    validate_pose,
)

#: What stands in for DROID-SLAM, for reports.
POSE_METHOD = "PnP on SIFT matches with true RGB-D frames in place of DROID-SLAM"

#: Errors at which camera control is 0 (WorldScore).
WORST_ROTATION_DEG = 15.0
WORST_TRANSLATION_M = 0.5

#: A match this far off the pose, pixels of a picture of 512 x 512, is a wrong match.
GATE_PX = 4.0

#: With fewer matches that agree, or a smaller share of them, no pose is believed: among some
#: hundred wrong matches there is always a pose that a dozen agree with.
MIN_INLIERS = 12
MIN_INLIER_SHARE = 0.2

#: References with fewer features of known depth say nothing about a view.
MIN_LANDMARKS = 20

#: Samples of four matches to take a pose from; of that many some are right at the least share.
_SAMPLES = 3000
_CONFIDENCE = 0.9999


@dataclass(frozen=True)
class RecoveredPose:
    """The pose that a picture shows the world from.

    Attributes:
        T_world_camera: (4, 4).
        inliers: matches that agree with it.
        matches: all matches that had depth.
    """

    T_world_camera: NDArray[np.float64]
    inliers: int
    matches: int


@dataclass(frozen=True)
class CameraControl:
    """How well predicted views keep to the poses asked for.

    Attributes:
        rotation_deg: mean error over the recovered views, degrees; NaN when there is none.
        translation_m: likewise, metres.
        score: in [0, 1], 1 is exact; failed views count as 0. NaN without a recovered or failed
            view.
        recovered: views whose pose was found.
        failed: views without one, although their references have enough features.
        blank: views that cannot be judged: their references have too few features with depth.
    """

    rotation_deg: float
    translation_m: float
    score: float
    recovered: int
    failed: int
    blank: int


def camera_control(
    pictures: Sequence[Picture],
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4) the poses asked for
    references: Sequence[Sequence[RgbdFrame]],  # for every picture
) -> CameraControl:
    """Mean errors of the poses recovered from pictures, and WorldScore's score of them.

    References are true frames that see what the picture should show, best taken from the pose asked
    for; their poses and depth are believed. Measured with the true pictures in place of predicted
    ones this gives what a perfect renderer would get.

    Raises:
        ConfigurationError: no picture, or not one pose and one list of references for each.
        FrameError: a picture is not one, or not of the camera's size, or a reference lacks depth.
        PoseError: a pose is not rigid.
    """
    if not pictures or not len(pictures) == len(T_world_camera) == len(references):
        raise ConfigurationError(
            "there must be a picture, and a pose and references for each. Got "
            f"{len(pictures)} pictures, {len(T_world_camera)} poses, {len(references)} references"
        )
    errors = []
    failed = blank = 0
    for picture, asked, frames in zip(pictures, T_world_camera, references, strict=True):
        validate_pose(asked, "T_world_camera")
        landmarks = [_landmarks(frame) for frame in frames]
        found = _recover(picture, camera, landmarks)
        if found is not None:
            errors.append(pose_errors(found.T_world_camera, asked))
        elif sum(len(features) for features, _ in landmarks) < MIN_LANDMARKS:
            blank += 1
        else:
            failed += 1
    judged = len(errors) + failed
    rotation, translation = means(errors) if errors else (math.nan, math.nan)
    score = camera_control_score(rotation, translation) if errors else 0.0
    return CameraControl(
        rotation_deg=rotation,
        translation_m=translation,
        score=score * len(errors) / judged if judged else math.nan,
        recovered=len(errors),
        failed=failed,
        blank=blank,
    )


def camera_control_score(rotation_deg: float, translation_m: float) -> float:
    """WorldScore's score of mean errors: the geometric mean of one score for each, in [0, 1].

    As its released code has it: both are 1 at no error and 0 at the worst one, so that an exact
    rotation does not make up for a hopeless translation.
    """
    rotation = 1.0 - min(rotation_deg / WORST_ROTATION_DEG, 1.0)
    translation = 1.0 - min(translation_m / WORST_TRANSLATION_M, 1.0)
    return math.sqrt(rotation * translation)


def pose_errors(
    T_world_found: NDArray[np.float64],  # (4, 4)
    T_world_asked: NDArray[np.float64],  # (4, 4)
) -> tuple[float, float]:
    """Rotation in degrees and translation in metres between two poses.

    Raises:
        PoseError: a pose is not rigid.
    """
    found = validate_pose(T_world_found, "T_world_found")
    asked = validate_pose(T_world_asked, "T_world_asked")
    return math.degrees(rotation_angle(found, asked)), translation_distance(found, asked)


def recover_pose(
    picture: Picture,
    camera: PinholeCamera,
    references: Sequence[RgbdFrame],
) -> RecoveredPose | None:
    """The pose a picture shows the world from; None when too few matches agree on one.

    Raises:
        FrameError: not a picture, not of the camera's size, or a reference lacks depth.
    """
    return _recover(picture, camera, [_landmarks(frame) for frame in references])


def _landmarks(frame: RgbdFrame) -> tuple[Features, NDArray[np.float64]]:  # N features, (N, 3)
    """Features of known depth, and where they lie in the world."""
    if frame.depth is None:
        raise FrameError("a reference needs depth to lift its features by. Got a frame without")
    features = detect(frame.image)
    depth = depth_at(frame.depth, features.pixels)
    known = np.isfinite(depth)
    features = Features(features.pixels[known], features.descriptors[known])
    points = frame.camera.unproject(features.pixels, depth[known])
    return features, points @ frame.T_world_camera[:3, :3].T + frame.T_world_camera[:3, 3]


def _recover(
    picture: Picture,
    camera: PinholeCamera,
    landmarks: Sequence[tuple[Features, NDArray[np.float64]]],
) -> RecoveredPose | None:
    if picture.shape[:2] != (camera.height, camera.width):
        raise FrameError(
            "a picture must be of the camera's size (height, width) "
            f"{(camera.height, camera.width)}. Got {picture.shape[:2]}"
        )
    features = detect(picture)
    pixels, points = [np.zeros((0, 2))], [np.zeros((0, 3))]
    for known, places in landmarks:
        pairs = match(features, known)
        pixels.append(features.pixels[pairs[:, 0]])
        points.append(places[pairs[:, 1]])
    seen, places = np.concatenate(pixels), np.concatenate(points)
    if len(seen) < MIN_INLIERS:
        return None
    gate_px = GATE_PX * math.sqrt(camera.width * camera.height) / 512.0
    # Features and matrix are both in the corner convention; OpenCV only needs them to agree.
    matrix = camera.matrix
    found, rotation, translation, inliers = cv2.solvePnPRansac(
        places,
        seen,
        matrix,
        None,
        iterationsCount=_SAMPLES,
        reprojectionError=gate_px,
        confidence=_CONFIDENCE,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not found or len(inliers) < max(MIN_INLIERS, MIN_INLIER_SHARE * len(seen)):
        return None
    agree = inliers[:, 0]
    rotation, translation = cv2.solvePnPRefineLM(
        places[agree], seen[agree], matrix, None, rotation, translation
    )
    T_camera_world = np.eye(4)
    T_camera_world[:3, :3] = cv2.Rodrigues(rotation)[0]
    T_camera_world[:3, 3] = translation[:, 0]
    return RecoveredPose(inverse(T_camera_world), len(agree), len(seen))

"""Whether pictures of a path show one world: WorldScore's two consistencies without its networks.

WorldScore (Duan et al. 2025, arXiv 2504.00983) measures with SEA-RAFT and DROID-SLAM. Here
:data:`FLOW_METHOD` and :data:`REPROJECTION_METHOD` stand in for them, and every report has to say
so. Formulas and normalisations are WorldScore's, but the figures are comparable only among
pictures of one size measured by this module. Measure the true pictures along with predicted ones:
their score is what a perfect renderer would get.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.evaluation.features import Features, depth_at, detect, grey, match
from mirage_ros.evaluation.picture import Picture
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import inverse, validate_pose

#: What stands in for SEA-RAFT, for reports.
FLOW_METHOD = "optical flow by OpenCV's DIS in place of SEA-RAFT"

#: What stands in for DROID-SLAM, for reports.
REPROJECTION_METHOD = "SIFT matches reprojected with the given poses in place of DROID-SLAM"

#: Mean forward-backward error, pixels, at which photometric consistency is 0 (WorldScore).
WORST_FLOW_ERROR_PX = 1.1920

#: Pixels left out at each side. WorldScore takes 30 off the height and 30 off the width. Like the
#: error it is in pixels of the picture as it is, so it weighs more in small pictures.
BORDER_PX = 15

#: Mean reprojection error, cells, at which 3D consistency is 0 (WorldScore).
WORST_REPROJECTION_ERROR = 1.0719

#: The cell that WorldScore's reprojection error counts in: pictures are resized to the area of
#: 512 x 512 pixels, and DROID-SLAM works on a grid of 8 x 8 pixels.
CELL_PX = 8.0
CELL_AREA_PX = 512 * 512

#: A match this far off, cells, is a wrong match. It is twice the worst error, so that matches made
#: by chance, which fill the circle evenly, still average to more than the worst.
GATE = 2.0 * WORST_REPROJECTION_ERROR

#: Frames apart at which pictures are compared.
STEPS = (1, 2, 4)

#: Two pictures can be judged if so many features of each should be seen in the other, on average.
MIN_SHARED = 20

#: They are judged not to show one world if fewer matches each way are valid, or a smaller share.
MIN_VALID = 8
MIN_VALID_SHARE = 0.1

#: Preset medium works at half resolution, does not see the seams of 16-pixel blocks there and
#: ranks blurred pictures above true ones. At full resolution, with larger patches and more rounds
#: of refinement, true pictures leave the least error. Patches of 16 would lose fast motion.
_FLOW_FINEST_SCALE = 0
_FLOW_PATCH_PX = 12
_FLOW_REFINEMENTS = 20

#: Rounds of reweighted least squares; the depth stops changing well before.
_REWEIGHTINGS = 10

#: Least z of a ray of unit depth in another camera, lest one that leaves it sideways divides by 0.
_LEAST_Z = 1e-3

#: Shift, pixels at one metre, below which there is no parallax to take depth from.
_LEAST_PARALLAX_PX = 1e-3


@dataclass(frozen=True)
class PhotometricConsistency:
    """How well flow there and back agrees between consecutive pictures.

    Attributes:
        error_px: mean forward-backward end-point error, pixels.
        score: in [0, 1], 1 is consistent.
        pairs: pairs of pictures measured.
    """

    error_px: float
    score: float
    pairs: int


@dataclass(frozen=True)
class ReprojectionConsistency:
    """How well features of one picture land on the same features in another.

    Attributes:
        error_px: mean over the measured pairs of the mean error of their valid matches, pixels of
            the picture; NaN when no pair was measured.
        error_cells: the same in WorldScore's unit.
        score: in [0, 1], 1 is consistent; failed pairs count as 0. NaN without a measured or
            failed pair.
        valid_share: share of the lifted matches that are valid, over measured and failed pairs.
        pairs: pairs of pictures measured.
        failed: pairs that should share enough features, but too few of them match validly.
        blank: pairs that cannot be judged: too few features, or they show different places.
        lifted_by: where the features' depth came from.
    """

    error_px: float
    error_cells: float
    score: float
    valid_share: float
    pairs: int
    failed: int
    blank: int
    lifted_by: Literal["depth", "triangulation"]


def photometric_consistency(pictures: Sequence[Picture]) -> PhotometricConsistency:
    """Mean forward-backward flow error of consecutive pictures, and WorldScore's score of it.

    A pixel follows the flow to the next picture and the flow from there (interpolated, the border
    repeated outside) back; the distance to where it began is its error. Flow and its failures are
    those of DIS (:data:`FLOW_METHOD`), whose error on true pictures is not 0: repeated texture,
    surfaces that are hidden or leave the picture, and noise cost it some tenths of a pixel.

    Raises:
        ConfigurationError: fewer than two pictures.
        FrameError: pictures of differing sizes, not pictures, or nothing within the border.
    """
    _check_pictures(pictures)
    height, width = pictures[0].shape[:2]
    if min(height, width) <= 2 * BORDER_PX:
        raise FrameError(
            f"a picture must be larger than its border of {BORDER_PX} pixels at each side. "
            f"Got {width}x{height}"
        )
    flow = _flow()
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    inner = (slice(BORDER_PX, height - BORDER_PX), slice(BORDER_PX, width - BORDER_PX))
    errors = []
    greys = [grey(picture) for picture in pictures]
    for first, second in itertools.pairwise(greys):
        there = flow.calc(first, second, None)
        back = cv2.remap(
            flow.calc(second, first, None),
            columns + there[..., 0],
            rows + there[..., 1],
            interpolation=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        distance = np.linalg.norm(there + back, axis=-1)[inner]
        errors.append(float(distance.mean(dtype=np.float64)))
    error = math.fsum(errors) / len(errors)
    return PhotometricConsistency(error, _score(error, WORST_FLOW_ERROR_PX), len(errors))


def reprojection_consistency(
    pictures: Sequence[Picture],
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],  # (T, 4, 4)
    depth: Sequence[NDArray[np.float32]] | None = None,  # T x (H, W) z-depth, metres
    steps: Sequence[int] = STEPS,
) -> ReprojectionConsistency:
    """Mean reprojection error of features matched between pictures, and WorldScore's score of it.

    Features (:data:`REPROJECTION_METHOD`) are matched between pictures ``steps`` frames apart, each
    is lifted to 3D in its own picture, carried by the poses into the other, and its distance to the
    match there is its error. Matches farther off than :data:`GATE` are not valid.

    With ``depth`` (0 or NaN where unknown, of the pixels, not of latent cells) a feature is lifted
    by the depth at it, and true pictures leave only the features' own error, some tenths of a
    pixel. Without, its depth is the one that fits its matches in all other pictures best, at least
    two; along the epipolar lines this forgives what all of them agree on, as DROID-SLAM does, so
    it is the milder measure and the two must not be compared. Two views alone would forgive
    everything but the distance across the line.

    Raises:
        ConfigurationError: fewer than two pictures (three without depth), or steps that are not
            positive.
        FrameError: pictures or depth of another size than the camera's, or not pictures.
        PoseError: a pose is not rigid.
    """
    _check_pictures(pictures)
    _check_geometry(pictures, camera, T_world_camera, depth, steps)
    features = [detect(picture) for picture in pictures]
    pairs = [
        (i, j)
        for i in range(len(pictures))
        for j in sorted({i + step for step in steps if i + step < len(pictures)})
    ]
    matches = {(i, j): match(features[i], features[j]) for i, j in pairs}
    matches.update({(j, i): matches[i, j][:, ::-1] for i, j in pairs})
    cells_per_px = math.sqrt(CELL_AREA_PX / (camera.width * camera.height)) / CELL_PX
    gate_px = GATE / cells_per_px
    if depth is None:
        depths = [
            _triangulated(i, matches, features, camera, T_world_camera, gate_px)
            for i in range(len(pictures))
        ]
    else:
        depths = [depth_at(d, f.pixels) for d, f in zip(depth, features, strict=True)]

    def one_way(a: int, b: int) -> tuple[int, NDArray[np.float64]]:
        """Features of ``a`` that ``b`` should see, and the errors in pixels of their matches."""
        has_depth = ~np.isnan(depths[a])
        T_b_a = inverse(T_world_camera[b]) @ T_world_camera[a]
        landed, inside = _carried(features[a], depths[a], camera, T_b_a)
        # Without depth, a feature that nothing matches is taken to be far away.
        shared = int((inside if depth is None else inside & has_depth).sum())
        here, there = matches[a, b][has_depth[matches[a, b][:, 0]]].T
        return shared, np.linalg.norm(landed[here] - features[b].pixels[there], axis=-1)

    errors: list[float] = []
    failed = blank = valid_matches = lifted_matches = 0
    for i, j in pairs:
        (shared, there), (shared_back, back) = one_way(i, j), one_way(j, i)
        shared += shared_back
        lifted = np.concatenate([there, back])
        if shared < 2 * MIN_SHARED:
            blank += 1
            continue
        valid = lifted[lifted <= gate_px]  # NaN, which is behind the other camera, is not
        lifted_matches += len(lifted)
        valid_matches += len(valid)
        if len(valid) < max(2 * MIN_VALID, MIN_VALID_SHARE * len(lifted)):
            failed += 1
        else:
            errors.append(float(valid.mean()))
    error_px = math.fsum(errors) / len(errors) if errors else math.nan
    score = _score(error_px * cells_per_px, WORST_REPROJECTION_ERROR) if errors else 0.0
    judged = len(errors) + failed
    return ReprojectionConsistency(
        error_px=error_px,
        error_cells=error_px * cells_per_px,
        score=score * len(errors) / judged if judged else math.nan,
        valid_share=valid_matches / lifted_matches if lifted_matches else math.nan,
        pairs=len(errors),
        failed=failed,
        blank=blank,
        lifted_by="triangulation" if depth is None else "depth",
    )


def _flow() -> Any:  # cv2.DISOpticalFlow, whose types want the flow that they say is optional
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow.setFinestScale(_FLOW_FINEST_SCALE)
    flow.setPatchSize(_FLOW_PATCH_PX)
    flow.setPatchStride(_FLOW_PATCH_PX // 2)
    flow.setVariationalRefinementIterations(_FLOW_REFINEMENTS)
    return flow


def _carried(
    features: Features,
    depth: NDArray[np.float64],  # (N,) metres, NaN where unknown
    camera: PinholeCamera,
    T_other_camera: NDArray[np.float64],  # (4, 4)
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:  # (N, 2) pixels, (N,) inside the other picture
    """Where features land in another view, those of unknown depth as if they were far away."""
    rays = camera.unproject(features.pixels, np.ones(len(features)))
    rotated, shift = rays @ T_other_camera[:3, :3].T, T_other_camera[:3, 3]
    # Scaled by inverse depth, a point at infinity is like any other.
    nearness = np.nan_to_num(1.0 / depth, nan=0.0)[:, None]
    landed, _ = camera.project(rotated + nearness * shift)
    column, row = landed.T
    with np.errstate(invalid="ignore"):
        inside = (column >= 0.0) & (column <= camera.width) & (row >= 0.0) & (row <= camera.height)
    return landed, inside


def _triangulated(
    at: int,
    matches: Mapping[tuple[int, int], NDArray[np.int64]],  # (M, 2) numbers in one, in the other
    features: Sequence[Features],
    camera: PinholeCamera,
    poses: NDArray[np.float64],  # (T, 4, 4)
    gate_px: float,
) -> NDArray[np.float64]:  # (N,) metres, inf at infinity, NaN with fewer than two matches
    """The depth of every feature of picture ``at`` that fits its matches best, along its ray.

    Cross-multiplied, the projection is linear in inverse depth. Weights by the depth in the other
    view turn its errors into pixels, weights by the error keep a wrong match from mattering.
    """
    count = len(features[at])
    rays = camera.unproject(features[at].pixels, np.ones(count))
    numbers, starts, slopes, targets = [], [], [], []
    for other in [j for i, j in matches if i == at]:
        found = matches[at, other]
        T_other_at = inverse(poses[other]) @ poses[at]
        numbers.append(found[:, 0])
        starts.append(rays[found[:, 0]] @ T_other_at[:3, :3].T)
        slopes.append(np.broadcast_to(T_other_at[:3, 3], (len(found), 3)))
        observed = features[other].pixels[found[:, 1]]
        targets.append(camera.unproject(observed, np.ones(len(found)))[:, :2])
    number, start = np.concatenate(numbers), np.concatenate(starts)
    slope, target = np.concatenate(slopes), np.concatenate(targets)
    focal = np.array([camera.fx, camera.fy])
    fixed = (start[:, :2] - target * start[:, 2:]) * focal
    moving = (slope[:, :2] - target * slope[:, 2:]) * focal
    nearness, doubt = np.zeros(count), np.ones(len(number))
    for _ in range(_REWEIGHTINGS):
        z = np.maximum(start[:, 2] + nearness[number] * slope[:, 2], _LEAST_Z)
        weight = 1.0 / (doubt * z**2)
        across = np.bincount(number, weight * (moving**2).sum(axis=1), count)
        along = np.bincount(number, weight * (fixed * moving).sum(axis=1), count)
        # Without parallax any depth fits; infinity does.
        free = across > _LEAST_PARALLAX_PX**2
        nearness = np.where(free, -along / np.where(free, across, 1.0), 0.0).clip(min=0.0)
        error = ((fixed + nearness[number, None] * moving) ** 2).sum(axis=1) / z**2
        doubt = 1.0 + error / (gate_px / 4.0) ** 2
    seen = np.bincount(number, minlength=count)
    with np.errstate(divide="ignore"):
        return np.where(seen >= 2, 1.0 / nearness, np.nan)


def _score(error: float, worst: float) -> float:
    return 1.0 - min(max(error / worst, 0.0), 1.0)


def _check_pictures(pictures: Sequence[Picture]) -> None:
    if len(pictures) < 2:
        raise ConfigurationError(f"consistency needs at least two pictures. Got {len(pictures)}")
    shapes = {picture.shape for picture in pictures}
    if len(shapes) > 1:
        raise FrameError(f"pictures must have one shape. Got {sorted(shapes)}")


def _check_geometry(
    pictures: Sequence[Picture],
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],
    depth: Sequence[NDArray[np.float32]] | None,
    steps: Sequence[int],
) -> None:
    size = (camera.height, camera.width)
    if pictures[0].shape[:2] != size:
        raise FrameError(
            f"pictures must be of the camera's size (height, width) {size}. "
            f"Got {pictures[0].shape[:2]}"
        )
    if len(T_world_camera) != len(pictures):
        raise ConfigurationError(
            f"every picture needs a pose. Got {len(pictures)} and {len(T_world_camera)}"
        )
    for number, pose in enumerate(T_world_camera):
        validate_pose(pose, f"T_world_camera[{number}]")
    if not steps or min(steps) < 1:
        raise ConfigurationError(f"steps must be positive frame counts. Got {list(steps)}")
    if depth is None:
        if len(pictures) < 3:
            raise ConfigurationError(
                "without depth, consistency needs at least three pictures. Got two"
            )
        return
    if len(depth) != len(pictures) or any(d.shape != size for d in depth):
        raise FrameError(
            f"depth must be one map of shape {size} for every picture. "
            f"Got {[d.shape for d in depth]} for {len(pictures)} pictures"
        )

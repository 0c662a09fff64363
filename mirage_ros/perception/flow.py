"""Where a picture moves otherwise than its depth and the camera's motion say: residual flow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.poses import exp_twist, inverse
from mirage_ros.perception.still_flow import (
    Flow,
    Mask,
    StillScene,
    is_inside,
    nearest_still,
    pose_correction,
    targets,
)

_Grey = NDArray[np.float32]  # (h, w)

#: DIS (Kroeger et al. 2016, ECCV) down to half the working resolution, with the patches of its
#: fast preset, laid out as densely: finer costs four times as much and finds hardly more.
_FINEST_SCALE = 1
_PATCH_PX, _PATCH_STRIDE_PX = 8, 4
_DESCENT_STEPS, _REFINEMENTS = 12, 2

#: Smaller working pictures leave DIS no pyramid, pixels.
_LEAST_SIDE_PX = 48

#: Flow there and back may miss the start by so many pixels, and by this share of its length.
_ROUND_TRIP_PX, _ROUND_TRIP_SHARE = 1.0, 0.05

#: Sides of windows, pixels: contrast is what remains of brightness without its mean over the first;
#: whether a pixel has texture, and whether it moves, is decided over the others.
_CONTRAST_PX, _TEXTURE_PX, _COMPARE_PX = 15, 5, 9

#: Mean contrast, grey levels, that a window must hold for its flow to mean anything.
_LEAST_CONTRAST = 2.0

#: Two pictures of other things differ by about their contrast; a match by less than this share.
_UNLIKE_SHARE = 0.8

#: A pixel moves only if staying fits its surroundings worse than moving by this factor and so many
#: grey levels, because where there is no texture both fit alike; much worse by those.
_WORSE, _MUCH_WORSE = (1.2, 0.5), (1.5, 2.0)

#: A region moves if at least this share of it is much worse off standing still.
_SURE_SHARE = 0.5

#: A correction of the poses beyond so many standard deviations is none.
_MOST_SIGMAS = 5.0

#: Moving regions are closed over gaps of so many pixels.
_CLOSE_PX = 7


@dataclass(frozen=True)
class FlowConfig:
    """How residual flow is judged; pixels are those of the working size.

    Attributes:
        width: working width, pixels; larger pictures are shrunk to it.
        max_gap_s: largest time between the two frames, seconds.
        residual_px: residual that always passes for noise.
        residual_share: share of the flow's length that passes for noise as well.
        depth_noise: standard deviation of depth z is this times z squared, 1/m.
        pose_noise_m: standard deviation of the camera's motion between the frames, metres.
        pose_noise_rad: the same of its rotation, radians.
        max_median_px: median residual above which poses, times or depth are not to be trusted.
        cut_share: share of pixels without a match from which on two pictures are of two scenes.
        least_judged: share of the picture that must have a flow to be judged by.
        max_moving: share of what can be judged from which on it is open whether the rest moves.
        least_share: share of the picture that a moving region must fill.

    Raises:
        ConfigurationError: a value is not finite, not positive, or a share above 1.
    """

    width: int = 256
    max_gap_s: float = 0.25
    residual_px: float = 1.5
    residual_share: float = 0.1
    depth_noise: float = 0.003
    pose_noise_m: float = 0.01
    pose_noise_rad: float = 0.006
    max_median_px: float = 1.0
    cut_share: float = 0.6
    least_judged: float = 0.1
    max_moving: float = 0.5
    least_share: float = 0.002

    def __post_init__(self) -> None:
        shares = ("residual_share", "cut_share", "least_judged", "max_moving", "least_share")
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            largest = 1.0 if name in shares else math.inf
            if not (math.isfinite(value) and 0.0 < value <= largest):
                allowed = "in (0, 1]" if name in shares else "finite and positive"
                raise ConfigurationError(f"{name} must be {allowed}. Got {value}")


@dataclass(frozen=True)
class FlowEvidence:
    """What the flow between two frames says.

    Attributes:
        moving: (H, W) bool, of the newer frame; False everywhere where not usable. What cannot be
            judged (hidden before, no texture, no match) is not marked.
        usable: whether ``moving`` means anything.
        reason: why not; empty where usable.
        median_residual_px: median residual over what can be judged, pixels of the working size,
            after the pose's correction; NaN where not usable.
        judged_share: share of the picture that could be judged; 0 where not usable.
    """

    moving: Mask
    usable: bool
    reason: str = ""
    median_residual_px: float = math.nan
    judged_share: float = 0.0


class _NotUsableError(Exception):
    """The flow says nothing; the text tells why."""


@dataclass(frozen=True)
class _Matches:
    """Flow from the newer picture to the older one.

    Attributes:
        flow: (h, w, 2) pixels.
        agree: (h, w) where the way back agrees and the pictures look alike.
        textured: (h, w) where the newer picture has enough contrast.
        older, newer: (h, w) contrast of the pictures.
    """

    flow: Flow
    agree: Mask
    textured: Mask
    older: _Grey
    newer: _Grey


def residual_flow(
    previous: RgbdFrame, frame: RgbdFrame, config: FlowConfig | None = None
) -> FlowEvidence:
    """Where ``frame`` shows motion that is not the camera's.

    Dense flow leads from ``frame`` back to ``previous``. Depth and poses say where a pixel comes
    from if nothing moves: from a short piece of its epipolar line, as long as the depth's noise and
    edges leave it, or from all of it where depth is unknown. The residual is the flow's distance
    from that piece. Before, poses are corrected by the small motion that fits most of the picture,
    because poses are rarely exact to a pixel. A pixel moves if its residual exceeds what noise
    explains, flow there and back agree, and it looks more like where the flow leads than like where
    a still scene would.

    What moves slower than the residual that passes for noise is not found, nor what moves by about
    its own size between the frames. Never raises on frames that do not go together: the evidence
    says so.
    """
    config = FlowConfig() if config is None else config
    nothing = np.zeros(frame.image.shape[:2], dtype=np.bool_)
    try:
        _check(previous, frame, config)
        return _judge(previous, frame, config)
    except _NotUsableError as error:
        return FlowEvidence(nothing, False, str(error))


def _check(previous: RgbdFrame, frame: RgbdFrame, config: FlowConfig) -> None:
    """Check that two frames can be compared at all."""
    if previous.camera != frame.camera:
        raise _NotUsableError(
            f"both frames must be of one camera. Got {previous.camera} and {frame.camera}"
        )
    gap_s = (frame.stamp_ns - previous.stamp_ns) * 1e-9
    if not 0.0 < gap_s <= config.max_gap_s:
        raise _NotUsableError(
            f"the frame before must be older by {config.max_gap_s} s at most. Got {gap_s:.3f} s"
        )
    if frame.depth is None:
        raise _NotUsableError("the frame has no depth")


def _judge(previous: RgbdFrame, frame: RgbdFrame, config: FlowConfig) -> FlowEvidence:
    height, width = frame.image.shape[:2]
    size = _working_size(width, height, config.width)
    found = _match(_grey(previous.image, size), _grey(frame.image, size))
    matched_share = float(found.agree.mean())
    if matched_share < 1.0 - config.cut_share:
        raise _NotUsableError(
            f"{matched_share:.0%} of the picture has a match in the frame before, expected at "
            f"least {1.0 - config.cut_share:.0%}: another scene, too fast a motion, or no texture"
        )
    scene = StillScene.of(frame, size, config.depth_noise)
    T_given = inverse(previous.T_world_camera) @ frame.T_world_camera
    judged = found.agree & found.textured
    T_older_newer = _corrected(scene, found.flow, judged, T_given, config)
    still, visible = nearest_still(scene, found.flow, T_older_newer)
    judged &= visible
    judged_share = float(judged.mean())
    if judged_share < config.least_judged:
        raise _NotUsableError(
            f"{judged_share:.0%} of the picture has texture and a match to judge by, expected at "
            f"least {config.least_judged:.0%}"
        )
    residual = _lengths(found.flow - still)
    median = float(np.median(residual[judged]))
    if median > config.max_median_px:
        raise _NotUsableError(
            f"the median residual is {median:.2f} pixels, expected at most {config.max_median_px}: "
            f"poses, times or depth do not fit the pictures, or most of the picture moves"
        )
    allowed = config.residual_px + config.residual_share * _lengths(still)
    worse, much_worse = _fits_worse(found, still)
    suspect = judged & (residual > allowed) & worse
    moving = _regions(suspect, suspect & much_worse, config.least_share)
    _check_majority(scene, found.flow, T_given, moving & judged, judged, config)
    full = cv2.resize(
        moving.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return FlowEvidence(full > 0, True, "", median, judged_share)


def _working_size(width: int, height: int, largest_width: int) -> tuple[int, int]:
    shrink = min(1.0, largest_width / width)
    size = (round(width * shrink), round(height * shrink))
    if min(size) < _LEAST_SIDE_PX:
        raise _NotUsableError(
            f"the picture must be at least {_LEAST_SIDE_PX} pixels wide and high at the working "
            f"size. Got {size[0]}x{size[1]}"
        )
    return size


def _match(
    older: NDArray[np.uint8],  # (h, w)
    newer: NDArray[np.uint8],  # (h, w)
) -> _Matches:
    """Dense flow, checked by the way back and by how alike its ends are."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    method.setFinestScale(_FINEST_SCALE)
    method.setPatchSize(_PATCH_PX)
    method.setPatchStride(_PATCH_STRIDE_PX)
    method.setGradientDescentIterations(_DESCENT_STEPS)
    method.setVariationalRefinementIterations(_REFINEMENTS)
    calc: Any = method.calc  # its types want the flow that they say is optional
    there, back = calc(newer, older, None), calc(older, newer, None)
    places = targets(there)
    miss = _lengths(there + _fetched(back, there))
    agree = miss < _ROUND_TRIP_PX + _ROUND_TRIP_SHARE * _lengths(there)
    agree &= is_inside(places)
    older_contrast, newer_contrast = _contrast(older), _contrast(newer)
    strength = np.abs(newer_contrast)
    unlike = np.abs(_fetched(older_contrast, there) - newer_contrast)
    most = _LEAST_CONTRAST + _UNLIKE_SHARE * _smooth(strength, _CONTRAST_PX)
    agree &= _smooth(unlike, _CONTRAST_PX) < most
    textured = _smooth(strength, _TEXTURE_PX) > _LEAST_CONTRAST
    return _Matches(there, agree, textured, older_contrast, newer_contrast)


def _corrected(
    scene: StillScene,
    flow: Flow,
    judged: Mask,
    T_older_newer: NDArray[np.float64],  # (4, 4)
    config: FlowConfig,
) -> NDArray[np.float64]:  # (4, 4)
    """The motion that makes most of the picture stand still."""
    noise = (config.pose_noise_m, config.pose_noise_rad)
    correction = pose_correction(scene, flow, judged, T_older_newer, noise)
    if correction is None:
        raise _NotUsableError(
            "too little of the picture has depth, texture and a match to check the poses by"
        )
    linear, angular = np.linalg.norm(correction.reshape(2, 3), axis=1)
    if linear > _MOST_SIGMAS * noise[0] or angular > _MOST_SIGMAS * noise[1]:
        raise _NotUsableError(
            f"poses or times do not fit the pictures, or most of the picture moves: the motion "
            f"between the frames is off by {linear:.3f} m and {angular:.4f} rad, expected at most "
            f"{_MOST_SIGMAS * noise[0]:.3f} m and {_MOST_SIGMAS * noise[1]:.4f} rad"
        )
    return exp_twist(correction[:3], correction[3:], 1.0) @ T_older_newer


def _check_majority(
    scene: StillScene,
    flow: Flow,
    T_given: NDArray[np.float64],  # (4, 4), not corrected
    moving: Mask,
    judged: Mask,
    config: FlowConfig,
) -> None:
    """Check that what moves can be told from what stands still."""
    share = np.count_nonzero(moving) / np.count_nonzero(judged)
    if share > config.max_moving:
        raise _NotUsableError(
            f"{share:.0%} of what can be judged moves otherwise than the camera, expected at most "
            f"{config.max_moving:.0%}: more cannot be told from a wrong pose"
        )
    if share == 0.0:
        return
    # Something large that moves drags the correction along. Then the rest seems to move, which
    # stands still by the poses given.
    still, _ = nearest_still(scene, flow, T_given)
    if float(np.median(_lengths(flow - still)[moving])) < config.residual_px:
        raise _NotUsableError(
            f"{share:.0%} of what can be judged stands still by the poses given, the rest by "
            f"corrected ones: which of them moves is open"
        )


def _fits_worse(found: _Matches, still: Flow) -> tuple[Mask, Mask]:
    """Where what a still scene would show fits the newer picture worse than the flow, and much."""
    by_flow, by_still = (
        _smooth(np.abs(_fetched(found.older, way) - found.newer), _COMPARE_PX)
        for way in (found.flow, still)
    )
    worse, much_worse = (
        by_still > factor * by_flow + levels for factor, levels in (_WORSE, _MUCH_WORSE)
    )
    return worse, much_worse


def _regions(suspect: Mask, sure: Mask, least_share: float) -> Mask:
    """Suspects without specks, in regions that are large enough and sure enough."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_CLOSE_PX, _CLOSE_PX))
    mask = cv2.morphologyEx(suspect.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc)
    count, regions, statistics, _ = cv2.connectedComponentsWithStats(mask)
    area = statistics[:, cv2.CC_STAT_AREA]
    certain = np.bincount(regions[sure], minlength=count)
    kept = (area >= least_share * suspect.size) & (certain >= _SURE_SHARE * area)
    kept[0] = False  # all that is no region
    return np.asarray(kept[regions], dtype=np.bool_)


def _fetched(picture: NDArray[np.float32], flow: Flow) -> NDArray[np.float32]:
    """A picture (h, w) or (h, w, C) as it looks where the flow leads, its border repeated."""
    remap: Any = cv2.remap  # its types want a second map, which places in one array do without
    taken = remap(picture, targets(flow), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(taken, dtype=np.float32)


def _grey(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if (grey.shape[1], grey.shape[0]) != size:
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return grey.astype(np.uint8, copy=False)


def _contrast(grey: NDArray[np.uint8]) -> _Grey:
    """Brightness without its local mean, so that exposure does not matter."""
    brightness = grey.astype(np.float32)
    return brightness - _smooth(brightness, _CONTRAST_PX)


def _smooth(values: _Grey, side: int) -> _Grey:
    return cv2.blur(values, (side, side)).astype(np.float32, copy=False)


def _lengths(flow: Flow) -> _Grey:
    x, y = flow[..., 0], flow[..., 1]
    return np.sqrt(x * x + y * y)

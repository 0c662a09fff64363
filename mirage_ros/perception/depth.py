"""Depth for frames: what every source of depth offers, and the sensor's own depth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import inverse, rotation_angle, translation_distance
from mirage_ros.perception.depth_edges import surface_pixels

#: The memory's depth of a view on the latent grid, (h, w) float32 metres, 0 where unknown.
KnownDepth = Callable[[], NDArray[np.float32]]

#: A frozen depth is looked for in every so many rows and columns.
_SAMPLE = 8
#: How exact a simulator's depth is, as a share of it, and the share of the pixels that must be.
_EXACT, _ALIKE = 1e-3, 0.95


@dataclass(frozen=True)
class DepthEstimate:
    """Depth of a frame.

    Attributes:
        depth: (H, W) float32 z-depth, metres, 0 where unknown.
        confidence: (H, W) float32 in [0, 1], 0 where unknown.
        reason: why there is no depth, or less than there could be; empty: nothing to say.
    """

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    reason: str = ""

    @classmethod
    def none(cls, frame: RgbdFrame, reason: str) -> DepthEstimate:
        """No depth anywhere."""
        empty = np.zeros((frame.camera.height, frame.camera.width), dtype=np.float32)
        return cls(empty, empty.copy(), reason)

    @property
    def known(self) -> bool:
        """Whether there is depth anywhere."""
        return bool((self.depth > 0.0).any())


class DepthSource(Protocol):
    """Gives frames depth."""

    def estimate(self, frame: RgbdFrame, known: KnownDepth) -> DepthEstimate:
        """Depth of a frame.

        Args:
            frame: with its sensor's depth, if it has one.
            known: gives the memory's depth of the same view; called only if it is needed.
        """
        ...

    def clear(self) -> None:
        """Forget earlier frames."""
        ...


@dataclass(frozen=True)
class DepthNoise:
    """How far measured depth is off: standard deviation ``a + b z^2`` metres at z metres.

    Triangulating sensors tell depth from a disparity with a fixed error, so the error grows with
    the square of the depth: z^2 times the disparity's error over focal length and baseline. For
    the Kinect, `Khoshelham and Elberink 2012 <https://doi.org/10.3390/s120201437>`_ measured
    b = 0.0014 / m and `Nguyen et al. 2012 <https://doi.org/10.1109/3DIMPVT.2012.84>`_
    0.0012 m + 0.0019 / m (z - 0.4 m)^2, which the default is not below. A RealSense D435 (baseline
    5 cm, 640 px of focal length, 0.08 px of disparity, as Intel's tuning guide has it) comes to
    b = 0.0025 / m.

    Attributes:
        a: metres.
        b: per metre.

    Raises:
        ConfigurationError: negative, not finite, or both zero.
    """

    a: float = 0.0012
    b: float = 0.0019

    def __post_init__(self) -> None:
        if not (0.0 <= self.a < math.inf and 0.0 <= self.b < math.inf and self.a + self.b > 0.0):
            raise ConfigurationError(
                "noise a and b must be finite, not negative and not both zero. "
                f"Got a={self.a}, b={self.b}"
            )

    def sigma(
        self,
        depth: NDArray[np.float32],  # (...) metres
    ) -> NDArray[np.float32]:  # (...) metres
        """Standard deviation of a depth."""
        return np.asarray(self.a + self.b * np.square(depth), dtype=np.float32)


@dataclass(frozen=True)
class SensorDepthConfig:
    """What of a sensor's depth is believed, and how far.

    Attributes:
        min_depth: nearest depth believed, metres.
        max_depth: farthest depth believed, metres.
        noise: of the sensor.
        half_sigma: standard deviation at which a depth is half believed, metres.
        edge_ratio: neighbouring pixels whose depths differ by more than this share lie on two
            surfaces, unless the surface's slope has it.
        edge_sigmas: or by more than so many standard deviations, whichever is more.
        edge_radius: pixels from an edge that count as beside it.
        edge_confidence: factor on the confidence of pixels beside an edge.
        min_patch: surfaces of fewer pixels are outliers.
        check_frozen: whether a depth that stays the same while the camera moves is refused.

    Raises:
        ConfigurationError: a value is out of range.
    """

    min_depth: float = 0.1
    max_depth: float = 10.0
    noise: DepthNoise = field(default_factory=DepthNoise)
    half_sigma: float = 0.1
    edge_ratio: float = 0.05
    edge_sigmas: float = 5.0
    edge_radius: int = 1
    edge_confidence: float = 0.3
    min_patch: int = 12
    check_frozen: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.min_depth < self.max_depth < math.inf:
            raise ConfigurationError(
                "0 < min_depth < max_depth must hold. "
                f"Got min_depth={self.min_depth}, max_depth={self.max_depth}"
            )
        for name in ("half_sigma", "edge_ratio", "edge_sigmas"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigurationError(
                    f"{name} must be positive and finite. Got {getattr(self, name)}"
                )
        if not 0.0 <= self.edge_confidence <= 1.0:
            raise ConfigurationError(
                f"edge_confidence must be in [0, 1]. Got {self.edge_confidence}"
            )
        for name, least in (("edge_radius", 0), ("min_patch", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"{name} must be at least {least}. Got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class FrozenDepthConfig:
    """How far a camera must have moved for its depth to be another one.

    Attributes:
        distance: metres.
        angle: radians; either is enough.
    """

    distance: float = 0.01
    angle: float = math.radians(0.5)


class FrozenDepthCheck:
    """Tells a depth that stays the same, bit for bit, while image and camera move on.

    Keeps digests of a few pixels. A simulator without noise may give one depth twice, such as that
    of a wall that the camera drives along, so the depth is also held against itself: what was seen
    where the camera came from must not fit what is seen now. A depth that is one value everywhere
    tells nothing and is never called frozen.
    """

    def __init__(self, config: FrozenDepthConfig | None = None) -> None:
        self._config = config or FrozenDepthConfig()
        self._depth = b""
        self._image = b""
        self._T_world_camera: NDArray[np.float64] = np.eye(4)

    def check(self, frame: RgbdFrame) -> str:
        """Why the frame's depth is not its own; empty if it may be."""
        if frame.depth is None:
            return ""
        sampled = np.ascontiguousarray(frame.depth[::_SAMPLE, ::_SAMPLE])
        valid = sampled[np.isfinite(sampled) & (sampled > 0.0)]
        if len(valid) == 0 or valid.min() == valid.max():
            return ""
        depth = _digest(sampled)
        image = _digest(np.ascontiguousarray(frame.image[::_SAMPLE, ::_SAMPLE]))
        if depth != self._depth:
            # Kept as it was first seen, so that a slow camera adds up what it moves.
            self._depth, self._image = depth, image
            self._T_world_camera = frame.T_world_camera.copy()
            return ""
        distance = translation_distance(self._T_world_camera, frame.T_world_camera)
        angle = rotation_angle(self._T_world_camera, frame.T_world_camera)
        moved = distance > self._config.distance or angle > self._config.angle
        if image == self._image or not moved or _fits_itself(frame, self._T_world_camera):
            return ""
        return (
            "frozen: expected another depth after the camera moved "
            f"{distance:.3f} m and {math.degrees(angle):.1f} degrees. Got the same, bit for bit"
        )


class SensorDepth:
    """Believes the sensor; implements :class:`DepthSource`.

    Holes stay holes. Pixels that hang between two surfaces and specks that belong to none are taken
    out; those beside an edge are believed less.

    Args:
        config: what is believed.
    """

    def __init__(self, config: SensorDepthConfig | None = None) -> None:
        self.config = config or SensorDepthConfig()
        self._frozen = FrozenDepthCheck()

    def clear(self) -> None:
        """Forget the depth of the frame before."""
        self._frozen = FrozenDepthCheck()

    def estimate(self, frame: RgbdFrame, known: KnownDepth | None = None) -> DepthEstimate:
        """The sensor's depth as far as it can be believed; ``known`` is not needed.

        A confidence that the frame comes with counts as a factor.
        """
        config = self.config
        if frame.depth is None:
            return DepthEstimate.none(frame, "expected a frame with depth. Got none")
        measured = np.nan_to_num(frame.depth, nan=0.0, posinf=0.0, neginf=0.0)
        if not (measured > 0.0).any():
            return DepthEstimate.none(
                frame, "expected some depth. Got no pixel with a positive, finite one"
            )
        inside = (measured >= config.min_depth) & (measured <= config.max_depth)
        if not inside.any():
            nearest, farthest = measured[measured > 0.0].min(), measured.max()
            return DepthEstimate.none(
                frame,
                f"expected depth from {config.min_depth} to {config.max_depth} m. "
                f"Got {nearest:.3g} to {farthest:.3g} m",
            )
        reason = self._frozen.check(frame) if config.check_frozen else ""
        if reason:
            return DepthEstimate.none(frame, reason)
        depth = np.where(inside, measured, np.float32(0.0))
        sigma = config.noise.sigma(depth)
        tolerance = np.maximum(config.edge_ratio * depth, config.edge_sigmas * sigma)
        surfaces = surface_pixels(
            depth,
            tolerance.astype(np.float32),
            min_patch=config.min_patch,
            edge_radius=config.edge_radius,
        )
        depth = np.where(surfaces.kept, depth, np.float32(0.0))
        confidence = belief(sigma, config.half_sigma)
        confidence[surfaces.beside_edge] *= config.edge_confidence
        if frame.confidence is not None:
            confidence *= frame.confidence
        confidence[~surfaces.kept] = 0.0
        if not surfaces.kept.any():
            return DepthEstimate.none(frame, "expected surfaces. Got only loose depth pixels")
        return DepthEstimate(depth, confidence)


def belief(
    sigma: NDArray[np.float32],  # (...) metres
    half_sigma: float,
) -> NDArray[np.float32]:  # (...)
    """Confidence in a depth of an error, in [0, 1]: 1 without one, half at ``half_sigma``."""
    return np.asarray(1.0 / (1.0 + np.square(sigma / half_sigma)), dtype=np.float32)


def _fits_itself(
    frame: RgbdFrame,
    T_world_before: NDArray[np.float64],  # (4, 4)
) -> bool:
    """Whether a frame's depth is that of a scene which looks alike from another pose."""
    assert frame.depth is not None
    camera = frame.camera
    some = (slice(_SAMPLE // 2, None, _SAMPLE), slice(_SAMPLE // 2, None, _SAMPLE))
    depth = np.nan_to_num(frame.depth, nan=0.0, posinf=0.0, neginf=0.0)
    seen = depth[some] > 0.0
    points = camera.unproject(camera.pixel_centres()[some][seen], depth[some][seen])
    T_before_camera = inverse(T_world_before) @ frame.T_world_camera
    points = points @ T_before_camera[:3, :3].T + T_before_camera[:3, 3]
    uv, z = camera.project(points)
    # NaN, which what is behind the camera has, compares false.
    inside = (uv >= 0.0).all(axis=1) & (uv < (camera.width, camera.height)).all(axis=1)
    column, row = uv[inside].astype(np.int64).T
    z = z[inside]
    # A point falls between pixels: it fits if its depth is among those around it.
    window = np.ones((3, 3), np.uint8)
    nearest, farthest = (
        cv2.erode(depth, window)[row, column],
        cv2.dilate(depth, window)[row, column],
    )
    known = nearest > 0.0
    fits = (z > nearest - _EXACT * z) & (z < farthest + _EXACT * z)
    return bool(known.any() and fits[known].mean() > _ALIKE)


def _digest(pixels: NDArray[np.generic]) -> bytes:
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()

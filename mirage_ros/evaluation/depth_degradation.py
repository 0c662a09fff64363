"""Sensors that are worse than they were, and models that are wrong, to see what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.sources.depth_errors import DepthErrors

#: Random error of a Kinect at 1 m, metres (Khoshelham and Elberink 2012).
_KINECT_NOISE = 0.0014

#: What can be wrong with a sensor, beside all of it together.
KINDS = ("noise", "holes", "scale", "offset")
TOGETHER = "all"


@dataclass(frozen=True)
class Degradation:
    """A way in which a sensor is worse.

    Attributes:
        kind: one of :data:`KINDS`, or :data:`TOGETHER`.
        strength: 0: as it is. 1: twice the noise, 30 % holes, 5 % wrong scale, 20 ms late. All grow
            with it in proportion.

    Raises:
        ConfigurationError: no such kind, or a strength that is negative or makes only holes.
    """

    kind: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in (*KINDS, TOGETHER):
            raise ConfigurationError(
                f"kind must be one of {', '.join((*KINDS, TOGETHER))}. Got '{self.kind}'"
            )
        if not 0.0 <= self.strength <= 3.0:
            raise ConfigurationError(f"strength must be between 0 and 3. Got {self.strength}")

    @property
    def name(self) -> str:
        """In tables."""
        if self.strength == 0.0:
            return "clean"
        return {
            "noise": f"noise x {1.0 + self.strength:g}",
            "holes": f"{30.0 * self.strength:g} % holes",
            "scale": f"{5.0 * self.strength:g} % scale",
            "offset": f"{20.0 * self.strength:g} ms offset",
            TOGETHER: "all together" + ("" if self.strength == 1.0 else f" x {self.strength:g}"),
        }[self.kind]

    @property
    def errors(self) -> DepthErrors:
        """Of the sensor's depth."""
        # Variances add: what comes on top of the sensor's own noise.
        noise = _KINECT_NOISE * math.sqrt((1.0 + self._of("noise")) ** 2 - 1.0)
        return DepthErrors(
            noise=noise, holes=0.3 * self._of("holes"), scale=1.0 + 0.05 * self._of("scale")
        )

    @property
    def time_offset_s(self) -> float:
        """Of the sensor's clock against that of the poses, seconds."""
        return 0.02 * self._of("offset")

    def _of(self, kind: str) -> float:
        return self.strength if self.kind in (kind, TOGETHER) else 0.0


#: What is measured by default; the first is what the others are held against.
DEGRADATIONS = (
    Degradation(TOGETHER, 0.0),
    *(Degradation(kind) for kind in KINDS),
    Degradation(TOGETHER),
)


@dataclass(frozen=True)
class ModelErrors:
    """What a model that predicts depth from an image gets wrong.

    Attributes:
        scale: factor on all depth.
        blur: standard deviation of the low pass that edges go through, as a share of the width.
        noise: standard deviation of smooth errors, as a share of the depth.
        noise_size: about how wide these are, as a share of the width.

    Raises:
        ConfigurationError: a value is out of range.
    """

    scale: float = 1.0
    blur: float = 0.005
    noise: float = 0.03
    noise_size: float = 0.2

    def __post_init__(self) -> None:
        for name in ("scale", "noise_size"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ConfigurationError(
                    f"a model's {name} must be positive and finite. Got {getattr(self, name)}"
                )
        for name in ("blur", "noise"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigurationError(
                    f"a model's {name} must be finite and not negative. Got {getattr(self, name)}"
                )


class ErringModel:
    """The truth with errors; stands for a model, :class:`mirage_ros.perception.depth_model`.

    Args:
        truth: frames with depth, fitted as those that are asked for will be.
        errors: that are added.
        seed: of the smooth errors.
    """

    metric = True

    def __init__(self, truth: Sequence[RgbdFrame], errors: ModelErrors, seed: int = 0) -> None:
        self._errors = errors
        self._seed = seed
        self._truth = {frame.stamp_ns: frame.depth for frame in truth if frame.depth is not None}

    def predict(self, frame: RgbdFrame) -> NDArray[np.float32]:  # (H, W)
        """What the model makes of the frame of this stamp."""
        errors, true = self._errors, filled(self._truth[frame.stamp_ns])
        height, width = true.shape
        inverse = np.float32(1.0) / true
        if errors.blur > 0.0:
            inverse = np.asarray(
                cv2.GaussianBlur(inverse, (0, 0), errors.blur * width), dtype=np.float32
            )
        rng = np.random.default_rng((self._seed, frame.stamp_ns))
        coarse = rng.standard_normal(
            (
                max(2, round(height / width / errors.noise_size)),
                max(2, round(1 / errors.noise_size)),
            )
        )
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        predicted = errors.scale / inverse * np.exp(errors.noise * smooth / smooth.std())
        return np.asarray(predicted, dtype=np.float32)


def filled(
    depth: NDArray[np.float32],  # (H, W) metres, 0 or NaN = unknown
) -> NDArray[np.float32]:  # (H, W)
    """Depth whose unknown pixels take the nearest known pixel's.

    Raises:
        ConfigurationError: no pixel is known.
    """
    known = np.isfinite(depth) & (depth > 0.0)
    if not known.any():
        raise ConfigurationError("depth to fill must be known somewhere. Got none")
    _, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    values[labels[known]] = depth[known]
    return np.asarray(values[labels])

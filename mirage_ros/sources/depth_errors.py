"""What cheap depth sensors and badly calibrated ones make of true depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mirage_ros.errors import ConfigurationError, FrameError

#: Neighbouring pixels are on two surfaces when one is farther away by more than this factor. The
#: steepest floor that a camera resolves stays below it.
_EDGE_RATIO = 1.05

#: Allowed values of every field.
_LIMITS = {
    "noise": (0.0, 0.5),
    "holes": (0.0, 1.0),
    "hole_size": (0.002, 0.5),
    "edge_holes": (0, 100),
    "scale": (0.1, 10.0),
    "quantisation": (0.0, 0.5),
}


@dataclass(frozen=True)
class DepthErrors:
    """Errors of a depth image; the default makes none.

    Noise and steps follow structured light and stereo, whose disparity is proportional to 1/z and
    errs alike everywhere: depth then errs with z^2 (Khoshelham and Elberink, "Accuracy and
    resolution of Kinect depth data for indoor mapping applications", Sensors 12(2), 2012). They
    find 0.0014 for ``noise`` and 0.0029 for ``quantisation`` of a Kinect.

    Attributes:
        noise: standard deviation of depth at 1 m, metres; at z metres z^2 times that.
        holes: share of the pixels with depth that lose it, in blobs as dark and shiny things make.
        hole_size: about how wide a blob is, as a share of the image's width.
        edge_holes: pixels nearer to a depth edge than this many lose depth, on either side.
        scale: factor on all depth, as a wrong calibration has it.
        quantisation: step between two neighbouring depths at 1 m, metres; at z metres z^2 times
            that.

    Raises:
        ConfigurationError: a value is out of range.
    """

    noise: float = 0.0
    holes: float = 0.0
    hole_size: float = 0.05
    edge_holes: int = 0
    scale: float = 1.0
    quantisation: float = 0.0

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigurationError(
                    f"depth errors' {name} must be between {low} and {high}. Got {value}"
                )

    def apply(
        self,
        depth: NDArray[np.float32],  # (H, W) metres, 0 or NaN = unknown
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:  # (H, W) metres, 0 = unknown
        """The depth with errors drawn from a generator; a copy.

        Errors come in the order of a sensor: disparity is noisy and discrete, then depth is made of
        it with a scale.

        Raises:
            FrameError: ``depth`` is not a picture of float32.
        """
        if depth.ndim != 2 or depth.dtype != np.float32:
            raise FrameError(
                f"depth must be float32 metres of shape (H, W). "
                f"Got {depth.dtype} of shape {depth.shape}"
            )
        known = np.isfinite(depth) & (depth > 0.0)
        true = np.where(known, depth, np.float32(1.0)).astype(np.float64)
        value = true
        if self.noise > 0.0:
            value = true + self.noise * true**2 * rng.standard_normal(depth.shape)
        # Noise beyond the sensor itself is no measurement.
        kept = known & (value > 0.0)
        if self.quantisation > 0.0:
            # At least one step of disparity: none of them is infinitely far.
            steps = np.maximum(np.rint(1.0 / np.where(kept, value, 1.0) / self.quantisation), 1.0)
            value = 1.0 / (steps * self.quantisation)
        if self.holes > 0.0:
            kept &= ~self._blobs(known, rng)
        if self.edge_holes > 0:
            kept &= ~_near_edges(true, known, self.edge_holes)
        return np.where(kept, value * self.scale, 0.0).astype(np.float32)

    def _blobs(
        self,
        known: NDArray[np.bool_],  # (H, W)
        rng: np.random.Generator,
    ) -> NDArray[np.bool_]:  # (H, W)
        """Where a smooth random field is lowest, over exactly the share asked for."""
        height, width = known.shape
        cell = max(1.0, self.hole_size * width)
        coarse = (max(2, round(height / cell) + 1), max(2, round(width / cell) + 1))
        field = cv2.resize(
            rng.standard_normal(coarse), (width, height), interpolation=cv2.INTER_CUBIC
        )
        count = round(self.holes * int(known.sum()))
        lost = np.zeros(known.shape, dtype=np.bool_)
        if count > 0:
            rows, columns = np.nonzero(known)
            lowest = np.argpartition(field[rows, columns], count - 1)[:count]
            lost[rows[lowest], columns[lowest]] = True
        return lost


def _near_edges(
    depth: NDArray[np.float64],  # (H, W) metres
    known: NDArray[np.bool_],  # (H, W)
    reach: int,  # pixels
) -> NDArray[np.bool_]:  # (H, W)
    """Pixels of which less than ``reach`` lie between them and another surface, and itself."""
    edges = np.zeros(depth.shape, dtype=np.uint8)
    for before, after in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        a, b = depth[before], depth[after]
        jump = known[before] & known[after] & (np.maximum(a, b) > _EDGE_RATIO * np.minimum(a, b))
        edges[before] |= jump
        edges[after] |= jump
    side = 2 * reach - 1
    near: NDArray[np.bool_] = cv2.dilate(edges, np.ones((side, side), np.uint8)) > 0
    return near

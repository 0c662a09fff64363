"""Which apartments are trained on and measured on, and how the drives through them differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.depth_errors import DepthErrors
from mirage_ros.sources.simulator.apartment import Lighting
from mirage_ros.sources.simulator.odometry import OdometryDrift
from mirage_ros.sources.simulator.robot import RobotCamera

#: First seed and number of the apartments of each split. They share no apartment with each other,
#: nor with those that other measurements of this package look at (below 1000). Those of ``test``
#: are for the final figures alone: nothing may be chosen by what is seen on them.
SPLITS: dict[str, tuple[int, int]] = {
    "train": (1000, 1000),
    "validation": (2000, 1000),
    "test": (3000, 1000),
}


def split_seeds(split: str, count: int) -> range:
    """The first ``count`` apartments of a split.

    Raises:
        ConfigurationError: an unknown split, or more apartments than it has.
    """
    if split not in SPLITS:
        raise ConfigurationError(f"split must be one of {', '.join(SPLITS)}. Got '{split}'")
    first, most = SPLITS[split]
    if not 1 <= count <= most:
        raise ConfigurationError(f"split '{split}' has 1 to {most} apartments. Got {count}")
    return range(first, first + count)


@dataclass(frozen=True)
class Variation:
    """How one drive differs from another, beside the apartment.

    Attributes:
        camera: field of view, height and pitch.
        lighting: of the apartment.
        depth_errors: of the sensor; None = none.
        drift: of the odometry; None = none.
        duration_s: of the drive, simulated seconds.
    """

    camera: RobotCamera
    lighting: Lighting
    depth_errors: DepthErrors | None
    drift: OdometryDrift | None
    duration_s: float

    @classmethod
    def drawn(
        cls, seed: int, size: tuple[int, int], duration_s: float, imperfect: float
    ) -> Variation:
        """The variation of an apartment's drive; one seed, one variation.

        Args:
            seed: of the apartment.
            size: width and height of the images, pixels.
            duration_s: of the drive, simulated seconds.
            imperfect: share of the drives with errors of depth, and as many with drift.
        """
        rng = np.random.default_rng((seed, 7))
        camera = RobotCamera(
            *size,
            horizontal_fov=float(rng.uniform(58.0, 95.0)),
            mount_height=float(rng.uniform(0.45, 1.0)),
            pitch=float(rng.uniform(-4.0, 16.0)),
        )
        lighting = Lighting.drawn(rng)
        depth_errors = DepthErrors(
            noise=float(rng.uniform(0.0007, 0.004)),
            holes=float(rng.uniform(0.0, 0.15)),
            edge_holes=int(rng.integers(0, 3)),
            quantisation=float(rng.uniform(0.0, 0.004)),
        )
        drift = OdometryDrift(
            noise=float(rng.uniform(0.0, 0.004)),
            distance_error=float(rng.uniform(0.0, 0.015)),
            heading_error=math.radians(float(rng.uniform(0.0, 0.5))),
        )
        noisy, drifting = rng.random(2) < imperfect
        return cls(
            camera,
            lighting,
            depth_errors if noisy else None,
            drift if drifting else None,
            duration_s,
        )

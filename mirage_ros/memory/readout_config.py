"""Weights and limits of the readout, and how its fit is counted."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mirage_ros.errors import ConfigurationError

#: Steps per unit of the fit score, which is compared as an integer.
FIT_STEPS = 4096.0
#: Largest fit that is told apart (it must leave 31 bits).
FIT_LIMIT = 2.0**18


@dataclass(frozen=True)
class ReadoutConfig:
    """Weights and limits of the readout.

    The fit of a token seen with footprint F along unit direction a, read where a pixel has
    footprint f and the token appears along b, (du, dv) cells from the cell's centre (lowest wins)::

        offset_weight (du^2 + dv^2) + scale_weight (max(f/F, F/f) - 1) + angle_weight (1 - a.b)

    The defaults were tuned on hand-held Kinect frames (7-Scenes, redkitchen) and on a simulated
    drive. The wide band suits both, although the simulator's depth is exact: a cell at a depth edge
    holds two surfaces, and the token that shows the same mixture may carry the farther one's depth.

    Attributes:
        near_plane: tokens nearer to the image plane than this are not seen, metres.
        depth_band: share of the surface's depth by which a candidate may lie behind it.
        reach: a token is a candidate for cells whose centre is nearer than this, cells.
        max_reach: largest half side of a token that appears larger than a cell, cells.
        offset_weight: weight of the squared distance to the cell's centre, per cell^2.
        scale_weight: weight of the ratio of footprints.
        angle_weight: weight of the change of viewing direction.
        back_limit: a token is not seen from behind: when the cosine between the ray to it and its
            surface's normal exceeds this. Normals are not exact, so it is above 0.

    Raises:
        ConfigurationError: a value is negative or not finite, or ``max_reach < reach``.
    """

    near_plane: float = 0.1
    depth_band: float = 0.3
    reach: float = 1.0
    max_reach: float = 2.0
    offset_weight: float = 1.0
    scale_weight: float = 1.0
    angle_weight: float = 80.0
    back_limit: float = 0.2

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value < float("inf"):
                raise ConfigurationError(f"{field.name} must be finite and >= 0. Got {value}")
        if self.near_plane == 0.0:
            raise ConfigurationError("near_plane must be positive. Got 0.0")
        if not 0.5 <= self.reach <= self.max_reach <= 8.0:
            raise ConfigurationError(
                "0.5 <= reach <= max_reach <= 8 must hold. "
                f"Got reach={self.reach}, max_reach={self.max_reach}"
            )

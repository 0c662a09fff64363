"""What can be chosen about the perception. Importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mirage_ros.errors import ConfigurationError
from mirage_ros.perception.depth_settings import DEPTH_KINDS, DepthModelSettings


@dataclass(frozen=True)
class PerceptionSettings:
    """Which parts of the perception are there.

    Attributes:
        depth: where depth comes from, one of
            :data:`mirage_ros.perception.depth_settings.DEPTH_KINDS`.
        depth_model: of depth from one image.
        depth_noise: standard deviation of the sensor's depth at 1 m, metres; it grows with the
            square of the depth.
        dynamic_filter: new things wait until views agree on them, and what views see through is
            forgotten.
        optical_flow: what moves against the rest is not remembered, where frames come in pairs.
        registration: poses are corrected by what is remembered.

    Raises:
        ConfigurationError: a value is not allowed.
    """

    depth: str = "sensor"
    depth_model: DepthModelSettings = field(default_factory=DepthModelSettings)
    depth_noise: float = 0.0019
    dynamic_filter: bool = True
    optical_flow: bool = True
    registration: bool = False

    def __post_init__(self) -> None:
        if self.depth not in DEPTH_KINDS:
            raise ConfigurationError(
                f"depth must be one of {', '.join(DEPTH_KINDS)}. Got '{self.depth}'"
            )
        if not (math.isfinite(self.depth_noise) and self.depth_noise > 0.0):
            raise ConfigurationError(f"depth_noise must be positive. Got {self.depth_noise}")

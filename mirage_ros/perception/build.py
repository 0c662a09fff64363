"""The perception that settings ask for."""

from __future__ import annotations

from dataclasses import replace

from mirage_ros.perception.depth import DepthNoise, SensorDepthConfig
from mirage_ros.perception.depth_sources import depth_source
from mirage_ros.perception.dynamics import DynamicsConfig, DynamicsFilter
from mirage_ros.perception.flow import FlowConfig
from mirage_ros.perception.free_space import FreeSpaceConfig
from mirage_ros.perception.monocular import MonocularConfig
from mirage_ros.perception.pipeline import Perception
from mirage_ros.perception.registration import Registrar, RegistrationConfig
from mirage_ros.perception.settings import PerceptionSettings


def build_perception(
    settings: PerceptionSettings,
    *,
    stride: int,
    min_depth: float,
    max_depth: float,
) -> Perception:
    """The parts that are asked for, put together.

    Args:
        settings: which.
        stride: side of a latent cell, pixels.
        min_depth: nearer depth counts as unknown, metres.
        max_depth: farther depth counts as unknown, metres.

    Raises:
        ConfigurationError: a value is out of range.
        UnavailableError: the depth model is not at hand.
        CheckpointError: its files are not those of a depth model.
    """
    noise = replace(DepthNoise(), b=settings.depth_noise)
    sensor = SensorDepthConfig(min_depth=min_depth, max_depth=max_depth, noise=noise)
    dynamics = DynamicsConfig(
        quarantine=settings.dynamic_filter,
        flow=settings.optical_flow,
        free_space=FreeSpaceConfig(noise=settings.depth_noise),
        # Half as much again: poses and times are off as well.
        residual=FlowConfig(depth_noise=1.5 * settings.depth_noise),
    )
    filtered = settings.dynamic_filter or settings.optical_flow
    registration = RegistrationConfig(min_depth=min_depth, max_depth=max_depth)
    return Perception(
        depth_source(
            settings.depth,
            sensor=sensor,
            model=settings.depth_model,
            monocular=MonocularConfig(min_depth=min_depth, max_depth=max_depth),
        ),
        Registrar(registration) if settings.registration else None,
        DynamicsFilter(stride, dynamics) if filtered else None,
        carve=settings.dynamic_filter,
    )

"""The parameters of the perception: depth, what moves, drift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirage_ros.nodes.parameters import Spec
from mirage_ros.perception.depth_settings import DEPTH_KINDS, DepthModelSettings
from mirage_ros.perception.settings import PerceptionSettings

_DEFAULT = PerceptionSettings()
_MODEL = DepthModelSettings()

PERCEPTION_PARAMETERS: tuple[Spec, ...] = (
    Spec(
        "depth_source",
        _DEFAULT.depth,
        "Where depth comes from: the topic; a model that predicts it from the image, scaled by the "
        "topic where there is one, else by what is remembered; or the topic, and the model in its "
        "holes.",
        choices=DEPTH_KINDS,
    ),
    Spec(
        "depth_model",
        _MODEL.model,
        "Model that predicts depth: a folder in transformers' layout, or a hub's owner/name.",
    ),
    Spec("depth_model_offline", _MODEL.offline, "Never ask a hub for the depth model."),
    Spec(
        "depth_noise",
        _DEFAULT.depth_noise,
        "Std. dev. of measured depth at 1 m, m; it grows with the square of the depth.",
        1e-5,
        1.0,
    ),
    Spec(
        "dynamic_filter",
        _DEFAULT.dynamic_filter,
        "New things are remembered once views agree that they stay; what views see through is "
        "forgotten (memory latent).",
    ),
    Spec(
        "optical_flow",
        _DEFAULT.optical_flow,
        "What moves against the rest of the picture is not remembered.",
    ),
    Spec(
        "registration",
        _DEFAULT.registration,
        "Correct poses by what is remembered: on where odometry drifts by more than about 0.3 % or "
        "0.1 degrees a metre, off where poses come from a localiser. Needs memory latent.",
    ),
    Spec(
        "memory_frame",
        "mirage_memory",
        "Frame in which remembered things do not drift; child of world_frame on TF while "
        "registration is on.",
    ),
    Spec(
        "use_corrected_trajectory",
        False,
        "Subscribe to corrected_trajectory: keyframes follow the path that a SLAM system has "
        "optimised.",
    ),
    Spec(
        "odom_frame",
        "",
        "Odometry's frame where a localiser moves it in world_frame: keyframes since its last move "
        "take their share of the next. Empty: they stay.",
    ),
    Spec(
        "keyframe_move_distance",
        1.0,
        "Keyframes that would move farther at once stay, with a warning, m.",
        0.001,
        1e3,
    ),
    Spec(
        "keyframe_move_angle",
        0.35,
        "Keyframes that would turn farther at once stay, with a warning, rad.",
        0.001,
        3.15,
    ),
)

#: What moves keyframes, or the poses of new ones; two of them would correct the same twice.
_CORRECTIONS = ("registration", "use_corrected_trajectory", "odom_frame")


def perception_settings(values: Callable[[str], Any]) -> PerceptionSettings:
    """The settings that the parameters say, given a way to ask for a value by name."""
    return PerceptionSettings(
        depth=values("depth_source"),
        depth_model=DepthModelSettings(
            model=values("depth_model"),
            offline=values("depth_model_offline"),
            device=values("device"),
        ),
        depth_noise=values("depth_noise"),
        dynamic_filter=values("dynamic_filter"),
        optical_flow=values("optical_flow"),
        registration=values("registration"),
    )


def perception_problem(values: Callable[[str], Any]) -> str:
    """What is wrong with values that are each allowed, or an empty string."""
    wanted = [name for name in _CORRECTIONS if values(name)]
    if len(wanted) > 1:
        return (
            f"{' and '.join(wanted)} cannot be used together: either poses are registered to the "
            "memory, or keyframes follow a SLAM system, or a localiser"
        )
    if wanted and values("memory") != "latent":
        return f"{wanted[0]} needs memory 'latent'. Got memory '{values('memory')}'"
    if values("odom_frame") and values("odom_frame") == values("world_frame"):
        return f"odom_frame must not be the world_frame. Got '{values('odom_frame')}' for both"
    if values("registration") and values("memory_frame") in ("", values("world_frame")):
        return (
            "memory_frame must not be empty, nor the world_frame, with registration. "
            f"Got '{values('memory_frame')}'"
        )
    return ""

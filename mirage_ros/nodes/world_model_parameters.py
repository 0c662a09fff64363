"""The parameters of the world model node; config/world_model.yaml lists the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mirage_ros.backends import BACKENDS, CAPACITY, MEMORIES
from mirage_ros.errors import PoseError
from mirage_ros.nodes.nano_parameters import NANO_PARAMETERS
from mirage_ros.nodes.parameters import Spec
from mirage_ros.nodes.perception_parameters import PERCEPTION_PARAMETERS, perception_problem
from mirage_ros.nodes.pose_source import POSE_KINDS, extrinsics_from_parameter
from mirage_ros.nodes.wan_parameters import WAN_PARAMETERS
from mirage_ros.wan_settings import RESOLUTIONS

#: ``resolution`` that leaves the size to other parameters.
CUSTOM_SIZE = "custom"


def _multiple_of(step: int, name: str) -> Callable[[Any], str]:
    return lambda value: (
        "" if value % step == 0 else f"{name} must be a multiple of {step}. Got {value}"
    )


def _extrinsics_problem(values: Any) -> str:
    try:
        extrinsics_from_parameter(list(values))
    except PoseError as error:
        return str(error)
    return ""


def _not_empty(value: Any) -> str:
    return "" if value else "world_frame must not be empty"


def _absolute_or_empty(value: Any) -> str:
    if not value or value.startswith(("/", "~")):
        return ""
    return f"memory_directory must be an absolute path, or empty. Got '{value}'"


def generation_size(values: Callable[[str], Any]) -> tuple[int, int]:
    """Width and height of predicted views, given a way to ask for a value by name."""
    name = values("resolution")
    if name != CUSTOM_SIZE:
        return RESOLUTIONS[name]
    return values("generation_width"), values("generation_height")


def problem_together(values: Callable[[str], Any]) -> str:
    """What is wrong with values that are each allowed, or an empty string."""
    if values("horizon") < values("frame_period"):
        return (
            f"horizon must be at least one frame_period. Got horizon {values('horizon')}, "
            f"frame_period {values('frame_period')}"
        )
    if values("min_depth") >= values("max_depth"):
        return (
            f"min_depth must be below max_depth. Got min_depth {values('min_depth')}, "
            f"max_depth {values('max_depth')}"
        )
    return perception_problem(values)


WORLD_MODEL_PARAMETERS: tuple[Spec, ...] = (
    # What imagines.
    Spec("backend", "nano", "World model to run.", choices=BACKENDS),
    Spec("device", "cpu", "Where tensors live: cpu, cuda or cuda:N."),
    Spec(
        "num_threads",
        1,
        "CPU threads of the engine; one leaves the other cores to the rest of the robot.",
        1,
        256,
    ),
    Spec(
        "resolution",
        CUSTOM_SIZE,
        "Size of predicted views: one that wan2.2 knows well, or custom: generation_width x "
        "generation_height.",
        choices=(CUSTOM_SIZE, *RESOLUTIONS),
    ),
    Spec(
        "generation_width",
        320,
        "Width of predicted views, pixels; a multiple of 32.",
        32,
        4096,
        check=_multiple_of(32, "generation_width"),
    ),
    Spec(
        "generation_height",
        256,
        "Height of predicted views, pixels; a multiple of 32.",
        32,
        4096,
        check=_multiple_of(32, "generation_height"),
    ),
    Spec("seed", 0, "Seed of all randomness.", 0, 2**31 - 1, dynamic=True),
    Spec("autostart", False, "Configure and activate at once, without a lifecycle manager."),
    # Frames.
    Spec("world_frame", "odom", "Frame the memory lives in (REP-105).", check=_not_empty),
    Spec(
        "base_frame",
        "",
        "Frame of the robot's base; empty: the odometry's child_frame_id.",
    ),
    Spec(
        "T_base_camera",
        [],
        "Pose of the camera's optical frame in the base, [x, y, z, qx, qy, qz, qw], metres; "
        "not set: from TF.",
        check=_extrinsics_problem,
    ),
    # Input.
    Spec(
        "image_transport",
        "raw",
        "raw subscribes to image, compressed to image/compressed (JPEG or PNG).",
        choices=("raw", "compressed"),
    ),
    Spec(
        "image_is_rectified",
        False,
        "The image is rectified already (image_rect): use P of camera_info, ignore distortion.",
    ),
    Spec(
        "use_depth",
        True,
        "Subscribe to depth; without it depth_source must predict it, else nothing is stored.",
    ),
    Spec(
        "use_dynamic_mask",
        False,
        "Subscribe to dynamic_mask: what it marks (not zero) moves and is not remembered.",
    ),
    Spec("pose_source", "odometry", "Type of the pose input, or TF.", choices=POSE_KINDS),
    Spec(
        "pose_of",
        "base",
        "What the pose input is of: the base, or the camera's optical frame.",
        choices=("base", "camera"),
    ),
    Spec("sync_slop", 0.02, "Largest time between an image and its partners, s.", 0.0, 1.0),
    Spec("sync_wait", 0.25, "How long an image waits for its partners, s.", 0.0, 10.0),
    Spec("sync_buffer", 15, "Images that may wait, and messages kept per partner.", 1, 1000),
    Spec("pose_max_gap", 0.5, "Poses further apart are not interpolated between, s.", 0.001, 60.0),
    Spec("pose_max_extrapolation", 0.05, "How far past the newest pose is trusted, s.", 0.0, 1.0),
    Spec("max_linear_speed", 5.0, "Faster motion counts as a jump of the pose, m/s.", 0.01, 1e3),
    Spec("max_angular_speed", 12.0, "Faster turning counts as a jump, rad/s.", 0.01, 1e3),
    Spec("reset_on_jump", False, "Forget everything when the pose jumps.", dynamic=True),
    Spec(
        "max_frame_age",
        0.5,
        "Frames older than this are not worked on, s.",
        0.01,
        3600.0,
        dynamic=True,
    ),
    Spec("input_timeout", 5.0, "Silence after which missing input is named, s.", 0.1, 3600.0),
    # What is remembered.
    Spec(
        "keyframe_distance",
        0.20,
        "Camera motion that makes a keyframe, m.",
        0.0,
        100.0,
        dynamic=True,
    ),
    Spec(
        "keyframe_angle",
        0.20,
        "Camera rotation that makes a keyframe, rad.",
        0.0,
        3.2,
        dynamic=True,
    ),
    Spec(
        "keyframe_interval",
        0.0,
        "Time after which any frame is a keyframe, s; 0: never by time alone.",
        0.0,
        3600.0,
        dynamic=True,
    ),
    Spec(
        "keyframe_min_interval",
        0.0,
        "Least time between two keyframes, s.",
        0.0,
        3600.0,
        dynamic=True,
    ),
    Spec("min_depth", 0.1, "Nearer depth is taken for unknown, m.", 0.0, 1e3),
    Spec("max_depth", 10.0, "Farther depth is taken for unknown, m.", 0.01, 1e4),
    Spec(
        "grids",
        1,
        "Cell grids a keyframe is encoded on, 1, 2 or 4: sharper memory at so many times the size.",
        1,
        4,
        check=lambda value: "" if value in (1, 2, 4) else f"grids must be 1, 2 or 4. Got {value}",
    ),
    Spec(
        "memory",
        "latent",
        "What is remembered: latent tokens; every pixel seen as a coloured point; or points like "
        "tokens, bounded and without repeats.",
        choices=MEMORIES,
    ),
    Spec(
        "capacity",
        CAPACITY,
        "Tokens (memory latent) or points (rgb_fair) held at most, one view's at least; the least "
        "useful ones go. Memory rgb has no bound.",
        1,
        100_000_000,
    ),
    Spec(
        "memory_file",
        "",
        "File that is loaded at configuration, which fails if it does not fit; empty: none.",
    ),
    Spec(
        "memory_directory",
        "",
        "Where relative paths of memory files start; empty: mirage_ros in ROS_HOME (~/.ros).",
        check=_absolute_or_empty,
    ),
    *PERCEPTION_PARAMETERS,
    # What is imagined.
    Spec("horizon", 2.0, "How far ahead is imagined, s.", 0.05, 600.0, dynamic=True),
    Spec("frame_period", 0.25, "Time between predicted frames, s.", 0.01, 60.0, dynamic=True),
    Spec(
        "rollout_rate",
        2.0,
        "Rollouts a second beside those that a new plan starts; 0: only on a new plan.",
        0.0,
        100.0,
    ),
    Spec(
        "plan_timeout",
        5.0,
        "After this long without a new plan the current twist is extrapolated instead, s.",
        0.1,
        3600.0,
        dynamic=True,
    ),
    Spec(
        "nominal_speed",
        0.5,
        "Speed along a plan whose stamps do not increase, m/s.",
        0.001,
        100.0,
        dynamic=True,
    ),
    Spec(
        "plan_pose_of",
        "base",
        "What a plan's poses are of: the base, or the camera's optical frame.",
        choices=("base", "camera"),
    ),
    Spec("max_candidates", 64, "Candidate paths that a goal of ~/imagine may hold.", 1, 10_000),
    Spec(
        "max_goal_frames",
        4096,
        "Frames that a goal of ~/imagine may ask for, all candidates together.",
        1,
        1_000_000,
    ),
    # Output.
    Spec(
        "playback",
        "burst",
        "~/predicted/* as soon as frames are ready, or paced as they are due. "
        "(~/predictions always comes at once.)",
        choices=("burst", "realtime"),
    ),
    Spec("cloud_rate", 1.0, "Latent clouds a second while the memory changes.", 0.01, 100.0),
    Spec(
        "cloud_points",
        200_000,
        "Points of a latent cloud at most; of more tokens every n-th is shown.",
        1_000,
        100_000_000,
        dynamic=True,
    ),
    Spec("status_rate", 1.0, "Status and diagnostics messages a second.", 0.1, 100.0),
    *NANO_PARAMETERS,
    *WAN_PARAMETERS,
)

"""The world model node on a robot: ``ros2 launch mirage_ros world_model.launch.py``.

Remap its inputs to your robot's topics, for example
``image:=/camera/color/image_raw odom:=/odometry/filtered``.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PythonExpression
from launch_ros.actions import LifecycleNode

from launch import LaunchContext, LaunchDescription

#: Inputs that launch arguments of the same name remap.
INPUTS = (
    "image",
    "camera_info",
    "depth",
    "dynamic_mask",
    "odom",
    "pose",
    "corrected_trajectory",
    "plan",
)

#: Parameters of the backends nano and wan2.2 that launch arguments of the same name set.
NANO_ARGUMENTS = ("quality",)
WAN_ARGUMENTS = ("model", "side_branch", "tiny_decoder", "prompt")

#: Parameter files of backends that need other values than world_model.yaml has.
PARAMETER_FILES = {"wan2.2": "wan_world_model.yaml"}


def generate_launch_description() -> LaunchDescription:
    """Arguments and the node."""
    config = Path(get_package_share_directory("mirage_ros")) / "config"
    arguments = [
        DeclareLaunchArgument(
            "backend",
            default_value="",
            description="World model to run; empty: as params_file says",
        ),
        *(
            DeclareLaunchArgument(
                name,
                default_value="",
                description=f"Parameter wan.{name} of backend wan2.2; empty: as params_file says",
            )
            for name in WAN_ARGUMENTS
        ),
        DeclareLaunchArgument(
            "quality",
            default_value="",
            description="Parameter nano.quality of backend nano, mean or sample; empty: as "
            "params_file says",
        ),
        DeclareLaunchArgument(
            "memory_file",
            default_value="",
            description="Saved memory to begin with; empty: as params_file says",
        ),
        DeclareLaunchArgument(
            "depth_source",
            default_value="",
            description="sensor, monocular or sensor_and_monocular; empty: as params_file says",
        ),
        DeclareLaunchArgument(
            "depth_model",
            default_value="",
            description="Model that predicts depth; empty: as params_file says",
        ),
        DeclareLaunchArgument(
            "registration",
            default_value="",
            description="Correct poses by what is remembered; empty: as params_file says",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value="",
            description="Parameters of the node; what is not in it keeps its default. Empty: the "
            "file of this package for the backend",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="",
            description="Follow /clock (simulation, bags); empty: as params_file says",
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            description="Configure and activate at once, whatever params_file says",
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="Logging severity"),
        DeclareLaunchArgument(
            "fastdds_profile",
            default_value=EnvironmentVariable(
                "FASTDDS_DEFAULT_PROFILES_FILE", default_value=str(config / "fastdds.xml")
            ),
            description="Fast DDS profile, by default with room for images in shared memory, "
            "unless the environment names another; none: no profile",
        ),
        *(
            DeclareLaunchArgument(name, default_value=name, description=f"Remaps the input {name}")
            for name in INPUTS
        ),
    ]
    profile = SetEnvironmentVariable(
        "FASTDDS_DEFAULT_PROFILES_FILE",
        LaunchConfiguration("fastdds_profile"),
        condition=IfCondition(
            PythonExpression(["'", LaunchConfiguration("fastdds_profile"), "' != 'none'"])
        ),
    )
    node = OpaqueFunction(function=_node, args=[config])
    return LaunchDescription([*arguments, profile, node])


def _node(context: LaunchContext, config: Path) -> list[LifecycleNode]:
    """The node; launch arguments that are empty leave the parameter file's values alone."""
    overrides: dict[str, object] = {}
    for name in ("use_sim_time", "autostart", "registration"):
        value = LaunchConfiguration(name).perform(context).lower()
        if value not in ("", "true", "false"):
            raise ValueError(f"{name} must be true, false or empty. Got '{value}'")
        if value:
            overrides[name] = value == "true"
    for name in ("backend", "memory_file", "depth_source", "depth_model"):
        value = LaunchConfiguration(name).perform(context)
        if value:
            overrides[name] = value
    for prefix, names in (("nano", NANO_ARGUMENTS), ("wan", WAN_ARGUMENTS)):
        for name in names:
            value = LaunchConfiguration(name).perform(context)
            if value:
                overrides[f"{prefix}.{name}"] = value
    own = PARAMETER_FILES.get(str(overrides.get("backend")), "world_model.yaml")
    params_file = LaunchConfiguration("params_file").perform(context) or str(config / own)
    return [
        LifecycleNode(
            package="mirage_ros",
            executable="world_model",
            name="world_model",
            namespace=LaunchConfiguration("namespace"),
            output="screen",
            emulate_tty=True,
            parameters=[params_file, overrides],
            remappings=[(name, LaunchConfiguration(name)) for name in INPUTS],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        )
    ]

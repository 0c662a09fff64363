"""The world model node on a robot: ``ros2 launch mirage_ros world_model.launch.py``.

Remap its inputs to your robot's topics, for example
``image:=/camera/color/image_raw odom:=/odometry/filtered``.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

#: Inputs that launch arguments of the same name remap.
INPUTS = ("image", "camera_info", "depth", "odom", "pose", "plan")


def generate_launch_description() -> LaunchDescription:
    """Arguments and the node."""
    config = Path(get_package_share_directory("mirage_ros")) / "config"
    arguments = [
        DeclareLaunchArgument("backend", default_value="readout", description="World model to run"),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(config / "world_model.yaml"),
            description="Parameters of the node; what is not in it keeps its default",
        ),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", description="Follow /clock (simulation, bags)"
        ),
        DeclareLaunchArgument(
            "autostart", default_value="true", description="Configure and activate at once"
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
        DeclareLaunchArgument("log_level", default_value="info", description="Logging severity"),
        DeclareLaunchArgument(
            "fastdds_profile",
            default_value=str(config / "fastdds.xml"),
            description="Fast DDS profile with room for images in shared memory; empty: none",
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
            PythonExpression(["'", LaunchConfiguration("fastdds_profile"), "' != ''"])
        ),
    )
    node = LifecycleNode(
        package="mirage_ros",
        executable="world_model",
        name="world_model",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        emulate_tty=True,
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "backend": LaunchConfiguration("backend"),
                "use_sim_time": ParameterValue(
                    LaunchConfiguration("use_sim_time"), value_type=bool
                ),
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
            },
        ],
        remappings=[(name, LaunchConfiguration(name)) for name in INPUTS],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    return LaunchDescription([*arguments, profile, node])

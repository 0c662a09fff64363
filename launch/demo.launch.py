"""Simulated apartment, world model and RViz: ``ros2 launch mirage_ros demo.launch.py``."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Arguments and the three processes."""
    share = Path(get_package_share_directory("mirage_ros"))
    arguments = [
        DeclareLaunchArgument(
            "backend",
            default_value="",
            description="World model to run; empty: as params_file says",
        ),
        DeclareLaunchArgument(
            "quality", default_value="", description="Of backend nano: mean or sample"
        ),
        DeclareLaunchArgument("seed", default_value="0", description="Which apartment"),
        DeclareLaunchArgument(
            "tour", default_value="true", description="Drive a tour; false: drive by /cmd_vel"
        ),
        DeclareLaunchArgument("people", default_value="0", description="How many walk about"),
        DeclareLaunchArgument(
            "registration", default_value="", description="Correct poses by what is remembered"
        ),
        DeclareLaunchArgument("rviz", default_value="true", description="Start RViz"),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share / "config" / "simulator_world_model.yaml"),
            description="Parameters of the world model",
        ),
    ]
    world_model = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / "launch" / "world_model.launch.py")),
        launch_arguments={
            "backend": LaunchConfiguration("backend"),
            "quality": LaunchConfiguration("quality"),
            "registration": LaunchConfiguration("registration"),
            "params_file": LaunchConfiguration("params_file"),
        }.items(),
    )
    simulator = Node(
        package="mirage_ros",
        executable="simulator",
        name="simulator",
        output="screen",
        parameters=[
            {
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
                "people": ParameterValue(LaunchConfiguration("people"), value_type=int),
                "tour": ParameterValue(LaunchConfiguration("tour"), value_type=bool),
            }
        ],
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(share / "config" / "world_model.rviz")],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*arguments, world_model, simulator, rviz])

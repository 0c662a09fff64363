"""A MuJoCo apartment with a differential-drive robot and an RGB-D camera; needs no ROS."""

from mirage_ros.sources.simulator.apartment import ApartmentScene, build_apartment
from mirage_ros.sources.simulator.chair import MovedChair
from mirage_ros.sources.simulator.closed_tour import ClosedTour, closed_loop_tour
from mirage_ros.sources.simulator.door import HingedDoor
from mirage_ros.sources.simulator.figure import WalkingFigure
from mirage_ros.sources.simulator.household import draw_movers
from mirage_ros.sources.simulator.movers import Mover, MovingBody
from mirage_ros.sources.simulator.odometry import OdometryDrift, OdometryReading
from mirage_ros.sources.simulator.rendered import RenderedSequence, robot_tour
from mirage_ros.sources.simulator.renderer import RgbdRenderer
from mirage_ros.sources.simulator.robot import DriveLimits, RobotCamera
from mirage_ros.sources.simulator.simulator import Simulator
from mirage_ros.sources.simulator.tour import DEFAULT_ROOMS, Tour

__all__ = [
    "DEFAULT_ROOMS",
    "ApartmentScene",
    "ClosedTour",
    "DriveLimits",
    "HingedDoor",
    "MovedChair",
    "Mover",
    "MovingBody",
    "OdometryDrift",
    "OdometryReading",
    "RenderedSequence",
    "RgbdRenderer",
    "RobotCamera",
    "Simulator",
    "Tour",
    "WalkingFigure",
    "build_apartment",
    "closed_loop_tour",
    "draw_movers",
    "robot_tour",
]

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from mirage_ros.errors import CameraError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.camera_info import calibration_key, camera_from_info, fill_camera_info


@dataclass
class Region:
    x_offset: int = 0
    y_offset: int = 0
    height: int = 0
    width: int = 0
    do_rectify: bool = False


@dataclass
class Info:
    """The fields of sensor_msgs/CameraInfo; numpy arrays where rclpy has them."""

    width: int = 640
    height: int = 480
    distortion_model: str = "plumb_bob"
    d: Any = ()
    k: Any = field(default_factory=lambda: np.array([500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1.0]))
    r: Any = field(default_factory=lambda: np.eye(3).ravel())
    p: Any = field(default_factory=lambda: np.zeros(12))
    binning_x: int = 0
    binning_y: int = 0
    roi: Region = field(default_factory=Region)


def test_pixel_centres_become_corners() -> None:
    camera = camera_from_info(Info())
    assert camera == PinholeCamera(640, 480, 500.0, 510.0, 320.0, 240.0)


def test_round_trip_is_exact() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        width, height = (int(n) for n in rng.integers(1, 4000, 2))
        fx, fy = rng.uniform(1.0, 3000.0, 2)
        cx, cy = rng.uniform(0.5, 4000.0, 2)
        camera = PinholeCamera(width, height, float(fx), float(fy), float(cx), float(cy))
        message = fill_camera_info(camera, Info(binning_x=2, roi=Region(x_offset=3, width=9)))
        assert camera_from_info(message) == camera
        assert camera_from_info(message, rectified=True) == camera


def test_calibrations_are_told_apart_by_every_number_that_is_read() -> None:
    key = calibration_key(Info(d=[0.1, 0, 0, 0, 0]))
    assert calibration_key(Info(d=np.array([0.1, 0, 0, 0, 0]))) == key
    others = [
        Info(),
        Info(d=[0.1, 0, 0, 0, 1e-9]),
        Info(d=[0.1, 0, 0, 0, 0], width=641),
        Info(d=[0.1, 0, 0, 0, 0], distortion_model="equidistant"),
        Info(d=[0.1, 0, 0, 0, 0], p=np.ones(12)),
        Info(d=[0.1, 0, 0, 0, 0], binning_y=2),
        Info(d=[0.1, 0, 0, 0, 0], roi=Region(x_offset=1)),
    ]
    assert len({key, *map(calibration_key, others)}) == 1 + len(others)


def test_filled_message() -> None:
    message = fill_camera_info(PinholeCamera(32, 16, 20.0, 21.0, 16.0, 8.0), Info())
    assert (message.width, message.height) == (32, 16)
    assert message.distortion_model == "plumb_bob"
    assert list(message.d) == [0.0] * 5
    np.testing.assert_array_equal(
        np.reshape(message.k, (3, 3)), [[20.0, 0, 15.5], [0, 21.0, 7.5], [0, 0, 1]]
    )
    np.testing.assert_array_equal(
        np.reshape(message.p, (3, 4)), [[20.0, 0, 15.5, 0], [0, 21.0, 7.5, 0], [0, 0, 1, 0]]
    )
    np.testing.assert_array_equal(np.reshape(message.r, (3, 3)), np.eye(3))


def test_rectified_takes_p() -> None:
    p = np.array([400.0, 0, 300.0, -40.0, 0, 410.0, 200.0, 0, 0, 0, 1, 0])
    camera = camera_from_info(Info(p=p), rectified=True)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400.0, 410.0, 300.5, 200.5)


def test_region_then_binning_keep_rays() -> None:
    full = camera_from_info(Info())
    info = Info(
        binning_x=2, binning_y=4, roi=Region(x_offset=100, y_offset=40, width=200, height=80)
    )
    camera = camera_from_info(info)
    assert (camera.width, camera.height) == (100, 20)
    # The corner of binned pixel (10, 5) is the corner of full pixel (100 + 20, 40 + 20).
    np.testing.assert_allclose(
        camera.unproject(np.array([10.0, 5.0]), np.array(1.0)),
        full.unproject(np.array([120.0, 60.0]), np.array(1.0)),
        atol=1e-15,
    )


def test_region_reaches_to_the_border_where_its_size_is_zero() -> None:
    camera = camera_from_info(Info(roi=Region(x_offset=40, y_offset=80)))
    assert (camera.width, camera.height) == (600, 400)
    assert camera.cx == 280.0


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (Info(k=np.zeros(9)), "uncalibrated"),
        (Info(k=np.array([500.0, 0, np.nan, 0, 500.0, 240.0, 0, 0, 1.0])), "uncalibrated"),
        (Info(k=np.array([np.nan] * 9)), "uncalibrated"),
        (Info(k=np.array([-500.0, 0, 320.0, 0, 500.0, 240.0, 0, 0, 1.0])), "positive"),
        (Info(k=np.array([500.0, 5.0, 320.0, 0, 500.0, 240.0, 0, 0, 1.0])), "skew"),
        (Info(k=np.ones(8)), "9 values"),
        (Info(width=0), "size must be positive"),
        (Info(roi=Region(x_offset=600, width=100, height=10)), "crop must lie inside"),
        (Info(roi=Region(x_offset=700)), "crop must lie inside|size must be positive"),
        (Info(binning_x=7), "binning must divide"),
    ],
)
def test_bad_info_is_refused(info: Info, message: str) -> None:
    with pytest.raises(CameraError, match=message):
        camera_from_info(info)


def test_uncalibrated_p_is_refused_only_when_used() -> None:
    info = Info()
    camera_from_info(info)
    with pytest.raises(CameraError, match="P must hold"):
        camera_from_info(info, rectified=True)

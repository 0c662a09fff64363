import math

import numpy as np
import pytest

from mirage_ros.errors import CameraError
from mirage_ros.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(640, 480, 500.0, 510.0, 321.5, 238.25)


def test_projection_closed_form() -> None:
    pixels, depth = CAMERA.project(np.array([[0.0, 0.0, 2.0], [1.0, -0.5, 2.0]]))
    np.testing.assert_allclose(pixels, [[321.5, 238.25], [571.5, 110.75]])
    np.testing.assert_array_equal(depth, [2.0, 2.0])


@pytest.mark.parametrize("z", [0.0, -1.0])
def test_points_behind_have_no_pixel(z: float) -> None:
    pixels, depth = CAMERA.project(np.array([0.3, 0.2, z]))
    assert np.isnan(pixels).all()
    assert depth == z


def test_matrix_projects_alike() -> None:
    point = np.array([0.4, -0.3, 1.7])
    homogeneous = CAMERA.matrix @ point
    np.testing.assert_allclose(CAMERA.project(point)[0], homogeneous[:2] / homogeneous[2])


@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_unproject_inverts_project(batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (*batch, 3))
    points[..., 2] = rng.uniform(0.2, 8, batch)
    pixels, depth = CAMERA.project(points)
    np.testing.assert_allclose(CAMERA.unproject(pixels, depth), points, atol=1e-12)


def test_pixel_centres_lie_at_a_half() -> None:
    centres = PinholeCamera(3, 2, 1.0, 1.0, 0.0, 0.0).pixel_centres()
    assert centres.shape == (2, 3, 2)
    np.testing.assert_array_equal(centres[0, 0], [0.5, 0.5])
    np.testing.assert_array_equal(centres[1, 2], [2.5, 1.5])


def test_scaling_by_a_stride_is_exact() -> None:
    latent = CAMERA.latent(16)
    assert (latent.width, latent.height) == (40, 30)
    assert latent.resized(640, 480) == CAMERA
    # A cell's centre is the centre of its 16x16 pixels: (16 u, 16 v) in the image.
    np.testing.assert_array_equal(
        latent.unproject(latent.pixel_centres(), np.ones((30, 40))),
        CAMERA.unproject(latent.pixel_centres() * 16, np.ones((30, 40))),
    )


def test_crop_moves_the_principal_point() -> None:
    window = CAMERA.cropped(10, 20, 300, 200)
    ray = CAMERA.unproject(np.array([110.0, 70.0]), np.array(3.0))
    np.testing.assert_allclose(window.project(ray)[0], [100.0, 50.0])
    assert CAMERA.cropped(0, 0, 640, 480) == CAMERA


@pytest.mark.parametrize(
    "window", [(-1, 0, 10, 10), (0, -1, 10, 10), (631, 0, 10, 10), (0, 471, 10, 10)]
)
def test_crops_outside_are_refused(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(CameraError, match="640x480"):
        CAMERA.cropped(*window)


def test_stride_must_divide_the_size() -> None:
    with pytest.raises(CameraError, match=r"multiple of the stride 16. Got 650x480"):
        PinholeCamera(650, 480, 1.0, 1.0, 0.0, 0.0).latent(16)


@pytest.mark.parametrize(
    "values",
    [
        (0, 480, 1.0, 1.0, 0.0, 0.0),
        (640, -1, 1.0, 1.0, 0.0, 0.0),
        (640, 480, 0.0, 1.0, 0.0, 0.0),
        (640, 480, 1.0, -1.0, 0.0, 0.0),
        (640, 480, math.nan, 1.0, 0.0, 0.0),
        (640, 480, 1.0, 1.0, math.inf, 0.0),
    ],
)
def test_impossible_cameras_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(CameraError, match="Got"):
        PinholeCamera(*values)

"""Planes of depth blocks against planes in closed form."""

import numpy as np
import pytest

from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.perception.planes import DepthPlanes, depth_planes

CAMERA = PinholeCamera(64, 48, 60.0, 62.0, 31.0, 25.0)


def plane_depth(normal: np.ndarray, offset: float) -> np.ndarray:
    """Depth of the plane normal . x = offset."""
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((48, 64)))
    return (offset / (rays @ normal)).astype(np.float32)


def fit(depth: np.ndarray, usable: np.ndarray | None = None) -> DepthPlanes:
    return depth_planes(depth, CAMERA, 8, (0.1, 10.0), 0.02, usable)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.3, -0.2, 0.9), (-0.5, 0.0, 0.8)])
@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_points_and_normals_are_those_of_a_slanted_plane(
    normal: tuple[float, float, float], holes: float
) -> None:
    unit = np.array(normal) / np.linalg.norm(normal)
    depth = plane_depth(unit, 2.0)
    depth[np.random.default_rng(1).random(depth.shape) < holes] = np.nan
    planes = fit(depth)
    assert planes.valid.all()
    assert planes.points.shape == (6, 8, 3)
    np.testing.assert_allclose(planes.points @ unit, 2.0, atol=1e-5)
    np.testing.assert_allclose(planes.normals, np.broadcast_to(-unit, (6, 8, 3)), atol=1e-4)


def test_blocks_with_an_edge_or_without_depth_are_left_out() -> None:
    depth = np.full((48, 64), 2.0, dtype=np.float32)
    depth[:, 28:] = 3.0
    depth[:8, :8] = 0.0
    depth[8:16, :8] = np.nan
    depth[16:24, :8] = 99.0
    valid = fit(depth).valid
    expected = np.ones((6, 8), dtype=bool)
    expected[:, 3] = False
    expected[:3, 0] = False
    np.testing.assert_array_equal(valid, expected)


def test_a_block_known_along_one_line_only_has_no_plane() -> None:
    depth = np.zeros((48, 64), dtype=np.float32)
    depth[:, ::2] = 2.0
    assert fit(depth).valid.all()
    depth = np.full((48, 64), 2.0, dtype=np.float32)
    depth[:, 1::2] = 0.0
    depth[:, 2::8] = 0.0
    assert not fit(depth).valid.any()  # 3 of 8 columns


def test_pixels_that_may_not_be_used_do_not_count() -> None:
    depth = np.full((48, 64), 2.0, dtype=np.float32)
    depth[:4, :8] = 1.0
    assert not fit(depth).valid[0, 0]
    usable = depth > 1.5
    planes = fit(depth, usable)
    assert planes.valid[0, 0]
    np.testing.assert_allclose(planes.points[..., 2], 2.0, atol=1e-5)


def test_noise_is_averaged() -> None:
    noise = np.random.default_rng(0).standard_normal((48, 64)).astype(np.float32)
    planes = fit(np.full((48, 64), 2.0, dtype=np.float32) + 0.01 * noise)
    assert planes.valid.all()
    # The mean of 64 pixels errs by an eighth of one.
    assert planes.points[..., 2].std() == pytest.approx(0.01 / 8, rel=0.4)

import numpy as np
import pytest
import torch

from mirage_ros.errors import ConfigurationError, FrameError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.poses import exp_twist
from mirage_ros.memory.backprojection import (
    CellDepthConfig,
    back_project,
    cell_depth,
    surface_normals,
)

CONFIG = CellDepthConfig()


def one_cell(pixels: np.ndarray) -> float:
    return float(cell_depth(torch.from_numpy(pixels.astype(np.float32)), 16, CONFIG)[0][0, 0])


def test_invalid_pixels_do_not_count() -> None:
    pixels = np.full((16, 16), 2.0)
    pixels[:4], pixels[4:8], pixels[8:10], pixels[10:12] = 0.0, np.nan, np.inf, 99.0
    pixels[12, :3] = -1.0
    assert one_cell(pixels) == 2.0


def test_too_few_valid_pixels_drop_the_cell() -> None:
    pixels = np.zeros((16, 16))
    assert one_cell(pixels) == 0.0
    pixels[0, :3] = 1.0
    assert one_cell(pixels) == 0.0
    pixels[0, :] = 1.0
    assert one_cell(pixels) == 1.0


@pytest.mark.parametrize(("near_columns", "expected"), [(4, 3.0), (8, 1.0), (12, 1.0), (16, 1.0)])
def test_an_edge_is_never_averaged(near_columns: int, expected: float) -> None:
    pixels = np.full((16, 16), 3.0)
    pixels[:, :near_columns] = 1.0
    assert one_cell(pixels) == expected


def test_a_slanted_surface_is_not_split() -> None:
    pixels = np.linspace(1.0, 1.6, 256).reshape(16, 16)
    assert one_cell(pixels) == pytest.approx(1.3, abs=0.01)


def test_the_share_is_that_of_the_surface_taken() -> None:
    pixels = np.full((16, 16), 3.0, dtype=np.float32)
    pixels[:, :12] = 1.0
    pixels[:4, :12] = 0.0
    depth, share = cell_depth(torch.from_numpy(pixels), 16, CONFIG)
    assert (float(depth[0, 0]), float(share[0, 0])) == (1.0, 12 * 12 / 256)
    depth, share = cell_depth(torch.zeros(16, 16), 16, CONFIG)
    assert (float(depth[0, 0]), float(share[0, 0])) == (0.0, 0.0)


def test_the_depth_lies_on_a_measured_surface() -> None:
    rng = np.random.default_rng(0)
    depth = rng.choice([0.0, 1.0, 1.01, 2.0, 2.5], size=(48, 64)).astype(np.float32)
    cells = cell_depth(torch.from_numpy(depth), 16, CONFIG)[0].numpy()
    assert cells.shape == (3, 4)
    surfaces = ((cells >= 1.0) & (cells <= 1.01)) | (cells == 2.0) | (cells == 2.5)
    assert surfaces.all()


@pytest.mark.parametrize("normal", [(0.0, -1.0, -0.2), (1.0, 0.0, -0.5), (0.0, 0.0, -1.0)])
def test_the_depth_of_a_slanted_plane_is_that_of_the_cell_centre(
    normal: tuple[float, float, float],
) -> None:
    camera = PinholeCamera(64, 48, 60.0, 60.0, 32.0, 24.0)
    rays = camera.unproject(camera.pixel_centres(), np.ones((48, 64)))
    cosine = rays @ np.array(normal)
    depth = np.where(cosine < -0.05, -1.0 / cosine, 0.0)
    cells, share = cell_depth(torch.from_numpy(depth.astype(np.float32)), 16, CONFIG)
    cell_rays = camera.latent(16)
    centres = cell_rays.unproject(cell_rays.pixel_centres(), np.ones((3, 4)))
    whole = share.numpy() == 1.0
    assert whole.sum() >= 4
    truth = -1.0 / (centres @ np.array(normal))
    np.testing.assert_allclose(cells.numpy()[whole], truth[whole], rtol=1e-5)


def test_cells_are_read_row_by_row() -> None:
    cells = np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3)
    depth = torch.from_numpy(np.kron(cells, np.ones((16, 16), dtype=np.float32)))
    np.testing.assert_array_equal(cell_depth(depth, 16, CONFIG)[0].numpy(), cells)


def test_points_project_back_to_the_cell_centres() -> None:
    camera = PinholeCamera(64, 48, 50.0, 55.0, 31.0, 25.0).latent(16)
    pose = exp_twist([0.3, -0.2, 0.5], [0.4, 0.1, -0.2], 1.0)
    depth = torch.rand(3, 4) + 1.0
    world = back_project(depth, camera, pose).double().numpy()
    pixels, z = camera.project((world - pose[:3, 3]) @ pose[:3, :3])
    np.testing.assert_allclose(pixels, camera.pixel_centres(), atol=1e-5)
    np.testing.assert_allclose(z, depth.numpy(), atol=1e-5)


def test_unusable_input_is_refused() -> None:
    with pytest.raises(FrameError, match="multiples of 16"):
        cell_depth(torch.zeros(17, 16), 16, CONFIG)
    with pytest.raises(FrameError, match="Got shape"):
        cell_depth(torch.zeros(1, 16, 16), 16, CONFIG)
    with pytest.raises(ConfigurationError, match="min_depth"):
        CellDepthConfig(min_depth=2.0, max_depth=1.0)
    with pytest.raises(ConfigurationError, match="near_share"):
        CellDepthConfig(near_share=float("nan"))


def test_normals_of_planes_point_to_the_camera() -> None:
    camera = PinholeCamera(160, 128, 120.0, 110.0, 81.0, 60.0).latent(16)
    rays = camera.unproject(camera.pixel_centres(), np.ones((8, 10)))
    pose = exp_twist([0.3, -1.0, 2.0], [0.4, -0.2, 0.9], 1.0)
    for plane in ([0.0, 0.0, -1.0], [0.6, 0.0, -0.8], [0.0, -0.8, -0.6]):
        depth = torch.from_numpy(-2.0 / (rays @ np.array(plane))).float()
        ahead = depth > 0.0
        depth = torch.where(ahead, depth, 0.0)
        points = back_project(depth, camera, pose)
        normals = surface_normals(points, depth, torch.from_numpy(pose[:3, 3]).float())
        known = normals.norm(dim=-1) > 0.5
        assert known.sum() > 0.5 * ahead.sum()
        expected = torch.from_numpy(pose[:3, :3] @ np.array(plane)).float()
        torch.testing.assert_close(
            normals[known], expected.expand_as(normals[known]), atol=1e-3, rtol=0.0
        )


def test_a_normal_beside_an_edge_is_that_of_its_own_surface() -> None:
    camera = PinholeCamera(160, 128, 120.0, 120.0, 80.0, 64.0).latent(16)
    depth = torch.full((8, 10), 4.0)
    depth[:, :4] = 1.0
    depth[2, 7] = 0.0
    normals = surface_normals(back_project(depth, camera, np.eye(4)), depth, torch.zeros(3))
    known = depth > 0.0
    expected = torch.tensor([0.0, 0.0, -1.0]).expand_as(normals)
    torch.testing.assert_close(normals[known], expected[known], atol=1e-5, rtol=0.0)
    assert not normals[2, 7].any()


def test_a_cell_alone_has_no_normal() -> None:
    camera = PinholeCamera(48, 48, 40.0, 40.0, 24.0, 24.0).latent(16)
    depth = torch.zeros(3, 3)
    depth[1, 1] = 2.0
    normals = surface_normals(back_project(depth, camera, np.eye(4)), depth, torch.zeros(3))
    assert not normals.any()

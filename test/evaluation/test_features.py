import numpy as np
import pytest

from mirage_ros.evaluation.features import depth_at, detect, match


def blob(x: float, y: float, sigma: float) -> np.ndarray:
    """A Gaussian bump about (x, y), corner convention, as a picture."""
    u = np.arange(64) + 0.5
    bump = np.exp(-((u - x) ** 2 + (u[:, None] - y) ** 2) / (2.0 * sigma**2))
    return np.repeat((0.15 + 0.7 * bump)[..., None], 3, axis=2).astype(np.float32)


@pytest.mark.parametrize(("x", "y", "sigma"), [(30.5, 31.5, 2.0), (33.8, 29.25, 3.0)])
def test_a_feature_lies_where_the_blob_does(x: float, y: float, sigma: float) -> None:
    pixels = detect(blob(x, y, sigma)).pixels
    nearest = pixels[np.linalg.norm(pixels - (x, y), axis=1).argmin()]
    np.testing.assert_allclose(nearest, (x, y), atol=0.04)


def test_matches_of_a_shifted_picture_are_shifted(make_texture) -> None:
    pixels = make_texture(0, 300)
    first, second = detect(pixels[20:220, 30:280]), detect(pixels[27:227, 18:268])
    pairs = match(first, second)
    assert len(pairs) > 100
    shift = second.pixels[pairs[:, 1]] - first.pixels[pairs[:, 0]]
    errors = np.linalg.norm(shift - (12.0, -7.0), axis=1)
    assert np.median(errors) < 0.05
    assert np.mean(errors < 0.5) > 0.95
    # Matching is mutual, so it does not depend on the order.
    back = match(second, first)
    assert set(map(tuple, pairs.tolist())) == set(map(tuple, back[:, ::-1].tolist()))


def test_a_picture_without_texture_has_no_features() -> None:
    flat = detect(np.full((64, 64, 3), 0.5, dtype=np.float32))
    assert len(flat) == 0
    assert match(flat, detect(blob(30.0, 30.0, 3.0))).shape == (0, 2)


def test_descriptors_are_of_unit_length(make_texture) -> None:
    descriptors = detect(make_texture(0, 200)).descriptors
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1.0, atol=1e-5)


def test_depth_between_pixels_of_a_slanted_plane_is_exact() -> None:
    u, v = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)

    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return 1.0 / (0.5 + 0.002 * x - 0.003 * y)

    points = np.array([[0.5, 0.5], [10.2, 7.9], [39.4, 29.5], [20.0, 15.0]])
    found = depth_at(plane(u, v).astype(np.float32), points)
    np.testing.assert_allclose(found, plane(*points.T), rtol=1e-6)


def test_there_is_no_depth_on_edges_and_beside_unknown_pixels() -> None:
    depth = np.full((10, 12), 2.0, dtype=np.float32)
    depth[:, 6:] = 3.0
    depth[2, 2], depth[7, 2] = 0.0, np.nan
    points = np.array([[6.0, 5.0], [2.2, 2.2], [2.9, 7.9], [4.5, 5.0], [9.0, 5.0]])
    np.testing.assert_array_equal(depth_at(depth, points), [np.nan, np.nan, np.nan, 2.0, 3.0])

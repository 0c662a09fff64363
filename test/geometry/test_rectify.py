from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mirage_ros.errors import CameraError, FrameError
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.geometry.rectify import Rectifier

WIDTH, HEIGHT = 160, 120
CAMERA = PinholeCamera(WIDTH, HEIGHT, 110.0, 112.0, 83.0, 58.0)
BARREL = [-0.25, 0.06, 0.001, -0.002, 0.003]
PINCUSHION = [0.3, 0.05, 0.0, 0.0, 0.0]
RATIONAL = [0.4, -0.1, 0.0005, -0.001, 0.02, 0.7, -0.05, 0.01]
PRISM = [*RATIONAL, 0.002, -0.001, 0.001, 0.0005]
FISHEYE = [0.02, -0.01, 0.003, -0.001]


def info(model: str, d: list[float]) -> SimpleNamespace:
    return SimpleNamespace(
        width=WIDTH,
        height=HEIGHT,
        distortion_model=model,
        d=d,
        k=[CAMERA.fx, 0, CAMERA.cx - 0.5, 0, CAMERA.fy, CAMERA.cy - 0.5, 0, 0, 1.0],
        r=list(np.eye(3).ravel()),
        p=[0.0] * 12,
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    )


def distorted(model: str, d: list[float], xy: np.ndarray) -> np.ndarray:
    """The models' formulas as the message's definition (REP-104, OpenCV) states them."""
    x, y = xy[..., 0], xy[..., 1]
    r = np.hypot(x, y)
    if model == "equidistant":
        theta = np.arctan(r)
        k1, k2, k3, k4 = d
        scale = np.where(
            r > 0,
            theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8) / r,
            1.0,
        )
        return np.stack([x * scale, y * scale], axis=-1)
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = [*d, *[0.0] * (12 - len(d))]
    r2 = r**2
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2) + s1 * r2 + s2 * r2**2,
            y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y + s3 * r2 + s4 * r2**2,
        ],
        axis=-1,
    )


def raw_pixels(model: str, d: list[float]) -> np.ndarray:
    """Where the centre of each rectified pixel lies in the raw image, corner convention."""
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((HEIGHT, WIDTH)))[..., :2]
    return distorted(model, d, rays) * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy]


MODELS = [
    ("plumb_bob", BARREL),
    ("plumb_bob", BARREL[:4]),
    ("plumb_bob", PINCUSHION),
    ("rational_polynomial", RATIONAL),
    ("rational_polynomial", PRISM),
    ("equidistant", FISHEYE),
]


@pytest.mark.parametrize(("model", "d"), MODELS)
def test_image_and_depth_come_from_where_the_formula_says(model: str, d: list[float]) -> None:
    rectifier = Rectifier.from_info(info(model, d))
    assert rectifier.camera == CAMERA
    assert not rectifier.is_identity
    source = raw_pixels(model, d)
    # A raw image whose value is linear in the pixel is known between the pixels too.
    columns = np.arange(WIDTH) + 0.5
    ramp = np.repeat(columns[None], HEIGHT, axis=0).astype(np.uint8)
    rows = np.repeat((np.arange(HEIGHT) + 0.5)[:, None], WIDTH, axis=1).astype(np.float32)
    away = (
        (source[..., 0] > 1)
        & (source[..., 0] < WIDTH - 1)
        & (source[..., 1] > 1)
        & (source[..., 1] < HEIGHT - 1)
    )
    assert away.mean() > 0.6
    # uint8 cuts off the .5 of a pixel centre and rounds the result.
    error = rectifier.rectify_image(ramp)[away] - (source[away][:, 0] - 0.5)
    assert np.abs(error).max() <= 0.6
    assert abs(error.mean()) < 0.05
    # The nearest raw row to y has its centre within half a pixel (OpenCV keeps 1/32 of a pixel).
    assert np.abs(rectifier.rectify_depth(rows)[away] - source[away][:, 1]).max() <= 0.5 + 1 / 32
    np.testing.assert_array_equal(rectifier.valid[away], True)


@pytest.mark.parametrize(
    ("model", "d"), [("plumb_bob", BARREL), ("plumb_bob", PINCUSHION), ("equidistant", FISHEYE)]
)
def test_a_mask_is_set_where_any_raw_pixel_about_the_place_is(model: str, d: list[float]) -> None:
    rectifier = Rectifier.from_info(info(model, d))
    raw = np.random.default_rng(7).random((HEIGHT, WIDTH)) < 0.03
    mask = rectifier.rectify_mask(raw)
    assert mask.dtype == np.bool_
    place = raw_pixels(model, d) - 0.5
    near, strict = np.zeros_like(raw), np.zeros_like(raw)
    # OpenCV interpolates at 1/32 pixel: which four pixels count is open within that.
    for row, column in np.argwhere(raw):
        distance = np.abs(place - [column, row]).max(axis=-1)
        near |= distance < 1.0 + 1.0 / 32.0
        strict |= distance < 1.0 - 1.0 / 32.0
    seen = rectifier.valid
    assert 0.05 < mask.mean() < 0.25
    assert not (mask & ~near & seen).any()
    assert not (strict & ~mask & seen).any()
    assert not rectifier.rectify_mask(np.zeros_like(raw)).any()


def test_pixels_the_raw_image_did_not_see_have_no_depth() -> None:
    rectifier = Rectifier.from_info(info("plumb_bob", PINCUSHION))
    source = raw_pixels("plumb_bob", PINCUSHION)
    outside = (
        (source[..., 0] < -1e-3)
        | (source[..., 0] > WIDTH + 1e-3)
        | (source[..., 1] < -1e-3)
        | (source[..., 1] > HEIGHT + 1e-3)
    )
    assert outside.any()
    depth = rectifier.rectify_depth(np.full((HEIGHT, WIDTH), 2.0, np.float32))
    np.testing.assert_array_equal(depth[outside], 0.0)
    np.testing.assert_array_equal(rectifier.valid[outside], False)
    np.testing.assert_array_equal(depth[rectifier.valid], 2.0)
    image = rectifier.rectify_image(np.full((HEIGHT, WIDTH, 3), 77, np.uint8))
    np.testing.assert_array_equal(image, 77)


def test_second_image_beyond_the_fold_is_not_valid() -> None:
    # r (1 - r^2 / 2) falls from r = sqrt(2 / 3) on; the corner lies beyond, at r = 0.94.
    rectifier = Rectifier.from_info(info("plumb_bob", [-0.5, 0.0, 0.0, 0.0, 0.0]))
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((HEIGHT, WIDTH)))
    radius = np.hypot(rays[..., 0], rays[..., 1])
    assert radius.max() > np.sqrt(2 / 3)
    np.testing.assert_array_equal(rectifier.valid[radius < np.sqrt(2 / 3) - 1e-3], True)
    np.testing.assert_array_equal(rectifier.valid[radius > np.sqrt(2 / 3) + 1e-3], False)


def test_tilted_sensor_agrees_with_opencv_projection() -> None:
    d = [*PRISM, 0.02, -0.03]
    rectifier = Rectifier.from_info(info("rational_polynomial", d))
    rays = CAMERA.unproject(CAMERA.pixel_centres(), np.ones((HEIGHT, WIDTH))).reshape(-1, 1, 3)
    points, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), CAMERA.matrix, np.array(d))
    source = points.reshape(HEIGHT, WIDTH, 2)
    rows = np.repeat((np.arange(HEIGHT) + 0.5)[:, None], WIDTH, axis=1).astype(np.float32)
    error = np.abs(rectifier.rectify_depth(rows) - source[..., 1])[10:-10, 10:-10]
    assert error.max() <= 0.5 + 1 / 32


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", [0.0] * 5),
        ("plumb_bob", []),
        ("rational_polynomial", [0.0] * 8),
        ("equidistant", [0.0] * 4),
        ("", []),
    ],
)
def test_no_distortion_passes_images_through(model: str, d: list[float]) -> None:
    rectifier = Rectifier.from_info(info(model, d))
    assert rectifier.is_identity
    assert rectifier.valid.all()
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    depth = np.zeros((HEIGHT, WIDTH), np.float32)
    assert rectifier.rectify_image(image) is image
    assert rectifier.rectify_depth(depth) is depth
    mask = np.ones((HEIGHT, WIDTH), np.bool_)
    assert rectifier.rectify_mask(mask) is mask


@pytest.mark.parametrize(
    ("model", "d", "message"),
    [
        ("fov", [0.9], "plumb_bob, rational_polynomial, equidistant. Got 'fov'"),
        ("", [0.1, 0, 0, 0, 0], "must be one of .* Got ''"),
        ("plumb_bob", [0.1] * 8, "plumb_bob takes 4 or 5 coefficients. Got 8"),
        ("rational_polynomial", [0.1] * 5, "8 or 12 or 14 coefficients. Got 5"),
        ("equidistant", [0.1] * 5, "4 coefficients. Got 5"),
        ("plumb_bob", [np.nan, 0, 0, 0, 0], "must be finite"),
    ],
)
def test_other_models_are_refused(model: str, d: list[float], message: str) -> None:
    with pytest.raises(CameraError, match=message):
        Rectifier.from_info(info(model, d))


@pytest.mark.parametrize("d", [BARREL, [0.0] * 5])
def test_other_sizes_are_refused(d: list[float]) -> None:
    rectifier = Rectifier.from_info(info("plumb_bob", d))
    with pytest.raises(FrameError, match=r"\(120, 160\). Got shape \(60, 80, 3\)"):
        rectifier.rectify_image(np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(FrameError, match="depth must be"):
        rectifier.rectify_depth(np.zeros((120, 161), np.float32))
    with pytest.raises(FrameError, match="mask must be"):
        rectifier.rectify_mask(np.zeros((120, 161), np.bool_))

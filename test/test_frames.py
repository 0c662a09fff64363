from dataclasses import replace

import numpy as np
import pytest

from mirage_ros.errors import CameraError, FrameError, PoseError
from mirage_ros.frames import RgbdFrame, fit_camera, fit_frame
from mirage_ros.geometry import PinholeCamera

ODD_SIZES = [(640, 480), (641, 479), (1920, 1080), (321, 257), (100, 333), (320, 256), (7, 5)]


def make_frame(width: int, height: int) -> RgbdFrame:
    """A picture linear in the viewing direction and the depth of a plane, so both are known at
    every ray, whatever camera looks."""
    focal = 0.8 * max(width, height)
    camera = PinholeCamera(width, height, focal, 1.02 * focal, 0.51 * width, 0.48 * height)
    rays = camera.unproject(camera.pixel_centres(), np.ones((height, width)))
    image = np.clip(np.rint(colour_of(rays)), 0, 255).astype(np.uint8)
    depth = depth_of(rays).astype(np.float32)
    return RgbdFrame(5, image, depth, camera, np.eye(4))


def colour_of(rays: np.ndarray) -> np.ndarray:
    x, y = rays[..., 0], rays[..., 1]
    return np.stack([128 + 90 * x, 128 + 90 * y, 128 - 60 * x + 60 * y], axis=-1)


def depth_of(rays: np.ndarray) -> np.ndarray:
    return 2.0 / (1.0 + 0.2 * rays[..., 0] - 0.3 * rays[..., 1])


@pytest.mark.parametrize("size", ODD_SIZES)
def test_fitted_frame_shows_every_ray_as_before(size: tuple[int, int]) -> None:
    frame = make_frame(*size)
    fitted = fit_frame(frame, 320, 256)
    assert fitted.image.shape == (256, 320, 3)
    assert fitted.depth.shape == (256, 320)
    assert fitted.camera == fit_camera(frame.camera, 320, 256)
    rays = fitted.camera.unproject(fitted.camera.pixel_centres(), np.ones((256, 320)))
    # Growing repeats the border, where rays lie outside the centres of the original's pixels.
    grown = max(320 / size[0], 256 / size[1])
    inner = slice(int(grown) + 1, -int(grown) - 1)
    error = fitted.image[inner, inner] - colour_of(rays)[inner, inner]
    assert np.abs(error).max() <= 1.1
    assert abs(error.mean()) < 0.2
    # The nearest pixel is at most half an original pixel away along each axis.
    step = np.gradient(depth_of(rays))
    bound = 0.51 * max(grown, 1 / grown, 1.0) * (np.abs(step[0]) + np.abs(step[1])) + 1e-3
    assert (np.abs(fitted.depth - depth_of(rays)) <= bound * 1.1).all()


@pytest.mark.parametrize("size", ODD_SIZES)
def test_aspect_ratio_is_kept_to_a_pixel(size: tuple[int, int]) -> None:
    camera = make_frame(*size).camera
    fitted = fit_camera(camera, 320, 256)
    before, after = camera.fx / camera.fy, fitted.fx / fitted.fy
    assert abs(after / before - 1) <= 0.5 / min(320, 256)


def test_crop_is_central() -> None:
    fitted = fit_camera(PinholeCamera(640, 480, 500.0, 500.0, 320.0, 240.0), 320, 256)
    # 480 -> 256 asks for 341 columns; 10 of the 21 surplus ones fall on the left.
    assert fitted.cx == 320.0 * 341 / 640 - 10
    assert fitted.cy == 128.0


def test_frame_of_the_right_size_is_itself() -> None:
    frame = make_frame(320, 256)
    assert fit_frame(frame, 320, 256) is frame


def test_depth_never_mixes_and_may_be_missing() -> None:
    frame = make_frame(640, 480)
    depth = np.where(np.arange(640) % 2, 1.0, 4.0).astype(np.float32)
    checked = replace(frame, depth=np.repeat(depth[None], 480, axis=0))
    assert set(np.unique(fit_frame(checked, 320, 256).depth)) <= {1.0, 4.0}
    assert fit_frame(replace(frame, depth=None), 320, 256).depth is None


@pytest.mark.parametrize(("width", "height"), [(0, 256), (320, -1)])
def test_sizes_to_fit_must_be_positive(width: int, height: int) -> None:
    with pytest.raises(CameraError, match=r"must be positive\. Got"):
        fit_camera(make_frame(64, 48).camera, width, height)


def test_frames_that_contradict_themselves_are_refused() -> None:
    frame = make_frame(64, 48)
    with pytest.raises(FrameError, match=r"image must be uint8 of shape \(48, 64, 3\)"):
        replace(frame, image=np.zeros((64, 48, 3), np.uint8))
    with pytest.raises(FrameError, match="Got float32"):
        replace(frame, image=np.zeros((48, 64, 3), np.float32))
    with pytest.raises(FrameError, match="depth must be float32"):
        replace(frame, depth=np.zeros((48, 64), np.uint16))
    with pytest.raises(FrameError, match=r"Got float32 of shape \(48, 63\)"):
        replace(frame, depth=np.zeros((48, 63), np.float32))
    with pytest.raises(PoseError, match="T_world_camera"):
        replace(frame, T_world_camera=np.zeros((4, 4)))


def test_confidence_follows_the_depth_of_its_pixel() -> None:
    frame = make_frame(641, 479)
    confidence = np.random.default_rng(0).random((479, 641)).astype(np.float32)
    marked = replace(frame, depth=confidence + 1.0, confidence=confidence)
    fitted = fit_frame(marked, 320, 256)
    np.testing.assert_array_equal(fitted.depth, fitted.confidence + 1.0)


@pytest.mark.parametrize("size", ODD_SIZES)
def test_no_dynamic_pixel_gets_lost(size: tuple[int, int]) -> None:
    frame = make_frame(*size)
    column, row = size[0] // 2, size[1] // 2
    dynamic = np.zeros((size[1], size[0]), dtype=bool)
    dynamic[row, column] = True
    fitted = fit_frame(replace(frame, dynamic=dynamic), 320, 256)
    rays = frame.camera.unproject(frame.camera.pixel_centres(), np.ones((size[1], size[0])))
    x, y, _ = rays[row, column]
    at = (
        int(fitted.camera.fy * y + fitted.camera.cy),
        int(fitted.camera.fx * x + fitted.camera.cx),
    )
    assert fitted.dynamic[at]
    assert not fitted.dynamic.all() or min(size) < 32
    assert not fit_frame(replace(frame, dynamic=~dynamic & dynamic), 320, 256).dynamic.any()


def test_layers_of_another_size_are_refused() -> None:
    frame = make_frame(32, 32)
    with pytest.raises(FrameError, match=r"confidence must be float32 .*Got float32 of shape \(1"):
        replace(frame, confidence=np.ones((1, 32), np.float32))
    with pytest.raises(FrameError, match=r"dynamic must be bool .*Got uint8"):
        replace(frame, dynamic=np.ones((32, 32), np.uint8))

"""Observing and imagining: with plain stand-ins, then with the real parts together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stand_ins import CAMERA, DemandingGenerator, model, path

from mirage_ros.backends import BACKENDS, build_world_model
from mirage_ros.errors import ConfigurationError, FrameError, MemoryFormatError, PoseError
from mirage_ros.frames import RgbdFrame, fit_camera, fit_frame
from mirage_ros.geometry import PinholeCamera, exp_twist
from mirage_ros.world_model import PredictedView, WorldModel, WorldModelConfig


def frame(stamp_ns: int = 7, depth: bool = True) -> RgbdFrame:
    camera = PinholeCamera(97, 61, 80.0, 80.0, 48.0, 30.0)
    image = np.full((61, 97, 3), 50, np.uint8)
    metres = np.ones((61, 97), np.float32) if depth else None
    return RgbdFrame(stamp_ns, image, metres, camera, np.eye(4))


def test_observe_fits_stores_and_reports() -> None:
    engine = model()
    assert engine.newest_stamp_ns is None
    observation = engine.observe(frame())
    assert (observation.update.added, observation.token_count) == (8, 8)
    assert set(observation.seconds) == {"fit", "perceive", "store"}
    (stored,) = engine.memory.frames
    assert stored.camera == fit_camera(frame().camera, 64, 32)
    assert engine.newest_stamp_ns == 7
    engine.observe(frame(stamp_ns=9))
    engine.observe(frame(stamp_ns=8))
    assert engine.newest_stamp_ns == 9
    assert engine.memory_bytes == 300
    engine.reset()
    assert engine.token_count == 0
    assert engine.newest_stamp_ns is None


def test_who_wants_references_gets_frames_encoded_once_and_kept_whole() -> None:
    engine = model(generator=DemandingGenerator())
    engine.observe(frame())
    assert engine.codec.encoded == [1]
    (latents,) = engine.memory.given
    (kept,) = engine.references.frames
    assert torch.equal(kept.latents, latents.half())
    assert (kept.stamp_ns, kept.observed) == (7, True)
    assert kept.camera == fit_camera(frame().camera, 64, 32)
    assert engine.reference_bytes == engine.references.nbytes > 0
    assert engine.memory_bytes == 100
    engine.reset()
    assert engine.reference_bytes == 0
    quiet = model()
    quiet.observe(frame())
    assert quiet.codec.encoded == []
    assert quiet.memory.given == [None]
    assert quiet.reference_bytes == 0


@pytest.mark.parametrize("memory", ["latent", "rgb_fair"])
@pytest.mark.parametrize("grids", [1, 2])
def test_a_memory_holds_the_same_whoever_encodes(memory: str, grids: int) -> None:
    def build() -> WorldModel:
        width, height = SIZE
        return build_world_model(
            "readout", generation_width=width, generation_height=height, memory=memory, grids=grids
        )

    plain, whole = build(), build()
    whole.generator = DemandingGenerator()
    for stamp, x in enumerate((0.0, 0.3)):
        a, b = (m.observe(render(WIDE, at(x, 0.0), stamp)) for m in (plain, whole))
        assert a.update == b.update
    assert (len(plain.references.frames), len(whole.references.frames)) == (0, 2)
    for name in ("latents", "depth", "coverage"):
        a, b = (getattr(m.memory.read(WIDE, at(0.1, 0.0)[None]), name) for m in (plain, whole))
        assert torch.equal(a, b)


def test_latents_that_do_not_fit_the_frame_are_refused() -> None:
    memory = build_world_model(
        "readout", generation_width=SIZE[0], generation_height=SIZE[1]
    ).memory
    with pytest.raises(MemoryFormatError, match=r"shape \(48, 8, 12\). Got \(48, 12, 8\)"):
        memory.observe(render(WIDE, at(0, 0)), torch.zeros(48, 12, 8))
    assert memory.count == 0


def test_frame_without_depth_asks_for_a_depth_source() -> None:
    engine = model()
    with pytest.raises(FrameError, match="depth source"):
        engine.observe(frame(depth=False))
    assert engine.token_count == 0
    assert engine.newest_stamp_ns is None


def test_bad_paths_are_refused_at_the_call() -> None:
    engine = model()
    with pytest.raises(PoseError, match=r"Got \(0, 4, 4\)"):
        engine.imagine(np.zeros((0, 4, 4)), CAMERA)
    with pytest.raises(PoseError, match=r"Got \(4, 4\)"):
        engine.imagine(np.eye(4), CAMERA)
    bad = path(3)
    bad[2, 0, 0] = np.nan
    with pytest.raises(PoseError, match="camera pose 2"):
        engine.imagine(bad, CAMERA)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generation_width": 300}, "generation_width must be a positive multiple of 32. Got 300"),
        ({"generation_height": 0}, "generation_height must be .* Got 0"),
        ({"chunk_latent_frames": 1}, "at least 2"),
    ],
)
def test_configuration_is_checked(values: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        WorldModelConfig(**values)


def test_unknown_backends_and_devices_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=f"{', '.join(BACKENDS)}. Got 'wan9'"):
        build_world_model("wan9")
    with pytest.raises(ConfigurationError, match="nowhere"):
        build_world_model("readout", device="nowhere")


# The real codec, memory and generator before a wall of which every view is known in closed form.

WALL_Z = 3.0
SIZE = (192, 128)
#: Cells of that size.
TOKENS_PER_FRAME = 12 * 8
WIDE = PinholeCamera(*SIZE, 150.0, 150.0, 96.0, 64.0)


def wall_colour(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slow waves, so that a 16x16 block of the codec can hold them."""
    return np.stack(
        [
            0.5 + 0.3 * np.sin(2.1 * x) * np.cos(1.7 * y),
            0.5 + 0.25 * np.cos(1.3 * x + 0.9 * y),
            0.45 + 0.2 * np.sin(1.1 * y - 0.4 * x),
        ],
        axis=-1,
    )


def render(camera: PinholeCamera, pose: NDArray[np.float64], stamp_ns: int = 0) -> RgbdFrame:
    rays = camera.unproject(camera.pixel_centres(), np.ones((camera.height, camera.width)))
    directions = rays @ pose[:3, :3].T
    depth = (WALL_Z - pose[2, 3]) / directions[..., 2]
    points = pose[:3, 3] + directions * depth[..., None]
    image = np.rint(255 * wall_colour(points[..., 0], points[..., 1])).astype(np.uint8)
    return RgbdFrame(stamp_ns, image, depth.astype(np.float32), camera, pose)


def at(x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> NDArray[np.float64]:
    pose = exp_twist([0, 0, 0], [0, 1, 0], yaw)
    pose[:3, 3] = x, y, z
    return pose


@pytest.fixture(scope="module")
def seen() -> WorldModel:
    engine = build_world_model("readout", generation_width=SIZE[0], generation_height=SIZE[1])
    for stamp, (x, y) in enumerate((x, y) for x in (-0.8, 0.0, 0.8) for y in (-0.3, 0.3)):
        update = engine.observe(render(WIDE, at(x, y), stamp)).update
        # What the views before it show already is not stored again.
        assert update.added + update.confirmed == TOKENS_PER_FRAME
        assert update.added == TOKENS_PER_FRAME or stamp > 0
    return engine


def psnr(view: PredictedView, truth: RgbdFrame) -> float:
    remembered = view.coverage > 0
    error = (view.image.astype(np.float64) - truth.image)[remembered]
    return float(10 * np.log10(255.0**2 / np.mean(error**2)))


@pytest.mark.parametrize(
    "pose", [at(0.0, 0.3), at(0.41, 0.13), at(-0.37, -0.08, 0.3), at(0.1, 0.0, -0.2, 0.1)]
)
def test_wall_is_remembered_from_new_places(seen: WorldModel, pose: NDArray[np.float64]) -> None:
    (view,) = seen.imagine(pose[None], WIDE)
    truth = render(WIDE, pose)
    assert view.known_fraction > 0.97
    remembered = view.coverage > 0
    # Tokens stand up to half a cell (8 px of 150, at 3 m: 0.16 m) from where they are shown.
    assert psnr(view, truth) > 25.0
    assert np.abs(view.depth - truth.depth)[remembered].max() < 0.12


def test_place_seen_before_comes_back_as_the_codec_shows_it(seen: WorldModel) -> None:
    truth = render(WIDE, at(0.0, 0.3))
    (view,) = seen.imagine(truth.T_world_camera[None], WIDE)
    pixels = torch.from_numpy(truth.image).permute(2, 0, 1)[None].float() / 255.0
    shown = seen.codec.decode(seen.codec.encode(pixels))[0].permute(1, 2, 0).clamp(0, 1) * 255
    error = np.abs(view.image - shown.numpy())
    # Rounding to uint8 and features of 4 and 8 bits; and cells of which another view's are shown.
    assert np.quantile(error, 0.5) <= 2.0
    assert np.mean(error**2) <= 255.0**2 * seen.memory.config.bounds.same_error


def test_what_was_never_seen_is_said_to_be_unknown(seen: WorldModel) -> None:
    (behind,) = seen.imagine(at(0, 0, 0, np.pi)[None], WIDE)
    assert behind.known_fraction == 0.0
    assert not behind.coverage.any()
    assert not behind.depth.any()
    (aside,) = seen.imagine(at(2.6, 0.0)[None], WIDE)
    assert 0.1 < aside.known_fraction < 0.7
    left, right = aside.coverage[:, :32], aside.coverage[:, -32:]
    assert left.mean() > 250
    assert not right.any()
    assert (aside.depth > 0).all()
    np.testing.assert_allclose(aside.depth, WALL_Z, rtol=0.02)


def test_imagining_changes_nothing_and_repeats_bit_for_bit(seen: WorldModel) -> None:
    poses = np.stack([at(0.1 * n - 0.6, 0.02 * n) for n in range(12)])
    count, size = seen.token_count, seen.memory_bytes
    first, again = (list(seen.imagine(poses, WIDE)) for _ in range(2))
    assert (seen.token_count, seen.memory_bytes) == (count, size)
    for a, b in zip(first, again, strict=True):
        for name in ("image", "coverage", "depth"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_chunked_rollout_equals_single_views(seen: WorldModel) -> None:
    poses = np.stack([at(0.1 * n - 0.6, 0.02 * n) for n in range(12)])
    for view in seen.imagine(poses, WIDE):
        (alone,) = seen.imagine(poses[view.index][None], WIDE)
        np.testing.assert_array_equal(view.coverage, alone.coverage)
        assert np.abs(view.image.astype(int) - alone.image).max() <= 1


def test_camera_of_another_size_sees_the_same_wall() -> None:
    engine = build_world_model("readout", generation_width=SIZE[0], generation_height=SIZE[1])
    odd = PinholeCamera(401, 283, 300.0, 300.0, 200.0, 140.0)
    engine.observe(render(odd, at(0.0, 0.0)))
    (view,) = engine.imagine(at(0.02, 0.0)[None], odd)
    truth = fit_frame(render(odd, at(0.02, 0.0)), *SIZE)
    assert view.camera == truth.camera
    assert psnr(view, truth) > 25.0


def test_depth_out_of_range_is_not_remembered() -> None:
    engine = build_world_model(
        "readout", generation_width=SIZE[0], generation_height=SIZE[1], max_depth=2.5
    )
    assert engine.observe(render(WIDE, at(0, 0))).update.added == 0
    near = render(WIDE, at(0, 0))
    nearer = replace(near, depth=near.depth * np.float32(0.5))
    assert engine.observe(nearer).update.added == TOKENS_PER_FRAME


def test_warm_up_leaves_no_trace() -> None:
    engine = build_world_model("readout", generation_width=64, generation_height=32)
    engine.warm_up()
    assert engine.token_count == 0
    assert engine.newest_stamp_ns is None

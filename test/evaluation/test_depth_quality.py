"""What bad depth costs, on a room in closed form where depth matters."""

from __future__ import annotations

import numpy as np
import pytest

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.depth_degradation import (
    DEGRADATIONS,
    Degradation,
    ErringModel,
    ModelErrors,
    filled,
)
from mirage_ros.evaluation.depth_quality import (
    ALIGNED,
    AS_MEASURED,
    BELIEVED,
    HALF,
    NOT_ALIGNED,
    SENSOR,
    measure_monocular,
    measure_sensor,
)
from mirage_ros.evaluation.protocol import Size
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry.camera import PinholeCamera
from mirage_ros.sources.frame_source import FrameSource

SIZE = Size(160, 128)
DCT = DctCodec()


class Walk(FrameSource):
    """Nine frames sideways past a wall that leans away, textured with waves; 25 cm a frame."""

    camera = PinholeCamera(160, 128, 140.0, 140.0, 80.0, 64.0)

    stamps_ns = np.arange(9, dtype=np.int64) * 100_000_000
    frame_numbers = np.arange(9)
    poses = np.tile(np.eye(4), (9, 1, 1))
    poses[:, 0, 3] = 0.25 * frame_numbers

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def __getitem__(self, index: int) -> RgbdFrame:
        rays = self.camera.unproject(self.camera.pixel_centres(), np.ones((128, 160)))
        # The wall: z = 2 + y / 2.
        depth = 2.0 / (1.0 - 0.5 * rays[..., 1])
        x = rays[..., 0] * depth + self.poses[index, 0, 3]
        y = rays[..., 1] * depth
        waves = [np.sin(9.0 * x + k) * np.cos(7.0 * y - k) for k in range(3)]
        image = np.rint(127.5 + 110.0 * np.stack(waves, axis=-1)).astype(np.uint8)
        return RgbdFrame(
            int(self.stamps_ns[index]),
            image,
            depth.astype(np.float32),
            self.camera,
            self.poses[index].copy(),
        )


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk()


def test_strength_one_is_what_is_asked_for_and_zero_is_nothing() -> None:
    names = [degradation.name for degradation in DEGRADATIONS]
    assert names == [
        "clean",
        "noise x 2",
        "30 % holes",
        "5 % scale",
        "20 ms offset",
        "all together",
    ]
    everything = Degradation("all")
    assert (everything.errors.holes, everything.errors.scale) == (0.3, 1.05)
    assert everything.time_offset_s == 0.02
    # With the Kinect's own noise it makes twice the noise.
    assert np.hypot(everything.errors.noise, 0.0014) == pytest.approx(0.0028)
    clean = Degradation("all", 0.0)
    assert (clean.errors.noise, clean.errors.holes, clean.errors.scale) == (0.0, 0.0, 1.0)
    assert clean.time_offset_s == 0.0
    assert Degradation("holes", 2.0).errors.scale == 1.0
    for kind, strength in (("dust", 1.0), ("noise", -1.0), ("holes", 4.0)):
        with pytest.raises(ConfigurationError):
            Degradation(kind, strength)


def test_worse_sensors_cost(walk: Walk) -> None:
    strengths = (0.0, 3.0)
    figures = measure_sensor(
        walk,
        [0, 4, 8],
        [2, 6],
        SIZE,
        DCT,
        degradations=[Degradation("scale", strength) for strength in strengths],
    )
    assert [(row.case, row.source, row.strength) for row in figures] == [
        (name, source, strength)
        for name, strength in zip(("clean", "15 % scale"), strengths, strict=True)
        for source in (AS_MEASURED, BELIEVED)
    ]
    by_source = [
        [row.common_psnr_db for row in figures if row.source == s] for s in (AS_MEASURED, BELIEVED)
    ]
    for clean, worse in by_source:
        assert clean > worse + 0.3
    assert np.allclose(*by_source, atol=0.2), "there is nothing to disbelieve in a smooth wall"
    assert all(0.5 < row.covered <= 1.0 and row.tokens > 0 for row in figures)


def test_a_late_clock_costs(walk: Walk) -> None:
    clean, late = measure_sensor(
        walk,
        [0, 4, 7],
        [2, 6],
        SIZE,
        DCT,
        degradations=[Degradation("offset", 0.0), Degradation("offset", 3.0)],
        sources={AS_MEASURED: None},
    )
    assert clean.psnr_db > late.psnr_db + 1.0, "60 ms are 15 cm"


def test_alignment_makes_up_for_a_model_s_scale(walk: Walk) -> None:
    figures = measure_monocular(walk, range(0, 9, 2), [5, 7], SIZE, DCT, scales=(1.0, 1.3))
    rows = {(row.strength, row.source): row for row in figures}
    assert set(rows) == {
        (1.0, SENSOR),
        (1.0, HALF),
        *((scale, source) for scale in (1.0, 1.3) for source in (ALIGNED, NOT_ALIGNED)),
    }
    assert rows[1.0, HALF].covered < rows[1.0, SENSOR].covered, "the model has something to add"
    right, wrong = rows[1.0, ALIGNED], rows[1.3, ALIGNED]
    assert wrong.psnr_db == pytest.approx(right.psnr_db, abs=0.1)
    assert wrong.covered == pytest.approx(right.covered, abs=0.02)
    assert rows[1.3, NOT_ALIGNED].psnr_db < wrong.psnr_db - 0.5


def test_a_model_s_errors_are_as_large_as_asked_for(walk: Walk) -> None:
    frame = walk[3]
    exact = ErringModel([frame], ModelErrors(scale=1.2, blur=0.0, noise=0.0)).predict(frame)
    assert exact == pytest.approx(1.2 * frame.depth, rel=1e-6)
    noisy = ErringModel([frame], ModelErrors(blur=0.0, noise=0.05)).predict(frame)
    assert np.log(noisy / frame.depth).std() == pytest.approx(0.05, rel=0.2)
    again = ErringModel([frame], ModelErrors(blur=0.0, noise=0.05)).predict(frame)
    assert (again == noisy).all()
    for name, value in (("scale", 0.0), ("blur", -1.0), ("noise", float("nan"))):
        with pytest.raises(ConfigurationError, match=name):
            ModelErrors(**{name: value})


def test_unknown_pixels_take_the_nearest_known_one_s_depth() -> None:
    depth = np.zeros((3, 7), dtype=np.float32)
    depth[:, 0], depth[:, 5], depth[0, 6] = 1.0, 2.0, np.nan
    expected = [[1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]] * 3
    assert filled(depth).tolist() == expected
    with pytest.raises(ConfigurationError, match="known somewhere"):
        filled(np.zeros((2, 2), dtype=np.float32))


def test_something_must_be_remembered(walk: Walk) -> None:
    with pytest.raises(ConfigurationError, match="at least one frame"):
        measure_sensor(walk, [], [1], SIZE, DCT)

"""Alignment of predicted depth, with models that are the truth up to what they get wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import PinholeCamera, exp_twist
from mirage_ros.perception.depth import SensorDepth
from mirage_ros.perception.depth_sources import CompletedDepth
from mirage_ros.perception.monocular import MonocularConfig, MonocularDepth

CAMERA = PinholeCamera(160, 128, 140.0, 140.0, 80.0, 64.0)
STRIDE = 16


class Model:
    """Predicts what it is given."""

    def __init__(self, predicted: np.ndarray, *, metric: bool) -> None:
        self.metric = metric
        self.calls = 0
        self._predicted = predicted.astype(np.float32)

    def predict(self, frame: RgbdFrame) -> np.ndarray:
        self.calls += 1
        return self._predicted


def truth() -> np.ndarray:  # (128, 160)
    """A slanted wall from 1.5 m on the left to 4 m on the right, lower rows nearer."""
    inverse = np.linspace(1.0 / 1.5, 1.0 / 4.0, 160)[None] * np.linspace(1.0, 1.4, 128)[:, None]
    return (1.0 / inverse).astype(np.float32)


def frame_of(depth: np.ndarray | None = None, seed: int = 0, x: float = 0.0) -> RgbdFrame:
    image = np.random.default_rng(seed).integers(0, 255, (128, 160, 3), dtype=np.uint8)
    return RgbdFrame(seed, image, depth, CAMERA, exp_twist([x, 0, 0], [0, 0, 0], 1.0))


def cells(depth: np.ndarray) -> np.ndarray:  # (8, 10)
    return np.ascontiguousarray(depth[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE])


def never() -> np.ndarray:
    raise AssertionError("the memory is not to be asked")


def nothing() -> np.ndarray:
    return np.zeros((8, 10), dtype=np.float32)


def partly() -> np.ndarray:
    """The memory knows the left six columns of cells."""
    known = cells(truth())
    known[:, 6:] = 0.0
    return known


MODELS: dict[str, Callable[[], Model]] = {
    "metric, scale": lambda: Model(truth() * 0.8, metric=True),
    "metric, scale and shift": lambda: Model((truth() - 0.3) / 1.3, metric=True),
    "relative": lambda: Model(40.0 / truth() - 3.0, metric=False),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_prediction_is_aligned_to_what_the_memory_knows(name: str) -> None:
    found = MonocularDepth(MODELS[name]()).estimate(frame_of(), partly)
    assert found.reason == ""
    # A cell's median stands for its centre to about half a pixel's slope.
    assert found.depth == pytest.approx(truth(), rel=0.01)
    assert (found.confidence > 0.0).all()


@pytest.mark.parametrize("name", MODELS)
def test_things_that_moved_do_not_move_the_rest(name: str) -> None:
    known = cells(truth())
    known[2:6, 2:6] *= 0.6
    found = MonocularDepth(MODELS[name]()).estimate(frame_of(), lambda: known)
    assert found.depth == pytest.approx(truth(), rel=0.01)


def test_without_alignment_the_scale_error_would_stay() -> None:
    found = MonocularDepth(MODELS["metric, scale"]()).estimate(frame_of(), nothing)
    assert found.depth == pytest.approx(0.8 * truth(), rel=1e-6)
    assert "the model's own metres" in found.reason


def test_what_does_not_fit_gives_no_depth() -> None:
    noise = np.random.default_rng(0).uniform(0.5, 8.0, (128, 160))
    for metric in (True, False):
        found = MonocularDepth(Model(noise, metric=metric)).estimate(
            frame_of(), lambda: cells(truth())
        )
        assert not found.known
        assert (found.confidence == 0.0).all()
        assert "does not fit" in found.reason
    upside_down = Model(truth(), metric=False)
    found = MonocularDepth(upside_down).estimate(frame_of(), lambda: cells(truth()))
    assert "positive scale" in found.reason


def test_a_relative_prediction_needs_something_known() -> None:
    found = MonocularDepth(MODELS["relative"]()).estimate(frame_of(), nothing)
    assert not found.known
    assert "needs known depth" in found.reason


def test_a_metric_model_s_scale_is_averaged_over_frames() -> None:
    source = MonocularDepth(Model(truth(), metric=True))
    factors = [1.0, 1.1, 0.95]
    for number, factor in enumerate(factors, start=1):
        scaled = (np.float32(factor) * cells(truth())).copy()
        found = source.estimate(frame_of(), partial(np.asarray, scaled))
        mean = np.exp(np.log(factors[:number]).mean())
        assert found.depth == pytest.approx(mean * truth(), rel=0.01)
    # Nothing is known: what earlier frames told is better than the model's own metres.
    found = source.estimate(frame_of(), nothing)
    assert found.depth == pytest.approx(mean * truth(), rel=0.01)
    assert "the scale of earlier frames" in found.reason
    far_off = source.estimate(frame_of(), lambda: 1.5 * cells(truth()))
    assert not far_off.known
    assert "as in earlier frames. Got 1.5" in far_off.reason


def test_better_aligned_is_believed_more() -> None:
    def confidence(model: Model, known: Callable[[], np.ndarray]) -> float:
        found = MonocularDepth(model).estimate(frame_of(), known)
        assert found.known
        return float(found.confidence.mean())

    wavy = truth() * (1.0 + 0.08 * np.sin(np.arange(160) / 9.0))
    good = confidence(MODELS["metric, scale"](), partly)
    fair = confidence(Model(wavy, metric=True), lambda: cells(truth()))
    unaligned = confidence(MODELS["metric, scale"](), nothing)
    measured = SensorDepth().estimate(frame_of(truth())).confidence.mean()
    assert measured > good > fair > unaligned > 0.0


def test_confidence_is_half_where_the_error_is_that_of_the_configuration() -> None:
    flat = np.full((128, 160), 2.0, dtype=np.float32)
    config = MonocularConfig(least_error=0.05, half_sigma=0.1)
    found = MonocularDepth(Model(flat, metric=True), config).estimate(
        frame_of(), lambda: cells(flat)
    )
    assert found.confidence == pytest.approx(0.5)


def test_sensor_pixels_are_aligned_to_before_the_memory_is_asked() -> None:
    depth = np.where(np.arange(160) < 60, truth(), 0.0).astype(np.float32)
    found = MonocularDepth(MODELS["relative"]()).estimate(frame_of(depth), never)
    assert found.depth == pytest.approx(truth(), rel=0.01)


def test_a_sensor_that_does_not_fit_leaves_the_memory() -> None:
    broken = np.random.default_rng(1).uniform(1.0, 1.04, (128, 160)).astype(np.float32)
    found = MonocularDepth(MODELS["relative"]()).estimate(frame_of(broken), partly)
    assert found.depth == pytest.approx(truth(), rel=0.01)


def test_a_smear_between_two_surfaces_is_hardly_believed() -> None:
    depth = np.full((128, 160), 1.5, dtype=np.float32)
    depth[:, 80:] = 3.5
    depth[:, 78:82] = [1.9, 2.3, 2.7, 3.1]
    config = MonocularConfig(edge_confidence=0.1, edge_radius=2)
    found = MonocularDepth(Model(depth, metric=True), config).estimate(frame_of(), nothing)
    assert found.confidence[:, 77:83].max() <= 0.101 * found.confidence[0, 0]
    assert found.confidence[:, :70] == pytest.approx(found.confidence[0, 0])


def test_predictions_that_are_no_numbers_or_out_of_range_give_no_depth() -> None:
    broken = truth()
    broken[3, 3] = np.nan
    for values, told in ((broken, "finite"), (truth() * 1000.0, "0.1 to 10.0 m")):
        found = MonocularDepth(Model(values, metric=True)).estimate(frame_of(), nothing)
        assert not found.known
        assert told in found.reason


def holed() -> np.ndarray:
    depth = truth()
    depth[30:90, 100:150] = 0.0
    return depth


def test_holes_are_completed_and_the_rest_stays_as_measured() -> None:
    model = MODELS["metric, scale"]()
    found = CompletedDepth(SensorDepth(), MonocularDepth(model)).estimate(frame_of(holed()), never)
    sensor = SensorDepth().estimate(frame_of(holed()))
    seen = sensor.depth > 0.0
    assert (found.depth[seen] == sensor.depth[seen]).all()
    assert (found.confidence[seen] == sensor.confidence[seen]).all()
    assert found.depth[~seen] == pytest.approx(truth()[~seen], rel=0.01)
    assert 0.0 < found.confidence[~seen].max() < found.confidence[seen].min()
    assert found.reason == ""


def test_nothing_is_predicted_where_nothing_is_missing() -> None:
    model = MODELS["metric, scale"]()
    found = CompletedDepth(SensorDepth(), MonocularDepth(model)).estimate(frame_of(truth()), never)
    assert model.calls == 0
    assert (found.depth == truth()).all()


def test_a_model_that_does_not_fit_leaves_the_holes() -> None:
    noise = np.random.default_rng(0).uniform(0.5, 8.0, (128, 160))
    source = CompletedDepth(SensorDepth(), MonocularDepth(Model(noise, metric=True)))
    found = source.estimate(frame_of(holed()), nothing)
    assert (found.depth == holed()).all()
    assert found.reason.startswith("holes: prediction does not fit")


@pytest.mark.parametrize("failure", ["no sensor", "zero", "frozen"])
def test_a_sensor_that_fails_leaves_the_model(failure: str) -> None:
    source = CompletedDepth(SensorDepth(), MonocularDepth(MODELS["metric, scale"]()))
    if failure == "frozen":
        wrong = holed() * np.float32(0.5)
        source.estimate(frame_of(wrong, 0), partly)
        frame = frame_of(wrong, 1, x=0.1)
    else:
        frame = frame_of(None if failure == "no sensor" else np.zeros_like(truth()))
    found = source.estimate(frame, partly)
    assert found.depth == pytest.approx(truth(), rel=0.01)
    assert found.reason


@pytest.mark.parametrize(
    ("name", "value"),
    [("min_depth", 20.0), ("least_error", 0.0), ("edge_confidence", 2.0), ("edge_radius", -1)],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=name):
        MonocularConfig(**{name: value})
    with pytest.raises(ConfigurationError, match="hole_confidence"):
        CompletedDepth(SensorDepth(), MonocularDepth(Model(truth(), metric=True)), 1.5)

"""Models of transformers, from folders and from the hub's cache; nothing goes to the network."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="depth models run through transformers")

from safetensors.torch import load_file, save_file
from tiny_depth_model import write_depth_model
from transformers import AutoImageProcessor, DepthAnythingForDepthEstimation

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.frames import RgbdFrame
from mirage_ros.geometry import PinholeCamera
from mirage_ros.perception.depth import SensorDepth
from mirage_ros.perception.depth_model import TransformersDepthModel
from mirage_ros.perception.depth_settings import INDOOR_MODEL, DepthModelSettings
from mirage_ros.perception.depth_sources import CompletedDepth, depth_source
from mirage_ros.perception.monocular import MonocularDepth


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_depth_model(tmp_path_factory.mktemp("metric"))


@pytest.fixture(scope="module")
def frame() -> RgbdFrame:
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    return RgbdFrame(0, image, None, PinholeCamera(128, 96, 110.0, 110.0, 64.0, 48.0), np.eye(4))


def nothing() -> np.ndarray:
    return np.zeros((6, 8), dtype=np.float32)


def test_a_prediction_is_that_of_the_model_brought_to_the_image_s_size(
    folder: Path, frame: RgbdFrame
) -> None:
    model = DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
    inputs = AutoImageProcessor.from_pretrained(folder)(images=frame.image, return_tensors="pt")
    assert inputs["pixel_values"].shape[2:] == (56, 70), "multiples of 14, nearly the aspect ratio"
    with torch.no_grad():
        small = model(**inputs).predicted_depth[0].numpy()
    loaded = TransformersDepthModel(DepthModelSettings(str(folder)))
    predicted = loaded.predict(frame)
    assert loaded.metric
    assert predicted.shape == (96, 128)
    assert predicted.dtype == np.float32
    assert predicted == pytest.approx(cv2.resize(small, (128, 96)), rel=1e-4)
    assert predicted.std() > 0.0
    assert (loaded.predict(frame) == predicted).all()


def test_the_file_says_whether_it_is_metric_unless_the_settings_do(tmp_path: Path) -> None:
    folder = str(write_depth_model(tmp_path, "relative"))
    assert not TransformersDepthModel(DepthModelSettings(folder)).metric
    assert TransformersDepthModel(DepthModelSettings(folder, output="metric")).metric


def test_a_file_that_does_not_say_is_refused(tmp_path: Path, monkeypatch) -> None:
    folder = str(write_depth_model(tmp_path))
    from mirage_ros.perception import depth_model

    class Silent:
        """The configuration of DPT, ZoeDepth and others."""

    with pytest.raises(ConfigurationError, match="depth_estimation_type metric or relative"):
        depth_model._is_metric(DepthModelSettings(folder), Silent())


def test_it_computes_in_the_type_asked_for(folder: Path, frame: RgbdFrame) -> None:
    full = TransformersDepthModel(DepthModelSettings(str(folder))).predict(frame)
    half = TransformersDepthModel(DepthModelSettings(str(folder), dtype="bfloat16")).predict(frame)
    assert half.dtype == np.float32
    assert half == pytest.approx(full, rel=0.05)
    assert (half != full).any()


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = write_depth_model(tmp_path)
    weights = load_file(folder / "model.safetensors")
    del weights["head.conv3.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"Missing: head\.conv3\.weight"):
        TransformersDepthModel(DepthModelSettings(str(folder)))


@pytest.mark.parametrize(
    "damage", ["no weights", "no processor", "no config", "cut", "another model", "other shapes"]
)
def test_a_folder_that_holds_no_depth_model_is_refused(tmp_path: Path, damage: str) -> None:
    folder = write_depth_model(tmp_path)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "no weights":
        weights.unlink()
    elif damage == "no processor":
        (folder / "preprocessor_config.json").unlink()
    elif damage == "no config":
        config.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:2000])
    elif damage == "another model":
        config.write_text(json.dumps({"model_type": "bert"}))
    else:
        config.write_text(
            config.read_text().replace('"head_hidden_size": 4', '"head_hidden_size": 6')
        )
    with pytest.raises(CheckpointError, match=f"{folder}: expected a depth model"):
        TransformersDepthModel(DepthModelSettings(str(folder)))


def test_a_model_that_is_not_at_hand_is_named_with_the_command(tmp_path, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError) as caught:
        depth_source("monocular", model=DepthModelSettings(offline=True))
    message = str(caught.value)
    assert f"hf download {INDOOR_MODEL} --include" in message
    assert "about 100 MB" in message


def test_a_model_of_the_hub_s_cache_loads_offline(tmp_path: Path, monkeypatch) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--tiny-depth"
    write_depth_model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert TransformersDepthModel(DepthModelSettings("somebody/tiny-depth", offline=True)).metric


def test_sources_by_name(folder: Path, frame: RgbdFrame) -> None:
    settings = DepthModelSettings(str(folder))
    assert isinstance(depth_source("sensor"), SensorDepth)
    assert isinstance(depth_source("sensor_and_monocular", model=settings), CompletedDepth)
    source = depth_source("monocular", model=settings)
    assert isinstance(source, MonocularDepth)
    found = source.estimate(frame, nothing)
    assert found.known
    assert "the model's own metres" in found.reason
    assert 0.0 < found.confidence.max() < 0.5
    with pytest.raises(ConfigurationError, match="sensor, monocular, sensor_and_monocular"):
        depth_source("stereo")


@pytest.mark.parametrize(("name", "value"), [("output", "inverse"), ("dtype", "int8")])
def test_settings_out_of_range_are_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        DepthModelSettings(**{name: value})

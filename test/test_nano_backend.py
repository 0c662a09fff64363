"""The backend nano, built by name and run on a tiny model in the real on-disk format."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nano_folders import REFERENCES, write_nano
from walls import CAMERA, HEIGHT, WIDTH, wall

from mirage_ros import nano_backend
from mirage_ros.backends import MEMORIES, build_world_model
from mirage_ros.codec import DctCodec
from mirage_ros.codec.pixels import as_codec_frames
from mirage_ros.errors import CheckpointError, ConfigurationError, MirageError, UnavailableError
from mirage_ros.nano_settings import QUALITIES, NanoSettings
from mirage_ros.world_model import PredictedView, WorldModel

#: Three chunks: of nine latent frames, and of eight more each.
POSES = 25


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nano(tmp_path_factory.mktemp("nano") / "random")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nano(tmp_path_factory.mktemp("nano") / "silent", silent=True)


@pytest.fixture(scope="module")
def build(folder: Path) -> Callable[..., WorldModel]:
    """Makes a world model that has seen the wall from two places."""

    def make(*, memory: str = "latent", **settings: object) -> WorldModel:
        model = build_world_model(
            "nano",
            generation_width=WIDTH,
            generation_height=HEIGHT,
            memory=memory,
            nano=replace(NanoSettings(model=str(folder)), **settings),
        )
        for number, offset in enumerate((0.0, 0.4)):
            model.observe(replace(wall(offset), stamp_ns=number))
        return model

    return make


@pytest.fixture(scope="module")
def sampling(build: Callable[..., WorldModel]) -> WorldModel:
    return build(steps=2)


def sideways(count: int, step: float = 0.05, start: float = 0.0) -> np.ndarray:  # (count, 4, 4)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = start + step * np.arange(count)
    return poses


def pictures(views: list[PredictedView]) -> np.ndarray:
    return np.stack([view.image for view in views]).astype(np.int64)


def imagined(model: WorldModel, path: np.ndarray, seed: int = 0) -> np.ndarray:
    return pictures(list(model.imagine(path, CAMERA, seed=seed)))


def test_a_path_of_three_chunks_is_imagined(sampling: WorldModel) -> None:
    assert sampling.generator.name == "nano"
    tokens, references = sampling.token_count, sampling.references.nbytes
    views = list(sampling.imagine(sideways(POSES, step=0.1), CAMERA, seed=1))
    assert [view.index for view in views] == list(range(POSES))
    shown = pictures(views)
    assert shown.shape == (POSES, HEIGHT, WIDTH, 3)
    # The wall leaves the view; what is invented in its place is no blank.
    assert views[0].known_fraction > 0.9 > 0.5 > views[-1].known_fraction
    assert shown[-1].std() > 5.0
    assert (sampling.token_count, sampling.references.nbytes) == (tokens, references)


def test_one_seed_is_one_rollout_and_another_is_another(sampling: WorldModel) -> None:
    path = sideways(POSES)
    first = imagined(sampling, path, seed=3)
    np.testing.assert_array_equal(first, imagined(sampling, path, seed=3))
    other = imagined(sampling, path, seed=4)
    assert (first[0] != other[0]).any()
    assert (first[-1] != other[-1]).any()


def test_candidates_together_are_what_they_are_alone(build: Callable[..., WorldModel]) -> None:
    model = build(steps=2, batch=2)
    paths = [sideways(12), sideways(12, start=0.3), sideways(3, step=0.2), sideways(1, start=9.0)]
    together: list[list[PredictedView]] = [[] for _ in paths]
    for number, view in model.imagine_candidates(paths, CAMERA, seed=5):
        together[number].append(view)
    for path, views in zip(paths, together, strict=True):
        # Up to rounding in another order of addition.
        assert np.abs(pictures(views) - imagined(model, path, seed=5)).max() <= 1


@pytest.mark.parametrize("memory", MEMORIES)
def test_what_is_remembered_is_shown_where_it_belongs(
    build: Callable[..., WorldModel], silent: Path, memory: str
) -> None:
    model = build(memory=memory, model=str(silent))
    # A quarter of a cell aside: four pixels at 2 m and a focal length of 80.
    (view,) = model.imagine(sideways(1, start=0.1), CAMERA)
    inside = np.s_[16:-16, 16:-16]
    truth = wall(0.1).image[inside].astype(int)
    assert view.coverage[inside].all()
    assert np.abs(view.image[inside].astype(int) - truth).mean() < 6.0
    # Blocks left where their cells are would show it as it was seen from the first place.
    assert np.abs(wall(0.0).image[inside].astype(int) - truth).mean() > 18.0


def test_a_frame_begins_the_rollout(sampling: WorldModel) -> None:
    frame = wall(1.6, phase=0.5)
    views = list(sampling.imagine(sideways(3, start=1.6), CAMERA, first_frame=frame))
    codec = DctCodec()
    coded = codec.decode(codec.encode(as_codec_frames(frame.image, torch.device("cpu"))))[0]
    expected = 255.0 * coded.clamp(0.0, 1.0).permute(1, 2, 0).numpy()
    assert np.abs(views[0].image - expected).max() <= 1.0
    # Coverage says what is remembered all the same.
    assert views[0].known_fraction <= 0.5


def test_whole_frames_are_kept_as_the_model_may_see_them(
    build: Callable[..., WorldModel],
) -> None:
    assert [
        (model.generator.reference_count, model.reference_bytes > 0)
        for model in (build(), build(references=1), build(references=0))
    ] == [(REFERENCES, True), (1, True), (0, False)]


def test_a_quality_is_a_number_of_steps(build: Callable[..., WorldModel]) -> None:
    assert NanoSettings().evaluations == QUALITIES["mean"] == 1
    assert NanoSettings(quality="sample").evaluations == QUALITIES["sample"] > 1
    assert NanoSettings(quality="mean", steps=7).evaluations == 7
    counted: list[int] = []
    for settings in ({"quality": "mean"}, {"quality": "sample"}, {"steps": 3}):
        model = build(**settings)
        calls: list[int] = []
        model.generator.transformer.register_forward_hook(lambda *_, c=calls: c.append(1))
        list(model.imagine(sideways(1), CAMERA))
        counted.append(len(calls))
    assert counted == [1, QUALITIES["sample"], 3]


def test_it_warms_up_and_forgets(folder: Path) -> None:
    model = build_world_model(
        "nano", generation_width=64, generation_height=32, nano=NanoSettings(model=str(folder))
    )
    model.warm_up()
    assert model.token_count == model.reference_bytes == 0


def test_what_runs_is_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mirage_ros"):
        nano_backend.build_nano(NanoSettings(model=str(folder), quality="sample"), "cpu")
    assert f"M parameters from {folder}, steps a chunk: {QUALITIES['sample']}" in caplog.text


def test_a_prompt_is_refused(sampling: WorldModel) -> None:
    with pytest.raises(ConfigurationError, match="generator 'nano' keeps to its own prompt"):
        sampling.imagine_candidates([sideways(1)], CAMERA, prompt="a kitchen")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quality": "best"}, r"nano.quality must be one of mean, sample. Got 'best'"),
        ({"steps": -1}, r"nano.steps must be at least 0. Got -1"),
        ({"references": -2}, r"nano.references must be at least -1. Got -2"),
        ({"preceding": -1}, r"nano.preceding must be at least 0. Got -1"),
        ({"batch": 0}, r"nano.batch must be at least 1. Got 0"),
        (
            {"references": REFERENCES + 1},
            rf"at most the model's {REFERENCES}. Got {REFERENCES + 1}",
        ),
    ],
)
def test_settings_out_of_range_are_refused(
    folder: Path, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        nano_backend.build_nano(NanoSettings(model=str(folder), **settings), "cpu")


def test_a_model_that_is_not_there_says_what_else_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UnavailableError, match=r"nano.model: expected .*nowhere. Got none"):
        build_world_model("nano", nano=NanoSettings(model=str(tmp_path / "nowhere")))
    monkeypatch.setattr(nano_backend, "SHIPPED", tmp_path / "shipped")
    with pytest.raises(UnavailableError, match=r"shipped. Got none.*make train-nano.*readout"):
        build_world_model("nano")


def test_the_shipped_model_is_taken_where_none_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    assert nano_backend.SHIPPED.parts[-3:] == ("mirage_ros", "models", "nano")
    monkeypatch.setattr(nano_backend, "SHIPPED", folder)
    assert nano_backend.model_folder(NanoSettings()) == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert nano_backend.model_folder(NanoSettings(model="~/mine")) == tmp_path / "mine"


def test_the_shipped_model_predicts() -> None:
    model = build_world_model("nano", generation_width=WIDTH, generation_height=HEIGHT)
    model.observe(wall(0.0))
    (view,) = model.imagine(sideways(1), CAMERA)
    # It has never seen such a wall; what it remembers it shows all the same.
    assert np.abs(view.image.astype(int) - wall(0.0).image).mean() < 15.0


def _another_codec(folder: Path) -> None:
    said = json.loads((folder / "nano.json").read_text())
    (folder / "nano.json").write_text(json.dumps(said | {"codec": "wan"}))


def _cut_weights(folder: Path) -> None:
    (file,) = (folder / "transformer").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("damage", "words"),
    [(_another_codec, "codec"), (_cut_weights, "safetensors")],
)
def test_damaged_files_are_refused(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(write_nano(tmp_path))
    with pytest.raises(CheckpointError, match=words) as error:
        build_world_model("nano", nano=NanoSettings(model=str(tmp_path)))
    assert isinstance(error.value, MirageError)
    assert str(tmp_path) in str(error.value)


def test_numbers_that_are_none_end_the_rollout(build: Callable[..., WorldModel]) -> None:
    model = build()
    with torch.no_grad():
        model.generator.transformer.proj_out.weight.fill_(float("nan"))
    with pytest.raises(MirageError, match=r"latents of chunk 0.*finite"):
        list(model.imagine(sideways(1), CAMERA))


SETTINGS_ALONE = """
import sys
import mirage_ros.backends, mirage_ros.nano_backend, mirage_ros.nano_settings
found = {"torch", "diffusers"} & sys.modules.keys()
assert not found, found
"""

WITHOUT_DIFFUSERS = """
import sys
sys.modules["diffusers"] = None
from mirage_ros.backends import build_world_model
from mirage_ros.errors import UnavailableError
from mirage_ros.nano_settings import NanoSettings
build_world_model("readout")
try:
    build_world_model("nano", nano=NanoSettings(model=sys.argv[1]))
except UnavailableError as error:
    assert "pip install diffusers" in str(error) and "readout" in str(error), error
else:
    raise AssertionError("built")
"""


@pytest.mark.parametrize("script", [SETTINGS_ALONE, WITHOUT_DIFFUSERS], ids=["import", "package"])
def test_what_is_not_used_need_not_be_there(script: str, tmp_path: Path) -> None:
    root = Path(nano_backend.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

"""Configurations of runs: read from YAML, refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.splits import SPLITS, Variation, split_seeds
from mirage_ros.training.data_config import DataConfig
from mirage_ros.training.run_config import NanoConfig, RunConfig, load_run_config

ROOT = Path(__file__).resolve().parents[2]


def written(path: Path, text: str) -> Path:
    file = path / "run.yaml"
    file.write_text(text)
    return file


def test_what_is_not_said_is_as_built_in(tmp_path: Path) -> None:
    assert load_run_config(None) == RunConfig()
    assert load_run_config(written(tmp_path, "")) == RunConfig()


def test_what_is_said_is_taken(tmp_path: Path) -> None:
    text = """
data: {apartments: 3, duration_s: 30}
model: {side_layers: [0, 1], told: constant}
train: {lengths: [5]}
stages:
  - {name: base, trains: base, memory: false}
  - {name: side, trains: side, learning_rate: 0.001}
"""
    config = load_run_config(written(tmp_path, text))
    assert config.data == DataConfig(apartments=3, duration_s=30.0)
    assert config.model == NanoConfig(side_layers=(0, 1), told="constant")
    assert config.train.lengths == (5,)
    assert [(stage.name, stage.trains, stage.memory) for stage in config.stages] == [
        ("base", "base", False),
        ("side", "side", True),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [", "expected a YAML file"),
        ("- 1", "expected the sections data, model, train, stages"),
        ("more: {}", "expected the sections data, model, train, stages. Got more"),
        ("data: 3", "data must be a mapping of settings. Got int"),
        ("data: {rooms: 3}", "data has settings .* Got rooms"),
        ("data: {apartments: many}", r"data\.apartments must be of type int.*Got 'many'"),
        ("data: {apartments: true}", r"apartments must be of type int"),
        ("data: {width: 100}", "width must be a positive multiple of 32. Got 100"),
        ("data: {memory: paper}", "memory must be one of latent, rgb_fair. Got 'paper'"),
        ("data: {imperfect: 2}", r"imperfect must be in \[0, 1\]. Got 2"),
        ("data: {apartments: 0}", "split 'train' has 1 to 1000 apartments. Got 0"),
        ("model: {told: nothing}", "told must be one of placement, constant. Got 'nothing'"),
        ("model: {head_dim: 7}", "head_dim must be even"),
        ("model: {references: 9}", "references must be at most the data's 4. Got 9"),
        ("train: {lengths: [12]}", "lengths must be at most the data's 9 targets. Got 12"),
        ("train: {optimizer: sgd}", "optimizer must be one of muon, adamw. Got 'sgd'"),
        ("stages: []", r"stages must be a list of stages. Got \[\]"),
        ("stages: [{trains: head}]", "trains must be one of .* Got 'head'"),
        ("stages: [{objective: win}]", "objective must be one of flow, distill. Got 'win'"),
        ("stages: [{steps: 0}]", "steps must be at least 1. Got 0"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_run_config(written(tmp_path, text))


def test_no_apartment_is_in_two_splits() -> None:
    seeds = [set(range(first, first + count)) for first, count in SPLITS.values()]
    assert sum(map(len, seeds)) == len(set.union(*seeds))
    assert min(min(split) for split in seeds) >= 1000
    assert split_seeds("test", 2) == range(3000, 3002)
    with pytest.raises(ConfigurationError, match="split must be one of"):
        split_seeds("exam", 1)


def test_a_seed_is_one_drive_and_drives_differ() -> None:
    drives = [Variation.drawn(seed, (320, 256), 60.0, 0.5) for seed in range(40)]
    assert drives[3] == Variation.drawn(3, (320, 256), 60.0, 0.5)
    assert len({drive.camera.horizontal_fov for drive in drives}) == 40
    assert 5 < sum(drive.drift is not None for drive in drives) < 35
    assert 5 < sum(drive.depth_errors is not None for drive in drives) < 35
    perfect = Variation.drawn(3, (320, 256), 60.0, 0.0)
    assert perfect.drift is None
    assert perfect.depth_errors is None

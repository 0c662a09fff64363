"""Samples on disk: whole, finite, and drawn as the configuration says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_data import DATA, sample, write_data

from mirage_ros.errors import TrainingDataError
from mirage_ros.training import generate as generating
from mirage_ros.training.generate import generate
from mirage_ros.training.shards import Shards, is_current, shard_path, write_shard

SEEDS = [1000, 1001]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def rewritten(path: Path, **changes: torch.Tensor) -> None:
    """A shard with other tensors and the header as it was."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as reader:
        header = reader.metadata()
    save_file({**load_file(path), **changes}, path, metadata=header)


def test_samples_come_back_as_they_were_drawn(data: Path) -> None:
    shards = Shards(data, "train", SEEDS, DATA)
    assert len(shards) == 2 * DATA.samples
    batch = shards.batch([5, 0])
    expected = sample(100 * 1001 + 1)
    torch.testing.assert_close(batch.latents[0], expected.latents, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(batch.draft[0], expected.draft, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(batch.references[0], expected.references, rtol=1e-3, atol=1e-3)
    assert torch.equal(batch.known[0], expected.known)
    assert batch.reference_count.tolist() == [1, 1]
    torch.testing.assert_close(batch.latents[1], sample(100 * 1000).latents, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["latents", "draft", "about", "references"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_not_written(
    tmp_path: Path, name: str, value: float
) -> None:
    samples = [sample(1), sample(2)]
    getattr(samples[1], name).flatten()[7] = value
    path = shard_path(tmp_path, "train", 1000)
    with pytest.raises(
        TrainingDataError, match=rf"apartment 1000: .*NaN or infinity in {name} of samples \[1\]"
    ):
        write_shard(path, samples, 1000, DATA)
    assert not path.exists()


def test_numbers_that_are_not_finite_are_not_read(data: Path) -> None:
    path = shard_path(data, "train", 1001)
    latents = load_file(path)["latents"]
    latents[2, 0, 0, 0, 0] = float("nan")
    rewritten(path, latents=latents)
    shards = Shards(data, "train", SEEDS, DATA)
    shards.batch([4, 5, 7])
    with pytest.raises(TrainingDataError, match=r"apartment_01001.*in latents of sample 2"):
        shards.batch([6])


def test_missing_apartments_are_told(data: Path) -> None:
    shard_path(data, "train", 1001).unlink()
    with pytest.raises(TrainingDataError, match="none of 1, the first of them apartment_01001"):
        Shards(data, "train", SEEDS, DATA)


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_a_cut_off_file_is_told(data: Path, kept: int) -> None:
    path = shard_path(data, "train", 1000)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(TrainingDataError, match=r"apartment_01000.*expected a whole file"):
        Shards(data, "train", SEEDS, DATA)
    with pytest.raises(TrainingDataError, match="expected a whole file"):
        is_current(path, DATA)


def test_samples_drawn_otherwise_are_told(data: Path) -> None:
    other = replace(DATA, imperfect=0.1)
    with pytest.raises(TrainingDataError, match="drawn as configured now"):
        Shards(data, "train", SEEDS, other)
    # More apartments are drawn like the others.
    assert is_current(shard_path(data, "train", 1000), replace(DATA, apartments=9))


def test_another_file_is_told(data: Path) -> None:
    path = shard_path(data, "train", 1000)
    save_file({"latents": torch.zeros(1)}, path)
    with pytest.raises(TrainingDataError, match="expected a file of samples, version 1"):
        Shards(data, "train", SEEDS, DATA)


def test_latents_of_another_size_are_told(data: Path) -> None:
    path = shard_path(data, "train", 1000)
    rewritten(path, latents=load_file(path)["latents"][..., :2].contiguous())
    with pytest.raises(TrainingDataError, match=r"expected latents of 7 frames of \(4, 4\) cells"):
        Shards(data, "train", SEEDS, DATA)


def test_only_what_is_missing_is_drawn(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard_path(data, "train", 1001).unlink()
    asked = []
    monkeypatch.setattr(generating, "_draw_all", lambda missing, *rest: asked.extend(missing))
    assert generate(DATA, data) == 1
    assert asked == [("train", 1001)]
    write_data(data)
    assert generate(DATA, data) == 0


def test_too_small_a_disk_is_told_before_anything_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    monkeypatch.setattr(generating, "_draw_all", lambda *rest: pytest.fail("drawn"))
    with pytest.raises(TrainingDataError, match=r"need about .* GB.*Got 1\.0 GB free"):
        generate(DATA, tmp_path / "new")

"""Samples of a simulated apartment, and the command that draws them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mirage_ros.cli import main
from mirage_ros.codec import DctCodec
from mirage_ros.training.data_config import DataConfig
from mirage_ros.training.generate import generate
from mirage_ros.training.samples import Sample, draw_samples
from mirage_ros.training.shards import Shards, shard_path

CONFIG = DataConfig(
    width=96,
    height=64,
    apartments=1,
    validation_apartments=1,
    samples=3,
    duration_s=20.0,
    targets=4,
    preceding=2,
    references=2,
    imperfect=0.0,
)


@pytest.fixture(scope="module")
def drawn() -> list[Sample]:
    return list(draw_samples(1000, CONFIG))


def psnr(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(-10.0 * torch.log10((one - other).square().mean()))


def test_drafts_show_what_the_camera_sees(drawn: list[Sample]) -> None:
    codec = DctCodec()
    assert len(drawn) == CONFIG.samples
    for sample in drawn:
        assert sample.latents.shape == sample.draft.shape == (6, 48, 4, 6)
        assert sample.known.shape == (6, 4, 6)
        known = sample.known.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None]
        pictures, drafts = codec.decode(sample.latents), codec.decode(sample.draft)
        where = known.expand_as(pictures)
        if float(known.float().mean()) > 0.2:
            shuffled = codec.decode(sample.latents.flip(-1))
            right = psnr(drafts[where], pictures[where])
            assert right > psnr(shuffled[where], pictures[where]) + 3.0
        assert bool((sample.about[:, 0] == sample.known).all())


def test_the_same_seed_draws_the_same(drawn: list[Sample]) -> None:
    again = next(draw_samples(1000, CONFIG))
    other = next(draw_samples(1001, CONFIG))
    for name in ("latents", "draft", "about", "references"):
        assert torch.equal(getattr(again, name), getattr(drawn[0], name))
    assert not torch.equal(other.latents, drawn[0].latents)


def test_references_are_whole_frames_of_the_past(drawn: list[Sample]) -> None:
    counted = [sample for sample in drawn if sample.reference_count]
    assert counted
    for sample in counted:
        used = sample.references[: sample.reference_count]
        assert bool(used.flatten(1).any(dim=1).all())
        assert not bool(sample.references[sample.reference_count :].any())


def test_errors_of_sensors_reach_the_memory_and_not_the_truth() -> None:
    perfect = next(draw_samples(1003, CONFIG))
    imperfect = next(draw_samples(1003, replace(CONFIG, imperfect=1.0)))
    torch.testing.assert_close(perfect.latents, imperfect.latents)
    assert not torch.equal(perfect.draft, imperfect.draft)


def test_points_may_be_remembered_instead() -> None:
    sample = next(draw_samples(1000, replace(CONFIG, memory="rgb_fair")))
    assert bool(sample.known.any())
    # Rendered content lies where it belongs: no offset, no stretch, no turn.
    assert not bool(sample.about[:, 1:8].any())


def test_workers_write_what_is_drawn(tmp_path: Path, drawn: list[Sample]) -> None:
    assert generate(CONFIG, tmp_path, workers=2) == 2
    assert generate(CONFIG, tmp_path, workers=2) == 0
    assert shard_path(tmp_path, "validation", 2000).exists()
    batch = Shards(tmp_path, "train", [1000], CONFIG).batch([0])
    # The same pictures but for how another process's renderer smooths edges.
    codec = DctCodec()
    assert psnr(codec.decode(batch.latents[0]), codec.decode(drawn[0].latents)) > 35.0


def test_the_commands_draw_and_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        """
data: {width: 64, height: 64, apartments: 1, validation_apartments: 1, samples: 2, duration_s: 20,
       targets: 3, preceding: 1, references: 1}
model: {layers: 1, heads: 2, head_dim: 12, ffn: 16, side_layers: [0], references: 1}
train: {lengths: [3], validation_samples: 1}
stages: [{steps: 2}]
"""
    )
    data, run = str(tmp_path / "data"), str(tmp_path / "run")
    given = ["--config", str(config), "--data", data]
    assert main(["train", "model", *given, "--run", run]) != 0
    assert "mirage train data draws them" in capsys.readouterr().err
    assert main(["train", "data", *given, "--workers", "1"]) == 0
    assert "2 apartments drawn, 0 were there" in capsys.readouterr().out
    assert main(["train", "model", *given, "--run", run]) == 0
    assert (tmp_path / "run" / "model" / "MODEL_CARD.md").exists()
    assert main(["benchmark", "nano", "--model", str(tmp_path / "nothing")]) != 0

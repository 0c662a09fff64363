"""A run learns, goes on where it was killed as if it had not been, and writes down what it did."""

from __future__ import annotations

import csv
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from training_data import DATA, MODEL, run_config, write_data

from mirage_ros.codec import DctCodec
from mirage_ros.errors import GenerationError, TrainingDataError
from mirage_ros.generation.nano_model import load_nano
from mirage_ros.training import loop
from mirage_ros.training.inputs import InputDrawer
from mirage_ros.training.loop import measured_scales, rate_factor, train
from mirage_ros.training.run_config import StageConfig
from mirage_ros.training.run_log import LOSSES, SCORES
from mirage_ros.training.shards import Shards
from mirage_ros.training.validation import drafts, sampled, scores


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_nano(folder).transformer.state_dict()


def test_a_run_learns_what_drafts_get_wrong(data: Path, tmp_path: Path) -> None:
    config = run_config(StageConfig(steps=120, learning_rate=5e-3, batch=4), ema=0.9)
    model = load_nano(train(config, data, tmp_path))
    assert model.transformer.config.vace_layers == [0]
    validation = Shards(data, "validation", [2000], DATA)
    drawer = InputDrawer(validation, model.scales, MODEL, config.train, config.stages[0], 0)
    given = [drawer.validation(number, DATA.targets) for number in range(4)]
    made = [sampled(model.transformer, inputs, 1) for inputs in given]
    codec = DctCodec()
    before, after = (
        scores(codec, latents, given) for latents in ([drafts(i) for i in given], made)
    )
    # Drafts are a tenth too dark where they know anything: 20 dB.
    assert before.known == pytest.approx(20.0, abs=0.3)
    assert after.known > before.known + 2.0
    with (tmp_path / SCORES).open() as table:
        rows = list(csv.DictReader(table))
    assert [row["of"] for row in rows] == ["draft", "mean", "sample"]
    assert float(rows[1]["known"]) > float(rows[0]["known"]) + 2.0
    assert (tmp_path / LOSSES).exists()
    assert list(tmp_path.glob("joint_*.png"))
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "Seeds 1000 to 1001 for training" in card
    assert f"| draft | {float(rows[0]['all']):.2f} |" in card


@pytest.mark.parametrize("objective", ["flow", "distill"])
def test_a_killed_run_goes_on_to_the_very_same_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    stages = (
        StageConfig(name="first", steps=4),
        StageConfig(name="second", objective=objective, steps=5),
    )
    config = run_config(*stages, checkpoint_minutes=0.0)
    expected = weights(train(config, data, tmp_path / "whole"))

    def killed(*args: object) -> float:
        calls.append(args)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return rate_factor(*args)  # type: ignore[arg-type]

    calls: list[object] = []
    monkeypatch.setattr(loop, "rate_factor", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, data, tmp_path / "killed")
    found = weights(train(config, data, tmp_path / "killed"))
    # Six steps before, and three after: none was done twice.
    assert len(calls) == 7 + 3
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_stages_train_what_they_say(data: Path, tmp_path: Path) -> None:
    stages = [
        StageConfig(name="base", trains="base", memory=False, steps=2),
        StageConfig(name="side", trains="side", steps=2),
        StageConfig(name="lora", trains="side_and_lora", lora_rank=2, steps=2),
    ]
    folders = [train(run_config(*stages[: n + 1]), data, tmp_path / str(n)) for n in range(3)]
    base, side, lora = (weights(folder) for folder in folders)

    def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
        assert before.keys() == after.keys()
        return {name for name in before if not torch.equal(before[name], after[name])}

    assert all(name.startswith("vace") for name in changed(base, side))
    assert changed(base, side)
    main = {name for name in changed(side, lora) if not name.startswith("vace")}
    assert main
    assert all(".attn" in name or ".ffn." in name for name in main)
    difference = lora["blocks.0.attn1.to_q.weight"] - side["blocks.0.attn1.to_q.weight"]
    # Weights are stored in half precision, so what is below that is not zero.
    values = torch.linalg.svdvals(difference)
    assert float(values[2:].max()) < 1e-3
    assert float(values[0]) > 1e-4


def test_distillation_leaves_the_mean_alone(data: Path, tmp_path: Path) -> None:
    stages = (
        StageConfig(name="joint", steps=30, learning_rate=3e-3),
        StageConfig(name="few", objective="distill", steps=4, learning_rate=1e-4),
    )
    before = load_nano(train(run_config(*stages[:1]), data, tmp_path / "a"))
    after = load_nano(train(run_config(*stages), data, tmp_path / "b"))
    shards = Shards(data, "validation", [2000], DATA)
    drawer = InputDrawer(shards, before.scales, MODEL, run_config().train, stages[0], 0)
    given = drawer.validation(0, DATA.targets)
    one, other = (sampled(model.transformer, given, 1) for model in (before, after))
    assert not torch.equal(one, other)
    assert float((one - other).abs().max()) < 0.1 * float((one - drafts(given)).abs().max())


def test_another_configuration_does_not_go_on_with_a_run(data: Path, tmp_path: Path) -> None:
    train(run_config(), data, tmp_path)
    with pytest.raises(TrainingDataError, match=r"checkpoint\.pt: expected a checkpoint of this"):
        train(run_config(seed=1), data, tmp_path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04cut"])
def test_a_damaged_checkpoint_is_told(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(TrainingDataError, match=r"checkpoint\.pt: expected a .*checkpoint"):
        train(run_config(), data, tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "mirage_ros.training.objective.FlowObjective.__call__",
        lambda self, transformer, inputs: torch.tensor(float("nan"), requires_grad=True),
    )
    with pytest.raises(GenerationError, match="stage joint, step 0: the loss must be finite"):
        train(run_config(), data, tmp_path)


def test_scales_are_those_of_the_data(data: Path) -> None:
    shards = Shards(data, "train", [1000, 1001], DATA)
    scales = measured_scales(shards)
    batch = shards.batch(range(len(shards)))
    picture = batch.latents.transpose(1, 2).flatten(2).transpose(0, 1).flatten(1)
    expected = picture.std(dim=1, correction=0)
    torch.testing.assert_close(
        torch.tensor(scales.picture), expected.clamp(min=0.02), rtol=1e-3, atol=1e-5
    )
    assert len(scales.draft_error) == 48


def test_the_learning_rate_rises_then_falls() -> None:
    factors = [rate_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == 1.0
    assert all(a >= b for a, b in pairwise(factors[9:]))
    assert factors[99] == pytest.approx(0.01, abs=0.002)

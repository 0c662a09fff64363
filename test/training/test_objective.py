"""Losses against arithmetic written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training_data import DATA, MODEL, TRAIN, write_data

from mirage_ros.codec import DctCodec
from mirage_ros.training.distillation import DistillObjective
from mirage_ros.training.inputs import FIRST_LEVEL, InputDrawer, Inputs
from mirage_ros.training.loop import measured_scales
from mirage_ros.training.objective import FlowObjective, predicted
from mirage_ros.training.parts import new_transformer
from mirage_ros.training.run_config import StageConfig
from mirage_ros.training.shards import Shards

CODEC = DctCodec()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    data = write_data(tmp_path_factory.mktemp("data"))
    shards = Shards(data, "train", [1000, 1001], DATA)
    stage = StageConfig(batch=4)
    train = replace(TRAIN, first_dropout=0.0)
    return InputDrawer(shards, measured_scales(shards), MODEL, train, stage, 0).training(3, 5)


def by_hand(inputs: Inputs, error: torch.Tensor, *, even: bool) -> float:
    """Frame by frame, cell by cell in words: weight = gain x unit, over level^2."""
    gain = torch.tensor(CODEC.channel_gain)[:, None, None]
    scale = inputs.units.scale[:, : error.shape[1]]
    mean_weight = float((gain * scale).mean())
    total, counted = 0.0, 0
    for sample, frames in enumerate(inputs.levels.tolist()):
        for frame, level in enumerate(frames):
            if level == 0.0:
                continue
            weight = gain * scale[sample, frame] / mean_weight
            loss = float((weight * error[sample, frame].square()).mean()) / max(level, 0.25) ** 2
            if even:
                off = float((weight * inputs.clean[sample, frame].square()).mean())
                loss /= off + 0.1
            total, counted = total + loss, counted + 1
    return total / counted


@pytest.mark.parametrize("even", [False, True])
def test_the_flow_loss_weighs_errors_as_it_says(inputs: Inputs, even: bool) -> None:
    error = torch.randn(inputs.clean.shape, generator=torch.Generator().manual_seed(1))
    found = FlowObjective(CODEC, even_frames=even).weighted(error, inputs)
    assert float(found) == pytest.approx(by_hand(inputs, error, even=even), rel=1e-4)
    assert bool((inputs.levels == 0.0).any())
    assert bool((inputs.levels > 0.0).any())


def test_a_model_that_says_zero_is_off_by_what_the_draft_is(inputs: Inputs) -> None:
    model = new_transformer(MODEL, 48, 0)
    found = FlowObjective(CODEC)(model, inputs).detach()
    assert float(found) == pytest.approx(by_hand(inputs, inputs.clean, even=False), rel=1e-4)


def test_one_step_of_the_student_aims_at_two_of_the_teacher(inputs: Inputs) -> None:
    """With itself for a student, what is left is what two steps differ from one by."""
    torch.manual_seed(3)
    model = new_transformer(MODEL, 48, 0)
    torch.nn.init.normal_(model.proj_out.weight, std=0.05)
    flow = FlowObjective(CODEC)
    found = DistillObjective(flow, model)(model, inputs).detach()
    levels = inputs.levels.clone()
    grid = torch.tensor([0.74925, 0.4995, 0.24975])
    ends = torch.tensor([0.4995, 0.24975, 0.0])
    for place, level in enumerate(levels.flatten().tolist()):
        if level not in (0.0, pytest.approx(FIRST_LEVEL)):
            levels.view(-1)[place] = grid[(grid - level).abs().argmin()]
    start = levels[:, :, None, None, None]
    moves = (start > 0.0) & (start < 0.9)
    end = torch.zeros_like(start)
    for one, other in zip(grid, ends, strict=True):
        end = torch.where((start - one).abs() < 1e-4, other, end)
    noisy = torch.where(
        start > 0.0, (1.0 - start) * inputs.clean + start * inputs.noise, inputs.given
    )
    with torch.no_grad():
        first = predicted(model, inputs, noisy, levels)
        middle = (start + end) / 2.0
        there = first + middle / start.clamp(min=1e-6) * (noisy - first)
        told = torch.where(moves, middle, start)[..., 0, 0, 0]
        sample = torch.where(moves, there, noisy)
        # The others are where one step brings them, which is what the mean is taught as.
        told = torch.where((levels > 0.0) & ~moves[..., 0, 0, 0], levels / 2.0, told)
        sample = torch.where((start > 0.0) & ~moves, first + 0.5 * (noisy - first), sample)
        second = predicted(model, inputs, sample, told)
        after = second + end / middle.clamp(min=1e-6) * (sample - second)
        share = end / start.clamp(min=1e-6)
        goal = torch.where(moves, (after - share * noisy) / (1.0 - share), inputs.clean)
        made = predicted(model, inputs, noisy, levels)

    expected = flow.weighted(made - goal, replace(inputs, levels=levels))
    assert float(found) == pytest.approx(float(expected), rel=1e-3)

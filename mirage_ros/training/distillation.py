"""Fewer steps: a student learns to go in one step where its teacher goes in two.

Progressive distillation (Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of
Diffusion Models"), on the levels that the model will be sampled at. The first level stays with its
own target, the mean: a single step shall go on giving it, and the sample's first step is the same.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch
from torch import Tensor

from mirage_ros.generation.schedule import wan_sigmas
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.training.inputs import FIRST_LEVEL, Inputs
from mirage_ros.training.objective import FlowObjective, predicted

#: Steps that the student shall need, the first of them to the mean.
STUDENT_STEPS = 4


class DistillObjective:
    """Error of one step of the model against two of what it was at the stage's start.

    Args:
        flow: weighs errors, and is the objective at the first level.
        transformer: the model at the stage's start; it is copied.
    """

    def __init__(self, flow: FlowObjective, transformer: WanWorldTransformer) -> None:
        self._flow = flow
        self._teacher = copy.deepcopy(transformer).requires_grad_(False).eval()

    @property
    def teacher(self) -> dict[str, Tensor]:
        """The teacher's weights, for a checkpoint."""
        weights: dict[str, Tensor] = self._teacher.state_dict()
        return weights

    def load_teacher(self, weights: dict[str, Tensor]) -> None:
        """Go on with the teacher of a checkpoint."""
        self._teacher.load_state_dict(weights)

    def __call__(self, transformer: WanWorldTransformer, inputs: Inputs) -> Tensor:
        """The loss of a batch; levels other than the first one are moved to the student's."""
        grid = torch.tensor([*wan_sigmas(STUDENT_STEPS, 1.0), 0.0]).to(inputs.levels)
        nearest = (inputs.levels[..., None] - grid[1:-1]).abs().argmin(dim=-1) + 1
        keeps = (inputs.levels == 0.0) | (inputs.levels == FIRST_LEVEL)
        start = torch.where(keeps, inputs.levels, grid[nearest])
        end = torch.where(keeps, 0.0, grid[nearest + 1])
        moved = replace(inputs, levels=start)
        targets = moved.targets
        with torch.no_grad():
            taught = self._two_steps(moved, targets, start, end)
        goal = torch.where(keeps[:, :, None, None, None], inputs.clean, taught)
        made = predicted(transformer, moved, targets, start)
        return self._flow.weighted(made - goal, moved)

    def _two_steps(
        self,
        inputs: Inputs,
        targets: Tensor,  # (B, T, C, h, w)
        start: Tensor,  # (B, T)
        end: Tensor,  # (B, T)
    ) -> Tensor:  # (B, T, C, h, w)
        """The clean latents that one step would have to aim at to end where two of them do."""
        sample, level = targets, start
        for following in ((start + end) / 2.0, end):
            clean = predicted(self._teacher, inputs, sample, level)
            share = _ratio(following, level)
            sample, level = clean + share * (sample - clean), following
        share = _ratio(end, start)
        return (sample - share * targets) / (1.0 - share)


def _ratio(end: Tensor, start: Tensor) -> Tensor:  # (B, T) -> (B, T, 1, 1, 1)
    """Of two levels; 0 where the first is 0."""
    return torch.where(start > 0.0, end / start.clamp(min=1e-6), 0.0)[:, :, None, None, None]

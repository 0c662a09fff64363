"""How good the model is on validation samples, in figures and as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.generation.schedule import Schedule, Solver
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.training.inputs import Inputs
from mirage_ros.training.objective import predicted

#: Samples in a picture, and the targets of each that are shown.
_SHOWN_SAMPLES, _SHOWN_TARGETS = 5, (1, 4, 8)

#: Pixels that a region must have at least in a frame to count.
_LEAST_PIXELS = 512


@dataclass(frozen=True)
class Scores:
    """Means over frames that are not given; PSNR in dB, pictures against the codec's own.

    Attributes:
        all: over all pixels.
        known: over cells that are remembered.
        holes: over the others.
        sharpness: energy of gradients as a share of the true pictures'.
    """

    all: float
    known: float
    holes: float
    sharpness: float

    def text(self) -> str:
        """For a log."""
        return (
            f"{self.all:.2f} dB (known {self.known:.2f}, holes {self.holes:.2f}), "
            f"sharpness {self.sharpness:.2f}"
        )


@torch.no_grad()
def sampled(
    transformer: WanWorldTransformer, inputs: Inputs, steps: int
) -> Tensor:  # (B, T, C, h, w) latents
    """Targets made of the inputs' noise in some steps; given ones are exact."""
    solver = Solver(Schedule(steps, shift=1.0, solver="euler"))
    given = (inputs.levels == 0.0)[:, :, None, None, None]
    sample = inputs.noise
    for number, timestep in enumerate(solver.timesteps):
        level = timestep / 1000.0
        levels = torch.where(inputs.levels > 0.0, level, 0.0)
        targets = torch.where(given, inputs.given, sample)
        clean = predicted(transformer, inputs, targets, levels)
        sample = solver.step(number, (sample - clean) / level, sample, [])
    latents = inputs.units.outside(sample, slice(0, sample.shape[1]))
    return torch.where(given, inputs.latents, latents)


def scores(
    codec: DctCodec,
    made: Sequence[Tensor],  # of (1, T, C, h, w) latents
    inputs: Sequence[Inputs],
) -> Scores:
    """Figures of what was made for validation inputs."""
    errors: dict[str, list[float]] = {"all": [], "known": [], "holes": []}
    energies = np.zeros(2)
    for latents, given in zip(made, inputs, strict=True):
        new = given.levels[0] > 0.0
        truth = codec.decode(given.latents[0][new])
        picture = codec.decode(latents[0][new]).clamp(0.0, 1.0)
        energies += _gradients(picture), _gradients(truth)
        squared = (picture - truth).square().mean(dim=1)
        known = given.known[0][new].repeat_interleave(16, 1).repeat_interleave(16, 2)
        everywhere = torch.ones_like(known)
        for name, where in (("all", everywhere), ("known", known), ("holes", ~known)):
            errors[name] += [
                -10.0 * math.log10(max(float(error[mask].mean()), 1e-10))
                for error, mask in zip(squared, where, strict=True)
                if int(mask.sum()) >= _LEAST_PIXELS
            ]
    mean = {name: float(np.mean(values)) if values else math.nan for name, values in errors.items()}
    return Scores(**mean, sharpness=float(energies[0] / energies[1]))


def drafts(inputs: Inputs) -> Tensor:  # (B, T, C, h, w)
    """What is there without the model."""
    count = inputs.latents.shape[1]
    given = (inputs.levels == 0.0)[:, :, None, None, None]
    return torch.where(given, inputs.latents, inputs.units.origin[:, :count])


def save_picture(
    path: Path,
    codec: DctCodec,
    rows: Sequence[Sequence[Tensor]],  # for every sample, columns of (1, T, C, h, w) latents
) -> None:
    """A sheet of some samples: the columns side by side, three targets one below the other."""
    sheets = []
    for columns in rows[:_SHOWN_SAMPLES]:
        shown = [number for number in _SHOWN_TARGETS if number < columns[0].shape[1]]
        pictures = [codec.decode(column[0, shown]).clamp(0.0, 1.0) for column in columns]
        sheets += [torch.cat(list(row), dim=2) for row in zip(*pictures, strict=True)]
    sheet = (torch.cat(sheets, dim=1) * 255.0).round().byte().permute(1, 2, 0).numpy()
    height, width = sheet.shape[:2]
    small = cv2.resize(sheet, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


def _gradients(pictures: Tensor) -> float:  # (T, 3, H, W)
    squares = pictures.diff(dim=-1).square().mean() + pictures.diff(dim=-2).square().mean()
    return float(squares)

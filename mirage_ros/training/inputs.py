"""What the transformer is given for a batch of samples, drawn so that every step can be repeated.

The layout is that of :mod:`mirage_ros.generation.diffusion`: references, targets, preceding frames.
All that is drawn for a step depends on the seed and the step's number alone, so a run that was
interrupted goes on as if it had not been.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage_ros.codec import DctCodec
from mirage_ros.generation.scene import SceneScales, Units, control_of, units_of
from mirage_ros.generation.schedule import wan_sigmas
from mirage_ros.generation.side_input import WhiteVideo
from mirage_ros.training.augment import Augmentation, forget_all, forget_region
from mirage_ros.training.run_config import NanoConfig, StageConfig, TrainConfig
from mirage_ros.training.shards import Batch, Shards

#: The first level of sampling, from which one step makes the mean.
FIRST_LEVEL = wan_sigmas(1, 1.0)[0]

#: Share of the samples whose clean frames are like generated ones: of weaker detail, and noisy.
_GENERATED = 0.5
_WEAKER, _NOISIER = (0.3, 1.0), (0.0, 0.2)


@dataclass(frozen=True)
class Inputs:
    """A batch as the transformer sees it; B samples, R references, T targets, P preceding frames.

    Attributes:
        references: (B, R, C, h, w) in the model's units.
        clean: (B, T, C, h, w) true targets in the model's units.
        noise: (B, T, C, h, w).
        levels: (B, T) noise level of each target, 0 where it is given.
        preceding: (B, P, C, h, w) in the model's units.
        given: (B, T, C, h, w) what a given target is given as.
        control: (B, 2 C, T + P, h, w) for the side branch; None: it does not run.
        units: of targets and preceding frames.
        known: (B, T, h, w) bool.
        latents: (B, T, C, h, w) true targets.
    """

    references: Tensor
    clean: Tensor
    noise: Tensor
    levels: Tensor
    preceding: Tensor
    given: Tensor
    control: Tensor | None
    units: Units
    known: Tensor
    latents: Tensor

    def to(self, device: torch.device) -> Inputs:
        """The same on a device."""
        moved: dict[str, Any] = {
            name: None if value is None else value.to(device) for name, value in vars(self).items()
        }
        return Inputs(**moved)

    @property
    def targets(self) -> Tensor:  # (B, T, C, h, w)
        """Targets at their noise levels."""
        level = self.levels[:, :, None, None, None]
        noisy = (1.0 - level) * self.clean + level * self.noise
        return torch.where(level > 0.0, noisy, self.given)

    def sequence(self, targets: Tensor) -> Tensor:  # (B, T, C, h, w) -> (B, C, R + T + P, h, w)
        """The transformer's input with these targets."""
        return torch.cat([self.references, targets, self.preceding], dim=1).transpose(1, 2)

    def timesteps(self, levels: Tensor) -> Tensor:  # (B, T) -> (B, R + T + P)
        """What the transformer is told about the noise: references and preceding have none."""
        frames = self.references.shape[1], self.preceding.shape[1]
        batch = len(levels)
        before, after = (levels.new_zeros(batch, count) for count in frames)
        return torch.cat([before, levels, after], dim=1) * 1000.0


class InputDrawer:
    """Draws inputs of a stage.

    Args:
        shards: to draw samples from.
        scales: of the model's units.
        model: what it may see.
        train: how often it sees less.
        stage: how many samples a step has.
        number: of the stage; no two stages draw the same.
    """

    def __init__(
        self,
        shards: Shards,
        scales: SceneScales,
        model: NanoConfig,
        train: TrainConfig,
        stage: StageConfig,
        number: int,
    ) -> None:
        self._shards = shards
        self._scales = scales
        self._model = model
        self._train = train
        self._stage = stage
        self._number = number
        codec = DctCodec()
        self._augmentation = Augmentation(codec)
        self._white = WhiteVideo(codec) if model.told == "constant" else None

    def training(self, step: int, targets: int) -> Inputs:
        """Inputs of a training step; chunks are as long as the step's number says."""
        train = self._train
        rng = np.random.default_rng((train.seed, self._number, step))
        length = int(rng.choice(train.lengths))
        # About as many frames a step, whatever their length.
        count = max(1, round(self._stage.batch * max(train.lengths) / length))
        numbers = rng.choice(len(self._shards), size=count, replace=len(self._shards) < count)
        batch = self._augmentation(self._shards.batch(numbers.tolist()), rng)
        if self._stage.memory:
            for row in np.flatnonzero(rng.random(count) < train.region_dropout):
                forget_region(batch, int(row), rng)
        forgotten = rng.random(count) < (train.memory_dropout if self._stage.memory else 1.0)
        batch = forget_all(batch, torch.from_numpy(forgotten))
        references = 0
        if rng.random() >= train.reference_dropout:
            most = min(self._model.references, int(batch.reference_count.min()))
            references = int(rng.integers(1, most + 1)) if most else 0
        context = rng.random() >= train.context_dropout
        levels = self._levels(rng, count, length)
        if rng.random() >= train.first_dropout:
            levels[:, 0] = 0.0
        return self._inputs(batch, targets, length, references, context, levels, rng)

    def validation(self, number: int, targets: int) -> Inputs:
        """Inputs of one validation sample, whole and at the first level; always the same."""
        rng = np.random.default_rng((self._train.seed, number))
        batch = self._shards.batch([number])
        if not self._stage.memory:
            batch = forget_all(batch, torch.ones(1, dtype=torch.bool))
        references = min(self._model.references, int(batch.reference_count[0]))
        levels = torch.full((1, targets), FIRST_LEVEL)
        levels[:, 0] = 0.0
        return self._inputs(batch, targets, targets, references, True, levels, rng, exact=True)

    def _levels(self, rng: np.random.Generator, count: int, length: int) -> Tensor:
        """(B, T) noise levels: the sigmoid of a normal number, or the first level of sampling."""
        train = self._train
        levels = 1.0 / (1.0 + np.exp(-rng.standard_normal((count, length))))
        one = rng.random(count) < train.one_level
        levels[one] = levels[one, :1]
        levels[rng.random(count) < train.pure_noise] = FIRST_LEVEL
        return torch.from_numpy(levels).float()

    def _inputs(
        self,
        batch: Batch,
        targets: int,
        length: int,
        references: int,
        context: bool,
        levels: Tensor,  # (B, length)
        rng: np.random.Generator,
        *,
        exact: bool = False,
    ) -> Inputs:
        kept = list(range(length))
        if context:
            kept += range(targets, batch.latents.shape[1])
        draft, known = batch.draft[:, kept], batch.known[:, kept]
        units = units_of(draft, known, self._scales)
        inside = units.inside(batch.latents[:, kept], slice(None))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(inside.shape, generator=generator)
        given = inside
        if not exact:
            shape = (len(inside), 1, 1, 1, 1)
            like = torch.from_numpy(rng.random(len(inside)) < _GENERATED).reshape(shape)
            weaker = torch.from_numpy(rng.uniform(*_WEAKER, shape)).float()
            noisier = torch.from_numpy(rng.uniform(*_NOISIER, shape)).float()
            given = torch.where(like, weaker * inside + noisier * noise, inside)
        control = None
        if self._stage.memory:
            about = batch.about[:, kept]
            if self._white is not None:
                white = self._white.latents(len(kept), *draft.shape[-2:])
                about = white.expand_as(draft)
            control = control_of(draft, known, about, self._scales)
        return Inputs(
            units.whole(batch.references[:, :references]),
            inside[:, :length],
            noise[:, :length],
            levels,
            given[:, length:],
            given[:, :length],
            control,
            units,
            known[:, :length],
            batch.latents[:, :length],
        )

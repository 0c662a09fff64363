"""The training loop: stages one after the other, with checkpoints, validation and logs."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mirage_ros.codec import DctCodec
from mirage_ros.errors import GenerationError
from mirage_ros.generation.nano_model import NanoModel, save_nano
from mirage_ros.generation.scene import SceneScales
from mirage_ros.training.average import WeightAverage
from mirage_ros.training.checkpoints import TrainingState, load_checkpoint, save_checkpoint
from mirage_ros.training.distillation import DistillObjective
from mirage_ros.training.generate import splits_of
from mirage_ros.training.inputs import InputDrawer, Inputs
from mirage_ros.training.model_card import model_card
from mirage_ros.training.objective import FlowObjective
from mirage_ros.training.optimizer import Optimizer
from mirage_ros.training.parts import choose, fuse_lora, fused_copy, new_transformer
from mirage_ros.training.run_config import RunConfig, StageConfig
from mirage_ros.training.run_log import RunLog
from mirage_ros.training.shards import Shards
from mirage_ros.training.validation import Scores, drafts, sampled, save_picture, scores

_LOGGER = logging.getLogger(__name__)

#: Samples from which the scales of latents are measured.
_SCALE_SAMPLES = 200

#: Steps of the samples that validation looks at, beside one.
_VALIDATION_STEPS = 4

#: Share of the peak learning rate at the end of a stage.
_FINAL_RATE = 0.01


#: Least scale of a channel: below it, stored samples are no more than rounding.
_LEAST_SCALE = 0.02


def train(config: RunConfig, data: Path, run: Path) -> Path:
    """Train a model, or go on where a run was interrupted; the folder of the finished model.

    Args:
        config: what to do.
        data: folder of the samples, drawn before.
        run: folder for checkpoint, logs, pictures and the model (``model``).

    Raises:
        TrainingDataError: samples or checkpoint are missing, damaged or of another configuration.
        GenerationError: the loss is not finite.
        OSError: something cannot be written.
    """
    run.mkdir(parents=True, exist_ok=True)
    return _Run(config, data, run).go()


class _Run:
    def __init__(self, config: RunConfig, data: Path, run: Path) -> None:
        self._config = config
        self._run = run
        self._log = RunLog(run)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._codec = DctCodec()
        splits = splits_of(config.data)
        self._shards = Shards(data, "train", splits["train"], config.data)
        self._validation = Shards(data, "validation", splits["validation"], config.data)
        self._scales = measured_scales(self._shards)
        self._transformer = new_transformer(
            config.model, self._codec.channels, config.train.seed
        ).to(self._device)
        self._begun = time.monotonic()
        content = json.dumps(asdict(config), sort_keys=True)
        self._fingerprint = hashlib.sha256(content.encode()).hexdigest()[:16]

    def go(self) -> Path:
        state = load_checkpoint(self._run, self._fingerprint)
        first = 0 if state is None else state.stage
        if state is not None:
            self._begun -= state.seconds
            _LOGGER.info("going on with stage %d, step %d", state.stage + 1, state.step)
        for number, stage in enumerate(self._config.stages):
            if number >= first:
                resumed = state if number == first else None
                self._stage(number, stage, resumed)
        watched = self._watched(self._config.stages[-1], len(self._config.stages) - 1)
        folder, model = self._run / "model", self._model()
        save_nano(folder, model)
        parameters = sum(weight.numel() for weight in model.transformer.parameters())
        card = model_card(self._config, self._scores(watched)[0], self._elapsed, parameters)
        (folder / "MODEL_CARD.md").write_text(card)
        return folder

    def _model(self) -> NanoModel:
        # A copy, because a stage may go on training low-rank changes of its own.
        transformer = fused_copy(self._transformer)
        return NanoModel(transformer, self._scales, self._config.model.told)

    def _stage(self, number: int, stage: StageConfig, state: TrainingState | None) -> None:
        """One stage; at its end the model has the averaged weights."""
        model, train = self._transformer, self._config.train
        weights = choose(model, stage)
        flow = FlowObjective(self._codec, even_frames=stage.even_frames)
        objective: FlowObjective | DistillObjective = flow
        if stage.objective == "distill":
            objective = DistillObjective(flow, model)
            if state is not None:
                objective.load_teacher(state.teacher)
        optimizer = Optimizer(model, stage.learning_rate, train.weight_decay, train.optimizer)
        average, first = WeightAverage(model, train.ema), 0
        if state is not None:
            model.load_state_dict(state.weights)
            average.values, average.updates = state.average, state.updates
            optimizer.load_state_dict(state.optimizer)
            first = state.step
        drawer = InputDrawer(self._shards, self._scales, self._config.model, train, stage, number)
        watched = self._watched(stage, number)
        checkpoint_due = self._elapsed + 60.0 * train.checkpoint_minutes
        validation_due = self._elapsed + 60.0 * train.validation_minutes
        with tqdm(total=stage.steps, initial=first, desc=f"stage {stage.name}", unit="step") as bar:
            for step in range(first, stage.steps):
                rate = stage.learning_rate * rate_factor(step, stage.steps, train.warm_up)
                optimizer.set_rate(rate)
                inputs = drawer.training(step, self._config.data.targets).to(self._device)
                loss = objective(model, inputs)
                if not bool(torch.isfinite(loss)):
                    raise GenerationError(
                        f"stage {stage.name}, step {step}: the loss must be finite. "
                        f"Got {loss.item()}; a lower learning_rate may help"
                    )
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(weights, train.clip)
                optimizer.step()
                average.update()
                bar.update()
                mean = self._log.loss(self._elapsed, stage.name, step + 1, loss.item(), rate)
                if mean is not None:
                    bar.set_postfix(loss=f"{mean:.3f}")
                if self._elapsed >= checkpoint_due or step + 1 == stage.steps:
                    teacher = objective.teacher if isinstance(objective, DistillObjective) else {}
                    self._save(number, step + 1, average, optimizer, teacher)
                    checkpoint_due = self._elapsed + 60.0 * train.checkpoint_minutes
                if self._elapsed >= validation_due or step + 1 == stage.steps:
                    with average.applied():
                        self._validate(stage, step + 1, watched)
                    validation_due = self._elapsed + 60.0 * train.validation_minutes
        average.keep()
        fuse_lora(model)

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begun

    def _watched(self, stage: StageConfig, number: int) -> list[Inputs]:
        """Validation inputs, spread over the apartments."""
        config = self._config
        drawer = InputDrawer(
            self._validation, self._scales, config.model, config.train, stage, number
        )
        count = min(config.train.validation_samples, len(self._validation))
        numbers = np.linspace(0, len(self._validation) - 1, count).round().astype(int)
        return [drawer.validation(int(n), config.data.targets) for n in numbers]

    def _validate(self, stage: StageConfig, step: int, watched: list[Inputs]) -> None:
        found, made = self._scores(watched)
        for name, figures in found.items():
            tqdm.write(f"{stage.name} {step}: {name} {figures.text()}")
            self._log.scores(self._elapsed, stage.name, step, name, figures)
        spread = np.linspace(0, len(watched) - 1, 5).round().astype(int)
        save_picture(
            self._run / f"{stage.name}_{step:06d}.png",
            self._codec,
            [
                [watched[n].latents, *(made[name][n] for name in ("draft", "mean", "sample"))]
                for n in spread
            ],
        )
        save_nano(self._run / "newest", self._model())

    def _scores(
        self, watched: list[Inputs]
    ) -> tuple[dict[str, Scores], dict[str, list[torch.Tensor]]]:
        """Scores of drafts, means and samples, and what was scored."""
        made: dict[str, list[torch.Tensor]] = {"draft": [drafts(given) for given in watched]}
        for name, steps in (("mean", 1), ("sample", _VALIDATION_STEPS)):
            made[name] = [
                sampled(self._transformer, given.to(self._device), steps).cpu() for given in watched
            ]
        found = {name: scores(self._codec, latents, watched) for name, latents in made.items()}
        return found, made

    def _save(
        self,
        number: int,
        step: int,
        average: WeightAverage,
        optimizer: Optimizer,
        teacher: dict[str, torch.Tensor],
    ) -> None:
        state = TrainingState(
            self._fingerprint,
            number,
            step,
            self._elapsed,
            self._transformer.state_dict(),
            average.values,
            average.updates,
            optimizer.state_dict(),
            teacher,
        )
        save_checkpoint(self._run, state)


def measured_scales(shards: Shards) -> SceneScales:
    """Scales of latents on some samples, spread over all apartments."""
    count = min(_SCALE_SAMPLES, len(shards))
    numbers = np.linspace(0, len(shards) - 1, count).round().astype(int)
    sums = torch.zeros(2, 2, shards.batch([0]).latents.shape[2], dtype=torch.float64)
    counts = torch.zeros(2, dtype=torch.float64)
    for number in numbers.tolist():
        batch = shards.batch([number])
        error = batch.latents - batch.draft
        for row, values in enumerate(
            (
                batch.latents.transpose(1, 2).flatten(2)[0],
                error.permute(2, 0, 1, 3, 4)[:, batch.known],
            )
        ):
            sums[row, 0] += values.double().sum(dim=1)
            sums[row, 1] += values.double().square().sum(dim=1)
            counts[row] += values.shape[1]
    mean = sums[:, 0] / counts[:, None]
    deviation = (sums[:, 1] / counts[:, None] - mean.square()).clamp(min=0.0).sqrt()
    floored = deviation.clamp(min=_LEAST_SCALE)
    picture, error_scale = ([round(value, 6) for value in row.tolist()] for row in floored)
    return SceneScales(tuple(picture), tuple(error_scale))


def rate_factor(step: int, steps: int, warm_up: int) -> float:
    """Learning rate as a share of its peak: a linear rise, then half a cosine."""
    if step < warm_up:
        return (step + 1) / warm_up
    share = (step - warm_up) / max(1, steps - warm_up)
    return _FINAL_RATE + (1.0 - _FINAL_RATE) * 0.5 * (1.0 + math.cos(math.pi * share))

"""What a training run is made of: data, model and schedule, from a YAML file."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mirage_ros.errors import ConfigurationError
from mirage_ros.generation.side_input import TOLD
from mirage_ros.training.data_config import DataConfig, from_mapping

#: What a stage may train: everything; the main transformer, which then sees no memory; the side
#: branch alone; low-rank changes to the main transformer and the side branch.
TRAINED = ("all", "base", "side", "side_and_lora")

#: Muon orthogonalises the updates of matrices inside the blocks (Jordan et al. 2024), in a third
#: fewer steps than AdamW here; it needs torch 2.9.
OPTIMIZERS = ("muon", "adamw")

#: What a stage may learn from: the true pictures, or what a finished model makes of noise in many
#: steps, so that few suffice (distillation).
OBJECTIVES = ("flow", "distill")


@dataclass(frozen=True)
class NanoConfig:
    """Sizes of the transformer.

    Attributes:
        layers: of the main transformer.
        heads: of every attention.
        head_dim: channels of a head, a multiple of 2 that rotary positions divide among three axes.
        ffn: channels of the feed-forward layers.
        side_layers: layers that get a hint of the side branch.
        references: whole past frames it may see.
        told: one of :data:`mirage_ros.generation.side_input.TOLD`.

    Raises:
        ConfigurationError: a value is out of range.
    """

    layers: int = 6
    heads: int = 4
    head_dim: int = 48
    ffn: int = 576
    side_layers: tuple[int, ...] = (0, 3)
    references: int = 2
    told: str = "placement"

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "ffn"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1. Got {getattr(self, name)}")
        if self.head_dim < 8 or self.head_dim % 2:
            raise ConfigurationError(f"head_dim must be even and >= 8. Got {self.head_dim}")
        if self.references < 0:
            raise ConfigurationError(f"references must not be negative. Got {self.references}")
        if self.told not in TOLD:
            raise ConfigurationError(f"told must be one of {', '.join(TOLD)}. Got '{self.told}'")


@dataclass(frozen=True)
class StageConfig:
    """A part of the training.

    Attributes:
        name: in logs.
        trains: one of :data:`TRAINED`.
        objective: one of :data:`OBJECTIVES`.
        steps: updates of the weights.
        learning_rate: at its peak, after the warm-up; it falls to a hundredth along half a cosine.
        batch: samples of a step.
        memory: whether the model sees what is remembered.
        even_frames: every frame counts alike, by what its draft is off by; otherwise frames that
            drift and noise spoilt count most, and what is learnt from them blurs the others.
        lora_rank: of low-rank changes.

    Raises:
        ConfigurationError: a value is out of range.
    """

    name: str = "joint"
    trains: str = "all"
    objective: str = "flow"
    steps: int = 4200
    learning_rate: float = 2e-3
    batch: int = 2
    memory: bool = True
    even_frames: bool = False
    lora_rank: int = 32

    def __post_init__(self) -> None:
        if self.trains not in TRAINED:
            raise ConfigurationError(
                f"trains must be one of {', '.join(TRAINED)}. Got '{self.trains}'"
            )
        if self.objective not in OBJECTIVES:
            raise ConfigurationError(
                f"objective must be one of {', '.join(OBJECTIVES)}. Got '{self.objective}'"
            )
        for name in ("steps", "batch", "lora_rank"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1. Got {getattr(self, name)}")
        if not 0.0 < self.learning_rate < 1.0:
            raise ConfigurationError(
                f"learning_rate must be between 0 and 1. Got {self.learning_rate}"
            )


@dataclass(frozen=True)
class TrainConfig:
    """How the model is trained.

    Attributes:
        seed: of weights, order of samples, noise and dropout.
        optimizer: one of :data:`OPTIMIZERS`.
        warm_up: steps at the start of a stage in which the learning rate rises.
        weight_decay: of matrices.
        clip: most norm of the gradient.
        ema: decay of the average of the weights, which is what is kept.
        lengths: latent frames of the chunks trained on; shorter ones cost less.
        memory_dropout: share of the samples that see no memory at all.
        region_dropout: share of the samples that lose part of it.
        reference_dropout: share of the steps without references.
        context_dropout: share of the steps without preceding frames.
        first_dropout: share of the steps whose first frame is not known.
        one_level: share of the samples whose frames have one noise level; the others have one each.
        pure_noise: share of the samples at the first level of sampling, which makes the mean.
        checkpoint_minutes: between two checkpoints.
        validation_minutes: between two looks at validation samples.
        validation_samples: that are looked at.

    Raises:
        ConfigurationError: a value is out of range.
    """

    seed: int = 0
    optimizer: str = "muon"
    warm_up: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    lengths: tuple[int, ...] = (3, 5, 9)
    memory_dropout: float = 0.05
    region_dropout: float = 0.3
    reference_dropout: float = 0.4
    context_dropout: float = 0.4
    first_dropout: float = 0.15
    one_level: float = 0.5
    pure_noise: float = 0.35
    checkpoint_minutes: float = 5.0
    validation_minutes: float = 10.0
    validation_samples: int = 32

    def __post_init__(self) -> None:
        shares = [name for name in vars(self) if name.endswith("dropout")]
        for name in (*shares, "one_level", "pure_noise"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name} must be in [0, 1]. Got {getattr(self, name)}")
        if not 0.0 <= self.ema < 1.0:
            raise ConfigurationError(f"ema must be at least 0 and below 1. Got {self.ema}")
        if not self.lengths or min(self.lengths) < 2:
            raise ConfigurationError(
                f"lengths must be one or more numbers of at least 2. Got {list(self.lengths)}"
            )
        if self.optimizer not in OPTIMIZERS:
            raise ConfigurationError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}. Got '{self.optimizer}'"
            )
        if not self.clip > 0.0:
            raise ConfigurationError(f"clip must be positive. Got {self.clip}")


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Attributes:
        data: what samples are drawn from.
        model: sizes.
        train: what all stages have in common.
        stages: one after the other.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: NanoConfig = field(default_factory=NanoConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    stages: tuple[StageConfig, ...] = (StageConfig(),)


def load_run_config(path: Path | None) -> RunConfig:
    """A run from a YAML file with the sections data, model, train and stages, all optional.

    Raises:
        ConfigurationError: no YAML, an unknown section or setting, a value of another type or out
            of range; or settings that do not go together.
        OSError: it cannot be read.
    """
    if path is None:
        return RunConfig()
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: expected a YAML file. Got {error}") from error
    sections: dict[str, type[Any]] = {"data": DataConfig, "model": NanoConfig, "train": TrainConfig}
    if not isinstance(content, dict) or set(content) - {*sections, "stages"}:
        got = ", ".join(map(str, content)) if isinstance(content, dict) else repr(content)
        raise ConfigurationError(
            f"{path}: expected the sections {', '.join([*sections, 'stages'])}. Got {got}"
        )
    made = {
        name: from_mapping(kind, content.get(name, {}), f"{path}: {name}")
        for name, kind in sections.items()
    }
    listed = content.get("stages")
    if listed is not None and (not isinstance(listed, list) or not listed):
        raise ConfigurationError(f"{path}: stages must be a list of stages. Got {listed!r}")
    stages = [
        from_mapping(StageConfig, stage, f"{path}: stages[{number}]")
        for number, stage in enumerate(listed or [{}])
    ]
    config = RunConfig(**made, stages=tuple(stages))
    _check(config, path)
    return config


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Take the file that says what to do."""
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML of the run (default: built-in settings)"
    )


def _check(config: RunConfig, path: Path) -> None:
    longest = max(config.train.lengths)
    if longest > config.data.targets:
        raise ConfigurationError(
            f"{path}: lengths must be at most the data's {config.data.targets} targets. "
            f"Got {longest}"
        )
    if config.model.references > config.data.references:
        raise ConfigurationError(
            f"{path}: the model's references must be at most the data's {config.data.references}. "
            f"Got {config.model.references}"
        )

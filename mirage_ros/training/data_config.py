"""What training data is made of."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from mirage_ros.errors import ConfigurationError
from mirage_ros.sources.simulator.splits import split_seeds
from mirage_ros.world_model_config import SIZE_MULTIPLE

#: Memories that samples can be read from.
MEMORIES = ("latent", "rgb_fair")


@dataclass(frozen=True)
class DataConfig:
    """What samples are drawn from, and how many.

    Attributes:
        width: of the pictures, pixels, a multiple of 32.
        height: likewise.
        apartments: number of them in the training split.
        validation_apartments: number of them in the validation split.
        samples: drawn from each apartment.
        duration_s: simulated seconds that the robot drives in each.
        rate_hz: pictures a simulated second.
        targets: latent frames of a chunk.
        preceding: frames before a chunk.
        references: whole past frames of a sample, at most.
        imperfect: share of the apartments seen with errors of depth, and share with drift.
        moved: share of the chunks seen from beside the robot's way.
        memory: one of :data:`MEMORIES`, what samples are read from.
        placed: whether blocks are put where they belong; without, they fill their cells.

    Raises:
        ConfigurationError: a value is out of range.
    """

    width: int = 320
    height: int = 256
    apartments: int = 100
    validation_apartments: int = 6
    samples: int = 40
    duration_s: float = 60.0
    rate_hz: float = 15.0
    targets: int = 9
    preceding: int = 2
    references: int = 4
    imperfect: float = 0.4
    moved: float = 0.5
    memory: str = "latent"
    placed: bool = True

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            value = getattr(self, name)
            if value < SIZE_MULTIPLE or value % SIZE_MULTIPLE:
                raise ConfigurationError(
                    f"{name} must be a positive multiple of {SIZE_MULTIPLE}. Got {value}"
                )
        for name in ("samples", "targets"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1. Got {getattr(self, name)}")
        for name in ("preceding", "references"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} must not be negative. Got {getattr(self, name)}")
        for name in ("imperfect", "moved"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name} must be in [0, 1]. Got {getattr(self, name)}")
        if not self.rate_hz > 0.0:
            raise ConfigurationError(f"rate_hz must be positive. Got {self.rate_hz}")
        if not 20.0 <= self.duration_s <= 600.0:
            raise ConfigurationError(
                f"duration_s must be 20 to 600 simulated seconds. Got {self.duration_s}"
            )
        if self.memory not in MEMORIES:
            raise ConfigurationError(
                f"memory must be one of {', '.join(MEMORIES)}. Got '{self.memory}'"
            )
        split_seeds("train", self.apartments)
        split_seeds("validation", self.validation_apartments)

    @property
    def frames(self) -> int:
        """Frames of a sample: its targets, then those that precede them."""
        return self.targets + self.preceding

    @property
    def sample_bytes(self) -> int:
        """About what a sample takes on disk."""
        cells = self.width * self.height // 256
        return cells * (self.frames * (3 * 48 * 2 + 1) + self.references * 48 * 2)

    @property
    def fingerprint(self) -> str:
        """Tells whether samples were drawn alike: of everything but how many apartments."""
        content = asdict(self)
        del content["apartments"], content["validation_apartments"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def from_mapping(kind: type[Any], values: object, where: str) -> Any:
    """A configuration of a dataclass from a mapping, such as a section of a YAML file.

    Raises:
        ConfigurationError: not a mapping, an unknown key, or a value of another type or range.
    """
    if not isinstance(values, dict):
        raise ConfigurationError(
            f"{where} must be a mapping of settings. Got {type(values).__name__}"
        )
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigurationError(
            f"{where} has settings {', '.join(sorted(known))}. Got {', '.join(map(str, unknown))}"
        )
    defaults = kind()
    typed = {
        name: _typed(value, getattr(defaults, name), f"{where}.{name}")
        for name, value in values.items()
    }
    return kind(**typed)


def _typed(value: object, default: object, where: str) -> object:
    """A value of the type that the default has; whole numbers may stand for others."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if type(value) is not type(default):
        raise ConfigurationError(
            f"{where} must be of type {type(default).__name__}, like {default!r}. Got {value!r}"
        )
    return value

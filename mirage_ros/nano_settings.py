"""What can be chosen about the backend nano. Importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from mirage_ros.errors import ConfigurationError

#: Evaluations of the model for a chunk, by what its pictures shall be. ``mean``: the average of
#: all that may be there, nearest to the truth and blurred where much may be. ``sample``: one of
#: them, sharp.
QUALITIES: dict[str, int] = {"mean": 1, "sample": 8}


@dataclass(frozen=True)
class NanoSettings:
    """Which weights the backend nano runs, and how.

    Attributes:
        model: folder that :func:`mirage_ros.generation.nano_model.save_nano` wrote; empty: the one
            that ships with the package.
        quality: one of :data:`QUALITIES`.
        steps: evaluations of the model for a chunk; 0: as ``quality`` says.
        references: whole past frames shown to the model, at most; -1: as many as it may see.
        preceding: frames before a chunk shown to the model, at most.
        batch: chunks of different candidates that go through the model at once.

    Raises:
        ConfigurationError: a value is out of range.
    """

    model: str = ""
    quality: str = "mean"
    steps: int = 0
    references: int = -1
    preceding: int = 2
    batch: int = 4

    def __post_init__(self) -> None:
        if self.quality not in QUALITIES:
            raise ConfigurationError(
                f"nano.quality must be one of {', '.join(QUALITIES)}. Got '{self.quality}'"
            )
        for name, least in (("steps", 0), ("references", -1), ("preceding", 0), ("batch", 1)):
            value = getattr(self, name)
            if value < least:
                raise ConfigurationError(f"nano.{name} must be at least {least}. Got {value}")

    @property
    def evaluations(self) -> int:
        """Evaluations of the model for a chunk."""
        return self.steps or QUALITIES[self.quality]

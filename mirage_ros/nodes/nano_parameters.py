"""The parameters of the backend nano, all under ``nano``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from mirage_ros.nano_settings import QUALITIES, NanoSettings
from mirage_ros.nodes.parameters import Spec

_DEFAULT = NanoSettings()

NANO_PARAMETERS: tuple[Spec, ...] = (
    Spec(
        "nano.model",
        _DEFAULT.model,
        "Folder of another small model, as training writes it; empty: the package's own.",
    ),
    Spec(
        "nano.quality",
        _DEFAULT.quality,
        "What views show where much is possible: the mean of it, blurred, in one step; or a "
        "sample of it, sharp, in several.",
        choices=tuple(QUALITIES),
    ),
    Spec("nano.steps", _DEFAULT.steps, "Denoising steps a chunk; 0: as quality says.", 0, 1000),
    Spec(
        "nano.references",
        _DEFAULT.references,
        "Whole past frames shown at most; -1: as many as the model may see.",
        -1,
        16,
    ),
    Spec(
        "nano.preceding", _DEFAULT.preceding, "Latent frames before a chunk shown at most.", 0, 16
    ),
    Spec(
        "nano.batch",
        _DEFAULT.batch,
        "Chunks of different candidate paths that go through the model at once.",
        1,
        64,
    ),
)


def nano_settings(values: Callable[[str], Any]) -> NanoSettings:
    """The settings that the parameters say, given a way to ask for a value by name."""
    return NanoSettings(
        **{field.name: values(f"nano.{field.name}") for field in fields(NanoSettings)}
    )

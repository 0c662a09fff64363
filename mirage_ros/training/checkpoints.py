"""State of a training run on disk: whole or not there, so that a run can be killed at any time."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import TrainingDataError

_NAME = "checkpoint.pt"
_KEYS = {
    "run", "stage", "step", "seconds", "weights", "average", "updates", "optimizer", "teacher",
}  # fmt: skip


@dataclass
class TrainingState:
    """Where a run is.

    Attributes:
        run: fingerprint of its configuration.
        stage: number of the stage.
        step: updates done in it.
        seconds: that the run has taken so far.
        weights: of the model.
        average: of the weights that the stage trains.
        updates: that the average has seen.
        optimizer: its state.
        teacher: weights of the model that a stage of distillation learns from; empty in others.
    """

    run: str
    stage: int
    step: int
    seconds: float
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    updates: int
    optimizer: dict[str, Any]
    teacher: dict[str, Tensor]


def save_checkpoint(directory: Path, state: TrainingState) -> None:
    """Write it in the place of the one before.

    Raises:
        OSError: it cannot be written; the one before is untouched then.
    """
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    write_atomically(directory / _NAME, buffer.getvalue())


def load_checkpoint(directory: Path, run: str) -> TrainingState | None:
    """The state to go on from; None where there is none.

    Raises:
        TrainingDataError: it is damaged, or of a run with another configuration.
    """
    path = directory / _NAME
    if not path.exists():
        return None
    try:
        content = torch.load(path, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingDataError(
            f"{path}: expected a whole checkpoint. Got {error}; remove it to begin anew"
        ) from error
    if not isinstance(content, dict) or set(content) != _KEYS:
        raise TrainingDataError(f"{path}: expected a checkpoint. Got another kind of file")
    state = TrainingState(**content)
    if state.run != run:
        raise TrainingDataError(
            f"{path}: expected a checkpoint of this configuration, {run}. Got one of {state.run}: "
            "choose another folder, or remove this one"
        )
    return state

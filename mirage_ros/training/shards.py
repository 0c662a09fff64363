"""Samples on disk: one safetensors file for an apartment, read at random without loading it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import TrainingDataError
from mirage_ros.training.data_config import DataConfig
from mirage_ros.training.samples import Sample

#: Says what a file is, in its header.
_FORMAT = "mirage_ros_training_samples"
_VERSION = "1"

#: Tensors of a shard that are stored as half precision.
_HALVES = ("latents", "draft", "about", "references")
_WHOLES = ("known", "reference_count")


def shard_path(directory: Path, split: str, seed: int) -> Path:
    """Where the samples of an apartment are."""
    return directory / split / f"apartment_{seed:05d}.safetensors"


def write_shard(path: Path, samples: Sequence[Sample], seed: int, config: DataConfig) -> None:
    """Write the samples of an apartment; the file is whole or not there.

    Raises:
        TrainingDataError: a number is not finite.
        OSError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for name in _HALVES:
        stacked = torch.stack([getattr(sample, name) for sample in samples]).half()
        bad = (~torch.isfinite(stacked)).flatten(1).any(dim=1).nonzero()[:, 0].tolist()
        if bad:
            raise TrainingDataError(
                f"apartment {seed}: samples must be finite numbers. Got NaN or infinity in {name} "
                f"of samples {bad}: does a depth or a pose hold NaN?"
            )
        tensors[name] = stacked
    tensors["known"] = torch.stack([sample.known for sample in samples]).to(torch.uint8)
    tensors["reference_count"] = torch.tensor([sample.reference_count for sample in samples])
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "seed": str(seed),
        "fingerprint": config.fingerprint,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors, metadata=header))


def is_current(path: Path, config: DataConfig) -> bool:
    """Whether an apartment's samples are there, and were drawn as ``config`` says.

    Raises:
        TrainingDataError: they are there, but damaged or drawn otherwise.
    """
    if not path.exists():
        return False
    with _opened(path) as reader:
        _check(reader, path, config)
    return True


@dataclass(frozen=True)
class Batch:
    """B samples; frames are targets, then preceding ones.

    Attributes:
        latents: (B, F, C, h, w) float32.
        draft: (B, F, C, h, w) float32.
        known: (B, F, h, w) bool.
        about: (B, F, 48, h, w) float32.
        references: (B, R, C, h, w) float32.
        reference_count: (B,) int64.
    """

    latents: Tensor
    draft: Tensor
    known: Tensor
    about: Tensor
    references: Tensor
    reference_count: Tensor


class Shards:
    """The samples of a split.

    Args:
        directory: that data was written to.
        split: of it.
        seeds: of the apartments.
        config: how they were drawn.

    Raises:
        TrainingDataError: an apartment is missing, damaged, or drawn otherwise.
    """

    def __init__(self, directory: Path, split: str, seeds: Sequence[int], config: DataConfig):
        self._paths = [shard_path(directory, split, seed) for seed in seeds]
        missing = [path for path in self._paths if not path.exists()]
        if missing:
            raise TrainingDataError(
                f"{directory}: expected samples of {len(self._paths)} apartments of split "
                f"'{split}'. Got none of {len(missing)}, the first of them {missing[0].name}; "
                "mirage train data draws them"
            )
        self._readers: list[Any] = []
        self._places: list[tuple[int, int]] = []
        for number, path in enumerate(self._paths):
            reader = _opened(path)
            count = _check(reader, path, config)
            self._readers.append(reader)
            self._places += [(number, row) for row in range(count)]

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Samples by number.

        Raises:
            TrainingDataError: a number in them is not finite.
        """
        rows = [self._sample(number) for number in numbers]
        return Batch(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})

    def _sample(self, number: int) -> dict[str, Tensor]:
        shard, row = self._places[number]
        reader, found = self._readers[shard], dict[str, Tensor]()
        for name in _HALVES:
            found[name] = reader.get_slice(name)[row].float()
            if not bool(torch.isfinite(found[name]).all()):
                raise TrainingDataError(
                    f"{self._paths[shard]}: samples must be finite numbers. Got NaN or infinity "
                    f"in {name} of sample {row}; remove the file, and mirage train data draws it "
                    "again"
                )
        found["known"] = reader.get_slice("known")[row].bool()
        found["reference_count"] = reader.get_slice("reference_count")[row : row + 1][0]
        return found


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise TrainingDataError(
            f"{path}: expected a whole file of samples. Got {error}; remove it, and mirage train "
            "data draws it again"
        ) from error


def _check(reader: Any, path: Path, config: DataConfig) -> int:
    """Number of samples in a file that is what it should be."""
    header = reader.metadata() or {}
    if header.get("format") != _FORMAT or header.get("version") != _VERSION:
        raise TrainingDataError(
            f"{path}: expected a file of samples, version {_VERSION}. "
            f"Got the header {json.dumps(header)[:200]}"
        )
    if header.get("fingerprint") != config.fingerprint:
        raise TrainingDataError(
            f"{path}: expected samples drawn as configured now, {config.fingerprint}. Got "
            f"{header.get('fingerprint')}: choose another folder, or remove this one"
        )
    names = set(reader.keys())
    if names != {*_HALVES, *_WHOLES}:
        raise TrainingDataError(
            f"{path}: expected the tensors {', '.join([*_HALVES, *_WHOLES])}. "
            f"Got {', '.join(sorted(names))}"
        )
    shape = tuple(reader.get_slice("latents").get_shape())
    cells = (config.height // 16, config.width // 16)
    if len(shape) != 5 or (shape[1], *shape[3:]) != (config.frames, *cells):
        raise TrainingDataError(
            f"{path}: expected latents of {config.frames} frames of {cells} cells. Got {shape}"
        )
    return int(shape[0])

"""Draws the samples of many apartments with several processes; what is there is not drawn again."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from mirage_ros.errors import TrainingDataError
from mirage_ros.sources.simulator.splits import split_seeds
from mirage_ros.training.data_config import DataConfig

#: Free space that must be left beside the data, bytes.
_SPARE = 1 << 30


def splits_of(config: DataConfig) -> dict[str, range]:
    """Apartments of the splits that are drawn."""
    return {
        "validation": split_seeds("validation", config.validation_apartments),
        "train": split_seeds("train", config.apartments),
    }


def generate(config: DataConfig, directory: Path, workers: int | None = None) -> int:
    """Draw what is missing of the data; the number of apartments drawn.

    It may be interrupted at any time and called again: files are whole or not there.

    Args:
        config: what to draw.
        directory: for the data.
        workers: processes (None: one for each processor).

    Raises:
        TrainingDataError: what is there was drawn otherwise or is damaged, or the disk is too
            small.
        ConfigurationError: this machine has no library to render with.
        OSError: it cannot be written.
    """
    # Not before it is needed: a worker sets its threads up before torch comes.
    from mirage_ros.training.shards import is_current, shard_path

    missing = [
        (split, seed)
        for split, seeds in splits_of(config).items()
        for seed in seeds
        if not is_current(shard_path(directory, split, seed), config)
    ]
    if not missing:
        return 0
    directory.mkdir(parents=True, exist_ok=True)
    _check_space(directory, len(missing) * config.samples * config.sample_bytes)
    _draw_all(missing, config, directory, workers or os.cpu_count() or 1)
    return len(missing)


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed + _SPARE:
        raise TrainingDataError(
            f"{directory}: the samples need about {needed / 1e9:.1f} GB, and 1 GB beside them. "
            f"Got {free / 1e9:.1f} GB free: draw fewer apartments or samples, or choose another "
            "disk"
        )


def _draw_all(
    missing: Sequence[tuple[str, int]], config: DataConfig, directory: Path, workers: int
) -> None:
    # Spawned, because a renderer's context does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        min(workers, len(missing)), mp_context=context
    ) as pool:
        waiting = {pool.submit(_draw, split, seed, config, directory) for split, seed in missing}
        try:
            for done in tqdm(
                concurrent.futures.as_completed(waiting),
                total=len(waiting),
                desc="apartments",
                unit="apartment",
            ):
                done.result()
        except BaseException:
            for job in waiting:
                job.cancel()
            raise


def _draw(split: str, seed: int, config: DataConfig, directory: Path) -> None:
    """In a worker: the samples of one apartment."""
    import torch

    torch.set_num_threads(1)
    from mirage_ros.training.samples import draw_samples
    from mirage_ros.training.shards import shard_path, write_shard

    path = shard_path(directory, split, seed)
    write_shard(path, list(draw_samples(seed, config)), seed, config)

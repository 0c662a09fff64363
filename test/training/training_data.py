"""Small training data without a simulator: waves that drafts get partly wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.training.data_config import DataConfig
from mirage_ros.training.run_config import NanoConfig, RunConfig, StageConfig, TrainConfig
from mirage_ros.training.samples import Sample
from mirage_ros.training.shards import shard_path, write_shard

DATA = DataConfig(
    width=64,
    height=64,
    apartments=2,
    validation_apartments=1,
    samples=4,
    targets=5,
    preceding=2,
    references=2,
)

MODEL = NanoConfig(layers=2, heads=2, head_dim=12, ffn=32, side_layers=(0,), references=1)

TRAIN = TrainConfig(warm_up=5, ema=0.5, lengths=(3, 5), validation_samples=2)


def run_config(*stages: StageConfig, **train: object) -> RunConfig:
    settings = {**vars(TRAIN), **train}
    return RunConfig(DATA, MODEL, TrainConfig(**settings), stages or (StageConfig(steps=6),))


def sample(seed: int, config: DataConfig = DATA) -> Sample:
    """Waves that move; the draft knows the left part, darker than it is."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((config.height, config.width))
    phase, length = rng.uniform(0.0, 6.0), rng.uniform(6.0, 14.0)
    frames = np.stack(
        [
            0.5 + 0.3 * np.sin((columns + 2.0 * step) / length + phase) * np.cos(rows / 9.0 + phase)
            for step in (*range(config.targets), *range(-config.preceding, 0))
        ]
    )
    colour = torch.from_numpy(rng.uniform(0.4, 1.0, (3, 1, 1))).float()
    pictures = torch.from_numpy(frames).float()[:, None] * colour
    codec = DctCodec()
    latents = codec.encode(pictures)
    known = torch.zeros(latents.shape[0], *latents.shape[2:], dtype=torch.bool)
    known[..., : known.shape[-1] // 2] = True
    draft = codec.encode(pictures - 0.1)
    draft = torch.where(known[:, None], draft, draft.mean(dim=(2, 3), keepdim=True))
    about = torch.zeros(latents.shape[0], 48, *latents.shape[2:])
    about[:, 0] = known
    references = torch.zeros(config.references, *latents.shape[1:])
    references[0] = latents[-1]
    return Sample(latents, draft, known, about, references, 1)


def write_data(directory: Path, config: DataConfig = DATA) -> Path:
    """Samples of all apartments of a configuration."""
    for split, first, count in (
        ("train", 1000, config.apartments),
        ("validation", 2000, config.validation_apartments),
    ):
        for seed in range(first, first + count):
            samples = [sample(100 * seed + n, config) for n in range(config.samples)]
            write_shard(shard_path(directory, split, seed), samples, seed, config)
    return directory

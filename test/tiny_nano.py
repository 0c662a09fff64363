"""A tiny random model of the small kind, and conditions for it whose every number is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from wan_folders import randomized

from mirage_ros.generation import ChunkCondition
from mirage_ros.generation.base import Preceding
from mirage_ros.generation.nano_model import NanoModel
from mirage_ros.generation.scene import SceneScales
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.geometry import PinholeCamera
from mirage_ros.memory.base import Readout
from mirage_ros.memory.placement import Placement

SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "text_dim": 8,
    "freq_dim": 8,
    "ffn_dim": 16,
    "num_layers": 2,
    "vace_layers": [0],
    "vace_in_channels": 96,
}
SCALES = SceneScales(
    tuple(0.5 + 0.01 * channel for channel in range(48)),
    tuple(0.1 + 0.002 * channel for channel in range(48)),
)
T, ROWS, COLUMNS = 3, 4, 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny_transformer(seed: int = 0, **sizes: Any) -> WanWorldTransformer:
    made = randomized(WanWorldTransformer(**(SIZES | sizes)), seed).requires_grad_(False)
    assert isinstance(made, WanWorldTransformer)
    return made


def headless_transformer() -> WanWorldTransformer:
    """Its output is zero whatever it sees."""
    made = tiny_transformer()
    made.proj_out.weight.zero_()
    made.proj_out.bias.zero_()
    return made


def tiny_nano(seed: int = 0, told: str = "placement", *, zero_head: bool = False) -> NanoModel:
    """With a zero head it returns the draft as it is."""
    transformer = headless_transformer() if zero_head else tiny_transformer(seed)
    return NanoModel(transformer, SCALES, told)


def readout(frames: int, seed: int = 1, *, placed: bool = True) -> Readout:
    """Random content in about two cells of three, lying anywhere about them."""
    where = frames, ROWS, COLUMNS
    uniform = torch.Generator().manual_seed(seed)
    coverage = torch.rand(where, generator=uniform) < 0.65
    latents = random(frames, 48, ROWS, COLUMNS, seed=seed) * coverage[:, None]
    depth = (0.1 + 5.0 * torch.rand(where, generator=uniform).square()) * coverage
    cells = coverage[..., None]
    identity = torch.eye(2)
    placement = Placement(
        (torch.rand(*where, 2, generator=uniform) - 0.5) * cells,
        identity + 0.6 * (torch.rand(*where, 2, 2, generator=uniform) - 0.5) * cells[..., None],
        0.3 * torch.rand(where, generator=uniform) * coverage,
    )
    return Readout(latents, coverage, depth, coverage, placement if placed else None)


def condition(seed: int = 5, *, placed: bool = True) -> ChunkCondition:
    """The first chunk of a rollout."""
    camera = PinholeCamera(16 * COLUMNS, 16 * ROWS, 90.0, 90.0, 8.0 * COLUMNS, 8.0 * ROWS)
    return ChunkCondition(
        readout=readout(T, placed=placed),
        camera=camera,
        T_world_camera=np.tile(np.eye(4), (T, 1, 1)),
        first_latents=None,
        first_depth=None,
        seed=seed,
    )


def whole(seed: int = 5, *, placed: bool = True) -> ChunkCondition:
    """A chunk in the middle of a rollout: everything that can be known is."""
    return replace(
        condition(seed, placed=placed),
        first_latents=random(48, ROWS, COLUMNS, seed=seed + 3),
        first_depth=torch.full((ROWS, COLUMNS), 7.0),
        references=random(2, 48, ROWS, COLUMNS, seed=seed + 4),
        preceding=Preceding(
            random(1, 48, ROWS, COLUMNS, seed=seed + 6), readout(1, 2, placed=placed)
        ),
    )


def never() -> bool:
    return False

"""Tiny models of the backend nano on disk, with random weights or with none that count."""

from __future__ import annotations

from pathlib import Path

import torch

from mirage_ros.codec import DctCodec
from mirage_ros.generation.nano_model import NanoModel, save_nano
from mirage_ros.generation.scene import SceneScales
from mirage_ros.generation.transformer import WanWorldTransformer

#: References that the model may see.
REFERENCES = 3


def write_nano(folder: Path, *, silent: bool = False, seed: int = 0) -> Path:
    """Write a model into a folder; the folder.

    Args:
        folder: made where it is not there.
        silent: it adds nothing to its drafts, whatever it is shown.
        seed: of its weights.
    """
    transformer = WanWorldTransformer(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=48,
        out_channels=48,
        text_dim=8,
        freq_dim=8,
        ffn_dim=16,
        num_layers=2,
        vace_layers=[0],
        vace_in_channels=96,
        max_reference_frames=REFERENCES,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in transformer.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
        if silent:
            transformer.proj_out.weight.zero_()
            transformer.proj_out.bias.zero_()
    count = DctCodec.channels
    scales = SceneScales(picture=(0.2,) * count, draft_error=(0.05,) * count)
    folder.mkdir(parents=True, exist_ok=True)
    save_nano(folder, NanoModel(transformer, scales))
    return folder

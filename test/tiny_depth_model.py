"""Depth Anything with a few thousand random weights, as its published folders are laid out."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
)


def write_depth_model(folder: Path, output: str = "metric", seed: int = 0) -> Path:
    """config.json, preprocessor_config.json and model.safetensors."""
    torch.manual_seed(seed)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[4, 8, 12, 16],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type=output,
        max_depth=20,
    )
    model = DepthAnythingForDepthEstimation(config)
    for weights in model.parameters():
        # As large as trained ones, or the picture would not matter.
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.2)
    model.save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56},
        ensure_multiple_of=14,
        keep_aspect_ratio=True,
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return folder

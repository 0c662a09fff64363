"""Tiny random Wan2.2 models on disk, in the layouts and under the names of the published ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
    WanVACETransformer3DModel,
)
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

#: Sizes of the transformers, which arguments of the functions below replace.
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 32,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 4,
}
SIDE_LAYERS = (0, 2)

WORDS = (
    "a",
    "robot",
    "in",
    "an",
    "apartment",
    "kitchen",
    "drives",
    "along",
    "the",
    "wall",
    ",",
    ".",
)


def randomized(model: torch.nn.Module, seed: int, size: float = 0.2) -> torch.nn.Module:
    """Replace all weights, also those that would begin as zeros."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return model.eval()


def vace_model(seed: int = 0, layers: Sequence[int] = SIDE_LAYERS, **sizes: Any) -> torch.nn.Module:
    """A transformer of diffusers with a side branch, all weights random."""
    arguments = {**SIZES, **sizes, "vace_layers": list(layers), "vace_in_channels": 96}
    return randomized(WanVACETransformer3DModel(**arguments), seed)


def base_part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("vace_")}


def side_part(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("vace_")}


def original_name(name: str) -> str:
    """What Wan's own files call a tensor or module of diffusers."""
    in_block = re.fullmatch(r"((?:vace_)?blocks\.\d+)\.(.+)", name)
    if in_block is None:
        for ours, theirs in (
            ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
            ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
            ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
            ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
            ("condition_embedder.time_proj", "time_projection.1"),
            ("scale_shift_table", "head.modulation"),
            ("proj_out", "head.head"),
        ):
            name = name.replace(ours, theirs)
        return name
    rest = in_block[2]
    for ours, theirs in (
        ("attn1.", "self_attn."),
        ("attn2.", "cross_attn."),
        ("to_out.0", "o"),
        ("to_", ""),
        ("ffn.net.0.proj", "ffn.0"),
        ("ffn.net.2", "ffn.2"),
        ("norm2", "norm3"),
        ("scale_shift_table", "modulation"),
        ("proj_in", "before_proj"),
        ("proj_out", "after_proj"),
    ):
        rest = rest.replace(ours, theirs)
    return f"{in_block[1]}.{rest}"


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    prefix: str = "",
    rename: Callable[[str], str] = original_name,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A file with the tensors under other names, by default as Wan's own files have them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {prefix + rename(name): tensor.contiguous() for name, tensor in tensors.items()}
    save_file(content, path, metadata)
    return path


def write_shards(
    folder: Path,
    tensors: Mapping[str, Tensor],
    *,
    count: int = 3,
    prefix: str = "",
    rename: Callable[[str], str] = original_name,
) -> Path:
    """A folder with shards and their index."""
    names = sorted(tensors)
    weight_map = {}
    for number in range(count):
        file = f"diffusion_pytorch_model-{number + 1:05d}-of-{count:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::count]}
        write_tensors(folder / file, part, prefix=prefix, rename=rename)
        weight_map.update({prefix + rename(name): file for name in part})
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def lora_tensors(
    tensors: Mapping[str, Tensor],
    *,
    rank: int = 4,
    seed: int = 7,
    blocks: str = "blocks",
) -> dict[str, tuple[Tensor, Tensor]]:
    """Random (down, up) for the attention and feed-forward weights of ``blocks``, by module."""
    generator = torch.Generator().manual_seed(seed)
    wanted = re.compile(rf"({blocks}\.\d+\.(?:attn[12]\.to_.+|ffn\.net\.[02].*))\.weight")
    pairs = {}
    for name, tensor in tensors.items():
        match = wanted.fullmatch(name)
        if match:
            outputs, inputs = tensor.shape
            pairs[match[1]] = (
                torch.randn(rank, inputs, generator=generator) * 0.1,
                torch.randn(outputs, rank, generator=generator) * 0.1,
            )
    return pairs


def write_lora(
    path: Path,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    *,
    prefix: str = "pipe.dit.",
    endings: tuple[str, str] = (".lora_A.weight", ".lora_B.weight"),
    rename: Callable[[str], str] = original_name,
    more: Mapping[str, Tensor] | None = None,
) -> Path:
    """A LoRA file; ``more`` is written under its own names behind the prefix."""
    content = {prefix + name: tensor for name, tensor in (more or {}).items()}
    for module, matrices in pairs.items():
        for ending, matrix in zip(endings, matrices, strict=True):
            content[prefix + rename(module) + ending] = matrix
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(content, path)
    return path


def write_tokenizer(folder: Path) -> None:
    """A tokenizer as umt5's: pieces with a mark for the blank, ``</s>`` at the end."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS]
    pieces += [(letter, -6.0) for letter in "▁abcdefghijklmnopqrstuvwxyz,.&'"]
    tokenizer = Tokenizer(Unigram(pieces, unk_id=2, byte_fallback=False))
    mark = {"replacement": "▁", "prepend_scheme": "always"}
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**mark)
    tokenizer.decoder = decoders.Metaspace(**mark)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    # The class that the published one names.
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_text()), "tokenizer_class": "T5TokenizerFast"}
    path.write_text(json.dumps(config))


def write_text_encoder(folder: Path, text_dim: int = 32, seed: int = 3) -> None:
    """An encoder of two layers."""
    config = UMT5Config(
        vocab_size=64, d_model=text_dim, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu", relative_attention_num_buckets=8,
    )  # fmt: skip
    randomized(UMT5EncoderModel(config), seed, 0.3).save_pretrained(folder)


def write_vae(folder: Path, seed: int = 5) -> None:
    """Wan2.2's autoencoder with few channels; strides and latent channels are the real ones."""
    torch.manual_seed(seed)
    AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=1,
        temperal_downsample=[False, True, True], is_residual=True, in_channels=12,
        out_channels=12, patch_size=2, scale_factor_spatial=16, scale_factor_temporal=4,
        latents_mean=[0.01 * channel for channel in range(48)],
        latents_std=[0.5 + 0.01 * channel for channel in range(48)],
    ).save_pretrained(folder)  # fmt: skip


def write_wan_folder(
    folder: Path,
    *,
    seed: int = 0,
    max_shard_size: str = "10GB",
    text_encoder: bool = True,
    **sizes: Any,
) -> Path:
    """A whole folder in the layout of Wan2.2-TI2V-5B-Diffusers.

    The transformer's weights are those of ``vace_model(seed, **sizes)``, whose side branch
    ``write_side_branch`` writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {**SIZES, **sizes}
    transformer = WanTransformer3DModel(**arguments)
    transformer.load_state_dict(base_part(vace_model(seed, **sizes).state_dict()))
    transformer.save_pretrained(folder / "transformer", max_shard_size=max_shard_size)
    write_vae(folder / "vae")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    ).save_pretrained(folder / "scheduler")
    if text_encoder:
        write_text_encoder(folder / "text_encoder", arguments["text_dim"])
        write_tokenizer(folder / "tokenizer")
    index = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.35.0.dev0",
        "boundary_ratio": None,
        "expand_timesteps": True,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def write_side_branch(
    path: Path,
    *,
    seed: int = 0,
    layers: Sequence[int] = SIDE_LAYERS,
    prefix: str = "pipe.vace.",
    **sizes: Any,
) -> Path:
    """The side branch of ``vace_model(seed, layers, **sizes)`` as a training run saves it."""
    return write_tensors(
        path, side_part(vace_model(seed, layers, **sizes).state_dict()), prefix=prefix
    )

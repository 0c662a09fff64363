"""Wan2.2's networks with random weights, at full size or tiny: all that speed and memory ask for.

Weights are drawn where they will be used and in the type that they will have, so no copy of a large
model is ever made. Every layer keeps the size of what goes through it, so that nothing overflows,
however many steps are taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from mirage_ros.codec.tiny_decoder import TinyDecoder, random_tiny_decoder
from mirage_ros.codec.wan import WanCodec
from mirage_ros.codec.wan_config import TINY_VAE, WAN22_VAE, random_vae
from mirage_ros.generation.base import ChunkCondition, GeneratedChunk
from mirage_ros.generation.checkpoint import weight_type
from mirage_ros.generation.diffusion import DiffusionConfig, DiffusionGenerator
from mirage_ros.generation.runtime import RuntimeOptions, prepare
from mirage_ros.generation.schedule import Schedule
from mirage_ros.generation.transformer import WanWorldTransformer

if TYPE_CHECKING:
    from diffusers import AutoencoderKLWan


@dataclass(frozen=True)
class ModelSize:
    """Sizes of all networks.

    Attributes:
        transformer: arguments of the transformer.
        vae: configuration of the VAE.
        tiny_widths: of the tiny decoder; None: the published ones.
        text_tokens: of the prompt.
    """

    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    tiny_widths: tuple[int, int, int, int] | None
    text_tokens: int


#: Wan2.2-TI2V-5B with a side branch of 15 blocks, and one that a CPU can run.
SIZES = {
    "full": ModelSize({}, WAN22_VAE, None, 512),
    "tiny": ModelSize(
        {
            "num_attention_heads": 2,
            "attention_head_dim": 24,
            "text_dim": 32,
            "freq_dim": 32,
            "ffn_dim": 96,
            "num_layers": 6,
            "vace_layers": [0, 2, 4],
        },
        TINY_VAE,
        (16, 8, 8, 8),
        8,
    ),
}


@dataclass
class Models:
    """What a pipeline is put together from.

    Attributes:
        transformer: prepared as the options say.
        vae: full; its decoder waits on the CPU while a tiny one is used.
        vae_config: its configuration.
        tiny: the tiny decoder.
        text: (L, text_dim) a random prompt.
        options: how the transformer is run.
        device: where all of it works.
        placement: see ``runtime.prepare``.
    """

    transformer: WanWorldTransformer
    vae: AutoencoderKLWan
    vae_config: Mapping[str, Any]
    tiny: TinyDecoder
    text: Tensor
    options: RuntimeOptions
    device: torch.device
    placement: Callable[[], AbstractContextManager[object]]

    def codec(self, tiny: bool) -> WanCodec:
        """A codec of the VAE, with its own decoder or the tiny one."""
        if tiny and self.device.type == "cuda":
            self.vae.decoder.to("cpu")
            self.vae.post_quant_conv.to("cpu")
        return WanCodec(
            self.vae,
            device=self.device,
            dtype=self.options.torch_dtype,
            tiny_decoder=self.tiny if tiny else None,
        )

    def generator(self, codec: WanCodec, steps: int, context: bool) -> CountingGenerator:
        """A generator of ``steps`` steps, with references and preceding frames or without."""
        config = DiffusionConfig(
            Schedule(steps), references=4 if context else 0, preceding=2 if context else 0
        )
        return CountingGenerator(
            self.transformer,
            codec,
            self.text,
            config,
            device=self.device,
            dtype=self.options.torch_dtype,
            placement=self.placement,
            keep_text_keys=self.options.offload == "none",
        )


class CountingGenerator(DiffusionGenerator):
    """Notes how many references each chunk had."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.references: list[int] = []

    def generate(self, condition: ChunkCondition, cancelled: Callable[[], bool]) -> GeneratedChunk:
        """As the parent's."""
        self.references.append(0 if condition.references is None else len(condition.references))
        return super().generate(condition, cancelled)


def build_models(
    size: ModelSize, options: RuntimeOptions, device: torch.device, seed: int = 0
) -> Models:
    """All networks, random.

    Raises:
        ConfigurationError: options that cannot be used here.
        UnavailableError: a package is missing, or the device lacks what an option needs.
    """
    dtype = options.torch_dtype
    away = options.offload != "none"
    transformer = random_transformer(
        size.transformer, dtype, torch.device("cpu") if away else device, seed
    )
    placement = prepare(transformer, options, device)
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(size.text_tokens, transformer.config.text_dim, generator=generator)
    vae = random_vae(size.vae, seed, device=device)
    tiny = random_tiny_decoder(widths=size.tiny_widths, seed=seed)
    return Models(transformer, vae, size.vae, tiny, text, options, device, placement)


@torch.no_grad()
def random_transformer(
    config: Mapping[str, Any], dtype: torch.dtype, device: torch.device, seed: int = 0
) -> WanWorldTransformer:
    """A transformer whose layers keep the variance of what goes through them.

    Weights have a variance of one over a layer's inputs, biases are zero, norms change no scale.
    Modulation is drawn like weights, so that gates differ and are of order one.

    Raises:
        ConfigurationError: the configuration is not one of this transformer.
    """
    with init_empty_weights(include_buffers=False):
        model: WanWorldTransformer = WanWorldTransformer(**config)
    generator = torch.Generator(device).manual_seed(seed)
    state = {}
    for name, parameter in model.state_dict().items():
        kind = weight_type(name, model, dtype)
        tensor = torch.empty(parameter.shape, dtype=kind, device=device)
        if parameter.ndim > 1:
            inputs = parameter.shape[-1] if "table" in name else math.prod(parameter.shape[1:])
            tensor.normal_(0.0, inputs**-0.5, generator=generator)
        elif name.endswith("weight"):
            tensor.fill_(1.0)
        else:
            tensor.zero_()
        state[name] = tensor
    model.load_state_dict(state, strict=True, assign=True)
    # Buffers were made on the CPU.
    model.to(device)
    model.requires_grad_(False).eval()
    return model

"""How much of a GPU's memory the Wan2.2 backend will take, told before any weight is loaded.

Weights are counted on torch's meta device, which holds shapes and no numbers. Activations are those
of eager inference: every operation's result lives until nothing refers to it, so the peak lies
where most of them do.

**One forward of the transformer.** S tokens (patches of R + T + P latent frames), S' of them
without the references, width D, feed-forward width F, b bytes a number. The peak is in the
feed-forward of a block, between its first layer and its second: F numbers a token twice (before and
after the activation function), and D numbers five times (the caller's tokens, the block's own, what
the two attentions added to them, the layer's input). For a narrow F it is the gated addition in
float32 instead, 11 times D of 16-bit numbers, or in float32 the attention, 8 times D. The side
branch keeps D numbers of S tokens (what it entered with) and three times of S' (its own, the hint,
the last hinted tokens); what it starts from, S' x D, is kept for all steps of a chunk. So ::

    D b (max(2 F / D + 5, 11 or 8) S + (S + 3 S' + S'))

and two rotary tables of 2 x S x head size in float32. Attention itself is fused and holds no S x S
matrix.

**The VAE** works at half the picture's resolution with ``base_dim`` channels, so its peaks are
proportional to pixels x ``base_dim`` x b. The factors below were got by running the encoder and the
decoder at Wan2.2's full widths on shapes alone (torch's fake tensors) at 1280x704, 832x480 and
256x256 while adding up the storages alive after each operation; between those sizes they differ by
less than 1 %, between bfloat16 and float32 by less than 4 %. The transformer's formula was derived
from its code and held against the same count, which gave 17.55 D b S at 1280x704 with 4 references
and 2 preceding frames, of which the formula accounts for 17.53. A test does this again on numbers.

Not counted: CUDA's context (0.3 to 0.6 GiB), work spaces of its convolutions and products, what the
allocator holds back, the tokens of the memory and their readout, compiled code; nor the encoder of
prompts, which is gone before the rest is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn

from mirage_ros.codec.tiling import Tiling
from mirage_ros.codec.tiny_decoder import LATENTS_AT_ONCE, TinyDecoder, Variant
from mirage_ros.codec.wan_config import (
    SPATIAL_STRIDE,
    TEMPORAL_STRIDE,
    WAN22_VAE,
    require_diffusers,
)
from mirage_ros.generation.checkpoint import weight_type
from mirage_ros.generation.runtime import RuntimeOptions, is_quantized
from mirage_ros.generation.transformer import WanWorldTransformer

MIB = 2**20

#: The encoder on a video, times pixels x ``base_dim`` x bytes a number: four frames at once, with
#: two frames of every layer's input kept. A single picture takes 2.04.
_ENCODE = 11.9
#: Likewise with ``decoder_base_dim``: what a stream keeps between calls, and the peak of a call,
#: that included.
_STREAM, _DECODE = 6.97, 21.1
#: The tiny decoder, times pixels x its last width x bytes a number x latent frames of a pass.
_TINY_DECODE: dict[Variant, float] = {"base": 2.18, "super": 3.09}
#: What its stream keeps, times pixels x its last width x bytes a number.
_TINY_STREAM: dict[Variant, float] = {"base": 0.33, "super": 0.66}


@dataclass(frozen=True)
class ChunkSize:
    """What is generated at once.

    Attributes:
        width: of pictures, pixels.
        height: likewise.
        targets: latent frames T, the overlap included.
        references: whole frames R beside them, at most.
        preceding: latent frames P before them, at most.
        text_tokens: of the encoded prompt.
        batch: chunks of different rollouts that go through the transformer at once.
    """

    width: int = 1280
    height: int = 704
    targets: int = 9
    references: int = 4
    preceding: int = 2
    text_tokens: int = 512
    batch: int = 1


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by what takes them, and which of it is there at the same time.

    Attributes:
        transformer: its weights, as they are while it computes.
        transformer_loading: its weights until they are prepared; 0 where they wait on the CPU.
        transformer_resting: its weights while pictures are encoded and decoded.
        text_keys: the prompt's keys and values in every block.
        forward: activations of one forward of the transformer.
        vae: weights of the encoder and of whichever decoder is used.
        stream: what a stream of decoding keeps from chunk to chunk.
        encode: activations of encoding.
        decode: activations of decoding, the frames of a chunk among it, the stream not.
    """

    transformer: int
    transformer_loading: int
    transformer_resting: int
    text_keys: int
    forward: int
    vae: int
    stream: int
    encode: int
    decode: int

    @property
    def phases(self) -> dict[str, int]:
        """Bytes needed in each phase of the work."""
        always = self.vae + self.text_keys
        return {
            "loading": self.transformer_loading + self.vae,
            # The constant video of the side branch is encoded with the transformer in place.
            "encoding": always + self.transformer + self.stream + self.encode,
            "denoising": always + self.transformer + self.stream + self.forward,
            "decoding": always + self.transformer_resting + self.stream + self.decode,
        }

    @property
    def total(self) -> int:
        """Bytes needed in the phase that needs most."""
        return max(self.phases.values())

    def lines(self) -> str:
        """A short table for a log."""
        parts = {
            "weights of the transformer": self.transformer,
            "keys and values of the prompt": self.text_keys,
            "weights of the VAE": self.vae,
            "stream of decoding": self.stream,
            "encoding": self.encode,
            "one forward of the transformer": self.forward,
            "decoding": self.decode,
        }
        phases = {f"in all while {name}": size for name, size in self.phases.items()}
        rows = [f"{name:<31}{size / MIB:>8.0f} MiB" for name, size in (parts | phases).items()]
        return "\n".join([*rows, f"{'at most':<31}{self.total / MIB:>8.0f} MiB"])


def estimate_memory(
    config: Mapping[str, Any],
    chunk: ChunkSize | None = None,
    options: RuntimeOptions | None = None,
    *,
    vae_config: Mapping[str, Any] = WAN22_VAE,
    tiny_decoder: TinyDecoder | None = None,
    tiling: Tiling | None = None,
    guidance: bool = False,
) -> MemoryEstimate:
    """What the backend will take; nothing is loaded.

    With offload ``model`` the transformer leaves the GPU while frames are encoded and decoded; the
    VAE stays. With ``group`` there are two of the transformer's layers at a time, the largest ones
    here, and what belongs to no layer. Both keep no keys of the prompt.

    Args:
        config: arguments of the transformer, such as ``checkpoint.stated_config`` gives.
        chunk: what is generated at once.
        options: how the transformer is run; the VAE takes their type, too.
        vae_config: of diffusers' ``AutoencoderKLWan``.
        tiny_decoder: instead of the VAE's own.
        tiling: of the VAE's work.
        guidance: with a negative prompt.

    Raises:
        ConfigurationError: the configuration is not one of this transformer.
        UnavailableError: diffusers is not installed.
    """
    size, how = chunk or ChunkSize(), options or RuntimeOptions()
    number = how.torch_dtype.itemsize
    weights = _transformer_weights(config, how)
    is_kept = how.offload == "none"
    blocks = weights.blocks if is_kept else 1
    return MemoryEstimate(
        transformer=weights.running,
        transformer_loading=weights.loaded if is_kept else 0,
        transformer_resting={"none": weights.running, "model": 0, "group": weights.running}[
            how.offload
        ],
        text_keys=2 * blocks * size.text_tokens * weights.width * number * (1 + guidance),
        forward=_forward(weights, size, number) + weights.unpacked,
        **_vae(vae_config, size, number, tiny_decoder, tiling),
    )


@dataclass(frozen=True)
class _Transformer:
    """Sizes of the transformer and bytes of its weights."""

    width: int
    feed_forward: int
    head: int
    patch: tuple[int, int, int]
    blocks: int
    has_side_branch: bool
    loaded: int
    running: int
    unpacked: int


def _transformer_weights(config: Mapping[str, Any], options: RuntimeOptions) -> _Transformer:
    with init_empty_weights(include_buffers=False):
        model = WanWorldTransformer(**config)
    dtype = options.torch_dtype
    loaded = running = unpacked = 0
    leaves, loose = [0, 0], 0
    for path, module in model.named_modules():
        own = 0
        for name, parameter in module.named_parameters(path, recurse=False):
            kind = weight_type(name, model, dtype) or dtype
            own += parameter.numel() * kind.itemsize
        loaded += own
        if options.quantization != "none" and is_quantized(module, path):
            assert isinstance(module, nn.Linear)
            count = module.weight.numel()
            running += own - count * (dtype.itemsize - 1)
            if options.quantization == "fp8_weights":
                # Made wide again for each product.
                unpacked = max(unpacked, count * dtype.itemsize)
        else:
            running += own
        if next(module.children(), None) is None:
            leaves.append(own)
        else:
            loose += own
    if options.offload == "group":
        running = sum(sorted(leaves)[-2:]) + loose
    sizes = model.config
    return _Transformer(
        width=sizes.num_attention_heads * sizes.attention_head_dim,
        feed_forward=sizes.ffn_dim,
        head=sizes.attention_head_dim,
        patch=tuple(sizes.patch_size),
        blocks=sizes.num_layers + len(sizes.vace_layers),
        has_side_branch=model.has_side_branch,
        loaded=loaded,
        running=running,
        unpacked=unpacked,
    )


def _forward(model: _Transformer, size: ChunkSize, number: int) -> int:
    rows, columns = size.height // SPATIAL_STRIDE, size.width // SPATIAL_STRIDE
    depth, height, width = model.patch
    a_frame = (rows // height) * (columns // width)
    seen = (size.targets + size.preceding) // depth * a_frame
    tokens = seen + size.references // depth * a_frame
    elementwise = 11.0 if number < torch.float32.itemsize else 8.0
    per_token = max(2.0 * model.feed_forward / model.width + 5.0, elementwise)
    widths = per_token * tokens
    if model.has_side_branch:
        widths += tokens + 4.0 * seen
    tables = 2 * 2 * tokens * model.head * torch.float32.itemsize
    return round(size.batch * widths * model.width * number) + tables


def _vae(
    config: Mapping[str, Any],
    size: ChunkSize,
    number: int,
    tiny: TinyDecoder | None,
    tiling: Tiling | None,
) -> dict[str, int]:
    """Weights, stream, encoding and decoding; all bytes."""
    encoder, decoder = _vae_weights(config)
    pixels = size.width * size.height
    tile, all_tiles = pixels, pixels
    if tiling is not None:
        tile = min(tiling.tile, size.width) * min(tiling.tile, size.height)
        rows = len(tiling.starts(size.height // SPATIAL_STRIDE))
        all_tiles = rows * len(tiling.starts(size.width // SPATIAL_STRIDE)) * tile
    frames = 1 + (size.targets - 1) * TEMPORAL_STRIDE
    # Decoded frames in float32: those of a tile, and where there are several, of the picture, too.
    pictures = frames * 3 * torch.float32.itemsize
    pictures *= tile + (pixels if tiling is not None else 0)
    if tiny is None:
        per_pixel = config["decoder_base_dim"] * number
        stream = _STREAM * per_pixel * all_tiles
        decode = (_DECODE - _STREAM) * per_pixel * tile + pictures
    else:
        last = tiny.decoder[-1]
        assert isinstance(last, nn.Conv2d)
        per_pixel = last.in_channels * number
        stream = _TINY_STREAM[tiny.variant] * per_pixel * all_tiles
        together = min(size.targets, LATENTS_AT_ONCE)
        decode = _TINY_DECODE[tiny.variant] * per_pixel * tile * together
        decode += pictures - frames * 3 * torch.float32.itemsize * tile
        decoder = sum(parameter.numel() for parameter in tiny.parameters())
    # The constant video is as long as the targets and preceding frames together.
    video = (1 + (size.targets + size.preceding - 1) * TEMPORAL_STRIDE) * 3 * tile
    encode = _ENCODE * config["base_dim"] * number * tile + video * number
    return {
        "vae": (encoder + decoder) * number,
        "stream": round(stream),
        "encode": round(encode),
        "decode": round(decode),
    }


def _vae_weights(config: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers in the encoder and in the decoder."""
    require_diffusers()
    from diffusers import AutoencoderKLWan

    with init_empty_weights():
        vae = AutoencoderKLWan(**{k: v for k, v in config.items() if not k.startswith("_")})

    def count(*parts: nn.Module) -> int:
        return sum(p.numel() for part in parts for p in part.parameters())

    return count(vae.encoder, vae.quant_conv), count(vae.decoder, vae.post_quant_conv)

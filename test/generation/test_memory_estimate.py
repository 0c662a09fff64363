"""The estimate of a GPU's memory against the peak of live tensors, and against known figures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from live_memory import LiveMemory
from wan_folders import vace_model, write_side_branch, write_wan_folder

from mirage_ros import wan_backend
from mirage_ros.codec.tiling import Tiling
from mirage_ros.codec.tiny_decoder import TinyDecoder, random_tiny_decoder
from mirage_ros.codec.wan import WanCodec
from mirage_ros.codec.wan_config import TINY_VAE, random_vae
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer, stated_config
from mirage_ros.generation.memory_estimate import MIB, ChunkSize, MemoryEstimate, estimate_memory
from mirage_ros.generation.runtime import RuntimeOptions
from mirage_ros.generation.transformer import WanWorldTransformer

#: Wide enough for tokens to outweigh what every forward needs whatever their number.
SIZES: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 64,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 512,
    "num_layers": 4,
    "vace_layers": [0, 2],
}
VAE = {**TINY_VAE, "base_dim": 32, "decoder_base_dim": 32}
CHUNK = ChunkSize(64, 64, targets=5, references=2, preceding=1, text_tokens=7)
FLOAT32 = RuntimeOptions(dtype="float32")


def within(measured: float, estimated: float, low: float, high: float) -> None:
    assert low < estimated / measured < high, f"estimated {estimated:.0f}, measured {measured:.0f}"


@pytest.mark.parametrize("changes", [{}, {"ffn_dim": 64}, {"vace_layers": []}])
@pytest.mark.parametrize(("dtype", "batch"), [("float32", 1), ("bfloat16", 1), ("bfloat16", 3)])
@torch.no_grad()
def test_a_forward_takes_what_was_estimated(
    dtype: str, batch: int, changes: dict[str, Any]
) -> None:
    """Within 20 %: tables and modulation weigh more in a small model."""
    sizes = SIZES | changes
    kind = getattr(torch, dtype)
    model = WanWorldTransformer(**sizes).eval().requires_grad_(False).to(kind)
    chunk = ChunkSize(320, 192, 5, references=2, preceding=1, text_tokens=7, batch=batch)
    latents = torch.randn(batch, 48, 8, 12, 20, dtype=kind)
    text = model.text_context(torch.randn(1, 7, 16, dtype=kind))
    seen = torch.randn(batch, 96, 6, 12, 20, dtype=kind)
    with LiveMemory() as live:
        control = model.embed_control(seen) if model.has_side_branch else None
        model(latents, torch.zeros(batch, 8), text.expanded(batch), control, num_references=2)
    estimate = estimate_memory(sizes, chunk, RuntimeOptions(dtype=dtype), vae_config=VAE)
    within(live.peak, estimate.forward, 0.8, 1.2)
    keys = sum(
        part.nbytes for keys in (*text.blocks, *text.side_blocks) for part in (keys.key, keys.value)
    )
    assert estimate.text_keys == keys


@torch.no_grad()
def test_the_vae_takes_what_was_estimated() -> None:
    """Within 20 %: narrow layers, whose inputs and outputs of 12 channels weigh more."""
    codec = WanCodec(random_vae(VAE))
    estimate = estimate_memory(SIZES, CHUNK, FLOAT32, vae_config=VAE)
    with LiveMemory() as live:
        codec.encode_video(torch.zeros(21, 3, 64, 64))
    within(live.peak, estimate.encode, 0.8, 1.2)
    stream = codec.stream()
    with LiveMemory() as live:
        stream.decode(torch.randn(5, 48, 4, 4))
    within(live.peak, estimate.decode + estimate.stream, 0.8, 1.2)
    within(stream.nbytes, estimate.stream, 0.98, 1.02)  # type: ignore[attr-defined]
    parts = (codec.vae.encoder, codec.vae.quant_conv, codec.vae.decoder, codec.vae.post_quant_conv)
    assert estimate.vae == sum(p.nbytes for part in parts for p in part.parameters())


@pytest.mark.parametrize("variant", ["base", "super"])
@torch.no_grad()
def test_the_tiny_decoder_takes_what_was_estimated(variant: Any) -> None:
    decoder = random_tiny_decoder(variant)
    estimate = estimate_memory(SIZES, CHUNK, FLOAT32, vae_config=VAE, tiny_decoder=decoder)
    stream = decoder.stream()
    stream.decode(torch.randn(1, 48, 4, 4))
    with LiveMemory() as live:
        stream.decode(torch.randn(5, 48, 4, 4))
    within(live.peak, estimate.decode, 0.9, 1.1)
    within(stream.nbytes, estimate.stream, 0.97, 1.03)


def test_the_published_model_at_its_sizes() -> None:
    """Figures that were measured on the network itself."""
    large = estimate_memory({}, ChunkSize(1280, 704))
    small = estimate_memory({}, ChunkSize(832, 480))
    assert large.stream / MIB == pytest.approx(3067, rel=0.002)
    assert small.stream / MIB == pytest.approx(1359, rel=0.002)
    assert large.vae == 2 * (149_637_088 + 555_051_580)
    tiny = estimate_memory({}, tiny_decoder=TinyDecoder())
    assert tiny.vae == 2 * (149_637_088 + 9_923_532)
    assert tiny.total < large.total
    # 30 blocks of 163.6 M numbers and 15 of 182.5 M, norms and modulation of them in float32.
    assert large.transformer == pytest.approx(2 * (30 * 163.6e6 + 15 * 176.6e6), rel=0.02)
    assert large.text_keys == 2 * 45 * 512 * 3072 * 2
    assert large.total == large.phases["decoding"]
    eight = estimate_memory({"vace_layers": list(range(0, 30, 4))})
    assert eight.transformer < large.transformer


def test_what_options_save() -> None:
    def of(**options: Any) -> MemoryEstimate:
        return estimate_memory({}, ChunkSize(832, 480), RuntimeOptions(**options))

    plain, model, group = of(), of(offload="model"), of(offload="group")
    assert (
        model.phases["denoising"] == plain.phases["denoising"] - plain.text_keys + model.text_keys
    )
    assert model.phases["decoding"] == plain.phases["decoding"] - plain.transformer - (
        plain.text_keys - model.text_keys
    )
    # The two largest layers, of the modulation and of a feed-forward, and what belongs to none.
    layers = 3072 * (6 * 3072 + 14336) * 2
    assert layers < group.transformer < 1.05 * layers
    eight, stored = of(quantization="fp8"), of(quantization="fp8_weights")
    assert 0.5 < eight.transformer / plain.transformer < 0.53
    assert eight.transformer_loading == plain.transformer_loading == plain.transformer
    assert stored.forward == eight.forward + 3072 * 14336 * 2
    tiled = estimate_memory({}, ChunkSize(832, 480), tiling=Tiling(256, 64))
    assert tiled.encode < plain.encode / 4
    assert tiled.decode < plain.decode / 2
    assert tiled.stream > plain.stream, "tiles overlap"


def test_the_weights_are_those_that_are_loaded(tmp_path: Path) -> None:
    folder = write_wan_folder(tmp_path / "wan", text_encoder=False)
    side = write_side_branch(tmp_path / "side.safetensors")
    files = ModelFiles(str(folder), str(side), side_branch_layers=(0, 2))
    config = stated_config(files)
    assert config["vace_layers"] == [0, 2]
    assert config["ffn_dim"] == vace_model().config.ffn_dim
    model = load_transformer(files, dtype=torch.bfloat16)
    estimate = estimate_memory(config, CHUNK, vae_config=VAE)
    assert estimate.transformer == sum(p.nbytes for p in model.parameters())


def test_too_little_memory_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    estimate = MemoryEstimate(10, 10, 10, 0, 4, 6, 3, 2, 1)
    assert estimate.phases == {"loading": 16, "encoding": 21, "denoising": 23, "decoding": 20}
    caplog.set_level(logging.INFO)
    for free, warnings in ((23, 0), (22, 1)):
        caplog.clear()
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free * MIB, 0))
        scaled = MemoryEstimate(*(n * MIB for n in (10, 10, 10, 0, 4, 6, 3, 2, 1)))
        wan_backend._announce(scaled, (832, 480), torch.device("cuda"))
        assert "one forward of the transformer        4 MiB" in caplog.text
        told = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert len(told) == warnings
        assert all("need about 23 MiB at 832x480, but only 22 MiB are free" in t for t in told)

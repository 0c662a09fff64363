"""Wan2.2's VAE as a codec, against diffusers' own encoding and decoding with random weights."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import walls
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mirage_ros.codec.probing import synthetic_pictures
from mirage_ros.codec.tiny_decoder import random_tiny_decoder
from mirage_ros.codec.wan import WanCodec, load_wan_codec
from mirage_ros.codec.wan_config import TINY_VAE, WAN22_VAE, check_vae_config, random_vae
from mirage_ros.errors import (
    CodecError,
    ConfigurationError,
    MemoryFormatError,
    UnavailableError,
)
from mirage_ros.memory.latent_config import LatentMemoryConfig
from mirage_ros.memory.latent_memory import LatentMemory

diffusers = pytest.importorskip("diffusers", reason="Wan2.2's VAE needs diffusers")


@pytest.fixture(scope="module")
def codec() -> WanCodec:
    return WanCodec(random_vae(), encode_batch=2)


@pytest.fixture(scope="module")
def saved(codec: WanCodec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    codec.vae.save_pretrained(folder)
    return folder


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def encoded_by_diffusers(codec: WanCodec, frames: Tensor) -> Tensor:
    """``frames`` (T, 3, H, W) as one video through the VAE's own loop: (T', 48, h, w)."""
    with torch.no_grad():
        video = codec.vae.encode(2 * frames.transpose(0, 1)[None] - 1).latent_dist.mode()
    config = codec.vae.config
    mean = torch.tensor(config.latents_mean).reshape(48, 1, 1, 1)
    std = torch.tensor(config.latents_std).reshape(48, 1, 1, 1)
    return ((video[0] - mean) / std).transpose(0, 1)


def test_frames_are_encoded_alone(codec: WanCodec) -> None:
    frames = pictures(5, 3, 32, 48)
    latents = codec.encode(frames)
    assert latents.shape == (5, 48, 2, 3)
    assert latents.dtype == torch.float32
    expected = torch.cat([encoded_by_diffusers(codec, frame[None]) for frame in frames])
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=0)


def test_a_video_is_encoded_in_time(codec: WanCodec) -> None:
    frames = pictures(9, 3, 32, 48)
    latents = codec.encode_video(frames)
    torch.testing.assert_close(latents, encoded_by_diffusers(codec, frames), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents[:1], codec.encode(frames[:1]), atol=1e-5, rtol=0)
    assert (latents[1] - codec.encode(frames[4:5])[0]).abs().max() > 0.1
    assert codec.encode_video(frames[:1]).shape == (1, 48, 2, 3)


def test_the_temporal_layout_of_a_decoding(codec: WanCodec) -> None:
    latents = torch.randn(3, 48, 2, 3, generator=torch.Generator().manual_seed(0))
    frames = codec.decode(latents)
    assert frames.shape == (1 + 2 * 4, 3, 32, 48)
    assert frames.dtype == torch.float32
    assert float(frames.min()) >= 0.0
    assert float(frames.max()) <= 1.0


def test_nothing_in_gives_nothing_out(codec: WanCodec) -> None:
    assert codec.encode(torch.zeros(0, 3, 32, 48)).shape == (0, 48, 2, 3)
    assert codec.decode(torch.zeros(0, 48, 2, 3)).shape == (0, 3, 32, 48)


def test_half_precision_stays_near(codec: WanCodec) -> None:
    frames = pictures(1, 3, 32, 32)
    half = WanCodec(random_vae(), dtype=torch.bfloat16)
    assert half.vae.encoder.conv_in.weight.dtype == torch.bfloat16
    latents = half.encode(frames)
    assert latents.dtype == half.decode(latents).dtype == torch.float32
    error = latents - codec.encode(frames)
    assert 0.0 < float(error.abs().mean()) < 0.05
    assert half.name == codec.name


def test_random_weights_are_of_sensible_scale(codec: WanCodec) -> None:
    latents = codec.encode(pictures(4, 3, 64, 64))
    assert 0.3 < float(latents.std()) < 3.0
    assert float(latents.std(dim=(0, 2, 3)).min()) > 0.05
    assert torch.equal(random_vae().encoder.conv_in.weight, codec.vae.encoder.conv_in.weight)
    assert random_vae(seed=1).encoder.conv_in.weight.ne(codec.vae.encoder.conv_in.weight).any()


def test_randomness_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_vae()
    random_tiny_decoder(widths=(4, 4, 4, 4))
    assert torch.equal(torch.rand(3), expected)


def test_the_name_tells_vaes_apart(codec: WanCodec) -> None:
    other = {**TINY_VAE, "latents_mean": [0.0] * 48}
    names = {
        codec.name,
        WanCodec(random_vae(seed=1)).name,
        WanCodec(random_vae(other)).name,
    }
    assert len(names) == 3
    assert all(name.startswith("wan2.2-vae-48-") for name in names)
    assert WanCodec(random_vae()).name == codec.name


def test_the_full_configuration_is_the_published_one() -> None:
    check_vae_config(WAN22_VAE, "full")
    with torch.device("meta"):
        vae = diffusers.AutoencoderKLWan(**WAN22_VAE)
    assert vae.encoder.conv_in.weight.shape[:2] == (160, 12)
    assert vae.decoder.conv_in.weight.shape[:2] == (1024, 48)
    assert vae.decoder.conv_out.weight.shape[0] == 12


def test_tiny_decoder_decodes_instead(codec: WanCodec) -> None:
    small = random_tiny_decoder(widths=(8, 8, 4, 4))
    vae = random_vae()
    tiny = WanCodec(vae, dtype=torch.bfloat16, tiny_decoder=small)
    latents = torch.randn(2, 48, 2, 2, generator=torch.Generator().manual_seed(1))
    assert torch.equal(tiny.decode(latents), small.stream().decode(latents))
    assert small.decoder[1].weight.dtype == torch.bfloat16
    # The VAE's own decoder is not needed, and so not moved.
    assert vae.decoder.conv_in.weight.dtype == torch.float32
    assert tiny.encode(pictures(1, 3, 32, 32)).shape == (1, 48, 2, 2)


def test_gains(codec: WanCodec) -> None:
    assert sum(gain**2 for gain in codec.channel_gain) == pytest.approx(0.25**2)
    given = tuple(0.01 + 0.001 * channel for channel in range(48))
    assert WanCodec(codec.vae, channel_gain=given).channel_gain == given
    for unusable in ([0.1] * 47, [0.0] * 48, [float("nan")] * 48):
        with pytest.raises(ConfigurationError, match="48 positive"):
            WanCodec(codec.vae, channel_gain=unusable)


def test_mean_colour_follows_the_picture(codec: WanCodec) -> None:
    """A random encoder keeps little of the colours, but the map has to beat saying the mean."""
    shown = synthetic_pictures(6, 128, seed=7)
    features = codec.encode(shown).permute(0, 2, 3, 1).flatten(0, 2)
    colours = avg_pool2d(shown, 16).permute(0, 2, 3, 1).flatten(0, 2)
    told = codec.mean_colour(features)
    assert told.shape == colours.shape
    error = (told - colours).square().mean().sqrt()
    assert float(error) < 0.92 * float(colours.std(dim=0).mean())
    assert torch.equal(WanCodec(random_vae()).mean_colour(features), told)
    assert codec.mean_colour(features.half()).dtype == torch.float32


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(3, 16, 16),
        torch.zeros(1, 1, 16, 16),
        torch.zeros(1, 3, 24, 16),
        torch.zeros(1, 3, 16, 0),
        torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
    ],
)
def test_unusable_frames_are_refused(codec: WanCodec, frames: Tensor) -> None:
    with pytest.raises(CodecError, match="Got"):
        codec.encode(frames)
    with pytest.raises(CodecError, match="Got"):
        codec.encode_video(frames)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_video_has_one_frame_more_than_fours(codec: WanCodec, count: int) -> None:
    with pytest.raises(CodecError, match=f"Got {count} frames"):
        codec.encode_video(torch.zeros(count, 3, 16, 16))


@pytest.mark.parametrize("shape", [(48, 2, 2), (1, 16, 2, 2)])
def test_unusable_latents_are_refused(codec: WanCodec, shape: tuple[int, ...]) -> None:
    with pytest.raises(CodecError, match="Got"):
        codec.decode(torch.zeros(shape))
    with pytest.raises(CodecError, match="features"):
        codec.mean_colour(torch.zeros(5, 47))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_dim": 16}, "z_dim = 48. Got 16"),
        ({"patch_size": None}, "patch_size = 2. Got None"),
        ({"is_residual": False}, "is_residual = True. Got False"),
        ({"scale_factor_spatial": 8}, "scale_factor_spatial = 16. Got 8"),
        ({"temperal_downsample": [True, True, True]}, "temperal_downsample"),
        ({"dim_mult": [1, 2, 4]}, r"4 numbers in dim_mult. Got \[1, 2, 4\]"),
        ({"latents_mean": [0.0] * 16}, "latents_mean must be 48 finite"),
        ({"latents_std": [0.0] * 48}, "latents_std must be 48 positive finite"),
    ],
)
def test_other_configurations_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        random_vae({**TINY_VAE, **changes})


def test_other_vaes_are_refused() -> None:
    vae = diffusers.AutoencoderKLWan(base_dim=4, num_res_blocks=1)
    with pytest.raises(ConfigurationError, match=r"z_dim = 48\. Got 16"):
        WanCodec(vae)
    with pytest.raises(ConfigurationError, match="encode_batch"):
        WanCodec(random_vae(), encode_batch=0)


def test_a_folder_loads(codec: WanCodec, saved: Path) -> None:
    loaded = load_wan_codec(saved, channel_gain=[0.5] * 48)
    assert loaded.name == codec.name
    assert loaded.channel_gain == (0.5,) * 48
    frames = pictures(1, 3, 32, 32)
    assert torch.equal(loaded.encode(frames), codec.encode(frames))


def test_pickled_weights_only_where_allowed(codec: WanCodec, saved: Path, tmp_path: Path) -> None:
    shutil.copy(saved / "config.json", tmp_path)
    torch.save(codec.vae.state_dict(), tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(ConfigurationError, match="pickle"):
        load_wan_codec(tmp_path)
    assert load_wan_codec(tmp_path, allow_pickle=True).name == codec.name


def test_missing_parts_are_named(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="expected a folder"):
        load_wan_codec(tmp_path / "nowhere")
    with pytest.raises(UnavailableError, match=r"config\.json. Got none"):
        load_wan_codec(tmp_path)
    shutil.copy(saved / "config.json", tmp_path)
    with pytest.raises(UnavailableError, match=r"diffusion_pytorch_model\.safetensors. Got none"):
        load_wan_codec(tmp_path)


def test_broken_folders_are_refused(codec: WanCodec, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(saved, folder)
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_wan_codec(folder)
    config = json.loads((folder / "config.json").read_text())
    for content, message in (
        ("{", "expected JSON"),
        ("[]", "JSON object"),
        (json.dumps({**config, "z_dim": 16}), "z_dim"),
    ):
        (folder / "config.json").write_text(content)
        with pytest.raises(ConfigurationError, match=message):
            load_wan_codec(folder)


def test_weights_of_another_shape_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vae"
    shutil.copytree(saved, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_res_blocks": 3}))
    with pytest.raises(ConfigurationError, match="lack what"):
        load_wan_codec(folder)
    (folder / "config.json").write_text(json.dumps({**config, "num_res_blocks": 1}))
    with pytest.raises(ConfigurationError, match="have more than"):
        load_wan_codec(folder)
    (folder / "config.json").write_text(json.dumps({**config, "base_dim": 4}))
    with pytest.raises(ConfigurationError, match="cannot be loaded"):
        load_wan_codec(folder)


def test_a_memory_of_wan_latents(codec: WanCodec, tmp_path: Path) -> None:
    """Stores a view, reads it back from the same place, and is refused by another VAE."""
    memory = LatentMemory(codec, LatentMemoryConfig(features="float32"))
    frame = walls.wall()
    assert memory.observe(frame).added == walls.CELLS
    readout = memory.read(walls.CAMERA, frame.T_world_camera[None])
    assert bool(readout.coverage.all())
    image = torch.from_numpy(frame.image).permute(2, 0, 1)[None].float() / 255.0
    torch.testing.assert_close(readout.latents, codec.encode(image), atol=1e-6, rtol=0)
    assert codec.decode(readout.latents).shape == (1, 3, walls.HEIGHT, walls.WIDTH)
    again = memory.observe(frame)
    assert again.added == 0
    path = tmp_path / "memory.safetensors"
    memory.save(path, "odom")
    LatentMemory(codec, LatentMemoryConfig(features="float32")).load(path, "odom")
    other = WanCodec(random_vae(seed=1))
    with pytest.raises(MemoryFormatError, match="codec"):
        LatentMemory(other, LatentMemoryConfig(features="float32")).load(path, "odom")
    assert len(memory.cloud().positions) == walls.CELLS


@pytest.mark.parametrize("module", ["mirage_ros.codec", "mirage_ros.codec.wan"])
def test_diffusers_is_loaded_when_it_is_needed(module: str) -> None:
    script = f"import sys, {module}; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

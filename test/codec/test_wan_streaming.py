"""Streams of Wan2.2's VAE against diffusers decoding everything at once; tiles against no tiles."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from mirage_ros.codec.tiling import TiledDecodeStream, Tiling
from mirage_ros.codec.tiny_decoder import random_tiny_decoder
from mirage_ros.codec.wan import WanCodec
from mirage_ros.codec.wan_config import random_vae
from mirage_ros.codec.wan_stream import WanDecodeStream
from mirage_ros.errors import CodecError, ConfigurationError

pytest.importorskip("diffusers", reason="Wan2.2's VAE needs diffusers")


@pytest.fixture(scope="module")
def codec() -> WanCodec:
    return WanCodec(random_vae())


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def decoded_by_diffusers(codec: WanCodec, latents: Tensor) -> Tensor:
    """``latents`` (T', 48, h, w) through the VAE's own loop: (T, 3, H, W) in [0, 1]."""
    mean = torch.tensor(codec.vae.config.latents_mean).reshape(1, 48, 1, 1, 1)
    std = torch.tensor(codec.vae.config.latents_std).reshape(1, 48, 1, 1, 1)
    with torch.no_grad():
        video = codec.vae.decode(latents.transpose(0, 1)[None] * std + mean).sample
    return video[0].transpose(0, 1) / 2 + 0.5


def test_five_chunks_of_eight_are_the_whole(codec: WanCodec) -> None:
    latents = noise(40, 48, 1, 2)
    expected = decoded_by_diffusers(codec, latents)
    stream = codec.stream()
    chunks = [stream.decode(part) for part in latents.split(8)]
    assert [len(chunk) for chunk in chunks] == [29, 32, 32, 32, 32]
    torch.testing.assert_close(torch.cat(chunks), expected, atol=1e-5, rtol=0)
    # The frames say something: they differ from one another and are not all clamped.
    assert float(expected.std(dim=0).mean()) > 0.05
    assert float(((expected > 0.0) & (expected < 1.0)).float().mean()) > 0.9


def test_chunks_decoded_alone_have_a_seam(codec: WanCodec) -> None:
    """What streams are for: without one the second chunk begins as if nothing had been before."""
    latents = noise(4, 48, 2, 2)
    whole = codec.decode(latents)
    stream = codec.stream()
    stream.decode(latents[:2])
    assert (stream.decode(latents[2:]) - whole[5:]).abs().max() < 1e-5
    assert (codec.decode(latents[2:])[-1] - whole[-1]).abs().max() > 1e-2


def test_uneven_calls_go_on(codec: WanCodec) -> None:
    latents = noise(6, 48, 2, 2)
    stream = codec.stream()
    parts = [stream.decode(part) for part in latents.split([1, 0, 3, 2])]
    assert [len(part) for part in parts] == [1, 0, 12, 8]
    torch.testing.assert_close(torch.cat(parts), codec.decode(latents), atol=1e-5, rtol=0)


def test_streams_take_turns(codec: WanCodec) -> None:
    videos = [noise(4, 48, 2, 2, seed=seed) for seed in (1, 2)]
    streams = [codec.stream() for _ in videos]
    parts: list[list[Tensor]] = [[], []]
    for at in (slice(0, 2), slice(2, 4)):
        for stream, video, shown in zip(streams, videos, parts, strict=True):
            shown.append(stream.decode(video[at]))
            codec.encode(torch.rand(1, 3, 32, 32))
    for video, shown in zip(videos, parts, strict=True):
        expected = decoded_by_diffusers(codec, video)
        torch.testing.assert_close(torch.cat(shown), expected, atol=1e-5, rtol=0)


def test_what_is_held_does_not_grow(codec: WanCodec) -> None:
    stream = codec.stream()
    assert isinstance(stream, WanDecodeStream)
    held = []
    for chunk in range(5):
        stream.decode(noise(4, 48, 2, 2, seed=chunk))
        held.append(stream.nbytes)
    assert held[1] == held[4] > 0


def test_the_model_keeps_nothing(codec: WanCodec) -> None:
    before = dict(vars(codec.vae))
    codec.stream().decode(noise(3, 48, 2, 2))
    codec.encode_video(torch.rand(5, 3, 32, 32))
    assert dict(vars(codec.vae)) == before


@pytest.mark.parametrize("tiling", [None, Tiling(32, 16)])
def test_another_size_is_refused(codec: WanCodec, tiling: Tiling | None) -> None:
    stream = WanCodec(codec.vae, tiling=tiling).stream()
    stream.decode(noise(1, 48, 2, 3))
    with pytest.raises(CodecError, match=r"3x2 cells.*Got 2x2"):
        stream.decode(noise(1, 48, 2, 2))
    with pytest.raises(CodecError, match="Got"):
        stream.decode(noise(1, 47, 2, 3))


def test_one_tile_is_no_tile(codec: WanCodec) -> None:
    tiled = WanCodec(codec.vae, tiling=Tiling(64, 16))
    latents, frames = noise(3, 48, 3, 4), torch.rand(5, 3, 48, 64)
    torch.testing.assert_close(codec.decode(latents), decoded_by_diffusers(codec, latents))
    assert torch.equal(tiled.decode(latents), codec.decode(latents))
    assert torch.equal(tiled.encode(frames), codec.encode(frames))
    assert torch.equal(tiled.encode_video(frames), codec.encode_video(frames))


def test_tiles_are_streams_of_their_own(codec: WanCodec) -> None:
    """Two tiles of 4 columns over 6: blended by hand where they overlap."""
    latents = noise(4, 48, 2, 6)
    parts = [codec.decode(latents[..., :4]), codec.decode(latents[..., 2:])]
    fade = (torch.arange(32) + 0.5) / 32
    shared = parts[0][..., 32:] * (1 - fade) + parts[1][..., :32] * fade
    expected = torch.cat([parts[0][..., :32], shared, parts[1][..., 32:]], dim=3)
    stream = WanCodec(codec.vae, tiling=Tiling(64, 32)).stream()
    assert isinstance(stream, TiledDecodeStream)
    shown = torch.cat([stream.decode(latents[:1]), stream.decode(latents[1:])])
    torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)
    assert set(stream.tiles) == {(0, 0), (0, 2)}


def test_tiled_encoding_blends_cells(codec: WanCodec) -> None:
    frames = torch.rand(1, 3, 32, 96, generator=torch.Generator().manual_seed(3))
    parts = [codec.encode(frames[..., :64]), codec.encode(frames[..., 32:])]
    shown = WanCodec(codec.vae, tiling=Tiling(64, 32)).encode(frames)
    fade = torch.tensor([0.25, 0.75])
    shared = parts[0][..., 2:] * (1 - fade) + parts[1][..., :2] * fade
    expected = torch.cat([parts[0][..., :2], shared, parts[1][..., 2:]], dim=3)
    torch.testing.assert_close(shown, expected, atol=1e-5, rtol=0)


def test_a_tiny_decoder_works_in_tiles(codec: WanCodec) -> None:
    small = random_tiny_decoder(widths=(8, 8, 4, 4))
    tiled = WanCodec(codec.vae, tiny_decoder=small, tiling=Tiling(32, 16))
    latents = noise(3, 48, 2, 4)
    stream = tiled.stream()
    shown = torch.cat([stream.decode(latents[:2]), stream.decode(latents[2:])])
    assert shown.shape == (9, 3, 32, 64)
    # The first half cell of the first tile is that tile's alone.
    alone = small.stream().decode(latents[..., :2])
    torch.testing.assert_close(shown[..., :16], alone[..., :16], atol=1e-5, rtol=0)


@pytest.mark.parametrize("cells", [1, 3, 4, 5, 7, 8, 30])
@pytest.mark.parametrize("tiling", [Tiling(64, 0), Tiling(64, 16), Tiling(64, 48)])
def test_tiles_cover_an_axis(cells: int, tiling: Tiling) -> None:
    starts = tiling.starts(cells)
    length = min(4, cells)
    assert starts[0] == 0
    assert starts[-1] + length == cells
    assert all(a < b <= a + 4 - tiling.overlap // 16 for a, b in pairwise(starts))
    total = torch.zeros(16 * cells)
    for start, weight in zip(starts, tiling.weights(cells, 16), strict=True):
        assert float(weight.min()) > 0.0
        total[16 * start : 16 * (start + length)] += weight
    torch.testing.assert_close(total, torch.ones(16 * cells))


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (40, 16), (64, 8), (64, 64), (64, -16)])
def test_unusable_tilings_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(ConfigurationError, match="Got"):
        Tiling(tile, overlap)

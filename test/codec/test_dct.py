import math

import numpy as np
import pytest
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.codec.dct import BLOCK, COEFFICIENTS, dct_basis, zigzag
from mirage_ros.errors import CodecError


@pytest.fixture
def codec() -> DctCodec:
    return DctCodec()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_over_f(size: int, seed: int) -> np.ndarray:
    """Grey picture with an amplitude spectrum of 1/f, zero mean and unit deviation."""
    frequency = np.fft.fftfreq(size)
    radius = np.hypot(*np.meshgrid(frequency, frequency))
    radius[0, 0] = np.inf
    white = np.random.default_rng(seed).normal(size=(size, size))
    picture = np.fft.ifft2(np.fft.fft2(white) / radius).real
    return picture / picture.std()


def test_basis_is_orthonormal() -> None:
    basis = dct_basis(BLOCK)
    np.testing.assert_allclose(basis @ basis.T, np.eye(BLOCK), atol=1e-12)


def test_zigzag_walks_the_diagonals() -> None:
    assert zigzag(6) == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2)]
    assert {sum(pair) for pair in zigzag(COEFFICIENTS[0])} == set(range(8))
    assert len(set(zigzag(36))) == 36


@pytest.mark.parametrize("size", [(16, 16), (48, 32), (256, 320)])
def test_shapes_and_types(codec: DctCodec, size: tuple[int, int]) -> None:
    height, width = size
    latents = codec.encode(torch.rand(2, 3, height, width))
    assert latents.shape == (2, 48, height // 16, width // 16)
    assert latents.dtype == torch.float32
    assert codec.decode(latents).shape == (2, 3, height, width)


def test_encoding_a_decoding_gives_the_latents_back(codec: DctCodec) -> None:
    latents = noise(2, 48, 3, 4)
    torch.testing.assert_close(codec.encode(codec.decode(latents)), latents, atol=2e-4, rtol=0)


def test_a_stream_goes_on_frame_by_frame(codec: DctCodec) -> None:
    latents, stream = noise(5, 48, 2, 2), codec.stream()
    shown = torch.cat([stream.decode(latents[:2]), stream.decode(latents[2:])])
    assert torch.equal(shown, codec.decode(latents))


def test_decoding_projects(codec: DctCodec) -> None:
    once = codec.decode(codec.encode(torch.rand(1, 3, 32, 48)))
    torch.testing.assert_close(codec.decode(codec.encode(once)), once, atol=1e-4, rtol=0)


def test_smooth_frames_survive(codec: DctCodec) -> None:
    """Colour ramps lie almost within the coefficients that are kept."""
    row, column = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    frames = torch.stack([row, column, 0.5 * (row + column)])[None]
    torch.testing.assert_close(codec.decode(codec.encode(frames)), frames, atol=0.025, rtol=0)


def test_adjoint_is_exact(codec: DctCodec) -> None:
    frames, latents = noise(2, 3, 32, 48), noise(2, 48, 2, 3, seed=1)
    left = (codec.analysis(frames).double() * latents.double()).sum()
    right = (frames.double() * codec.adjoint(latents).double()).sum()
    assert math.isclose(float(left), float(right), rel_tol=1e-5)


def test_encode_is_analysis_plus_a_constant(codec: DctCodec) -> None:
    frames = torch.rand(1, 3, 32, 32)
    shift = codec.encode(frames) - codec.analysis(frames)
    torch.testing.assert_close(shift, codec.encode(torch.zeros(1, 3, 32, 32)), atol=1e-5, rtol=0)


def test_a_cosine_lands_in_its_coefficient(codec: DctCodec) -> None:
    """A grey picture of one basis function excites one luma channel, with weight 1 / std."""
    basis = torch.from_numpy(dct_basis(BLOCK)).float()
    channel = zigzag(COEFFICIENTS[0]).index((2, 1))
    grey = torch.outer(basis[2], basis[1]).expand(1, 3, BLOCK, BLOCK)
    expected = torch.zeros(48)
    expected[channel] = 1.0 / codec.std[channel]
    torch.testing.assert_close(codec.analysis(grey)[0, :, 0, 0], expected, atol=1e-5, rtol=0)


def test_one_over_f_pictures_have_about_unit_latents(codec: DctCodec) -> None:
    frames = []
    for seed in range(3):
        grey = 0.45 + 0.17 * one_over_f(256, seed)
        tint = 0.08 * one_over_f(256, seed + 100)
        frames.append(np.stack([grey + tint, grey, grey - tint]))
    latents = codec.encode(torch.from_numpy(np.array(frames)).float())
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.2
    std = latents.std(dim=(0, 2, 3))
    assert 0.45 < float(std.min()) < float(std.max()) < 2.0


def test_mean_colour_is_the_mean_of_the_block(codec: DctCodec) -> None:
    frames = torch.rand(1, 3, 32, 32)
    features = codec.encode(frames)[0].permute(1, 2, 0).reshape(4, 48)
    expected = torch.nn.functional.avg_pool2d(frames, BLOCK)[0].permute(1, 2, 0).reshape(4, 3)
    torch.testing.assert_close(codec.mean_colour(features), expected, atol=1e-5, rtol=0)
    assert codec.mean_colour(features.half()).dtype == torch.float32


@pytest.mark.parametrize(
    "frames",
    [
        torch.zeros(3, 16, 16),
        torch.zeros(1, 1, 16, 16),
        torch.zeros(1, 3, 20, 16),
        torch.zeros(1, 3, 16, 0),
        torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
        torch.zeros(1, 3, 16, 16, dtype=torch.float64),
    ],
)
def test_unusable_frames_are_refused(codec: DctCodec, frames: torch.Tensor) -> None:
    with pytest.raises(CodecError, match="Got"):
        codec.encode(frames)


@pytest.mark.parametrize(
    "latents", [torch.zeros(48, 2, 2), torch.zeros(1, 16, 2, 2), torch.zeros(1, 48, 2, 2).half()]
)
def test_unusable_latents_are_refused(codec: DctCodec, latents: torch.Tensor) -> None:
    with pytest.raises(CodecError, match="Got"):
        codec.decode(latents)
    with pytest.raises(CodecError, match="Got"):
        codec.adjoint(latents)


def test_unusable_features_are_refused(codec: DctCodec) -> None:
    with pytest.raises(CodecError, match="features"):
        codec.mean_colour(torch.zeros(5, 47))

import numpy as np
import pytest
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.errors import ConfigurationError, MemoryFormatError
from mirage_ros.memory.features import FORMATS, FeatureFormat

#: Four channels that matter, seven (an odd number) that do not.
GAIN = (1.0, 0.5, 0.2, 0.09) + (0.02,) * 7
BYTES = {"float32": 44, "float16": 22, "int8": 11 + 1, "compact": 4 + 4 + 2}


def latents(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, len(GAIN), generator=generator)


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_of_a_token(name: str) -> None:
    layout = FeatureFormat(name, GAIN)
    packed = layout.pack(latents(5))
    assert packed.dtype == torch.uint8
    assert packed.shape == (5, BYTES[name])
    assert layout.width == BYTES[name]
    assert layout.pack(latents(0)).shape == (0, BYTES[name])
    assert layout.unpack(layout.pack(latents(0))).shape == (0, len(GAIN))


@pytest.mark.parametrize("name", FORMATS)
def test_each_value_comes_back_within_half_a_step_of_its_group(name: str) -> None:
    values = latents(200) * torch.logspace(-3, 3, 200)[:, None]
    back = FeatureFormat(name, GAIN).unpack(FeatureFormat(name, GAIN).pack(values))
    if name == "float32":
        torch.testing.assert_close(back, values, rtol=0, atol=0)
        return
    if name == "float16":
        torch.testing.assert_close(back, values.half().float(), rtol=0, atol=0)
        return
    groups = [slice(0, 11)] if name == "int8" else [slice(0, 4), slice(4, 11)]
    for group, steps in zip(groups, (127, 127 if name == "int8" else 7), strict=False):
        largest = values[:, group].abs().amax(dim=1, keepdim=True)
        assert bool(
            ((back - values)[:, group].abs() <= 0.5 * 1.0906 * largest / steps + 1e-6).all()
        )


@pytest.mark.parametrize("name", FORMATS)
def test_cells_are_the_tokens_that_stand_in_them(name: str) -> None:
    layout = FeatureFormat(name, GAIN)
    packed = layout.pack(latents(30))
    index = torch.from_numpy(np.random.default_rng(0).integers(-1, 30, (2, 3, 5)))
    cells = layout.unpack_cells(packed, index)
    plain = layout.unpack(packed)
    assert cells.shape == (2, len(GAIN), 3, 5)
    for view, row, column in np.ndindex(2, 3, 5):
        token = int(index[view, row, column])
        expected = plain[token] if token >= 0 else torch.zeros(len(GAIN))
        torch.testing.assert_close(cells[view, :, row, column], expected, rtol=0, atol=0)
    nothing = layout.unpack_cells(layout.pack(latents(0)), torch.full((1, 2, 2), -1))
    assert not nothing.any()


def test_zero_and_huge_values_are_stored() -> None:
    layout = FeatureFormat("compact", GAIN)
    values = torch.zeros(2, len(GAIN))
    values[1, 0] = 1e6
    back = layout.unpack(layout.pack(values))
    assert not back[0].any()
    assert bool(torch.isfinite(back).all())


def test_compact_hides_its_error_where_it_is_least_seen() -> None:
    """A picture whose detail is that of things: over 37 dB, far above what a readout reaches."""
    codec = DctCodec()
    generator = torch.Generator().manual_seed(1)
    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 8, generator=generator), size=(192, 192), mode="bicubic"
    )
    values = codec.encode(smooth.clamp(0, 1)).permute(0, 2, 3, 1).reshape(-1, 48)
    gain = torch.tensor(codec.channel_gain)

    def error(layout: FeatureFormat) -> float:
        back = layout.unpack(layout.pack(values))
        return float(((back - values) * gain).square().sum(dim=1).mean())

    compact = FeatureFormat("compact", codec.channel_gain)
    assert compact.width < 0.7 * FeatureFormat("int8", codec.channel_gain).width
    assert error(compact) < 2e-4


def test_gain_of_the_dct_codec_is_that_of_its_pictures() -> None:
    codec = DctCodec()
    one = torch.eye(48)[:, :, None, None]
    change = codec.decode(one) - codec.decode(torch.zeros_like(one))
    expected = change.square().mean(dim=(1, 2, 3)).sqrt()
    torch.testing.assert_close(torch.tensor(codec.channel_gain), expected, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_stored_is_refused() -> None:
    layout = FeatureFormat("int8", GAIN)
    with pytest.raises(MemoryFormatError, match=r"\(N, 11\).*Got shape \(2, 3\)"):
        layout.pack(torch.zeros(2, 3))
    with pytest.raises(MemoryFormatError, match="finite"):
        layout.pack(torch.full((1, 11), float("nan")))
    with pytest.raises(ConfigurationError, match=r"one of float32.*Got 'int4'"):
        FeatureFormat("int4", GAIN)
    with pytest.raises(ConfigurationError, match="positive"):
        FeatureFormat("int8", (1.0, 0.0))

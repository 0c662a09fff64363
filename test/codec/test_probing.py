"""What is found out by trying a codec, against the linear codec, for which it is known."""

from __future__ import annotations

import pytest
import torch

from mirage_ros.codec.dct import DctCodec
from mirage_ros.codec.probing import (
    fit_colour_map,
    measure_channel_gain,
    synthetic_pictures,
    uniform_gain,
)


def test_the_fitted_map_is_that_of_a_linear_codec() -> None:
    codec = DctCodec()
    features = 0.3 * torch.randn(200, 48, generator=torch.Generator().manual_seed(1))
    shown = fit_colour_map(codec)(features)
    torch.testing.assert_close(shown, codec.mean_colour(features), atol=0.01, rtol=0)


def test_measured_gains_are_those_of_a_linear_codec() -> None:
    codec = DctCodec()
    measured = measure_channel_gain(codec)
    assert measured == pytest.approx(codec.channel_gain, rel=0.006)
    assert all(gain == float(f"{gain:.3g}") for gain in measured)
    assert measure_channel_gain(codec) == measured


def test_uniform_gains_share_the_variance_of_a_picture() -> None:
    assert sum(gain**2 for gain in uniform_gain(12)) == pytest.approx(0.25**2)


def test_synthetic_pictures_are_in_range_and_differ() -> None:
    pictures = synthetic_pictures(4, 64)
    assert pictures.shape == (4, 3, 64, 64)
    assert 0.05 <= float(pictures.min()) < 0.25
    assert 0.75 < float(pictures.max()) <= 0.95
    assert torch.equal(pictures, synthetic_pictures(4, 64))
    assert not torch.equal(pictures, synthetic_pictures(4, 64, seed=1))
    # Colours vary, not only brightness.
    assert float((pictures[:, 0] - pictures[:, 2]).std()) > 0.05

"""No token and one token are packed and unpacked like many."""

from __future__ import annotations

import pytest
import torch

from mirage_ros.codec import DctCodec
from mirage_ros.memory.features import FORMATS, FeatureFormat


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_tokens_come_back(name: str, count: int) -> None:
    features = FeatureFormat(name, DctCodec().channel_gain)
    latents = torch.linspace(-1.0, 1.0, 3 * features.channels).reshape(3, -1)
    unpacked = features.unpack(features.pack(latents[:count]))
    assert unpacked.shape == (count, features.channels)
    torch.testing.assert_close(unpacked, features.unpack(features.pack(latents))[:count])

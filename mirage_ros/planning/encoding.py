"""Images as latents on the planner's side: it needs pictures only, whoever made them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mirage_ros.planning.scores import Encoder, ImageCostConfig

#: Images encoded at once, so that large sets do not need much memory.
_BATCH = 64

#: Channels of the DCT codec that are compared: the means of Y, Cb and Cr over a cell. Of readouts
#: with seams they are what is right; with coefficients of higher frequencies fewer views are found.
_MEANS = (0, 36, 42)

#: Error of a cell that counts half, in latents.
_SCALE = 0.5


def dct_encoder() -> Encoder:
    """Encodes with the DCT codec, whatever codec the predictions were made with. Loads torch."""
    import torch

    from mirage_ros.codec import DctCodec

    codec = DctCodec()

    def encode(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(images), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH]))
            with torch.no_grad():
                latents = codec.encode(batch.permute(0, 3, 1, 2).float() / 255.0)
            parts.append(latents.numpy())
        return np.concatenate(parts)

    return encode


def dct_cost() -> ImageCostConfig:
    """How latents of :func:`dct_encoder` are compared: colour and brightness of cells."""
    weights = [0.0] * 48
    for channel in _MEANS:
        weights[channel] = 1.0
    return ImageCostConfig(tuple(weights), scale=_SCALE, brightness=_MEANS[0])

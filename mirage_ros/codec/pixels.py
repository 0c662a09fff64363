"""Camera images as what codecs encode."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def as_codec_frames(
    image: NDArray[np.uint8],  # (H, W, 3) RGB
    device: torch.device,
) -> Tensor:  # (1, 3, H, W) float32 RGB in [0, 1]
    """One image as the frames of a codec, on ``device``."""
    return torch.from_numpy(image).to(device).permute(2, 0, 1)[None].float() / 255.0

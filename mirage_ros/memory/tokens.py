"""Latent tokens with every field spelled out: for tests, displays and other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from mirage_ros.memory.features import FeatureFormat
from mirage_ros.memory.token_store import TokenArrays


@dataclass(frozen=True)
class TokenCloud:
    """N tokens: each a latent cell of one keyframe, placed where its surface is.

    Attributes:
        position: (N, 3) float32, world, metres.
        features: (N, C) float16 latents.
        footprint: (N,) float32, metres a pixel covers on the surface: depth / focal length.
        view: (N, 3) float32 unit vector from the camera to the token, world.
        normal: (N, 3) int8, the surface's unit normal towards the camera times
            :data:`mirage_ros.memory.token_store.NORMAL_SCALE`, world; zero where unknown.
        stamp_ns: (N,) int64, when it was seen, nanoseconds.
        provenance: (N,) uint8, :data:`mirage_ros.memory.token_store.OBSERVED` or
            :data:`mirage_ros.memory.token_store.IMAGINED`.
        confidence: (N,) float32 in [0, 1].
        keyframe: (N,) int32, running number of the keyframe it came with.
    """

    position: Tensor
    features: Tensor
    footprint: Tensor
    view: Tensor
    normal: Tensor
    stamp_ns: Tensor
    provenance: Tensor
    confidence: Tensor
    keyframe: Tensor

    @classmethod
    def concatenate(cls, clouds: Sequence[TokenCloud]) -> TokenCloud:
        """One cloud of all tokens, in order."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(c, name) for c in clouds]) for name in names})

    def __len__(self) -> int:
        return self.position.shape[0]


def token_cloud(store: TokenArrays, features: FeatureFormat, provenance: int) -> TokenCloud:
    """A decoded copy of stored tokens, all of one provenance."""
    tokens = store.tokens
    geometry = store.geometry(slice(None))
    return TokenCloud(
        position=geometry.position,
        features=features.unpack(tokens.features).half(),
        footprint=geometry.footprint,
        view=geometry.view,
        normal=tokens.normal.clone(),
        stamp_ns=store.stamps_ns[tokens.keyframe.long()],
        provenance=torch.full_like(tokens.sureness, provenance),
        confidence=tokens.confidence,
        keyframe=tokens.keyframe.int(),
    )

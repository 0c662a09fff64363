"""Latent tokens as a structure of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from mirage_ros.errors import MemoryFormatError

#: Values of :attr:`TokenCloud.provenance`.
IMAGINED, OBSERVED = 0, 1

#: Length of a stored normal.
NORMAL_SCALE = 127.0

_DTYPES = {
    "position": torch.float32,
    "features": torch.float16,
    "footprint": torch.float32,
    "view": torch.float32,
    "normal": torch.int8,
    "stamp_ns": torch.int64,
    "provenance": torch.uint8,
    "confidence": torch.float32,
    "keyframe": torch.int32,
}


@dataclass(frozen=True)
class TokenCloud:
    """N tokens: each a latent cell of one keyframe, placed where its surface is.

    Attributes:
        position: (N, 3) float32, world, metres.
        features: (N, C) float16 latents.
        footprint: (N,) float32, metres a pixel covers on the surface: depth / focal length.
        view: (N, 3) float32 unit vector from the camera to the token, world.
        normal: (N, 3) int8, the surface's unit normal towards the camera times
            :data:`NORMAL_SCALE`, world; zero where unknown.
        stamp_ns: (N,) int64, when it was seen, nanoseconds.
        provenance: (N,) uint8, :data:`OBSERVED` or :data:`IMAGINED`.
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
    def empty(cls, channels: int, count: int = 0, device: torch.device | str = "cpu") -> TokenCloud:
        """A cloud of ``count`` tokens with unset content."""
        width = {"position": (3,), "features": (channels,), "view": (3,), "normal": (3,)}
        return cls(
            **{
                name: torch.empty((count, *width.get(name, ())), dtype=dtype, device=device)
                for name, dtype in _DTYPES.items()
            }
        )

    @classmethod
    def concatenate(cls, clouds: Sequence[TokenCloud]) -> TokenCloud:
        """One cloud of all tokens, in order.

        Raises:
            MemoryFormatError: no cloud at all, or clouds of different channels.
        """
        channels = {cloud.channels for cloud in clouds}
        if len(channels) != 1:
            raise MemoryFormatError(
                "clouds to concatenate must be at least one and agree in channels. "
                f"Got {len(clouds)} clouds with channels {sorted(channels)}"
            )
        return cls(**{name: torch.cat([getattr(c, name) for c in clouds]) for name in _DTYPES})

    def __len__(self) -> int:
        return self.position.shape[0]

    @property
    def channels(self) -> int:
        """Latent channels C."""
        return self.features.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all fields."""
        return sum(getattr(self, f.name).nbytes for f in fields(self))

    def select(self, index: Tensor | slice) -> TokenCloud:
        """The tokens at ``index``: (M,) int64 positions, an (N,) bool mask, or a slice (a view)."""
        return TokenCloud(**{name: getattr(self, name)[index] for name in _DTYPES})

    def validate(self) -> None:
        """Check shapes, types and content.

        Raises:
            MemoryFormatError: a field has another shape or type than documented, holds values that
                are not finite, or a footprint is not positive.
        """
        count = self.position.shape[0] if self.position.ndim else 0
        if self.features.ndim != 2:
            raise MemoryFormatError(
                f"token features must be (N, C). Got shape {tuple(self.features.shape)}"
            )
        width = {"position": (3,), "features": (self.channels,), "view": (3,), "normal": (3,)}
        for name, dtype in _DTYPES.items():
            value: Tensor = getattr(self, name)
            expected = (count, *width.get(name, ()))
            if tuple(value.shape) != expected or value.dtype != dtype:
                raise MemoryFormatError(
                    f"token {name} must be {dtype} of shape {expected}. "
                    f"Got {value.dtype} of shape {tuple(value.shape)}"
                )
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                bad = int((~torch.isfinite(value)).sum())
                raise MemoryFormatError(
                    f"token {name} must be finite. Got {bad} values that are not"
                )
        if bool((self.footprint <= 0.0).any()):
            raise MemoryFormatError(
                f"token footprint must be positive. Got {float(self.footprint.min())}"
            )


class TokenBuffer:
    """Tokens in arrays that double when full, so that appending costs O(1) a token.

    Attributes:
        count: number of tokens held.
    """

    def __init__(self, channels: int, device: torch.device | str = "cpu") -> None:
        self._storage = TokenCloud.empty(channels, 0, device)
        self.count = 0

    @property
    def tokens(self) -> TokenCloud:
        """The tokens held, as views of the storage; the next :meth:`clear` may overwrite them."""
        return self._storage.select(slice(0, self.count))

    def append(self, cloud: TokenCloud) -> None:
        """Copy ``cloud`` behind the tokens held.

        Raises:
            MemoryFormatError: ``cloud`` is malformed or has other channels.
        """
        cloud.validate()
        if cloud.channels != self._storage.channels:
            raise MemoryFormatError(
                f"tokens must have {self._storage.channels} channels. Got {cloud.channels}"
            )
        end = self.count + len(cloud)
        if end > len(self._storage):
            held = self.tokens
            device = held.position.device
            self._storage = TokenCloud.empty(
                held.channels, max(end, 2 * len(self._storage)), device
            )
            _copy(held, self._storage, 0)
        _copy(cloud, self._storage, self.count)
        self.count = end

    def clear(self) -> None:
        """Forget all tokens and give their storage back."""
        device = self._storage.position.device
        self._storage = TokenCloud.empty(self._storage.channels, 0, device)
        self.count = 0


def _copy(source: TokenCloud, target: TokenCloud, start: int) -> None:
    for name in _DTYPES:
        getattr(target, name)[start : start + len(source)] = getattr(source, name)

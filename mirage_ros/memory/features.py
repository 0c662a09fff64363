"""How latents are stored: as floats, as 8-bit integers, or with fewer bits where few are seen.

``compact`` gives 8 bits to the channels that matter most to a picture and 4 bits to the others,
each group with a scale of its own per token. How much a channel matters is the codec's
``channel_gain``, the change of a pixel for a unit change of the channel: an error of q in a channel
of gain g costs (g q)^2, so a channel whose gain is 1/16 of another's needs 4 bits less for the same
error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import torch
from torch import Tensor

from mirage_ros.compiled import compiled_parallel, threads
from mirage_ros.errors import ConfigurationError, MemoryFormatError

FORMATS = ("float32", "float16", "int8", "compact")

#: Channels whose gain is below this share of the largest one are stored with 4 bits.
FINE_SHARE = 0.08
#: Largest magnitudes of the two kinds of integers.
_FINE, _COARSE = 127.0, 7.0
#: What is added to a 4-bit integer to store it without a sign.
_COARSE_OFFSET = 8.0
_EIGHT = np.float32(_COARSE_OFFSET)
#: Scales are stored as their number in this table: eighths of powers of two, so that a step is at
#: most 9 % larger than it need be.
_SCALES = np.exp2((np.arange(256) - 160) / 8.0).astype(np.float32)


class FeatureFormat:
    """Packs latents into bytes and back.

    Args:
        name: one of :data:`FORMATS`.
        channel_gain: (C,) gain of every channel, as the codec states it.

    Attributes:
        name: of the format.
        channels: latent channels C.
        width: bytes of a packed token, its scales included.

    Raises:
        ConfigurationError: an unknown name, or gains that are not positive and finite.
    """

    def __init__(self, name: str, channel_gain: Sequence[float]) -> None:
        if name not in FORMATS:
            raise ConfigurationError(f"features must be one of {', '.join(FORMATS)}. Got '{name}'")
        gain = torch.tensor(list(channel_gain), dtype=torch.float64)
        if gain.numel() == 0 or not bool((torch.isfinite(gain) & (gain > 0.0)).all()):
            raise ConfigurationError(
                f"channel gains must be positive and finite. Got {list(channel_gain)}"
            )
        self.name = name
        self.channels = gain.numel()
        coarse = gain < FINE_SHARE * gain.max() if name == "compact" else torch.zeros_like(gain) > 0
        self._fine = (~coarse).nonzero()[:, 0]
        self._coarse = coarse.nonzero()[:, 0]
        self._pairs = -(-len(self._coarse) // 2)
        self._there: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}
        if name in ("float32", "float16"):
            self.width = self.channels * (4 if name == "float32" else 2)
        else:
            self.width = len(self._fine) + self._pairs + self._groups

    def _tables(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers of the fine and the coarse channels, and the scales; moved once per device."""
        if device not in self._there:
            scales = torch.from_numpy(_SCALES)
            tables = (self._fine.to(device), self._coarse.to(device), scales.to(device))
            self._there[device] = tables
        return self._there[device]

    @property
    def _groups(self) -> int:
        return int(len(self._fine) > 0) + int(len(self._coarse) > 0)

    def pack(
        self,
        latents: Tensor,  # (N, C) float32
    ) -> Tensor:  # (N, width) uint8
        """Bytes of every token.

        Raises:
            MemoryFormatError: another number of channels, or values that are not finite.
        """
        if latents.ndim != 2 or latents.shape[1] != self.channels:
            raise MemoryFormatError(
                f"features must be (N, {self.channels}). Got shape {tuple(latents.shape)}"
            )
        if not bool(torch.isfinite(latents).all()):
            raise MemoryFormatError("features must be finite. Got values that are not")
        if self.name == "float32":
            return latents.float().contiguous().view(torch.uint8)
        if self.name == "float16":
            return latents.half().contiguous().view(torch.uint8)
        fine, coarse, table = self._tables(latents.device)
        parts, scales = [], []
        if len(fine):
            values, scale = _quantise(latents[:, fine], _FINE, table)
            parts.append(values.to(torch.int8).view(torch.uint8))
            scales.append(scale)
        if len(coarse):
            values, scale = _quantise(latents[:, coarse], _COARSE, table)
            nibbles = (values + _COARSE_OFFSET).to(torch.uint8)
            if nibbles.shape[1] % 2:
                nibbles = torch.nn.functional.pad(nibbles, (0, 1))
            parts.append(nibbles[:, 0::2] | (nibbles[:, 1::2] << 4))
            scales.append(scale)
        parts.append(torch.stack(scales, dim=1))
        return torch.cat(parts, dim=1)

    def unpack(
        self,
        packed: Tensor,  # (N, width) uint8
    ) -> Tensor:  # (N, C) float32
        """Latents of packed tokens; the same values on every device."""
        if self.name == "float32":
            return packed.contiguous().view(torch.float32)
        if self.name == "float16":
            return packed.contiguous().view(torch.float16).float()
        fine, coarse, table = self._tables(packed.device)
        scales = table[packed[:, len(fine) + self._pairs :].long()]
        latents = torch.empty((len(packed), self.channels), device=packed.device)
        if len(fine):
            values = packed[:, : len(fine)].contiguous().view(torch.int8).float()
            latents[:, fine] = values * scales[:, :1]
        if len(coarse):
            pairs = packed[:, len(fine) : len(fine) + self._pairs]
            nibbles = torch.stack([pairs & 15, pairs >> 4], dim=2).flatten(1)
            values = nibbles[:, : len(coarse)].float() - _COARSE_OFFSET
            latents[:, coarse] = values * scales[:, -1:]
        return latents

    def unpack_cells(
        self,
        packed: Tensor,  # (N, width) uint8
        index: Tensor,  # (T, h, w) int64 into the tokens, -1 = none
    ) -> Tensor:  # (T, C, h, w) float32, zero where there is none
        """Latents of the tokens that stand in the cells of T views."""
        views, rows, columns = index.shape
        if packed.device.type == "cpu" and self.name in ("int8", "compact"):
            out = np.zeros((views, self.channels, rows * columns), dtype=np.float32)
            with threads():
                _unpack_cells(
                    packed.numpy(),
                    index.reshape(views, -1).numpy(),
                    self._fine.numpy(),
                    self._coarse.numpy(),
                    _SCALES,
                    out,
                )
            return torch.from_numpy(out).reshape(views, self.channels, rows, columns)
        if len(packed) == 0:
            return torch.zeros((views, self.channels, rows, columns), device=packed.device)
        latents = self.unpack(packed[index.clamp(min=0).flatten()])
        latents = torch.where((index >= 0).reshape(-1, 1), latents, 0.0)
        shaped = latents.reshape(views, rows, columns, self.channels)
        return shaped.permute(0, 3, 1, 2).contiguous()


def _quantise(values: Tensor, largest: float, table: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers up to ``largest`` as float32, and the number (N,) uint8 of their scale."""
    # The least scale at which nothing is clipped.
    number = torch.searchsorted(table, values.abs().amax(dim=1) / largest).clamp(max=255)
    whole = (values / table[number][:, None]).round().clamp(-largest, largest)
    return whole, number.to(torch.uint8)


@compiled_parallel
def _unpack_cells(  # type: ignore[no-untyped-def]
    packed, index, fine, coarse, table, out
):
    pairs = (len(coarse) + 1) // 2
    groups = (1 if len(fine) else 0) + (1 if len(coarse) else 0)
    scales_at = len(fine) + pairs
    for view in numba.prange(out.shape[0]):
        for cell in range(out.shape[2]):
            token = index[view, cell]
            if token < 0:
                continue
            row = packed[token]
            if len(fine):
                scale = table[row[scales_at]]
                for i in range(len(fine)):
                    out[view, fine[i], cell] = np.float32(np.int8(row[i])) * scale
            if len(coarse):
                scale = table[row[scales_at + groups - 1]]
                for i in range(len(coarse)):
                    byte = row[len(fine) + i // 2]
                    nibble = (byte & 15) if i % 2 == 0 else (byte >> 4)
                    out[view, coarse[i], cell] = (np.float32(nibble) - _EIGHT) * scale

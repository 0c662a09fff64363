"""A small decoder of Wan2.2's latents, for when the VAE's own is too slow.

The network is that of "taew2_2", one of the Tiny AutoEncoders for video by Ollin Boer Bohan
(https://github.com/madebyollin/taehv, MIT), in both of its variants; layers are numbered as in its
files. Each block sees the current and the previous frame of its own input, so all frames of a call
are worked on at once and the last input of every block is what a stream holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mirage_ros.codec.checks import check_planes, check_same_size
from mirage_ros.codec.wan_config import CHANNELS, PATCH, SPATIAL_STRIDE, TEMPORAL_STRIDE
from mirage_ros.errors import ConfigurationError, UnavailableError

Variant = Literal["base", "super"]

#: Channels at 1/16, 1/8, 1/4 and 1/2 of the picture's resolution.
WIDTHS: dict[Variant, tuple[int, int, int, int]] = {
    "base": (256, 128, 64, 64),
    "super": (512, 256, 128, 64),
}

#: Frames that each of the three stages makes of one.
_GROWTH = (1, 2, 2)
#: Latent frames decoded together: enough to fill a GPU, few enough for a small one's memory (at
#: 1280x704 an inner tensor of four takes 0.5 GB in 16 bits).
LATENTS_AT_ONCE = 4
#: The first frames of a video: decoded from its first latent frame, which stands for one image.
_STARTUP = TEMPORAL_STRIDE - 1

_PREFIX = "decoder."


class _SoftClamp(nn.Module):
    """Keeps latents within 3 standard deviations, smoothly."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3.0) * 3.0


class _MemoryBlock(nn.Module):
    """Residual block over a frame and the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        return functional.relu(self.conv(torch.cat([x, past], dim=1)) + x)


class _WideMemoryBlock(nn.Module):
    """The same of the larger variant: a wide convolution per channel, then two across channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(2 * width, 2 * width, 7, padding=3, groups=2 * width, bias=False),
            nn.Conv2d(2 * width, 4 * width, 1),
            nn.ReLU(),
            nn.Conv2d(4 * width, width, 1, bias=False),
        )

    def forward(self, x: Tensor, past: Tensor) -> Tensor:
        mixed: Tensor = self.conv(torch.cat([x, past], dim=1))
        return mixed + x


class _Grow(nn.Module):
    """Makes ``growth`` frames of each."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width * growth, 1, bias=False)
        self.growth = growth

    def forward(self, x: Tensor) -> Tensor:  # (T, C, h, w) -> (T growth, C, h, w)
        grown: Tensor = self.conv(x)
        return grown.reshape(-1, *x.shape[1:])


def _base_layers(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = [_SoftClamp(), nn.Conv2d(CHANNELS, widths[0], 3, padding=1)]
    layers.append(nn.ReLU())
    for stage, growth in enumerate(_GROWTH):
        width, next_width = widths[stage], widths[stage + 1]
        layers += [_MemoryBlock(width) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _Grow(width, growth)]
        layers.append(nn.Conv2d(width, next_width, 3, padding=1, bias=False))
    return [*layers, nn.ReLU(), nn.Conv2d(widths[3], 3 * PATCH**2, 3, padding=1)]


def _super_layers(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(CHANNELS, widths[0], 1, bias=False)]
    for stage, growth in enumerate(_GROWTH):
        width, next_width = widths[stage], widths[stage + 1]
        layers += [_WideMemoryBlock(width) for _ in range(3)]
        layers += [nn.Conv2d(width, 4 * next_width, 3, padding=1), nn.ReLU(), nn.PixelShuffle(2)]
        layers.append(_Grow(next_width, growth))
    return [*layers, nn.Conv2d(widths[3], 3 * PATCH**2, 3, padding=1)]


class TinyDecoder(nn.Module):
    """Decodes normalised latents of Wan2.2's VAE; new ones have torch's random weights.

    Args:
        variant: ``base`` or ``super``, the slower and better one.
        widths: channels of the four resolutions (default: those of the published weights).

    Attributes:
        variant: as given.
        decoder: the layers, numbered as in the files.

    Raises:
        ConfigurationError: an unknown variant, or not four widths.
    """

    def __init__(self, variant: Variant = "base", widths: Sequence[int] | None = None) -> None:
        super().__init__()
        if variant not in WIDTHS:
            raise ConfigurationError(f"variant must be one of {', '.join(WIDTHS)}. Got '{variant}'")
        widths = WIDTHS[variant] if widths is None else tuple(widths)
        if len(widths) != 4 or min(widths) < 1:
            raise ConfigurationError(f"widths must be 4 positive numbers. Got {widths}")
        self.variant = variant
        layers = _base_layers(widths) if variant == "base" else _super_layers(widths)
        self.decoder = nn.ModuleList(layers)
        self.eval().requires_grad_(False)

    def stream(self) -> TinyDecodeStream:
        """A new video to be decoded chunk by chunk."""
        return TinyDecodeStream(self)

    @torch.no_grad()
    def run(
        self,
        latents: Tensor,  # (T', 48, h, w) of the network's type and device
        memory: dict[int, Tensor],  # layer -> (1, C, h, w) its last input; updated
    ) -> Tensor:  # (4 T', 3, 16 h, 16 w) not clamped
        """Frames of latents, the start-up frames of a video included."""
        x = latents
        for number, layer in enumerate(self.decoder):
            if isinstance(layer, (_MemoryBlock, _WideMemoryBlock)):
                before = memory.get(number, torch.zeros_like(x[:1]))
                past = torch.cat([before, x[:-1]])
                # A copy, because a view would keep all frames of the call.
                memory[number] = x[-1:].clone()
                x = layer(x, past)
            else:
                x = layer(x)
        return functional.pixel_shuffle(x, PATCH)


class TinyDecodeStream:
    """One video decoded by a tiny decoder; a :class:`mirage_ros.codec.base.DecodeStream`.

    Args:
        decoder: whose weights are used; nothing in it changes.
    """

    def __init__(self, decoder: TinyDecoder) -> None:
        self._decoder = decoder
        self._memory: dict[int, Tensor] = {}
        self._size: tuple[int, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs that are held."""
        return sum(entry.nbytes for entry in self._memory.values())

    def decode(
        self,
        latents: Tensor,  # (T', 48, h, w) float32
    ) -> Tensor:  # (T, 3, 16 h, 16 w) float32 RGB, clamped to [0, 1]; on the decoder's device
        """Frames of the next latents: 1 for the first of the video, 4 for each later one.

        Raises:
            CodecError: shape or type does not fit, or the size is not that of the calls before.
        """
        check_planes(latents, CHANNELS, "latents")
        rows, columns = latents.shape[2:]
        if self._size is not None:
            check_same_size(self._size, (rows, columns))
        weight = next(self._decoder.parameters())
        if len(latents) == 0:
            size = (rows * SPATIAL_STRIDE, columns * SPATIAL_STRIDE)
            return torch.empty((0, 3, *size), device=weight.device)
        parts = torch.split(latents.to(weight.device, weight.dtype), LATENTS_AT_ONCE)
        frames = torch.cat([self._decoder.run(part, self._memory) for part in parts])
        skipped = _STARTUP if self._size is None else 0
        self._size = (rows, columns)
        return frames[skipped:].float().clamp(0.0, 1.0)


@torch.no_grad()
def random_tiny_decoder(
    variant: Variant = "base", widths: Sequence[int] | None = None, seed: int = 0
) -> TinyDecoder:
    """A decoder with random weights; the same ones for the same seed.

    Pictures of random latents have a mean of 0.5 and a standard deviation of 0.2.

    Raises:
        ConfigurationError: as :class:`TinyDecoder`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = TinyDecoder(variant, widths)
        for layer in decoder.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        noise = torch.randn(3, CHANNELS, 4, 4)
    last = decoder.decoder[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    frames = decoder.run(noise, {})
    last.weight *= 0.2 / frames.std()
    last.bias += 0.5 - decoder.run(noise, {}).mean()
    return decoder


def load_tiny_decoder(path: Path | str, *, allow_pickle: bool = False) -> TinyDecoder:
    """The tiny decoder of a file; which variant it is, and how wide, its weights say.

    Args:
        path: a ``.safetensors`` file with keys ``decoder.N...``; keys of an encoder are ignored.
        allow_pickle: also take ``.pth`` files, which are pickles. Only tensors are loaded.

    Raises:
        UnavailableError: there is no such file.
        ConfigurationError: it cannot be read, is a pickle and those are not allowed, or does not
            hold such a decoder.
    """
    path = Path(path)
    if not path.is_file():
        raise UnavailableError(f"no tiny decoder: expected a file at {path}. Got none")
    return decoder_of(_read(path, allow_pickle), str(path))


def decoder_of(weights: Mapping[str, Tensor], name: str) -> TinyDecoder:
    """The decoder that has such weights.

    Args:
        weights: by the keys of :func:`load_tiny_decoder`.
        name: of where they come from, for messages.

    Raises:
        ConfigurationError: they are not those of such a decoder.
    """
    mine = {
        key: value.detach().float() for key, value in weights.items() if key.startswith(_PREFIX)
    }
    # The larger variant begins with a convolution, the other with a clamp that has no weights.
    variant: Variant = "super" if f"{_PREFIX}0.weight" in mine else "base"
    ends = [f"{_PREFIX}{n}.weight" for n in ((0, 4, 11, 18), (1, 8, 14, 20))[variant == "base"]]
    if any(key not in mine for key in ends):
        raise ConfigurationError(
            f"{name}: expected the keys {', '.join(ends)} of a tiny decoder. "
            f"Got {', '.join(sorted(weights)[:4]) or 'none'} ..."
        )
    # The larger variant's later ones come before pixels are spread, four channels to one.
    rows = [len(mine[key]) for key in ends]
    widths = [rows[0], *(count // 4 for count in rows[1:])] if variant == "super" else rows
    decoder = TinyDecoder(variant, widths)
    wanted = {key: tuple(value.shape) for key, value in decoder.state_dict().items()}
    for number, layer in enumerate(decoder.decoder):
        key = f"{_PREFIX}{number}.conv.weight"
        if isinstance(layer, _Grow) and key in mine and len(mine[key]) > wanted[key][0]:
            # A file may hold a layer that makes more frames; the last ones are those to keep.
            mine[key] = mine[key][-wanted[key][0] :]
    got = {key: tuple(value.shape) for key, value in mine.items()}
    if got != wanted:
        key = min(set(got.items()) ^ set(wanted.items()))[0]
        raise ConfigurationError(
            f"{name}: {key} must have shape {wanted.get(key, 'none')}. Got {got.get(key, 'none')}"
        )
    decoder.load_state_dict(mine)
    return decoder


def _read(path: Path, allow_pickle: bool) -> Mapping[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise ConfigurationError(f"{path}: expected a safetensors file. Got {error}") from error
    if not allow_pickle:
        raise ConfigurationError(
            f"{path}: expected a .safetensors file. Got '{path.suffix}', which is taken for a "
            "pickle: convert it, or allow pickles if you trust where it comes from"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever a broken or hostile pickle makes of the reader, it is the file's fault.
        raise ConfigurationError(f"{path}: expected a file of tensors. Got {error}") from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ConfigurationError(f"{path}: expected tensors by name. Got {type(content).__name__}")
    return content

"""The tiny decoder against a reference that walks the file's keys frame by frame."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pixel_shuffle

from mirage_ros.codec.tiny_decoder import (
    TinyDecoder,
    Variant,
    load_tiny_decoder,
    random_tiny_decoder,
)
from mirage_ros.errors import CodecError, ConfigurationError, UnavailableError

SMALL = {"base": (12, 8, 6, 5), "super": (12, 8, 6, 5)}
VARIANTS: tuple[Variant, ...] = ("base", "super")
Weights = dict[str, Tensor]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weights_of(variant: Variant) -> Weights:
    """Random weights under the keys of the published files, an encoder's among them."""
    weights = random_tiny_decoder(variant, SMALL[variant]).state_dict()
    return {**weights, "encoder.0.weight": noise(4, 12, 3, 3), "encoder.0.bias": noise(4)}


class Reference:
    """Decodes frame by frame, as the layers are numbered in the published files."""

    def __init__(self, weights: Weights, variant: Variant) -> None:
        self.weights, self.variant = weights, variant
        self.past: dict[int, Tensor] = {}

    def conv(self, x: Tensor, name: str, groups: int = 1) -> Tensor:
        weight = self.weights[f"decoder.{name}.weight"]
        bias = self.weights.get(f"decoder.{name}.bias")
        return conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=groups)

    def block(self, x: Tensor, number: int) -> Tensor:
        both = torch.cat([x, self.past.get(number, torch.zeros_like(x))], dim=1)
        self.past[number] = x
        if self.variant == "base":
            y = self.conv(both, f"{number}.conv.0").relu()
            y = self.conv(y, f"{number}.conv.2").relu()
            return (self.conv(y, f"{number}.conv.4") + x).relu()
        y = self.conv(both, f"{number}.conv.0", groups=both.shape[1])
        y = self.conv(y, f"{number}.conv.1").relu()
        return self.conv(y, f"{number}.conv.3") + x

    def frames(self, latent: Tensor) -> list[Tensor]:  # (1, 48, h, w) -> 4 of (1, 3, H, W)
        if self.variant == "base":
            x = self.conv(3 * torch.tanh(latent / 3), "1").relu()
            stages, last = ((3, 1), (9, 2), (15, 2)), "22"
        else:
            x = self.conv(latent, "0")
            stages, last = ((1, 1), (8, 2), (15, 2)), "22"
        now = [x]
        for first, growth in stages:
            then = []
            for frame in now:
                for number in range(first, first + 3):
                    frame = self.block(frame, number)
                after = first + 3
                if self.variant == "base":
                    frame = interpolate(frame, scale_factor=2, mode="nearest")
                    grown = self.conv(frame, f"{after + 1}.conv").chunk(growth, dim=1)
                    then += [self.conv(part, f"{after + 2}") for part in grown]
                else:
                    frame = pixel_shuffle(self.conv(frame, f"{after}").relu(), 2)
                    then += self.conv(frame, f"{after + 3}.conv").chunk(growth, dim=1)
            now = then
        if self.variant == "base":
            now = [frame.relu() for frame in now]
        return [pixel_shuffle(self.conv(frame, last), 2).clamp(0, 1) for frame in now]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_decodes_as_the_reference(variant: Variant, tmp_path: Path) -> None:
    """The name says nothing of the variant; the weights do."""
    weights = weights_of(variant)
    save_file(weights, tmp_path / "decoder.safetensors")
    decoder = load_tiny_decoder(tmp_path / "decoder.safetensors")
    assert decoder.variant == variant
    latents = noise(5, 48, 2, 3)
    reference = Reference(weights, variant)
    expected = [frame for latent in latents for frame in reference.frames(latent[None])]
    shown = decoder.stream().decode(latents)
    # The first three frames are start-up: the first latent frame stands for one image.
    torch.testing.assert_close(shown, torch.cat(expected)[3:], atol=1e-5, rtol=0)
    assert float(shown.std()) > 0.1
    assert float(((shown > 0.0) & (shown < 1.0)).float().mean()) > 0.9


@pytest.mark.parametrize("variant", VARIANTS)
def test_streams_go_on_and_take_turns(variant: Variant) -> None:
    decoder = random_tiny_decoder(variant, SMALL[variant])
    videos = [noise(6, 48, 2, 2, seed=seed) for seed in (1, 2)]
    streams = [decoder.stream() for _ in videos]
    parts: list[list[Tensor]] = [[], []]
    for at in (slice(0, 1), slice(1, 1), slice(1, 4), slice(4, 6)):
        for stream, video, shown in zip(streams, videos, parts, strict=True):
            shown.append(stream.decode(video[at]))
    for video, shown in zip(videos, parts, strict=True):
        assert [len(part) for part in shown] == [1, 0, 12, 8]
        whole = decoder.stream().decode(video)
        torch.testing.assert_close(torch.cat(shown), whole, atol=1e-5, rtol=0)
    assert not torch.allclose(parts[0][2], parts[1][2], atol=1e-2)


def test_what_is_held_does_not_grow() -> None:
    decoder = random_tiny_decoder(widths=SMALL["base"])
    stream, held = decoder.stream(), []
    for chunk in range(5):
        stream.decode(noise(3, 48, 2, 2, seed=chunk))
        held.append(stream.nbytes)
    # Three blocks a resolution hold one frame each.
    cells = 12 * 4 + 8 * 16 + 6 * 64
    assert held == [3 * cells * 4] * 5


@pytest.mark.parametrize(("variant", "count"), [("base", 9_923_532), ("super", 18_993_420)])
def test_sizes_are_the_published_ones(variant: Variant, count: int) -> None:
    """The counts are those of the decoders that the published code builds."""
    with torch.device("meta"):
        decoder = TinyDecoder(variant)
    assert sum(weight.numel() for weight in decoder.parameters()) == count


def test_a_layer_that_makes_more_frames_is_cut(tmp_path: Path) -> None:
    weights = weights_of("base")
    latents = noise(2, 48, 2, 2)
    save_file(weights, tmp_path / "plain.safetensors")
    grow = weights["decoder.7.conv.weight"]
    weights["decoder.7.conv.weight"] = torch.cat([torch.randn_like(grow), grow])
    save_file(weights, tmp_path / "more.safetensors")
    shown = [
        load_tiny_decoder(tmp_path / f"{name}.safetensors").stream().decode(latents)
        for name in ("plain", "more")
    ]
    assert torch.equal(*shown)


def test_pickles_only_where_allowed(tmp_path: Path) -> None:
    weights = weights_of("super")
    path = tmp_path / "decoder.pth"
    torch.save(weights, path)
    with pytest.raises(ConfigurationError, match="pickle"):
        load_tiny_decoder(path)
    assert load_tiny_decoder(path, allow_pickle=True).variant == "super"


class Unwelcome:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


def test_a_pickle_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "decoder.pth").write_bytes(pickle.dumps({"decoder.0.weight": Unwelcome()}, 2))
    with pytest.raises(ConfigurationError, match="file of tensors"):
        load_tiny_decoder(tmp_path / "decoder.pth", allow_pickle=True)
    assert not (tmp_path / "touched").exists()


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="Got none"):
        load_tiny_decoder(tmp_path / "none.safetensors")
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no header")
    with pytest.raises(ConfigurationError, match="safetensors file"):
        load_tiny_decoder(path)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConfigurationError, match="tensors by name"):
        load_tiny_decoder(tmp_path / "list.pth", allow_pickle=True)
    save_file({"encoder.0.weight": torch.zeros(1)}, path)
    with pytest.raises(ConfigurationError, match=r"decoder\.1\.weight.*Got encoder"):
        load_tiny_decoder(path)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        (
            "decoder.1.weight",
            (12, 16, 3, 3),
            r"decoder\.1\.weight must have shape \(12, 48, 3, 3\)",
        ),
        ("decoder.22.bias", (3,), r"decoder\.22\.bias must have shape \(12,\). Got \(3,\)"),
        ("decoder.3.conv.2.bias", None, r"decoder\.3\.conv\.2\.bias must .*Got none"),
        ("decoder.30.weight", (1,), r"decoder\.30\.weight must have shape none. Got \(1,\)"),
    ],
)
def test_other_networks_are_refused(
    tmp_path: Path, key: str, shape: tuple[int, ...] | None, message: str
) -> None:
    weights = weights_of("base")
    weights.pop(key, None)
    if shape is not None:
        weights[key] = torch.zeros(shape)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(ConfigurationError, match=message):
        load_tiny_decoder(tmp_path / "other.safetensors")


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="base, super"):
        TinyDecoder("huge")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="4 positive"):
        TinyDecoder("base", (1, 2, 3))
    stream = random_tiny_decoder(widths=SMALL["base"]).stream()
    stream.decode(noise(1, 48, 2, 3))
    with pytest.raises(CodecError, match=r"3x2 cells.*Got 2x2"):
        stream.decode(noise(1, 48, 2, 2))
    with pytest.raises(CodecError, match="Got"):
        stream.decode(noise(1, 48, 2, 3).double())

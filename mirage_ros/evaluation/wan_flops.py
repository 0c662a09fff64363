"""Exact count of the arithmetic of Wan2.2's transformer with its side branch.

A product and its addition are two operations; norms, activations and modulation are not counted.
With D the width, F that of the feed-forward, L tokens of text, S tokens in all and S' of them that
the side branch sees, a block takes ::

    S (12 D^2 + 4 D F)      queries, keys, values and outputs of two attentions without the text's
                            keys and values; the feed-forward
    + 4 S^2 D + 4 S L D     scores and sums of the two attentions

and a block of the side branch the same for S', and 2 S' D^2 for its hint. The published figures
count also what a step does anew in the released code, and here once for all steps: keys and values
of the text (4 L D^2 a block), the text's and the side branch's embedding, and the modulation of
every single token by its noise level instead of every latent frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Dense products of 16-bit numbers with sums in float32, TFLOP/s, by a part of the GPU's name;
#: makers' data sheets. More special names come first.
PEAK_TFLOPS = {
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "GH200": 989.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX 4090": 165.0,
}


@dataclass(frozen=True)
class Sequence:
    """What one forward sees.

    Attributes:
        width: of pictures, pixels.
        height: likewise.
        targets: latent frames.
        references: latent frames.
        preceding: latent frames.
        text_tokens: of the prompt.
    """

    width: int
    height: int
    targets: int = 9
    references: int = 0
    preceding: int = 0
    text_tokens: int = 512

    @property
    def seen(self) -> int:
        """Latent frames that the side branch sees."""
        return self.targets + self.preceding

    @property
    def frames(self) -> int:
        """Latent frames in all."""
        return self.seen + self.references


def forward_flops(
    config: Mapping[str, Any], sequence: Sequence, *, stride: int = 16, released: bool = False
) -> int:
    """Operations of one forward.

    Args:
        config: of the transformer.
        sequence: what it sees.
        stride: pixels a latent cell.
        released: as the released code does it, everything in every step and a noise level for every
            token; otherwise as this package does it in a denoising step.
    """
    depth, height, width = (int(side) for side in config["patch_size"])
    a_frame = sequence.height // stride // height * (sequence.width // stride // width)
    tokens = sequence.frames // depth * a_frame
    seen = sequence.seen // depth * a_frame
    dim = int(config["num_attention_heads"] * config["attention_head_dim"])
    text, cells = sequence.text_tokens, depth * height * width
    layers, side = int(config["num_layers"]), len(config["vace_layers"])

    def block(count: int) -> int:
        linear: int = count * (12 * dim**2 + 4 * dim * int(config["ffn_dim"]))
        return linear + 4 * count**2 * dim + 4 * count * text * dim

    levels = tokens if released else sequence.frames // depth
    total = layers * block(tokens) + side * (block(seen) + 2 * seen * dim**2)
    total += 2 * seen * dim**2 * bool(side)
    total += 2 * tokens * dim * cells * (config["in_channels"] + config["out_channels"])
    total += 2 * levels * (config["freq_dim"] * dim + 7 * dim**2)
    if released:
        total += (layers + side) * 4 * text * dim**2
        total += 2 * text * (config["text_dim"] * dim + dim**2)
        total += 2 * seen * dim * cells * config["vace_in_channels"] * bool(side)
    return int(total)


def peak_tflops(device_name: str) -> float | None:
    """Of a GPU by its name, None where it is not known."""
    return next((peak for name, peak in PEAK_TFLOPS.items() if name in device_name), None)

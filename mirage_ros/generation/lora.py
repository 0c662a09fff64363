"""LoRA files: small matrices whose product is added to the transformer's weights.

A pair stands for ``W + scale * alpha / rank * up @ down`` (Hu et al. 2021, arXiv 2106.09685); where
no alpha is stored, alpha / rank counts as 1. Few-step LoRAs carry whole differences beside pairs.
"""

from __future__ import annotations

import importlib.util
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.key_names import listed, module_name, parameter_name
from mirage_ros.generation.tensor_files import TensorFiles

#: What a key ends with, and what it is then. PEFT puts an adapter's name before ``weight``.
_ENDINGS = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"\.lora_A(\.\w+)?\.weight$", "down"),
        (r"\.lora_B(\.\w+)?\.weight$", "up"),
        (r"\.lora_B(\.\w+)?\.bias$", "bias"),
        (r"\.lora[._]down\.weight$", "down"),
        (r"\.lora[._]up\.weight$", "up"),
        (r"\.alpha$", "alpha"),
        (r"\.diff$", "weight"),
        (r"\.diff_b$", "bias"),
        (r"\.diff_m$", "modulation"),
    )
)

#: One way of writing a whole path as a single word.
_FLAT = re.compile(r"lora_\w+?_((?:vace_)?blocks)_(\d+)_(self_attn|cross_attn|ffn)_([qkvo02])")

EXPECTED = (
    "pairs such as blocks.0.self_attn.q.lora_A.weight and .lora_B.weight (or lora_down and "
    "lora_up), with .alpha, .diff, .diff_b or .diff_m where there are any, behind any prefix"
)


@dataclass(frozen=True)
class LoraPair:
    """What is added to the weight of one module: ``scale * up @ down``.

    Attributes:
        down: (r, inputs); of a convolution (r, channels, kernel).
        up: (outputs, r), possibly with kernel axes of 1.
        scale: alpha / r, 1 without an alpha.
    """

    down: Tensor
    up: Tensor
    scale: float


@dataclass(frozen=True)
class Lora:
    """One LoRA file with targets named in diffusers' way.

    Attributes:
        source: where it comes from, for messages.
        pairs: by name of the weight they belong to.
        differences: by name of the weight, bias or table they are added to.
    """

    source: str
    pairs: Mapping[str, LoraPair]
    differences: Mapping[str, Tensor] = field(default_factory=dict)

    def check(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Compare with the tensors of the model.

        Raises:
            CheckpointError: a target does not exist or has another shape.
        """
        strangers = sorted((self.pairs.keys() | self.differences.keys()) - shapes.keys())
        if strangers:
            raise CheckpointError(
                f"{self.source}: expected targets among the model's {len(shapes)} tensors. Got "
                f"{len(strangers)} others: {listed(strangers)}"
            )
        for name, pair in self.pairs.items():
            outputs, inputs = shapes[name][0], math.prod(shapes[name][1:])
            got = (pair.up.flatten(1).shape[0], pair.down.flatten(1).shape[1])
            if got != (outputs, inputs):
                raise CheckpointError(
                    f"{self.source}: expected for {name} a product of {outputs}x{inputs}. "
                    f"Got up {tuple(pair.up.shape)} and down {tuple(pair.down.shape)}"
                )
        for name, difference in self.differences.items():
            if tuple(difference.shape) != tuple(shapes[name]):
                raise CheckpointError(
                    f"{self.source}: expected for {name} a difference of {tuple(shapes[name])}. "
                    f"Got {tuple(difference.shape)}"
                )

    def add_to(self, name: str, weight: Tensor, scale: float = 1.0) -> Tensor:
        """The weight with what is stored for it, in float32; itself where nothing is stored."""
        pair, difference = self.pairs.get(name), self.differences.get(name)
        if pair is not None:
            up, down = (
                matrix.flatten(1).to(weight.device, torch.float32)
                for matrix in (pair.up, pair.down)
            )
            product = (up @ down).view(weight.shape)
            weight = weight.float() + (scale * pair.scale) * product
        if difference is not None:
            weight = weight.float() + scale * difference.to(weight.device, torch.float32)
        return weight


def read_lora(path: Path, *, allow_pickle: bool = False) -> Lora:
    """Read a LoRA file.

    Raises:
        UnavailableError: there is none.
        CheckpointError: not a LoRA of this transformer, or half a pair.
        ConfigurationError: it is pickled, and that is not allowed.
    """
    with TensorFiles(path, allow_pickle=allow_pickle) as files:
        return parse_lora({key: files.read(key) for key in files.shapes}, str(path))


def is_lora_key(key: str) -> bool:
    """Whether a file's key belongs to a LoRA."""
    return any(pattern.search(key) for pattern, _ in _ENDINGS)


def parse_lora(tensors: Mapping[str, Tensor], source: str) -> Lora:
    """Sort a file's tensors into pairs and differences.

    Raises:
        CheckpointError: names that are no LoRA's of this transformer, one twice, or half a pair.
    """
    found: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        target, role = _target(key)
        if target is None:
            unknown.append(key)
        elif role in found.setdefault(target, {}):
            raise CheckpointError(
                f"{source}: expected one adapter. Got {role} of {target} twice, again as {key}"
            )
        else:
            found[target][role] = tensor
    if unknown or not found:
        raise CheckpointError(
            f"{source}: expected {EXPECTED}. Got {len(unknown)} of {len(tensors)} names that are "
            f"neither: {listed(unknown)}"
        )
    pairs, differences = {}, {}
    for target, parts in found.items():
        if "difference" in parts:
            differences[target] = parts["difference"]
        if parts.keys() & {"down", "up", "alpha"}:
            pairs[target] = _pair(source, target, parts)
    return Lora(source, pairs, differences)


def attach(model: Any, loras: Sequence[Lora], scales: Sequence[float]) -> None:
    """Keep LoRAs as adapters of a model of diffusers, so that they can be switched and scaled.

    Adapter number n is called ``lora_n``; the model must not have any yet.

    Raises:
        UnavailableError: the package peft is not installed.
        ConfigurationError: a LoRA carries differences, which an adapter has no place for.
        CheckpointError: a target does not exist or has another shape.
    """
    if importlib.util.find_spec("peft") is None:
        raise UnavailableError(
            "LoRAs are kept as adapters by the package peft, which is not installed: "
            "pip install peft, or have them fused"
        )
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    for lora in loras:
        if lora.differences:
            raise ConfigurationError(
                f"{lora.source}: expected pairs only, to be kept as an adapter. Got "
                f"{len(lora.differences)} differences ({listed(sorted(lora.differences))}); have "
                "it fused"
            )
        lora.check(shapes)
    names = []
    for number, lora in enumerate(loras):
        matrices = {}
        for name, pair in lora.pairs.items():
            module = name.removesuffix(".weight")
            matrices[f"{module}.lora_A.weight"] = pair.down
            # peft knows one alpha for a module type; so it goes into the matrix.
            matrices[f"{module}.lora_B.weight"] = pair.up * pair.scale
        names.append(f"lora_{number}")
        with warnings.catch_warnings():
            # That there is one already; several are meant.
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
            model.load_lora_adapter(matrices, prefix=None, adapter_name=names[-1])
    if names:
        model.set_adapters(names, list(scales))


def _target(key: str) -> tuple[str | None, str]:
    """The tensor that a key is about, and what the key holds for it."""
    for pattern, role in _ENDINGS:
        match = pattern.search(key)
        if match is None:
            continue
        path = key[: match.start()]
        flat = _FLAT.fullmatch(path)
        if flat is not None:
            path = ".".join(flat.groups())
        module = module_name(path)
        if role in ("down", "up", "alpha"):
            return (None if module is None else f"{module}.weight"), role
        if role == "modulation":
            return parameter_name(f"{path}.modulation"), "difference"
        if role == "weight" and module is None:
            return parameter_name(path), "difference"
        return (None if module is None else f"{module}.{role}"), "difference"
    return None, ""


def _pair(source: str, target: str, parts: Mapping[str, Tensor]) -> LoraPair:
    missing = [role for role in ("down", "up") if role not in parts]
    if missing:
        raise CheckpointError(
            f"{source}: expected both matrices of {target}. Got only {', '.join(sorted(parts))}"
        )
    down, up = parts["down"], parts["up"]
    if min(down.ndim, up.ndim) < 2 or up.shape[1] != down.shape[0] or math.prod(up.shape[2:]) != 1:
        raise CheckpointError(
            f"{source}: expected for {target} matrices (outputs, rank) and (rank, inputs). "
            f"Got {tuple(up.shape)} and {tuple(down.shape)}"
        )
    scale = 1.0
    if "alpha" in parts:
        if parts["alpha"].numel() != 1:
            raise CheckpointError(
                f"{source}: expected one number as alpha of {target}. "
                f"Got shape {tuple(parts['alpha'].shape)}"
            )
        scale = float(parts["alpha"]) / down.shape[0]
    return LoraPair(down, up, scale)

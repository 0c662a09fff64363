"""How a large transformer is run on a robot's GPU: placement, attention, compilation, 8 bits.

All of it is diffusers' or torch's own; here the choices are checked and applied in the order in
which they work. What they cost in memory: :mod:`.memory_estimate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mirage_ros.errors import ConfigurationError, UnavailableError
from mirage_ros.wan_settings import DTYPES, OFFLOADS, QUANTIZATIONS

#: Least compute capability with 8-bit floating-point matrix products.
_FP8_CAPABILITY = (8, 9)

#: Layers with fewer numbers stay as they are: little to gain, and they are the sensitive ones.
_QUANTIZED_FROM = 1 << 16


@dataclass(frozen=True)
class RuntimeOptions:
    """How to run the transformer; the choices are those of :mod:`mirage_ros.wan_settings`.

    Attributes:
        dtype: one of ``DTYPES``.
        attention: name of an attention backend of diffusers; empty: torch's own.
        compile: compile the blocks with torch.compile; the first chunk then takes minutes.
        quantization: one of ``QUANTIZATIONS``; needs torchao.
        offload: one of ``OFFLOADS``.

    Raises:
        ConfigurationError: a value is not one of these, or two do not go together.
    """

    dtype: str = "bfloat16"
    attention: str = ""
    compile: bool = False
    quantization: str = "none"
    offload: str = "none"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("dtype", DTYPES),
            ("quantization", QUANTIZATIONS),
            ("offload", OFFLOADS),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ConfigurationError(
                    f"{name} must be one of {', '.join(allowed)}. Got '{value}'"
                )
        if self.compile and self.offload == "group":
            raise ConfigurationError(
                "compile and offload 'group' do not go together: layers that move cannot be "
                "compiled. Choose one"
            )
        if self.quantization != "none" and self.offload == "group":
            raise ConfigurationError(
                "quantization and offload 'group' do not go together: 8-bit weights cannot be "
                "copied layer by layer. Choose offload 'model'"
            )

    @property
    def torch_dtype(self) -> torch.dtype:
        """The type that the model computes in."""
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype


def prepare(
    transformer: Any,
    options: RuntimeOptions,
    device: torch.device | str,
) -> Callable[[], AbstractContextManager[object]]:
    """Apply the options; the result makes a context in which the transformer is on ``device``.

    Args:
        transformer: a diffusers model, on the CPU or on ``device``, in its final type.
        options: what to apply.
        device: where it shall compute.

    Raises:
        ConfigurationError: an attention backend that diffusers does not know or cannot use here.
        UnavailableError: torchao is missing, or the device cannot multiply in 8 bits.
    """
    where = torch.device(device)
    if options.attention:
        try:
            transformer.set_attention_backend(options.attention)
        except (ValueError, RuntimeError, ImportError) as error:
            raise ConfigurationError(
                f"attention backend '{options.attention}' cannot be used: {error}"
            ) from error
    if options.offload == "none":
        transformer.to(where)
    if options.quantization != "none":
        _quantize(transformer, options.quantization, where)
    if options.compile:
        transformer.compile_repeated_blocks(fullgraph=True)
    if options.offload == "group":
        transformer.enable_group_offload(
            onload_device=where,
            offload_device=torch.device("cpu"),
            # Leaves, not blocks: keys of the text are taken from the middle of blocks.
            offload_type="leaf_level",
            use_stream=where.type == "cuda",
        )
        return nullcontext
    if options.offload == "model":
        return lambda: _borrowed(transformer, where)
    return nullcontext


@contextmanager
def _borrowed(module: nn.Module, device: torch.device) -> Iterator[None]:
    module.to(device)
    try:
        yield
    finally:
        module.to("cpu")
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _quantize(transformer: nn.Module, how: str, device: torch.device) -> None:
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            Float8WeightOnlyConfig,
            quantize_,
        )
    except ImportError as error:
        raise UnavailableError(
            f"quantization '{how}' needs the package torchao (pip install torchao): {error}"
        ) from error
    if how == "fp8":
        capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
        if capability < _FP8_CAPABILITY:
            raise UnavailableError(
                "quantization 'fp8' needs a GPU of compute capability "
                f"{'.'.join(map(str, _FP8_CAPABILITY))} or more. Got {device} with "
                f"{'.'.join(map(str, capability))}; 'fp8_weights' works anywhere"
            )
        config: Any = Float8DynamicActivationFloat8WeightConfig()
    else:
        config = Float8WeightOnlyConfig()

    quantize_(transformer, config, is_quantized)


def is_quantized(module: nn.Module, name: str) -> bool:
    """Whether quantization changes a module of the transformer: large layers of its blocks."""
    inside = ".blocks." in f".{name}" or "vace_blocks." in name
    return isinstance(module, nn.Linear) and inside and module.weight.numel() >= _QUANTIZED_FROM

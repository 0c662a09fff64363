"""The parameters of the Wan2.2 backend, all under ``wan``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from mirage_ros.nodes.parameters import Spec
from mirage_ros.wan_settings import (
    DTYPES,
    LORA_MODES,
    OFFLOADS,
    QUANTIZATIONS,
    SOLVERS,
    WanSettings,
)

_DEFAULT = WanSettings()

WAN_PARAMETERS: tuple[Spec, ...] = (
    Spec(
        "wan.model",
        _DEFAULT.model,
        "Base model: a folder in diffusers' layout, one that save_model wrote, or a hub's "
        "owner/name.",
    ),
    Spec(
        "wan.side_branch",
        "",
        "File or folder with the side branch through which the model sees the memory; empty: as in "
        "the model's folder.",
    ),
    Spec(
        "wan.side_branch_layers",
        [],
        "Layers that the side branch gives hints to; not set: as its files say.",
        element=int,
    ),
    Spec("wan.lora", [], "Files of low-rank changes, added in this order.", element=str),
    Spec("wan.lora_scales", [], "How much each of them counts; not set: fully."),
    Spec(
        "wan.lora_mode",
        _DEFAULT.lora_mode,
        "Add them to the weights, or keep them beside (needs peft; slower).",
        choices=LORA_MODES,
    ),
    Spec("wan.prompt", "", "Text that views are generated with."),
    Spec("wan.negative_prompt", "", "Text to keep away from, where guidance is not 1."),
    Spec("wan.steps", _DEFAULT.steps, "Denoising steps a chunk.", 1, 1000),
    Spec("wan.shift", _DEFAULT.shift, "Shift of the noise levels towards noise.", 0.01, 100.0),
    Spec(
        "wan.solver",
        _DEFAULT.solver,
        "What takes the steps; renoise is for models distilled to a few.",
        choices=SOLVERS,
    ),
    Spec(
        "wan.noise_levels",
        [],
        "The noise levels themselves, falling, in (0, 1]; not set: from steps and shift.",
    ),
    Spec(
        "wan.guidance",
        _DEFAULT.guidance,
        "Weight of the prompt against the negative one; 1: none, half the work.",
        0.0,
        100.0,
    ),
    Spec("wan.references", _DEFAULT.references, "Whole past frames shown at most.", 0, 16),
    Spec("wan.preceding", _DEFAULT.preceding, "Latent frames before a chunk shown at most.", 0, 16),
    Spec(
        "wan.batch",
        _DEFAULT.batch,
        "Chunks of different candidate paths that go through the model at once.",
        1,
        64,
    ),
    Spec("wan.dtype", _DEFAULT.dtype, "Type that the model computes in.", choices=DTYPES),
    Spec(
        "wan.attention",
        "",
        "Attention backend of diffusers (flash, sage, _flash_3_hub, ...); empty: torch's own.",
    ),
    Spec("wan.compile", False, "Compile the blocks; configuration then takes minutes."),
    Spec(
        "wan.quantization",
        _DEFAULT.quantization,
        "8-bit weights; needs torchao. fp8 computes in 8 bits too.",
        choices=QUANTIZATIONS,
    ),
    Spec(
        "wan.offload",
        _DEFAULT.offload,
        "Keep the model off the GPU: between chunks, or but for a few layers.",
        choices=OFFLOADS,
    ),
    Spec(
        "wan.tiny_decoder",
        "",
        "File of a small decoder (taew2_2) used instead of the VAE's; empty: none.",
    ),
    Spec(
        "wan.tile",
        0,
        "Side of the tiles that the VAE works in, pixels, a multiple of 32; 0: whole pictures.",
        0,
        4096,
        check=lambda value: "" if value % 32 == 0 else f"wan.tile: multiples of 32. Got {value}",
    ),
    Spec("wan.offline", False, "Never ask a hub for weights."),
    Spec("wan.allow_pickle", False, "Read weights from pickles too (no code is run)."),
    Spec(
        "wan.cache_directory",
        "",
        "Where encoded prompts are kept; empty: mirage_ros in the user's cache.",
    ),
)


def wan_settings(values: Callable[[str], Any]) -> WanSettings:
    """The settings that the parameters say, given a way to ask for a value by name."""
    given: dict[str, Any] = {}
    for field in fields(WanSettings):
        value = values(f"wan.{field.name}")
        given[field.name] = tuple(value) if isinstance(value, list) else value
    return WanSettings(**given)

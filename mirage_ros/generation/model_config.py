"""Sizes of a transformer: from its config.json, and from the shapes of its tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from mirage_ros.errors import CheckpointError, ConfigurationError

#: Heads of all of Wan's models have this many channels.
HEAD_DIM = 128

#: Classes whose configuration this is; Wan's own files call themselves WanModel.
CLASSES = (
    "WanTransformer3DModel",
    "WanVACETransformer3DModel",
    "WanWorldTransformer",
    "WanModel",
    "VaceWanModel",
)

#: What Wan's own config.json calls what diffusers calls otherwise.
_ORIGINAL = {
    "in_dim": "in_channels",
    "out_dim": "out_channels",
    "num_heads": "num_attention_heads",
    "vace_in_dim": "vace_in_channels",
}

#: Keys that hold whole numbers, and the least of each.
_WHOLE = {
    "num_attention_heads": 1,
    "attention_head_dim": 1,
    "in_channels": 1,
    "out_channels": 1,
    "text_dim": 1,
    "freq_dim": 1,
    "ffn_dim": 1,
    "num_layers": 1,
    "rope_max_seq_len": 1,
    "vace_in_channels": 1,
    "max_reference_frames": 0,
}

Shapes = Mapping[str, Sequence[int]]


def read_json(path: Path) -> dict[str, Any]:
    """An object of a JSON file.

    Raises:
        CheckpointError: it cannot be read, or is no object.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: expected a JSON file. Got {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a JSON object. Got {type(content).__name__}")
    return content


def read_config(path: Path) -> dict[str, Any]:
    """A transformer's config.json with diffusers' keys.

    Raises:
        CheckpointError: it cannot be read, is of another kind of model, or holds no numbers where
            it should.
    """
    content = read_json(path)
    kind = content.get("_class_name")
    if kind is not None and kind not in CLASSES:
        raise CheckpointError(
            f"{path}: expected the configuration of one of {', '.join(CLASSES)}. Got {kind}"
        )
    config = {_ORIGINAL.get(key, key): value for key, value in content.items()}
    for key, least in _WHOLE.items():
        if config.get(key) is None:
            # As if nothing were said.
            config.pop(key, None)
        elif not _is_whole(config[key], least):
            raise CheckpointError(
                f"{path}: expected a whole number from {least} on as {key}. Got {config[key]!r}"
            )
    patch = config.get("patch_size")
    if patch is not None and not (
        isinstance(patch, list) and len(patch) == 3 and all(_is_whole(side, 1) for side in patch)
    ):
        raise CheckpointError(f"{path}: expected three numbers as patch_size. Got {patch!r}")
    if "dim" in config and config.get("num_attention_heads"):
        if not _is_whole(config["dim"], 1):
            raise CheckpointError(f"{path}: expected a number as dim. Got {config['dim']!r}")
        config["attention_head_dim"] = config["dim"] // config["num_attention_heads"]
    return config


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def base_config(shapes: Shapes, stated: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Configuration of the transformer without its side branch.

    Args:
        shapes: of its tensors, by diffusers' names.
        stated: what a config.json says, empty without one.
        source: where the tensors come from, for messages.

    Raises:
        CheckpointError: a tensor is missing that tells a size.
        ConfigurationError: ``stated`` contradicts the shapes, or the number of heads, which shapes
            do not tell, is not stated and not Wan's usual one.
    """
    patch = _shape(shapes, "patch_embedding.weight", 5, source)
    dim, patch_size = patch[0], tuple(patch[2:])
    cells = patch_size[0] * patch_size[1] * patch_size[2]
    read = {
        "in_channels": patch[1],
        "patch_size": patch_size,
        "out_channels": _shape(shapes, "proj_out.weight", 2, source)[0] // cells,
        "num_layers": blocks_in(shapes, "blocks"),
        "ffn_dim": _shape(shapes, "blocks.0.ffn.net.0.proj.weight", 2, source)[0],
        "text_dim": _shape(shapes, "condition_embedder.text_embedder.linear_1.weight", 2, source)[
            1
        ],
        "freq_dim": _shape(shapes, "condition_embedder.time_embedder.linear_1.weight", 2, source)[
            1
        ],
        "cross_attn_norm": "blocks.0.norm2.weight" in shapes,
    }
    for key, value in read.items():
        said = stated.get(key)
        if said is not None and (tuple(said) if key == "patch_size" else said) != value:
            raise ConfigurationError(
                f"{source}: expected tensors of the configuration's {key} {said}. Got {key} {value}"
            )
    return {**stated, **read, **_heads(dim, stated, source)}


def side_branch_layers(
    shapes: Shapes,
    num_layers: int,
    *stated: object,
    source: str,
) -> tuple[int, ...]:
    """Which of the transformer's layers the side branch's blocks belong to.

    Args:
        shapes: of the side branch's tensors, by diffusers' names.
        num_layers: layers of the transformer.
        stated: what is said about it, the most trusted first: layer numbers, or such a list as
            text; None and empty where nothing is said.
        source: where the tensors come from, for messages.

    Returns:
        The first list stated; without one, blocks spread evenly over the layers.

    Raises:
        ConfigurationError: the list does not fit the blocks or the layers, or nothing is stated and
            the blocks do not divide the layers evenly.
    """
    count = blocks_in(shapes, "vace_blocks")
    for said in stated:
        if said is None or said in ("", (), []):
            continue
        layers = _layer_numbers(said, source)
        fits = len(layers) == count and layers[:1] == (0,) and layers[-1] < num_layers
        if not fits or any(b <= a for a, b in pairwise(layers)):
            raise ConfigurationError(
                f"{source}: expected {count} ascending layers from 0 to {num_layers - 1}, the "
                f"first of them 0. Got {list(layers)}"
            )
        return layers
    step = -(-num_layers // count) if count else 0
    if not count or (count - 1) * step >= num_layers:
        raise ConfigurationError(
            f"{source}: unknown layer list. Expected blocks that divide {num_layers} layers "
            f"evenly, or the layers said explicitly (side_branch_layers, or vace_layers in a "
            f"config.json beside the file). Got {count} blocks"
        )
    return tuple(range(0, count * step, step))


def side_branch_channels(shapes: Shapes, source: str) -> int:
    """Input channels of the side branch.

    Raises:
        CheckpointError: its patch embedding is missing.
    """
    return _shape(shapes, "vace_patch_embedding.weight", 5, source)[1]


def blocks_in(names: Iterable[str], root: str) -> int:
    """How many blocks there are, by the highest number."""
    numbers = (re.match(rf"{root}\.(\d+)\.", name) for name in names)
    return max((int(match[1]) + 1 for match in numbers if match), default=0)


def _shape(shapes: Shapes, name: str, axes: int, source: str) -> tuple[int, ...]:
    shape = tuple(shapes.get(name, ()))
    if len(shape) != axes:
        got = f"shape {shape}" if shape else "no such tensor"
        raise CheckpointError(f"{source}: expected {name} with {axes} axes. Got {got}")
    return shape


def _heads(dim: int, stated: Mapping[str, Any], source: str) -> dict[str, int]:
    heads, size = stated.get("num_attention_heads"), stated.get("attention_head_dim")
    if size is None:
        if heads is None and dim % HEAD_DIM:
            raise ConfigurationError(
                f"{source}: expected a config.json beside it with num_attention_heads, which "
                f"cannot be told from shapes (Wan's heads have {HEAD_DIM} channels). "
                f"Got none, and {dim} channels"
            )
        size = HEAD_DIM if heads is None else dim // heads
    heads = dim // size if heads is None else heads
    if heads * size != dim:
        raise ConfigurationError(
            f"{source}: expected {dim} channels. Got {heads} heads of {size} in the configuration"
        )
    return {"num_attention_heads": int(heads), "attention_head_dim": int(size)}


def _layer_numbers(said: object, source: str) -> tuple[int, ...]:
    try:
        if isinstance(said, str):
            said = json.loads(said if said.lstrip().startswith("[") else f"[{said}]")
        if isinstance(said, Sequence) and all(type(layer) is int for layer in said):
            return tuple(said)
    except ValueError:
        pass
    raise ConfigurationError(f"{source}: expected layer numbers such as [0, 4, 8]. Got {said!r}")

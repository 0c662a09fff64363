"""Loads the transformer from published weights, a trained side branch and LoRAs.

Tensors are read one at a time, renamed, fused, checked against the model and only then put into it;
no file runs code. Nothing is left as the constructor made it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from mirage_ros.errors import CheckpointError, ConfigurationError
from mirage_ros.generation.hub import locate
from mirage_ros.generation.key_names import converted_keys, is_side_branch, listed
from mirage_ros.generation.lora import attach, is_lora_key, parse_lora, read_lora
from mirage_ros.generation.model_config import (
    base_config,
    read_config,
    side_branch_channels,
    side_branch_layers,
)
from mirage_ros.generation.model_folder import config_beside, transformer_weights
from mirage_ros.generation.tensor_files import TensorFiles
from mirage_ros.generation.transformer import WanWorldTransformer
from mirage_ros.wan_settings import LORA_MODES

#: A tensor's name in the model, and where it is stored under which key.
_Sources = dict[str, tuple[TensorFiles, str]]


@dataclass(frozen=True)
class ModelFiles:
    """What a transformer is put together from; paths or names of the hub (see ``hub.locate``).

    Attributes:
        model: a folder of Wan2.2-TI2V-5B in diffusers' layout, one that ``save_model`` wrote, or a
            file or folder of the transformer alone, under diffusers' or Wan's own names.
        side_branch: file or folder of the side branch; empty: that of ``model``, if it has one.
        lora: LoRA files, added one after the other.
        lora_scales: one for each of them; empty: 1 for all.
        lora_mode: ``fuse`` adds them to the weights, ``adapter`` keeps them beside (needs peft).
        side_branch_layers: layers that the side branch's blocks belong to; None: what a
            ``vace_layers`` in its config.json or header says, else spread evenly.
        revision: of ``model`` on the hub.
        offline: nothing is fetched.
        allow_pickle: pickled files (.pt, .pth, .bin, .ckpt) are read too, tensors only.
    """

    model: str
    side_branch: str = ""
    lora: tuple[str, ...] = ()
    lora_scales: tuple[float, ...] = ()
    lora_mode: str = "fuse"
    side_branch_layers: tuple[int, ...] | None = None
    revision: str = ""
    offline: bool = False
    allow_pickle: bool = False

    def __post_init__(self) -> None:
        if self.lora_scales and len(self.lora_scales) != len(self.lora):
            raise ConfigurationError(
                f"lora_scales: expected one for each of {len(self.lora)} LoRA files, or none. "
                f"Got {len(self.lora_scales)}"
            )
        if self.lora_mode not in LORA_MODES:
            raise ConfigurationError(
                f"lora_mode must be one of {', '.join(LORA_MODES)}. Got '{self.lora_mode}'"
            )


def load_transformer(
    files: ModelFiles,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    check_values: bool = True,
) -> WanWorldTransformer:
    """The transformer, ready for inference: in ``eval`` mode, without gradients.

    Args:
        files: what it is made of.
        dtype: type of the weights; None: as stored. Modules that diffusers keeps in float32 (norms,
            modulation, time embedding) are float32 whenever a type is given.
        device: where the weights go, one tensor after the other.
        check_values: refuse weights that are not finite.

    Raises:
        UnavailableError: a file is not on this machine, or a package is missing.
        CheckpointError: the files are not those of this model: names, shapes, types, values.
        ConfigurationError: sizes that cannot be told or contradict each other, a layer list that
            does not fit, a pickled file.
    """
    with ExitStack() as stack:
        tensors, side, config = _opened(files, stack)
        loras = []
        if side is not None:
            # A training run that tunes both saves both in one file.
            pairs = {key: side.read(key) for key in side.shapes if is_lora_key(key)}
            loras = [(parse_lora(pairs, str(side.path)), 1.0)] if pairs else []
        for number, name in enumerate(files.lora):
            lora_path = locate(name, offline=files.offline)
            lora = read_lora(lora_path, allow_pickle=files.allow_pickle)
            loras.append((lora, files.lora_scales[number] if files.lora_scales else 1.0))
        # Buffers are computed and not stored, so they are made for real.
        with init_empty_weights(include_buffers=False):
            model: WanWorldTransformer = WanWorldTransformer(**config)
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        _check_tensors(tensors, shapes)
        for lora, _ in loras:
            lora.check(shapes)
        fused = loras if files.lora_mode == "fuse" else []
        state = {}
        for name, (source, key) in tensors.items():
            tensor = source.read(key).to(device)
            stored = tensor.dtype
            for lora, scale in fused:
                tensor = lora.add_to(name, tensor, scale)
            state[name] = tensor.to(weight_type(name, model, dtype) or stored)
            if check_values:
                _check_finite(state[name], f"{source.path}: {key}")
        model.load_state_dict(state, strict=True, assign=True)
    model.to(device)
    if files.lora_mode == "adapter":
        attach(model, [lora for lora, _ in loras], [scale for _, scale in loras])
    model.requires_grad_(False).eval()
    return model


def stated_config(files: ModelFiles) -> dict[str, Any]:
    """Arguments of the transformer that :func:`load_transformer` would make.

    Names and shapes are read, and what is said beside them; no weights, unless they are pickled.

    Raises:
        UnavailableError: a file is not on this machine.
        CheckpointError: the files are not those of such a model.
        ConfigurationError: as :func:`load_transformer`.
    """
    with ExitStack() as stack:
        return _opened(files, stack)[2]


def _opened(
    files: ModelFiles, stack: ExitStack
) -> tuple[_Sources, TensorFiles | None, dict[str, Any]]:
    """Where the tensors are, the side branch's own file, and the transformer's arguments."""
    path = locate(files.model, revision=files.revision, offline=files.offline)
    weights, config_path = transformer_weights(path)
    base = stack.enter_context(TensorFiles(weights, allow_pickle=files.allow_pickle))
    tensors: _Sources = {
        name: (base, key) for name, key in converted_keys(base.shapes, str(weights)).items()
    }
    stated = {} if config_path is None else read_config(config_path)
    side = None
    if files.side_branch:
        side_path = locate(files.side_branch, offline=files.offline)
        side = stack.enter_context(TensorFiles(side_path, allow_pickle=files.allow_pickle))
        tensors = {name: at for name, at in tensors.items() if not is_side_branch(name)}
        tensors |= _side_branch(side)
    return tensors, side, _config(files, base, tensors, stated)


def _side_branch(side: TensorFiles) -> _Sources:
    source = str(side.path)
    names = converted_keys((key for key in side.shapes if not is_lora_key(key)), source)
    strangers = [key for name, key in names.items() if not is_side_branch(name)]
    if strangers or not names:
        raise CheckpointError(
            f"{source}: expected tensors of a side branch (vace_blocks, vace_patch_embedding). Got "
            f"{len(strangers)} others: {listed(strangers) or 'nothing at all'}"
        )
    return {name: (side, key) for name, key in names.items()}


def _config(
    files: ModelFiles,
    base: TensorFiles,
    tensors: _Sources,
    stated: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments of the transformer."""
    shapes = {name: source.shapes[key] for name, (source, key) in tensors.items()}
    config = base_config(shapes, stated, str(base.path))
    side = next((at for name, (at, _) in tensors.items() if is_side_branch(name)), None)
    if side is not None:
        beside = config_beside(side.path)
        said = stated if side is base else {} if beside is None else read_config(beside)
        layers = side_branch_layers(
            shapes,
            config["num_layers"],
            files.side_branch_layers,
            said.get("vace_layers"),
            side.metadata.get("vace_layers"),
            source=str(side.path),
        )
        config["vace_in_channels"] = side_branch_channels(shapes, str(side.path))
    elif files.side_branch_layers:
        raise ConfigurationError(
            f"side_branch_layers: expected none, {base.path} has no side branch. "
            f"Got {list(files.side_branch_layers)}"
        )
    elif stated.get("vace_layers") and "_class_name" in stated:
        raise CheckpointError(
            f"{base.path}: expected the side branch that its config.json tells of, layers "
            f"{list(stated['vace_layers'])}. Got no tensor of it"
        )
    else:
        layers = ()
    config["vace_layers"] = list(layers)
    known = inspect.signature(WanWorldTransformer.__init__).parameters.keys()
    return {key: value for key, value in config.items() if key in known}


def _check_tensors(tensors: _Sources, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare what is stored with what the model has.

    Raises:
        CheckpointError: tensors are missing, left over or of other shapes.
    """
    got = {name: tuple(source.shapes[key]) for name, (source, key) in tensors.items()}
    sources = sorted({str(source.path) for source, _ in tensors.values()})

    def refuse(what: str, names: Iterable[str]) -> None:
        every = sorted(names)
        if every:
            raise CheckpointError(
                f"{' and '.join(sources)}: {what} {len(every)} tensors: {listed(every)}"
            )

    refuse("expected the model's tensors. Missing", shapes.keys() - got.keys())
    refuse("expected only the model's tensors. Got also", got.keys() - shapes.keys())
    refuse(
        "expected the model's shapes. Got others in",
        (
            f"{name} (expected {shapes[name]}, got {shape})"
            for name, shape in got.items()
            if shape != shapes[name]
        ),
    )


def weight_type(
    name: str,
    model: WanWorldTransformer,
    dtype: torch.dtype | None,
) -> torch.dtype | None:
    """The type for a tensor of a model that is loaded as ``dtype``; None: as stored.

    A part of its name may say float32, as diffusers has it.
    """
    if dtype is not None and set(name.split(".")) & set(model._keep_in_fp32_modules or ()):
        return torch.float32
    return dtype


def _check_finite(tensor: Tensor, what: str) -> None:
    # One pass without a copy; NaN and infinity come through minimum and maximum.
    low, high = torch.aminmax(tensor)
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        count = int((~torch.isfinite(tensor)).sum())
        raise CheckpointError(
            f"{what}: expected finite numbers. Got {count} of {tensor.numel()} that are not"
        )

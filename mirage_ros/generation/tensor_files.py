"""Tensors of one file, or of a folder of shards, read one at a time and without running code."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.key_names import listed

PICKLED = (".pt", ".pth", ".bin", ".ckpt")

#: Where programs that save more than the weights put the weights.
_NESTED = ("state_dict", "module", "model")

#: How the pipeline's libraries name a whole model's file or its shards' index.
_STEMS = ("diffusion_pytorch_model", "model")


class TensorFiles:
    """The tensors of one checkpoint by name; use it as a context manager.

    Attributes:
        path: what it was opened as.
        shapes: shape of every tensor.
        metadata: plain strings that the files carry beside the tensors.
    """

    def __init__(self, path: Path, *, allow_pickle: bool = False) -> None:
        """Open it.

        Raises:
            UnavailableError: there is no such file or folder, or a shard is missing.
            CheckpointError: not a file of tensors, cut off, or one tensor twice.
            ConfigurationError: it is pickled, and that is not allowed.
        """
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        self._readers: dict[str, Any] = {}
        self._loaded: dict[str, Tensor] = {}
        self._stack = ExitStack()
        try:
            for file in weight_files(path):
                if file.suffix in PICKLED:
                    self._add_pickled(file, allow_pickle)
                else:
                    self._add(file)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> TensorFiles:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._readers.clear()
        self._loaded.clear()
        self._stack.close()

    def read(self, key: str) -> Tensor:
        """One tensor.

        Raises:
            CheckpointError: it is not of floating-point numbers that a model is made of.
        """
        tensor = self._loaded.get(key)
        if tensor is None:
            tensor = self._readers[key].get_tensor(key)
        if tensor.dtype not in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
            raise CheckpointError(
                f"{self.path}: expected numbers of float32, bfloat16 or float16 (no quantised "
                f"files). Got {tensor.dtype} in {key}"
            )
        return tensor

    def _add(self, file: Path) -> None:
        try:
            reader = self._stack.enter_context(safe_open(file, framework="pt"))
            shapes = {key: tuple(reader.get_slice(key).get_shape()) for key in reader.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{file}: expected a whole safetensors file. Got {error}"
            ) from error
        self._readers.update(dict.fromkeys(shapes, reader))
        self.metadata.update(reader.metadata() or {})
        self._note(file, shapes)

    def _add_pickled(self, file: Path, allow_pickle: bool) -> None:
        if not allow_pickle:
            raise ConfigurationError(
                f"{file}: expected safetensors. Got a pickled file, which is read only with "
                "allow_pickle (as tensors, no code is run); better convert it once: "
                "safetensors.torch.save_file(torch.load(path, weights_only=True), new_path)"
            )
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise CheckpointError(
                f"{file}: expected a pickled file that holds only tensors. Got {error}"
            ) from error
        for name in _NESTED:
            if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
                content = content[name]
        if not isinstance(content, Mapping) or not all(
            isinstance(value, Tensor) for value in content.values()
        ):
            raise CheckpointError(
                f"{file}: expected tensors by name, plain or under {', '.join(_NESTED)}. "
                f"Got {type(content).__name__}"
            )
        self._loaded.update(content)
        self._note(file, {key: tuple(tensor.shape) for key, tensor in content.items()})

    def _note(self, file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
        twice = shapes.keys() & self.shapes.keys()
        if twice:
            raise CheckpointError(
                f"{file}: expected every tensor in one shard. Got again {listed(sorted(twice))}"
            )
        self.shapes.update(shapes)


def weight_files(path: Path) -> list[Path]:
    """The file itself, or the files that a folder's weights are in.

    Raises:
        UnavailableError: nothing is there, or a shard that the index names is missing.
        CheckpointError: the index cannot be read, or a folder leaves open what is meant.
        ConfigurationError: a file of a kind that is not read.
    """
    if path.is_file():
        if path.suffix not in (".safetensors", *PICKLED):
            raise ConfigurationError(
                f"{path}: expected a file of weights, .safetensors (or {', '.join(PICKLED)}). "
                f"Got {path.suffix or 'no suffix'}"
            )
        return [path]
    if not path.is_dir():
        raise UnavailableError(f"{path}: expected a file or folder of weights. Got nothing there")
    indices = sorted(path.glob("*.safetensors.index.json"))
    if len(indices) == 1:
        return _shards(indices[0])
    found = sorted(path.glob("*.safetensors"))
    usual = [file for file in found if file.stem in _STEMS]
    for choice in (usual, found):
        if len(choice) == 1 and not indices:
            return choice
    pickled = sorted(file for suffix in PICKLED for file in path.glob(f"*{suffix}"))
    if not found and not indices and len(pickled) == 1:
        return pickled
    if not found and not indices and not pickled:
        raise UnavailableError(
            f"{path}: expected weights, such as {_STEMS[0]}.safetensors or shards with an "
            "index. Got a folder without any"
        )
    raise CheckpointError(
        f"{path}: expected one file of weights, or shards with one index. "
        f"Got {listed(file.name for file in (*indices, *found, *pickled))}; name the file"
    )


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index}: expected an index with a weight_map. Got {error}"
        ) from error
    files = [index.parent / str(name) for name in names]
    outside = [str(name) for name, file in zip(names, files, strict=True) if file.name != str(name)]
    if outside:
        raise CheckpointError(f"{index}: expected shards beside it. Got {listed(outside)}")
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UnavailableError(
            f"{index.parent}: expected the {len(files)} shards that {index.name} names. "
            f"Missing: {listed(missing)}"
        )
    return files

"""Files and folders of tensors: what is found, and what is said where something is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation.tensor_files import TensorFiles, weight_files

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "b.weight": torch.ones(4).bfloat16()}


def put(path: Path, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_file(TENSORS if tensors is None else tensors, path, {"said": "so"})
    return path


def test_tensors_are_read_as_they_are(tmp_path: Path) -> None:
    with TensorFiles(put(tmp_path / "a.safetensors")) as files:
        assert files.shapes == {"a.weight": (2, 3), "b.weight": (4,)}
        assert files.metadata == {"said": "so"}
        read = {key: files.read(key) for key in files.shapes}
    # What was read lasts longer than the open file.
    for key, tensor in TENSORS.items():
        assert read[key].dtype == tensor.dtype
        assert torch.equal(read[key], tensor)


def test_the_usual_file_of_a_folder_is_taken(tmp_path: Path) -> None:
    usual = put(tmp_path / "diffusion_pytorch_model.safetensors")
    put(tmp_path / "ema.safetensors")
    assert weight_files(tmp_path) == [usual]
    only = put(tmp_path / "other" / "side_branch.safetensors")
    assert weight_files(tmp_path / "other") == [only]


def test_a_pickled_file_is_found_only_where_there_is_nothing_better(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "model.pth")
    assert weight_files(tmp_path) == [tmp_path / "model.pth"]
    better = put(tmp_path / "model.safetensors")
    assert weight_files(tmp_path) == [better]


def test_a_folder_that_leaves_open_what_is_meant_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.safetensors")
    put(tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"Got a\.safetensors, b\.safetensors; name the file"):
        weight_files(tmp_path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r"expected a file or folder of weights. Got nothing"
    ):
        weight_files(tmp_path / "none")
    with pytest.raises(UnavailableError, match=r"diffusion_pytorch_model\.safetensors or shards"):
        weight_files(tmp_path)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigurationError, match=r"Got \.gguf"):
        weight_files(tmp_path / "m.gguf")


def test_shards_that_are_missing_are_named(tmp_path: Path) -> None:
    put(tmp_path / "m-00001-of-00002.safetensors")
    index = tmp_path / "m.safetensors.index.json"
    names = '"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"'
    index.write_text(f'{{"weight_map": {{{names}}}}}')
    with pytest.raises(UnavailableError, match=r"the 2 shards .* Missing: m-00002-of-00002"):
        weight_files(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_that_says_nothing_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "m.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match="expected an index with a weight_map"):
        weight_files(tmp_path)


def test_shards_elsewhere_are_refused(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "m.safetensors.index.json").write_text(
        f'{{"weight_map": {{"a": "../{outside.name}"}}}}'
    )
    with pytest.raises(CheckpointError, match=r"shards beside it. Got \.\./outside"):
        weight_files(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        put(tmp_path / f"{name}.safetensors")
    (tmp_path / "m.safetensors.index.json").write_text(
        '{"weight_map": {"a.weight": "one.safetensors", "b.weight": "two.safetensors"}}'
    )
    with pytest.raises(CheckpointError, match=r"in one shard. Got again a\.weight, b\.weight"):
        TensorFiles(tmp_path)


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"a\.safetensors: expected a whole safetensors file"):
        TensorFiles(path)

"""Where models are looked for; nothing here goes to the network."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from wan_folders import write_side_branch, write_wan_folder

from mirage_ros.errors import UnavailableError
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
from mirage_ros.generation.hub import locate, missing_part

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache as HF_HOME has it, with one model and the file of a side branch."""
    hub = tmp_path / "hf_home" / "hub"
    for repository in ("somebody/tiny-wan", "somebody/side"):
        folder = hub / f"models--{repository.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(COMMIT)
        snapshot = folder / "snapshots" / COMMIT
        if repository.endswith("side"):
            write_side_branch(snapshot / "weights" / "side.safetensors")
        else:
            write_wan_folder(snapshot, text_encoder=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    return hub


@pytest.mark.parametrize("way", ["argument", "environment"])
def test_a_model_of_the_cache_loads_offline(
    cache: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    # What HF_HUB_OFFLINE sets when the package is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", way == "environment")
    files = ModelFiles(
        "somebody/tiny-wan", "somebody/side:weights/side.safetensors", offline=way == "argument"
    )
    assert load_transformer(files).config.vace_layers == [0, 2]


def test_a_path_that_exists_is_taken_as_it_is(cache: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "somebody" / "tiny-wan").mkdir(parents=True)
    assert locate("somebody/tiny-wan") == Path("somebody/tiny-wan")


def test_revisions_are_kept_apart(cache: Path) -> None:
    found = locate("somebody/tiny-wan", offline=True)
    assert found == cache / "models--somebody--tiny-wan" / "snapshots" / COMMIT
    assert locate("somebody/tiny-wan", revision=COMMIT, offline=True) == found
    assert locate(f"somebody/tiny-wan@{COMMIT}", revision="v9", offline=True) == found
    with pytest.raises(UnavailableError, match="--revision v9"):
        locate("somebody/tiny-wan", revision="v9", offline=True)


def test_what_is_missing_is_named_with_its_size_and_the_command(cache: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        locate("Wan-AI/Wan2.2-TI2V-5B-Diffusers", ("transformer", "vae"), offline=True)
    message = str(caught.value)
    assert "hf download Wan-AI/Wan2.2-TI2V-5B-Diffusers --include" in message
    assert '"transformer/*.safetensors"' in message
    assert "config.json and diffusion_pytorch_model*.safetensors, 20 GB" in message
    assert "2.8 GB" in message
    assert "text_encoder" not in message


def test_a_file_that_the_repository_lacks_is_named(cache: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r"file other\.safetensors. Not in .*hf download some"
    ):
        locate("somebody/side:other.safetensors", offline=True)


@pytest.mark.parametrize("name", ["/nowhere/model", "model", "a/b/c", "", "./a/b"])
def test_what_is_neither_path_nor_repository_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(UnavailableError, match="which is none of them"):
        locate(name)


def test_only_the_parts_asked_for_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    asked = []

    def download(repository: str, **options: object) -> str:
        asked.append((repository, options))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("somebody/model@v2", ("vae",)) == tmp_path
    patterns = ["vae/*.json", "vae/*.safetensors", "model_index.json", "mirage_model.json"]
    assert asked == [
        (
            "somebody/model",
            {"revision": "v2", "allow_patterns": patterns, "local_files_only": False},
        )
    ]


def test_a_hub_out_of_reach_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class StrangeError(Exception):
        pass

    def download(*arguments: object, **options: object) -> str:
        raise StrangeError("no route\nand details")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UnavailableError, match=r"not to be fetched \(no route\). Where the hub"):
        locate("somebody/model")


def test_what_a_cached_model_lacks_is_fetched_into_the_cache(cache: Path, tmp_path: Path) -> None:
    snapshot = locate("somebody/tiny-wan", offline=True)
    assert missing_part(snapshot, "text_encoder").endswith(
        '"text_encoder/*.safetensors" fetches it'
    )
    assert missing_part(tmp_path, "vae").endswith(f"--local-dir {tmp_path} fetches it")

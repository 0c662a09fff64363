"""Prompts against diffusers' WanPipeline; the encoder is tiny, its files are as published."""

from __future__ import annotations

import logging
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, UMT5EncoderModel
from wan_folders import write_text_encoder, write_tokenizer

from mirage_ros.errors import CheckpointError, ConfigurationError, UnavailableError
from mirage_ros.generation import prompt as prompt_module
from mirage_ros.generation.prompt import clean_prompt, encode_prompt
from mirage_ros.generation.prompt_files import prompt_path, read_prompt, write_prompt

PROMPTS = (
    "",
    "a robot drives along the wall",
    "  a \n robot,\tin the  kitchen.  ",
    "a &amp;amp; b",
    "the apartment\u2019s kitchen \u00e2\u20ac\u201c a wall",
    " ".join(["robot"] * 60),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder of which only the text parts and the transformer's sizes matter here."""
    folder = tmp_path / "wan"
    write_text_encoder(folder / "text_encoder")
    write_tokenizer(folder / "tokenizer")
    (folder / "transformer").mkdir()
    (folder / "transformer" / "config.json").write_text('{"text_dim": 32}')
    return folder


def without_encoder(folder: Path) -> Path:
    shutil.rmtree(folder / "text_encoder")
    shutil.rmtree(folder / "tokenizer")
    return folder


def fail_to_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded(*arguments: object) -> None:
        raise AssertionError("it was encoded again")

    monkeypatch.setattr(prompt_module, "_encoded", encoded)


def test_embeddings_are_those_of_the_pipeline(folder: Path, tmp_path: Path) -> None:
    pipeline = WanPipeline(
        tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(folder / "text_encoder"),
        vae=AutoencoderKLWan(base_dim=4, z_dim=4, dim_mult=[1, 1], temperal_downsample=[True]),
        scheduler=UniPCMultistepScheduler(),
    )
    lengths = set()
    for prompt in PROMPTS:
        with torch.no_grad():
            theirs, _ = pipeline.encode_prompt(
                prompt, do_classifier_free_guidance=False, max_sequence_length=48
            )
        ours = encode_prompt(folder, prompt, max_length=48, cache_directory=tmp_path / "cache")
        torch.testing.assert_close(ours, theirs[0], rtol=1e-5, atol=1e-6)
        lengths.add(int(ours.ne(0).any(dim=1).sum()))
        again = encode_prompt(folder, prompt, max_length=48, cache_directory=tmp_path / "cache")
        assert torch.equal(again, ours)
    # One token at least, for the end; the longest one is cut.
    assert {min(lengths), max(lengths)} == {1, 48}


def test_prompts_are_cleaned() -> None:
    assert clean_prompt("  a \n robot,\tin the  kitchen.  ") == "a robot, in the kitchen."
    assert clean_prompt("a &amp;lt; b") == "a < b"


def test_512_rows_unless_said_otherwise(folder: Path) -> None:
    embedding = encode_prompt(folder, "a robot", dtype=torch.bfloat16)
    assert embedding.shape == (512, 32)
    assert embedding.dtype == torch.bfloat16
    assert embedding[:3].ne(0).any(dim=1).all()
    assert not embedding[3:].any()


def test_a_known_prompt_needs_no_encoder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = encode_prompt(folder, "a robot", cache_directory=cache)
    (file,) = cache.iterdir()
    # Only the rows that the prompt fills: two words and the end.
    assert load_file(file)["rows"].shape == (3, 32)
    fail_to_encode(monkeypatch)
    assert torch.equal(encode_prompt(folder, " a  robot", cache_directory=cache), first)
    with pytest.raises(AssertionError, match="again"):
        encode_prompt(folder, "a robot", cache_directory=cache, dtype=torch.bfloat16)
    with pytest.raises(AssertionError, match="again"):
        encode_prompt(folder, "a robot", cache_directory=cache, max_length=20)
    with pytest.raises(AssertionError, match="again"):
        encode_prompt(folder, "a wall", cache_directory=cache)
    assert torch.equal(
        encode_prompt(without_encoder(folder), "a robot", cache_directory=cache), first
    )


def test_another_encoder_is_not_confused(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = encode_prompt(folder, "a robot", cache_directory=cache)
    # Of the same size, so that nothing but its numbers tells.
    write_text_encoder(folder / "text_encoder", seed=4)
    second = encode_prompt(folder, "a robot", cache_directory=cache)
    assert (first - second).abs().max() > 0.1
    # With two of them, and none to compare with, the cache does not say which.
    with pytest.raises(UnavailableError):
        encode_prompt(without_encoder(folder), "a robot", cache_directory=cache)


@pytest.mark.parametrize("damage", ["cut", "other", "nan", "shape"])
def test_a_damaged_file_is_made_again(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache = tmp_path / "cache"
    first = encode_prompt(folder, "a robot", cache_directory=cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    header = {"format": "mirage_ros/prompt", "version": "1", "prompt": "a robot", "encoder": ""}
    if damage == "cut":
        file.write_bytes(whole[:-7])
    elif damage == "other":
        save_file({"rows": torch.ones(3, 32)}, file)
    elif damage == "nan":
        save_file({"rows": torch.full((3, 32), float("nan"))}, file, header)
    else:
        save_file({"rows": torch.ones(32)}, file, header)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(encode_prompt(folder, "a robot", cache_directory=cache), first)
    assert "Encoded prompt left aside" in caplog.text
    assert torch.equal(load_file(file)["rows"], first[:3])


def test_the_encoder_is_let_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    load = prompt_module._load_encoder

    def watched(*arguments):
        encoder = load(*arguments)
        seen.append(weakref.ref(encoder.encoder.block[0].layer[0].SelfAttention.q.weight))
        return encoder

    monkeypatch.setattr(prompt_module, "_load_encoder", watched)
    embedding = encode_prompt(folder, "a robot")
    assert [reference() for reference in seen] == [None]
    assert not embedding.requires_grad
    assert not embedding.is_inference()


def test_the_empty_prompt_falls_back_to_zeros_and_says_so(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real = encode_prompt(folder, "")
    assert real.any()
    without_encoder(folder)
    with caplog.at_level(logging.WARNING):
        embedding = encode_prompt(folder, " ", cache_directory=tmp_path / "cache")
    assert embedding.shape == (512, 32)
    assert not embedding.any()
    assert "not what the encoder gives" in caplog.text
    assert not (tmp_path / "cache").exists()
    write_prompt(folder / "prompts", "", real, encoder="")
    assert torch.equal(encode_prompt(folder, ""), real)
    (folder / "transformer" / "config.json").unlink()
    shutil.rmtree(folder / "prompts")
    assert encode_prompt(folder, "", text_dim=20).shape == (512, 20)
    with pytest.raises(ConfigurationError, match="that states text_dim"):
        encode_prompt(folder, "")


def test_a_new_prompt_without_an_encoder_says_what_to_fetch(folder: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(
        UnavailableError, match=r"expected tokenizer/: .* 20 MB.*hf download Wan-AI"
    ):
        encode_prompt(folder, "a robot")
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(
        UnavailableError, match=r"'a robot' has not .*11\.4 GB.*text_encoder/\*\.json"
    ):
        encode_prompt(folder, "a robot")


def test_an_encoder_that_lacks_weights_is_refused(folder: Path) -> None:
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    name = "encoder.block.1.layer.0.SelfAttention.q.weight"
    save_file({k: t for k, t in tensors.items() if k != name}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"Missing: {name}"):
        encode_prompt(folder, "a robot")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="expected a umt5 encoder"):
        encode_prompt(folder, "a robot")


@pytest.mark.parametrize("name", ["shared.weight", "encoder.embed_tokens.weight"])
def test_the_words_may_be_stored_under_either_name(folder: Path, name: str) -> None:
    wanted = encode_prompt(folder, "a robot")
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    words = [key for key in tensors if key in ("shared.weight", "encoder.embed_tokens.weight")]
    assert len(words) == 1
    tensors[name] = tensors.pop(words[0])
    save_file(tensors, path, {"format": "pt"})
    assert torch.equal(encode_prompt(folder, "a robot"), wanted)


def test_an_encoder_of_other_channels_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a text encoder of 20 channels.*Got 32"):
        encode_prompt(folder, "a robot", text_dim=20)
    with pytest.raises(ConfigurationError, match=r"at least 1 token. Got 0"):
        encode_prompt(folder, "a robot", max_length=0)


def test_files_begin_like_their_prompt(tmp_path: Path) -> None:
    path = write_prompt(tmp_path, "A robot, in the kitchen!", torch.ones(2, 4), encoder="e")
    assert path.name.startswith("a_robot_in_the_kitchen-")
    stored = read_prompt(path)
    assert (stored.prompt, stored.encoder) == ("A robot, in the kitchen!", "e")
    others = {prompt_path(tmp_path, "", "e"), prompt_path(tmp_path, "A robot in the kitchen", "e")}
    assert len(others | {path, prompt_path(tmp_path, "A robot, in the kitchen!", "f")}) == 4

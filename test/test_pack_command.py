"""``mirage pack`` on tiny weights in the published formats."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from wan_folders import lora_tensors, vace_model, write_lora, write_side_branch, write_wan_folder

from mirage_ros import cli
from mirage_ros.codec.probing import measure_channel_gain
from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
from mirage_ros.generation.model_folder import channel_gain_of
from mirage_ros.generation.prompt import encode_prompt
from mirage_ros.wan_backend import build_wan
from mirage_ros.wan_settings import WanSettings


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Path, Path, Path]:
    model = write_wan_folder(tmp_path / "model")
    side = write_side_branch(tmp_path / "side.safetensors")
    pairs = lora_tensors(vace_model().state_dict())
    return model, side, write_lora(tmp_path / "lora.safetensors", pairs)


def pack(*arguments: object) -> int:
    return cli.main(["pack", *map(str, arguments)])


def test_the_folder_holds_all_that_was_given(
    parts: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, side, lora = parts
    out = tmp_path / "whole"
    prompt = "a robot in an apartment"
    code = pack(
        out, "--model", model, "--side-branch", side, "--lora", f"{lora}*0.5", "--prompt", prompt,
        "--dtype", "float32", "--offline",
    )  # fmt: skip
    assert code == 0, capsys.readouterr().err
    assert "side branch at layers [0, 2], 2 prompts" in capsys.readouterr().out
    files = ModelFiles(str(model), str(side), (str(lora),), (0.5,))
    expected = load_transformer(files, dtype=torch.float32).state_dict()
    texts = {text: encode_prompt(model, text) for text in ("", prompt)}
    # It stands on its own.
    for path in (model, side, lora):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    packed = load_transformer(ModelFiles(str(out))).state_dict()
    assert packed.keys() == expected.keys()
    assert all(torch.equal(packed[name], tensor) for name, tensor in expected.items())
    for text, rows in texts.items():
        assert torch.equal(encode_prompt(out, text), rows)
    assert (out / "vae" / "config.json").is_file()
    # The node takes it as it is, and what was measured of the VAE.
    codec, generator = build_wan(
        WanSettings(str(out), prompt=prompt, dtype="float32", offline=True), "cpu"
    )
    assert generator.transformer.has_side_branch
    gain = channel_gain_of(out)
    assert codec.channel_gain == gain == measure_channel_gain(codec)
    assert len(set(gain)) > 1


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["--model", "/no/model"], "expected a file, a folder", 1),
        (["--lora", "x.safetensors*half"], "FILE or FILE*SCALE. Got 'x.safetensors*half'", 2),
        (["--side-branch-layers", "0,two"], "numbers with commas. Got '0,two'", 2),
        (["--side-branch", "/no/side"], "/no/side", 1),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    parts: tuple[Path, Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
    code: int,
) -> None:
    out = tmp_path / "whole"
    assert pack(out, "--model", parts[0], "--offline", *arguments) == code
    assert told in capsys.readouterr().err
    assert not out.exists()

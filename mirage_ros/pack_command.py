"""``mirage pack``: weights from many places into one folder that the wan2.2 backend loads as it is.

The folder holds the transformer with its side branch and its LoRAs added, the VAE, and encoded
prompts, so that a robot needs neither the text encoder nor a hub.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mirage_ros.errors import ConfigurationError
from mirage_ros.wan_settings import BASE_MODEL, DTYPES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("out", type=Path, metavar="FOLDER", help="new folder for the whole model")
    parser.add_argument(
        "--model", default=BASE_MODEL, help="base model: folder or hub name (default %(default)s)"
    )
    parser.add_argument("--side-branch", default="", help="file or folder, as training saves it")
    parser.add_argument(
        "--side-branch-layers", default="", metavar="LIST",
        help="layers that it gives hints to, with commas (default: as its files say)",
    )  # fmt: skip
    parser.add_argument(
        "--lora", action="append", default=[], metavar="FILE[*SCALE]",
        help="low-rank changes to add; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--prompt", action="append", default=[], help="to encode and keep, beside the empty one"
    )
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES, help="of the weights")
    parser.add_argument("--offline", action="store_true", help="never ask a hub")
    parser.add_argument("--allow-pickle", action="store_true", help="read pickled weights, too")


def run(options: argparse.Namespace) -> int:
    """Load, merge, write; 0.

    Raises:
        ConfigurationError: options that do not fit each other or the files, or a folder in use.
        UnavailableError: something is not there; the message says how to get it.
        CheckpointError: files that are not what they should be.
        OSError: the folder cannot be written.
    """
    import torch

    from mirage_ros.codec.probing import measure_channel_gain
    from mirage_ros.codec.wan import load_wan_codec
    from mirage_ros.generation.checkpoint import ModelFiles, load_transformer
    from mirage_ros.generation.hub import locate
    from mirage_ros.generation.model_folder import save_model
    from mirage_ros.generation.prompt import encode_prompt

    dtype = getattr(torch, options.dtype)
    loras = [_with_scale(lora) for lora in options.lora]
    parts = ["transformer", "vae", "scheduler", "text_encoder", "tokenizer", "prompts"]
    folder = locate(options.model, parts, offline=options.offline)
    prompts = {
        prompt: encode_prompt(folder, prompt, dtype=dtype)
        for prompt in dict.fromkeys(["", *options.prompt])
    }
    transformer = load_transformer(
        ModelFiles(
            str(folder),
            side_branch=options.side_branch,
            lora=tuple(name for name, _ in loras),
            lora_scales=tuple(scale for _, scale in loras),
            side_branch_layers=_layers(options.side_branch_layers),
            offline=options.offline,
            allow_pickle=options.allow_pickle,
        ),
        dtype=dtype,
    )
    print("measuring what the VAE's channels do to a picture; minutes on a CPU")
    codec = load_wan_codec(folder / "vae", allow_pickle=options.allow_pickle)
    gain = measure_channel_gain(codec)
    save_model(options.out, transformer, components=folder, prompts=prompts, channel_gain=gain)
    count = sum(parameter.numel() for parameter in transformer.parameters())
    print(
        f"{options.out}: {count / 1e9:.2f} billion weights, side branch at layers "
        f"{list(transformer.config.vace_layers)}, {len(prompts)} prompts"
    )
    return 0


def _with_scale(lora: str) -> tuple[str, float]:
    name, star, scale = lora.rpartition("*")
    if not star:
        return lora, 1.0
    try:
        return name, float(scale)
    except ValueError as error:
        raise ConfigurationError(f"--lora must be FILE or FILE*SCALE. Got '{lora}'") from error


def _layers(text: str) -> tuple[int, ...] | None:
    try:
        return tuple(int(number) for number in text.split(",") if number.strip()) or None
    except ValueError as error:
        raise ConfigurationError(
            f"--side-branch-layers must be numbers with commas. Got '{text}'"
        ) from error

"""``mirage train model``: train the small model on samples that ``mirage train data`` has drawn."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from mirage_ros.training.loop import train
from mirage_ros.training.run_config import add_config_argument, load_run_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    add_config_argument(parser)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder of the samples"
    )
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for checkpoint, log, pictures and model; an interrupted run goes on",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads of torch")


def run(options: argparse.Namespace) -> int:
    """Train, or go on."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    folder = train(load_run_config(options.config), options.data, options.run)
    print(f"the model is in {folder}")
    return 0

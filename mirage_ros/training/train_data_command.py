"""``mirage train data``: draw training data from simulated apartments."""

from __future__ import annotations

import argparse
from pathlib import Path

from mirage_ros.training.generate import generate
from mirage_ros.training.run_config import add_config_argument, load_run_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what it takes."""
    add_config_argument(parser)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="folder that the samples go to"
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one for each processor)"
    )


def run(options: argparse.Namespace) -> int:
    """Draw what is missing."""
    config = load_run_config(options.config)
    drawn = generate(config.data, options.data, options.workers)
    total = config.data.apartments + config.data.validation_apartments
    print(f"{drawn} apartments drawn, {total - drawn} were there: {options.data}")
    return 0

"""``mirage``: one command for what a person does with this package beside running its nodes.

Every subcommand is a module with ``add_arguments(parser)`` and ``run(options) -> int``, its exit
code. Only the one asked for is imported: most load torch, and ``mirage --help`` should not wait.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from mirage_ros import __version__
from mirage_ros.errors import ConfigurationError, MirageError

#: Names of subcommands, the modules behind them, and what they do in one line.
COMMANDS: dict[str, tuple[str, str]] = {
    "benchmark": (
        "mirage_ros.evaluation.benchmark_command",
        "measure what the memories cost and keep, side by side",
    ),
    "evaluate": (
        "mirage_ros.evaluation.evaluate_command",
        "measure the quality of predicted views on a dataset",
    ),
    "inspect": (
        "mirage_ros.evaluation.inspect_command",
        "say what a memory file holds, and draw it",
    ),
    "pack": (
        "mirage_ros.pack_command",
        "put base model, side branch, LoRAs and prompts into one folder",
    ),
    "plan-episodes": (
        "mirage_ros.evaluation.plan_episodes_command",
        "measure in closed loop whether imagining helps a planner",
    ),
    "report": (
        "mirage_ros.evaluation.report_command",
        "make one HTML page of results of measurements",
    ),
    "train": (
        "mirage_ros.training.train_model_command",
        "make the weights of the small model anew",
    ),
}

#: Subjects of subcommands that have several, the first of them unless one is named right after the
#: subcommand; each has a module with arguments of its own.
SUBJECTS: dict[str, dict[str, tuple[str, str]]] = {
    "train": {
        "model": COMMANDS["train"],
        "data": (
            "mirage_ros.training.train_data_command",
            "draw training data from simulated apartments",
        ),
    },
    "benchmark": {
        "memory": COMMANDS["benchmark"],
        "wan": (
            "mirage_ros.evaluation.benchmark_wan_command",
            "measure what the Wan2.2 pipeline costs, with random weights",
        ),
        "perception": (
            "mirage_ros.evaluation.benchmark_perception_command",
            "measure what people, bad depth and drifting odometry do to the memory",
        ),
        "nano": (
            "mirage_ros.evaluation.benchmark_nano_command",
            "measure what the small model adds to what is remembered",
        ),
    },
}

#: Exit codes: what was asked for cannot be done, is no valid question, or the asker went away.
FAILED, USAGE, INTERRUPTED, NO_READER = 1, 2, 130, 141


class Command(Protocol):
    """What the module of a subcommand has to offer."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what it takes."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; the exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code. Bad input is told in one line on standard error.

    Args:
        arguments: of the command line; None = those of the process.

    Raises:
        SystemExit: after ``--help`` and ``--version``, and on arguments that cannot be parsed.
    """
    try:
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        finally:
            # What is still in the buffer would otherwise meet a broken pipe too late to be caught.
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="mirage", description="Tools around the world model of mirage_ros."
    )
    parser.add_argument("--version", action="version", version=f"mirage_ros {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parsers = {
        name: commands.add_parser(
            name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
        )
        for name, (_, summary) in COMMANDS.items()
    }
    name = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        command = None
        if name in COMMANDS:
            command = _load(_module(name, arguments, parsers[name]))
            command.add_arguments(parsers[name])
        options = parser.parse_args(arguments)
        if options.command in SUBJECTS:
            _check_subject(options.subject, parsers[options.command])
        return (command or _load(COMMANDS[options.command][0])).run(options)
    except BrokenPipeError:
        raise
    except (MirageError, OSError) as error:
        print(f"mirage {name}: error: {_one_line(error)}", file=sys.stderr)
        return USAGE if isinstance(error, ConfigurationError) else FAILED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "mirage_ros":
            raise
        print(
            f"mirage {name}: error: the Python package '{error.name}' is needed for this; "
            "the extras of mirage_ros bring it: pip install 'mirage_ros[eval,sim,wan]'",
            file=sys.stderr,
        )
        return FAILED


def _module(name: str, arguments: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """The module behind a subcommand, or behind the subject that is named right after it."""
    subjects = SUBJECTS.get(name)
    if subjects is None:
        return COMMANDS[name][0]
    first, *_ = subjects
    following = arguments[list(arguments).index(name) + 1 :][:1]
    subject = following[0] if following and following[0] in subjects else first
    module, summary = subjects[subject]
    parser.description = f"{summary[:1].upper()}{summary[1:]}."
    told = "; ".join(f"{subject}: {about}" for subject, (_, about) in subjects.items())
    parser.add_argument(
        "subject", nargs="?", choices=tuple(subjects), default=subject, metavar="SUBJECT",
        help=f"what to look at, before all options ({told}; default {first})",
    )  # fmt: skip
    return module


def _check_subject(subject: str, parser: argparse.ArgumentParser) -> None:
    """Refuse a subject that was not found when the arguments were chosen."""
    if subject != parser.get_default("subject"):
        parser.error(f"the subject '{subject}' must come before all options")


def _load(module: str) -> Command:
    return cast("Command", importlib.import_module(module))


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())

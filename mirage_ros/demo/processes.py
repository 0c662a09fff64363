"""The demo's nodes as child processes that start together and never outlive the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

#: Seconds that a process gets to end after an interrupt before it is killed.
_GRACE_S = 5.0


class NodeDiedError(RuntimeError):
    """A node of the demo ended by itself, or cannot work; the message says what it said last."""


def ros_arguments(parameters: Mapping[str, object], params_file: Path | None = None) -> list[str]:
    """Command-line arguments that set parameters, those of a file first."""
    arguments = ["--ros-args"]
    if params_file is not None:
        arguments += ["--params-file", str(params_file)]
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        # Quoted, so that YAML does not make a number or a date of a path.
        quoted = f'"{text}"' if isinstance(value, str) else text
        arguments += ["-p", f"{name}:={quoted}"]
    return arguments


class ProcessGroup:
    """Starts Python modules as processes; ends them all on exit.

    Args:
        log_directory: each process writes its output to ``NAME.log`` there.
        environment: of the processes.
    """

    def __init__(self, log_directory: Path, environment: Mapping[str, str]) -> None:
        self._log_directory = log_directory
        self._environment = dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> ProcessGroup:
        self._log_directory.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str, module: str, arguments: Sequence[str]) -> None:
        """Run ``python -m module arguments`` as process ``name``."""
        with (self._log_directory / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # A group of its own: an interrupt at the terminal reaches the demo alone, which
                # then ends its children in order.
                start_new_session=True,
            )

    def check(self) -> None:
        """Make sure that all processes still run.

        Raises:
            NodeDiedError: one does not.
        """
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                log = self._log_directory / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise NodeDiedError(
                    f"{name} ended with exit code {code}; the end of {log}:\n{tail}"
                )

    def check_log(self, name: str, complaint: str) -> None:
        """Make sure that a process has not printed a complaint.

        Raises:
            NodeDiedError: it has; the message holds what comes after it.
        """
        log = self._log_directory / f"{name}.log"
        _, found, why = log.read_text(errors="replace").partition(complaint)
        if found:
            raise NodeDiedError(f"{name}: {found}{why.splitlines()[0]}")

    def stop(self) -> None:
        """Interrupt all processes, and kill what does not end."""
        for process in self._processes.values():
            _signal_group(process, signal.SIGINT)
        deadline = time.monotonic() + _GRACE_S
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
        self._processes.clear()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)

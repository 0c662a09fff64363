"""What a measurement ran on, without anything that says whose machine it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

#: Where Linux says what the processor and the board are.
_CPUINFO = Path("/proc/cpuinfo")
_BOARD = Path("/proc/device-tree/model")


def machine() -> dict[str, str | int | float | None]:
    """Processor, memory, GPU and the versions that figures depend on; no host name, no paths.

    ``gpu`` is None where torch has none that it can use; ``memory_gib`` where the system does not
    tell. Loads torch.
    """
    import numpy as np
    import torch

    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": _memory_gib(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }


def _processor() -> str:
    """The processor's name; on ARM, whose kernels do not give one, the board's."""
    for line in _read(_CPUINFO).splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return _read(_BOARD).strip("\0\n ") or platform.machine()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _memory_gib() -> float | None:
    try:
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    return round(installed / 2**30, 1)

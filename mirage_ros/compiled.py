"""Compiled CPU loops: one way to compile them and one way to call them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
import torch

_Loops = Callable[..., Any]

# numba's fallback scheduler aborts the process when two threads enter parallel code at once.
_LOCK = threading.Lock()


def compiled(function: _Loops) -> _Loops:
    """Compile ``function`` when it is first called; kept on disk where a place can be written.

    Arithmetic stays IEEE: no contraction, no reordering, so results are those of torch's
    elementwise operations in the same order and the same type.
    """
    return _compile(function, parallel=False)


def compiled_parallel(function: _Loops) -> _Loops:
    """Like :func:`compiled`, with ``numba.prange`` on threads; call it inside :func:`threads`."""
    return _compile(function, parallel=True)


@contextmanager
def threads() -> Iterator[int]:
    """As many threads for compiled loops as torch may use; yields their number."""
    with _LOCK:
        before = numba.get_num_threads()
        count = max(1, min(torch.get_num_threads(), before))
        numba.set_num_threads(count)
        try:
            yield count
        finally:
            numba.set_num_threads(before)


def _compile(function: _Loops, *, parallel: bool) -> _Loops:
    jit: Any = numba.jit
    options = {"nopython": True, "nogil": True, "parallel": parallel, "error_model": "numpy"}
    try:
        result: _Loops = jit(cache=True, **options)(function)
    except RuntimeError:
        # A robot's read-only file system leaves no place for the cache.
        result = jit(**options)(function)
    return result

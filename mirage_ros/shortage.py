"""A device whose memory is too small, told as an error that a node survives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mirage_ros.errors import GenerationError

_ADVICE = (
    "What takes less: a smaller resolution, fewer references, a tiny decoder, tiles, 8-bit weights "
    "(quantization), a model that is off the GPU when it does not work (offload)"
)


@contextmanager
def memory_shortage_told(what: str) -> Iterator[None]:
    """Turn a device's lack of memory into an error with advice; its caches are given back.

    Args:
        what: what is given up, for the message.

    Raises:
        GenerationError: the device ran out of memory in the body.
    """
    told = ""
    try:
        yield
    except torch.OutOfMemoryError as error:
        told = str(error).split(". ", maxsplit=1)[0]
    if told:
        torch.cuda.empty_cache()  # does nothing where CUDA is not in use
        raise GenerationError(f"{what} does not fit into the device's memory: {told}. {_ADVICE}")

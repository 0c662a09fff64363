"""What long commands show while they work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

_Item = TypeVar("_Item")


def progress_bar(items: Iterable[_Item], what: str) -> Iterable[_Item]:
    """The items, with a bar on the terminal that goes away at the end."""
    from tqdm import tqdm

    bar: Iterable[_Item] = tqdm(items, desc=f"{what:32}", leave=False)
    return bar

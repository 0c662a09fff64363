"""Contact sheets: some views in rows, the truth and what everyone made of it in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mirage_ros.evaluation.benchmark_nano_scenes import Question
from mirage_ros.evaluation.protocol import Image, Mask
from mirage_ros.evaluation.results import Picture
from mirage_ros.evaluation.strips import tinted, write_strip


class Sheet:
    """Collects views and writes them as one picture.

    Args:
        names: of the rows of the tables that are shown, as columns.
        most: views.
        every: of the chunks that are seen, one in so many is shown.
    """

    def __init__(self, names: Sequence[str], most: int, every: int = 1) -> None:
        self._names = names
        self._most, self._every = most, every
        self._chunks = 0
        self._told: list[str] = []
        self._columns: list[list[Image]] = [[] for _ in range(len(names) + 2)]

    def see(
        self, question: Question, pictures: Mapping[str, Sequence[Image]], covered: Sequence[Mask]
    ) -> None:
        """Take a chunk's last view, where it is one of those to be shown."""
        chosen, self._chunks = self._chunks % self._every == 0, self._chunks + 1
        if not chosen or len(self._told) >= self._most:
            return
        self._told.append(question.kind)
        truth = question.truth[-1].image
        shown = [truth, tinted(truth, covered[-1])]
        shown += [pictures[name][-1] for name in self._names]
        for column, image in zip(self._columns, shown, strict=True):
            column.append(image)

    def write(self, folder: Path, file: str) -> list[Picture]:
        """The sheet, below a folder; nothing where nothing was seen.

        Raises:
            OSError: it cannot be written.
        """
        if not self._told:
            return []
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_strip(path, [np.concatenate(column, axis=0) for column in self._columns])
        names = ["true", "what of it is remembered (orange: not)", *self._names]
        caption = (
            f"Last views of chunks, from top: {', '.join(self._told)}. "
            f"From left: {'; '.join(names)}."
        )
        return [Picture(file, caption)]

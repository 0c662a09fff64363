"""Results of measurements: figures, plots and pictures, what they were taken from, and targets.

All is checked where it is made, so that whatever can be built can be written to a file
(``result_file.py``) and comes back equal. ``mirage report`` makes a page of such files.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np

from mirage_ros import __version__
from mirage_ros.errors import ResultFormatError
from mirage_ros.machine import machine

Part = TypeVar("Part")

#: Neither XML nor HTML can hold these, and lone surrogates no file at all.
_CONTROL = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\ud800-\\udfff\\ufffe\\uffff]")

#: What stands in a table, or beside a name. None: there is no figure; a float that is not finite
#: becomes that, because JSON has neither NaN nor infinity.
Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """Figures in rows and columns.

    Attributes:
        columns: headings; at least one.
        rows: one cell for every column each.
        caption: what the figures are, units among it.

    Raises:
        ResultFormatError: a row of another length, or a cell that is none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""

    def __post_init__(self) -> None:
        columns = tuple(_text(c, "a column's heading") for c in _items(self.columns, "columns"))
        if not columns:
            raise ResultFormatError("a table needs at least one column. Got none")
        rows = tuple(
            tuple(
                _cell(value, f"row {number}, cell {column}")
                for column, value in enumerate(_items(row, f"row {number}"))
            )
            for number, row in enumerate(_items(self.rows, "rows"))
        )
        for number, row in enumerate(rows):
            if len(row) != len(columns):
                raise ResultFormatError(
                    f"every row must have as many cells as there are columns, {len(columns)}. "
                    f"Got {len(row)} in row {number}"
                )
        _text(self.caption, "a table's caption")
        _set(self, columns=columns, rows=rows)


@dataclass(frozen=True)
class Series:
    """Points of a plot that belong together, joined in the order given.

    Attributes:
        name: in the legend.
        x: (N,) along the horizontal axis.
        y: (N,) along the vertical axis; NaN leaves a gap. A value that is not finite becomes NaN.

    Raises:
        ResultFormatError: x and y differ in length, or hold something that is no number.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        _text(self.name, "a series' name", empty=False)
        x = tuple(_coordinate(value, "x") for value in _items(self.x, "x"))
        y = tuple(_coordinate(value, "y") for value in _items(self.y, "y"))
        if len(x) != len(y):
            raise ResultFormatError(
                f"x and y must have one length. Got {len(x)} and {len(y)} in '{self.name}'"
            )
        _set(self, x=x, y=y)


@dataclass(frozen=True)
class Plot:
    """Series over common axes.

    Attributes:
        title: what is shown.
        x_label: quantity and unit.
        y_label: likewise.
        series: at least one.
        log_y: the vertical axis is logarithmic; values that are not positive are left out.

    Raises:
        ResultFormatError: no series, or a field of another type.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    log_y: bool = False

    def __post_init__(self) -> None:
        _text(self.title, "a plot's title", empty=False)
        _text(self.x_label, "x_label")
        _text(self.y_label, "y_label")
        series = _parts(self.series, Series, "series")
        if not series:
            raise ResultFormatError(f"a plot needs at least one series. Got none in '{self.title}'")
        _set(self, series=series, log_y=_truth(self.log_y, "log_y"))


@dataclass(frozen=True)
class Picture:
    """An image file beside the document.

    Attributes:
        file: its path, relative to the folder of the document, with forward slashes.
        caption: what is to be seen.

    Raises:
        ResultFormatError: a path that is absolute or leaves the folder.
    """

    file: str
    caption: str = ""

    def __post_init__(self) -> None:
        path = PurePosixPath(_text(self.file, "a picture's file", empty=False))
        if path.is_absolute() or ".." in path.parts or "\\" in self.file:
            raise ResultFormatError(
                "a picture's file must be a path below the folder of the document. "
                f"Got '{self.file}'"
            )
        _text(self.caption, "a picture's caption")


@dataclass(frozen=True)
class Target:
    """What was wanted, and what came of it.

    Attributes:
        name: the quantity.
        measured: its figure; None where there is none.
        wanted: the bar, such as ``at least 18 dB``.
        met: whether it was cleared; None = not measured.
        comment: anything else a reader should know.

    Raises:
        ResultFormatError: met without a figure, or a field of another type.
    """

    name: str
    measured: Cell
    wanted: Cell
    met: bool | None
    comment: str = ""

    def __post_init__(self) -> None:
        _text(self.name, "a target's name", empty=False)
        measured = _cell(self.measured, "measured")
        met = None if self.met is None else _truth(self.met, "met")
        if met and measured is None:
            raise ResultFormatError(
                f"a target without a figure cannot be met. Got measured None in '{self.name}'"
            )
        _text(self.comment, "a target's comment")
        _set(self, measured=measured, wanted=_cell(self.wanted, "wanted"), met=met)


@dataclass(frozen=True)
class Section:
    """One part of a document.

    Attributes:
        title: its heading.
        text: plain; a blank line begins a new paragraph.
        tables: figures.
        plots: curves.
        pictures: images.
        targets: what was wanted here.

    Raises:
        ResultFormatError: a field of another type.
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    pictures: Sequence[Picture] = ()
    targets: Sequence[Target] = ()

    def __post_init__(self) -> None:
        _text(self.title, "a section's title", empty=False)
        _text(self.text, "a section's text")
        _set(
            self,
            tables=_parts(self.tables, Table, "tables"),
            plots=_parts(self.plots, Plot, "plots"),
            pictures=_parts(self.pictures, Picture, "pictures"),
            targets=_parts(self.targets, Target, "targets"),
        )


@dataclass(frozen=True)
class Result:
    """A document: all that one command measured.

    Attributes:
        title: what was measured.
        command: the line that measures it again.
        inputs: what it was taken from and with: the recording, frame numbers, seeds, ...
        sections: the findings.
        created: when, with a time zone.
        machine: what it ran on, see :func:`mirage_ros.machine.machine`.
        version: of this package.

    Raises:
        ResultFormatError: a field of another type, or a time without a zone.
    """

    title: str
    command: str
    inputs: Mapping[str, Cell]
    sections: Sequence[Section]
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    machine: Mapping[str, Cell] = field(default_factory=machine)
    version: str = __version__

    def __post_init__(self) -> None:
        _text(self.title, "a result's title", empty=False)
        _text(self.command, "command")
        _text(self.version, "version")
        if not isinstance(self.created, datetime) or self.created.tzinfo is None:
            raise ResultFormatError(
                f"created must be a time with a time zone. Got {self.created!r}"
            )
        _set(
            self,
            inputs=_named_cells(self.inputs, "inputs"),
            machine=_named_cells(self.machine, "machine"),
            sections=_parts(self.sections, Section, "sections"),
        )

    @property
    def targets(self) -> tuple[Target, ...]:
        """Those of all sections."""
        return tuple(target for section in self.sections for target in section.targets)


def _set(part: object, **values: object) -> None:
    """Assign in a frozen dataclass that is being made."""
    for name, value in values.items():
        object.__setattr__(part, name, value)


def _text(value: object, what: str, *, empty: bool = True) -> str:
    if not isinstance(value, str):
        raise ResultFormatError(f"{what} must be text. Got {_kind(value)}")
    if not empty and not value.strip():
        raise ResultFormatError(f"{what} must not be empty. Got {value!r}")
    if _CONTROL.search(value):
        raise ResultFormatError(f"{what} must not hold control characters. Got {_kind(value)}")
    return value


def _truth(value: object, what: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ResultFormatError(f"{what} must be true or false. Got {_kind(value)}")
    return bool(value)


def _cell(value: object, what: str) -> Cell:
    if value is None:
        return None
    if isinstance(value, str):
        return _text(value, what)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    # numpy's numbers count as these too, and JSON knows only Python's.
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else None
    raise ResultFormatError(f"{what} must be text, a number or nothing. Got {_kind(value)}")


def _coordinate(value: object, what: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ResultFormatError(f"{what} must hold numbers. Got {_kind(value)}")
    number = float(value)
    return number if math.isfinite(number) else math.nan


def _named_cells(value: object, what: str) -> dict[str, Cell]:
    if not isinstance(value, Mapping):
        raise ResultFormatError(f"{what} must be names with values. Got {_kind(value)}")
    return {
        _text(name, f"a name in {what}", empty=False): _cell(cell, f"{what}['{name}']")
        for name, cell in value.items()
    }


def _items(value: object, what: str) -> tuple[Any, ...]:
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise ResultFormatError(f"{what} must be a list. Got {_kind(value)}")
    return tuple(value)


def _parts(value: object, kind: type[Part], what: str) -> tuple[Part, ...]:
    parts = _items(value, what)
    for part in parts:
        if not isinstance(part, kind):
            raise ResultFormatError(f"{what} must hold {kind.__name__}. Got {_kind(part)}")
    return parts


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.40}"

"""Figures as a reader wants them: as many digits as tell something, alike within a column."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mirage_ros.evaluation.results import Cell

#: Shown where there is no figure.
NOTHING = "\N{EN DASH}"

#: Digits of a column's largest figure; it says how many decimals all of them have.
_DIGITS = 4
#: Decimals, at most.
_DECIMALS = 6
#: A figure of which that would leave fewer digits than this is written by itself.
_LEAST_DIGITS = 2
#: Beyond these, powers of ten.
_LARGE, _SMALL = 1e12, 1e-4
#: From here on thousands are set apart.
_GROUPED = 10_000
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


def is_number(cell: Cell) -> bool:
    """Whether a cell counts as a figure; yes and no are words."""
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def cell_text(cell: Cell) -> str:
    """A cell that stands alone."""
    return column_text([cell])[0]


def column_text(cells: Sequence[Cell]) -> list[str]:
    """The cells of a column, its fractions with the same decimals, trailing zeros left out."""
    fractions = [cell for cell in cells if isinstance(cell, float)]
    decimals = _decimals(fractions)
    return [_text(cell, decimals) for cell in cells]


def _decimals(fractions: Sequence[float]) -> int:
    largest = max((abs(value) for value in fractions if abs(value) < _LARGE), default=0.0)
    if largest == 0.0:
        return 0
    most = min(max(0, _DIGITS - 1 - math.floor(math.log10(largest))), _DECIMALS)
    return max(
        (
            len(f"{value:.{most}f}".rstrip("0").partition(".")[2])
            for value in fractions
            if not _stands_alone(value, most)
        ),
        default=0,
    )


def _stands_alone(value: float, decimals: int) -> bool:
    size = abs(value)
    return size >= _LARGE or 0.0 < size < 10.0 ** (_LEAST_DIGITS - 1 - decimals)


def _text(cell: Cell, decimals: int) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return _grouped(f"{cell:,d}", cell)
    if not _stands_alone(cell, decimals):
        return _grouped(f"{cell:,.{decimals}f}", cell)
    if abs(cell) >= _LARGE or abs(cell) < _SMALL:
        mantissa, _, exponent = f"{cell:.{_LEAST_DIGITS - 1}e}".partition("e")
        return _minus(f"{mantissa}e{int(exponent)}")
    return _minus(f"{cell:.{_LEAST_DIGITS}g}")


def _grouped(text: str, value: float) -> str:
    return _minus(text.replace(",", _THIN_SPACE if abs(value) >= _GROUPED else ""))


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")

from __future__ import annotations

import pytest

from mirage_ros.evaluation.number_text import cell_text, column_text, is_number
from mirage_ros.evaluation.results import Cell


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "–"),  # noqa: RUF001
        ("20 %", "20 %"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (2026, "2026"),
        (23394, "23 394"),
        (-5_500_000, "−5 500 000"),  # noqa: RUF001
        (0.0, "0"),
        (2.0, "2"),
        (20.1234, "20.12"),
        (0.62514, "0.6251"),
        (-0.25, "−0.25"),  # noqa: RUF001
        (0.000123456, "0.000123"),
        (1.2345e-7, "1.2e−7"),  # noqa: RUF001
        (123456.789, "123 457"),
        (2.5e13, "2.5e13"),
    ],
)
def test_a_figure_alone(cell: Cell, text: str) -> None:
    assert cell_text(cell).replace("\N{NARROW NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("cells", "texts"),
    [
        ([20.1, 21.4, 17.0], ["20.1", "21.4", "17.0"]),
        ([0.625, 1.0], ["0.625", "1.000"]),
        ([1.25, 10.971], ["1.25", "10.97"]),
        # What a common number of decimals would leave nothing of, is written by itself.
        ([350.25, 0.00123], ["350.2", "0.0012"]),
        ([350.25, 0.0], ["350.2", "0.0"]),
        ([12.5, None, "none", 3], ["12.5", "–", "none", "3"]),  # noqa: RUF001
        ([], []),
    ],
)
def test_fractions_of_a_column_have_the_same_decimals(cells: list[Cell], texts: list[str]) -> None:
    assert column_text(cells) == texts


def test_yes_and_no_are_words() -> None:
    assert [is_number(cell) for cell in (1, 1.5, True, None, "1")] == [True, True, *3 * [False]]

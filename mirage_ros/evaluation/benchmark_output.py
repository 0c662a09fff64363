"""Writes what was measured, and says it."""

from __future__ import annotations

from pathlib import Path

from mirage_ros.atomic import write_atomically
from mirage_ros.evaluation.number_text import cell_text, column_text
from mirage_ros.evaluation.result_file import write_result
from mirage_ros.evaluation.results import Result, Table

_MARKS = {True: "met", False: "MISSED", None: "not measured"}


def write(result: Result, folder: Path) -> None:
    """``benchmark.json`` and, where its packages are there, ``report.html``; tables are printed.

    Raises:
        OSError: a file cannot be written.
    """
    path = folder / "benchmark.json"
    write_result(result, path)
    for section in result.sections:
        print(f"\n{section.title}")
        for table in section.tables:
            print(_text(table))
    print()
    for target in result.targets:
        told = f"{cell_text(target.measured)} ({target.wanted}) {target.comment}"
        print(f"{_MARKS[target.met]:>12}  {target.name}: {told}")
    try:
        from mirage_ros.evaluation.html_report import html_page
    except ModuleNotFoundError as error:
        print(f"{path}; no report.html, which needs the package '{error.name}'")
        return
    write_atomically(folder / "report.html", html_page([(result, folder)]).encode())
    print(f"{path} and {folder / 'report.html'}")


def _text(table: Table) -> str:
    """A table in columns."""
    columns = [
        [heading, *column_text([row[number] for row in table.rows])]
        for number, heading in enumerate(table.columns)
    ]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*columns, strict=True)
    ]
    return "\n".join([f"[{table.caption}]" if table.caption else "", *lines])

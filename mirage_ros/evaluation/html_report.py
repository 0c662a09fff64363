"""Results of measurements as one HTML page that needs nothing beside it and runs nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import timezone
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from mirage_ros.errors import ResultFormatError
from mirage_ros.evaluation.number_text import cell_text, column_text, is_number
from mirage_ros.evaluation.results import Picture, Plot, Result, Table, Target
from mirage_ros.evaluation.svg_plot import SERIES_COLOURS, draw, legend

#: What every browser shows.
_IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
#: Pictures wider than this for their height get a row of their own.
_WIDE = 1.8
#: Words and marks for what became of a target; the page does not rely on colour alone.
_STATUS = {True: ("met", "✓"), False: ("missed", "✗"), None: ("not measured", "○")}


def html_page(documents: Sequence[tuple[Result, Path]], title: str = "") -> str:
    """The page.

    Args:
        documents: results, each with the folder that its pictures' paths begin at.
        title: of the page; empty: the result's, or a general one for several.

    Raises:
        ResultFormatError: no result, or a picture that is no image.
        OSError: a picture cannot be read.
    """
    if not documents:
        raise ResultFormatError("a report needs at least one result. Got none")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mirage_ros.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = cell_text
    results = [
        _result(result, folder, f"r{number}")
        for number, (result, folder) in enumerate(documents, start=1)
    ]
    targets = [target for result, _ in documents for target in result.targets]
    return environment.get_template("report.html").render(
        title=title or (documents[0][0].title if len(documents) == 1 else "Measurements"),
        results=results,
        counts=_counts(targets),
        series_colours=SERIES_COLOURS,
    )


def _result(result: Result, folder: Path, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "title": result.title,
        "created": result.created.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "version": result.version,
        "command": result.command,
        "facts": [("Inputs", result.inputs), ("Machine", result.machine)],
        "counts": _counts(result.targets),
        "sections": [
            {
                "id": f"{name}-s{number}",
                "title": section.title,
                "paragraphs": [p for p in re.split(r"\n\s*\n", section.text.strip()) if p],
                "targets": _targets(section.targets),
                "counts": _counts(section.targets),
                "tables": [_table(table) for table in section.tables],
                "plots": [
                    _plot(plot, f"{name}-s{number}-p{place}")
                    for place, plot in enumerate(section.plots, start=1)
                ],
                "pictures": [_picture(picture, folder) for picture in section.pictures],
            }
            for number, section in enumerate(result.sections, start=1)
        ],
    }


def _targets(targets: Sequence[Target]) -> list[dict[str, str]]:
    return [
        {
            "name": target.name,
            "measured": cell_text(target.measured),
            "wanted": cell_text(target.wanted),
            "word": _STATUS[target.met][0],
            "mark": _STATUS[target.met][1],
            "comment": target.comment,
        }
        for target in targets
    ]


def _counts(targets: Sequence[Target]) -> list[dict[str, str | int]]:
    """How many targets came to what, without those that none came to."""
    return [
        {"word": word, "mark": mark, "count": count}
        for met, (word, mark) in _STATUS.items()
        if (count := sum(target.met is met for target in targets))
    ]


def _table(table: Table) -> dict[str, Any]:
    columns = []
    for number, heading in enumerate(table.columns):
        cells = [row[number] for row in table.rows]
        figures = any(map(is_number, cells)) and not any(isinstance(c, str) for c in cells)
        columns.append([(heading, figures), *((text, figures) for text in column_text(cells))])
    headings, *rows = zip(*columns, strict=True)
    return {"caption": table.caption, "headings": headings, "rows": rows}


def _plot(plot: Plot, prefix: str) -> dict[str, Any]:
    # Made from checked text by matplotlib, which escapes it.
    return {
        "title": plot.title,
        "svg": Markup(draw(plot, prefix)),
        "legend": legend(plot),
    }


def _picture(picture: Picture, folder: Path) -> dict[str, Any]:
    path = folder / picture.file
    content = path.read_bytes()
    try:
        with Image.open(path, formats=_IMAGE_FORMATS) as image:
            width, height, kind = image.width, image.height, image.get_format_mimetype()
    except UnidentifiedImageError as error:
        raise ResultFormatError(
            f"a picture must be one of {', '.join(_IMAGE_FORMATS)}. Got another file: {path}"
        ) from error
    return {
        "data": f"data:{kind};base64,{base64.b64encode(content).decode()}",
        "width": width,
        "height": height,
        "wide": width > _WIDE * height,
        "caption": picture.caption,
        "alternative": picture.caption or picture.file,
    }

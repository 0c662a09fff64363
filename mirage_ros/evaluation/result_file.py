"""Results of measurements as JSON files."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, fields
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import ResultFormatError
from mirage_ros.evaluation.results import (
    Picture,
    Plot,
    Result,
    Section,
    Series,
    Table,
    Target,
)

#: Raised whenever files written before can no longer be read as they are.
SCHEMA_VERSION = 1
_SCHEMA = "mirage_ros/result"

#: Fields that hold parts of the document.
_PARTS: dict[type, dict[str, type]] = {
    Result: {"sections": Section},
    Section: {"tables": Table, "plots": Plot, "pictures": Picture, "targets": Target},
    Plot: {"series": Series},
}

Part = TypeVar("Part")


def to_json(result: Result) -> str:
    """The document as JSON text; what is not finite is written as null."""
    content = {"schema": _SCHEMA, "schema_version": SCHEMA_VERSION, **asdict(result)}
    content["created"] = result.created.isoformat()
    return json.dumps(_without_nan(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Result:
    """The document that :func:`to_json` wrote.

    Raises:
        ResultFormatError: no JSON, another schema or version, or a part that does not fit it; the
            message says which.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResultFormatError(f"results must be a JSON document: {error}") from error
    if not isinstance(content, dict) or content.pop("schema", None) != _SCHEMA:
        raise ResultFormatError(
            f'results must be a JSON object with "schema": "{_SCHEMA}". '
            "Got another kind of document"
        )
    version = content.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ResultFormatError(
            f"this version of mirage_ros reads results of schema_version {SCHEMA_VERSION}. "
            f"Got {version!r}"
        )
    # These have defaults, which are true of a measurement made now, and not of one that is read.
    for name in ("created", "machine", "version"):
        if name not in content:
            raise ResultFormatError(f"result lacks '{name}'")
    try:
        content["created"] = datetime.fromisoformat(content["created"])
    except (TypeError, ValueError) as error:
        raise ResultFormatError(
            f"created must be a time such as 2026-01-31T12:00:00+00:00. Got {content['created']!r}"
        ) from error
    return _build(Result, content, "result")


def write_result(result: Result, path: Path) -> None:
    """Write the document; a file already there is replaced whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    write_atomically(path, to_json(result).encode())


def read_result(path: Path) -> Result:
    """Read a document.

    Raises:
        ResultFormatError: it is none; the message begins with the path.
        OSError: the file cannot be read.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ResultFormatError(f"{path}: results must be text in UTF-8: {error}") from error
    except ResultFormatError as error:
        raise ResultFormatError(f"{path}: {error}") from error


def _build(kind: type[Part], content: object, where: str) -> Part:
    """A part from parsed JSON; ``where`` it stands begins the message of every error."""
    if not isinstance(content, dict):
        raise ResultFormatError(f"{where} must be an object. Got {type(content).__name__}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in content:
        if name not in known:
            raise ResultFormatError(f"{where} may have {', '.join(known)}. Got '{name}'")
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in content:
            raise ResultFormatError(f"{where} lacks '{name}'")
    values = dict(content)
    for name, part in _PARTS.get(kind, {}).items():
        items = values.get(name, [])
        if not isinstance(items, list):
            raise ResultFormatError(f"{where}.{name} must be a list. Got {type(items).__name__}")
        values[name] = [
            _build(part, item, f"{where}.{name}[{number}]") for number, item in enumerate(items)
        ]
    try:
        return kind(**values)
    except ResultFormatError as error:
        raise ResultFormatError(f"{where}: {error}") from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

"""``mirage inspect FILE``: what a memory file holds, as text or JSON, and as a picture."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from mirage_ros.errors import ConfigurationError

if TYPE_CHECKING:
    from mirage_ros.evaluation.memory_content import MemoryContent

#: Of the header, what is shown first, in this order,
_FIRST = ("format", "version", "kind", "saved", "package", "frame_id")
#: and what is shown otherwise or says little to a reader.
_NOT_SHOWN = {"channel_gain", "clock", "first_stamp_ns", "last_stamp_ns", *_FIRST}
#: Half the side of a point of an RGB memory in a picture, metres.
_POINT_PATCH = 0.01


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("file", type=Path, metavar="FILE", help="what ~/save_memory wrote")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--picture", type=Path, metavar="OUT.png", help="draw it from above and from the side"
    )


def run(options: argparse.Namespace) -> int:
    """Print and draw; 0.

    Raises:
        ConfigurationError: the picture is no .png, or would replace the file.
        MemoryFormatError: not a memory file, or a broken one.
        OSError: the file cannot be read, or the picture cannot be written.
    """
    picture: Path | None = options.picture
    if picture is not None and picture.suffix.lower() != ".png":
        raise ConfigurationError(f"a picture must end in .png. Got {picture}")
    if picture is not None and picture.resolve() == options.file.resolve():
        raise ConfigurationError(f"the picture must not replace the file. Got {picture} for both")

    from mirage_ros.evaluation.memory_content import read_content

    content = read_content(options.file)
    if options.json:
        print(json.dumps({"file": str(options.file), **content.figures()}, indent=2))
    else:
        print("\n".join(f"{name:20}{value}" for name, value in _lines(options.file, content)))
    if picture is not None:
        _draw(content, picture)
    return 0


def _lines(path: Path, content: MemoryContent) -> list[tuple[str, str]]:
    figures = content.figures()
    lines = [("file", str(path))]
    lines += [(name, content.header[name]) for name in _FIRST if name in content.header]
    lines += [(name, content.header[name]) for name in sorted(content.header.keys() - _NOT_SHOWN)]
    lines += [
        ("count", f"{content.count}"),
        ("bytes in file", f"{content.file_bytes}"),
        ("bytes in memory", f"{content.memory_bytes}"),
    ]
    if content.count == 0:
        return lines
    lines.append(("bytes each", f"{figures['bytes_each']:.1f}"))
    low, high = content.cloud.positions.min(axis=0), content.cloud.positions.max(axis=0)
    for axis, least, greatest in zip("xyz", low, high, strict=True):
        lines.append((f"{axis}, metres", f"{least:.2f} to {greatest:.2f}"))
    lines.append(("observed", f"{figures['observed_share']:.1%}"))
    for name, stamp_ns in zip(("first seen", "last seen"), content.stamps_ns, strict=True):
        lines.append((name, f"{stamp_ns * 1e-9:.3f} s ({_date(stamp_ns)})"))
    ages = figures["ages_s"]
    assert isinstance(ages, dict)
    text = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in ages.items())
    lines.append(("age at last", text))
    return lines


def _date(stamp_ns: int) -> str:
    moment = datetime.fromtimestamp(stamp_ns // 10**9, timezone.utc)
    return moment.isoformat(sep=" ").replace("+00:00", " UTC")


def _draw(content: MemoryContent, path: Path) -> None:
    import cv2

    from mirage_ros.evaluation.cloud_picture import TOKEN_PATCH, plan_and_side

    patch = _POINT_PATCH if content.header["kind"] == "rgb" else TOKEN_PATCH
    image = plan_and_side(content.cloud.positions, content.cloud.colours, patch=patch)
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise OSError(f"cannot write {path}")

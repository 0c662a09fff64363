"""``mirage report RESULT.json ... -o report.html``: a page to read and to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path

from mirage_ros.atomic import write_atomically
from mirage_ros.errors import ConfigurationError
from mirage_ros.evaluation.result_file import read_result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT.json", help="what a measurement wrote"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("report.html"),
        metavar="FILE",
        help="page to write (default %(default)s); a file already there is replaced",
    )
    parser.add_argument("--title", default="", help="of the page (default: the result's)")


def run(options: argparse.Namespace) -> int:
    """Write the page; 0. Missed targets are the page's business, not an error.

    Raises:
        ConfigurationError: the page would replace one of the results.
        ResultFormatError: a file holds no results, or a picture is no image.
        OSError: a file cannot be read, or the page cannot be written.
    """
    from mirage_ros.evaluation.html_report import html_page

    output: Path = options.output
    if output.resolve() in [path.resolve() for path in options.results]:
        raise ConfigurationError(f"the page must not replace a result. Got {output} for both")
    documents = [(read_result(path), path.parent) for path in options.results]
    write_atomically(output, html_page(documents, options.title).encode())
    targets = [target for result, _ in documents for target in result.targets]
    met = sum(target.met is True for target in targets)
    print(f"{output}: results {len(documents)}, targets met {met} of {len(targets)}")
    return 0

from __future__ import annotations

import base64
import math
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest

from mirage_ros.errors import ResultFormatError
from mirage_ros.evaluation.html_report import html_page
from mirage_ros.evaluation.results import (
    Picture,
    Plot,
    Result,
    Section,
    Series,
    Table,
    Target,
)
from mirage_ros.evaluation.svg_plot import SERIES_COLOURS

NASTY = '<script>alert("x")</script> & $y_1 {{ 7*7 }}'
VOID = {"meta", "img", "br", "hr", "link", "input"}

RESULT = Result(
    title="Readout of 10 views",
    command="mirage evaluate 'my sequence'",
    inputs={"frames": 20000, "compiled": True},
    sections=[
        Section(
            "Quality",
            "One paragraph.\n\nAnother.",
            tables=[
                Table(["way", "PSNR, dB"], [["memory", 20.125], ["nearest", None]], "means"),
            ],
            plots=[
                Plot("Decay", "ahead, s", "dB", [Series("memory", [0, 1, 2], [3, math.nan, 1])]),
                Plot(
                    "Error",
                    "frame",
                    "squared error",
                    [Series("a", [0, 1, 2], [1e-3, 1e-1, 1e1]), Series("b", [0, 1], [1, 0])],
                    log_y=True,
                ),
            ],
            targets=[
                Target("PSNR", 20.125, "at least 18.6 dB", True),
                Target("SSIM", 0.5, "at least 0.6", False),
                Target("LPIPS", None, "at most 0.3", None, "weights are missing"),
                Target("sharpness", 0.9, "at least 0.8", True),
            ],
        ),
        Section("Speed"),
    ],
    created=datetime(2026, 1, 31, 1, 30, tzinfo=timezone(timedelta(hours=2))),
    machine={"cpu": "One processor"},
    version="0.1.0",
)


class Page(HTMLParser):
    """What a browser would find: elements with their attributes and text, nested as they should."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_data(" ")
        texts: list[str] = []
        self.elements.append((tag, dict(attributes), texts))
        if tag not in VOID:
            self._open.append((tag, texts))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes), []))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, found, _ in self.elements if (value := found.get(name)) is not None]

    def texts(self, tag: str, kind: str | None = None) -> list[str]:
        return [
            " ".join("".join(texts).split())
            for name, found, texts in self.elements
            if name == tag and (kind is None or kind in (found.get("class") or "").split())
        ]


def page(*results: Result, folder: Path = Path("/nowhere")) -> Page:
    return Page(html_page([(result, folder) for result in results]))


def with_section(section: Section) -> Result:
    return replace(RESULT, sections=[section])


def test_the_page_says_what_was_measured() -> None:
    found = page(RESULT)
    assert found.texts("title") == found.texts("h1") == ["Readout of 10 views"]
    assert found.texts("h2") == ["Contents", "Quality", "Speed"]
    assert found.texts("p", "origin") == ["2026-01-30 23:30 UTC · mirage_ros 0.1.0"]
    assert found.texts("code") == ["mirage evaluate 'my sequence'"]
    assert {"One paragraph.", "Another."} <= set(found.texts("p"))
    assert found.texts("td", "figure") == ["20.12", "–"]  # noqa: RUF001
    facts = {"frames 20 000", "compiled yes", "cpu One processor"}
    assert facts <= set(found.texts("tr"))


def test_targets_are_told_apart_in_words_and_counted() -> None:
    found = page(RESULT)
    rows = [text for text in found.texts("tr") if "at " in text]
    assert [re.sub(r".* (✓|✗|○) ", "", row) for row in rows] == [
        "met",
        "missed",
        "not measured",
        "met",
    ]
    assert rows[2].startswith("LPIPS weights are missing – at most 0.3")  # noqa: RUF001
    assert found.texts("p", "badges") == ["✓ 2 met ✗ 1 missed ○ 1 not measured"]
    without = page(with_section(Section("Speed")))
    assert without.texts("p", "badges") == []


def test_several_results_make_one_page() -> None:
    other = replace(RESULT, title="Another", sections=[Section("Late")])
    found = page(RESULT, other)
    assert found.texts("h1") == ["Measurements"]
    assert found.texts("h2") == ["Contents", "Readout of 10 views", "Another"]
    assert found.texts("h3") == ["Quality", "Speed", "Late"]
    assert len(found.texts("article")) == 2
    named = Page(html_page([(RESULT, Path()), (other, Path())], "Both"))
    assert named.texts("h1") == named.texts("title") == ["Both"]


def test_the_contents_lead_to_every_part_and_ids_are_unique() -> None:
    found = page(RESULT, RESULT)
    ids = Counter(found.attributes("id"))
    assert set(ids.values()) == {1}
    links = [target.removeprefix("#") for target in found.attributes("href")]
    assert len(links) == 2 * 3
    assert set(links) <= ids.keys()


def test_the_page_needs_nothing_beside_it_and_runs_nothing() -> None:
    text = html_page([(RESULT, Path())])
    found = Page(text)
    tags = {tag for tag, _, _ in found.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base"}
    places = found.attributes("href") + found.attributes("src") + found.attributes("xlink:href")
    assert all(place.startswith(("#", "data:")) for place in places)
    assert not re.search(r"url\((?!#)|@import", text)
    assert not [n for _, found_here, _ in found.elements for n in found_here if n.startswith("on")]
    assert "width=device-width" in " ".join(found.attributes("content"))
    assert "prefers-color-scheme: dark" in text


def test_all_text_is_text() -> None:
    nasty = Section(
        NASTY,
        NASTY,
        [Table([NASTY], [[NASTY]], NASTY)],
        [Plot(NASTY, NASTY, NASTY, [Series(NASTY, [0, 1], [0, 1])])],
        targets=[Target(NASTY, NASTY, NASTY, True, NASTY)],
    )
    result = replace(
        RESULT,
        title=NASTY,
        command=NASTY,
        version=NASTY,
        inputs={NASTY: NASTY},
        machine={NASTY: NASTY},
        sections=[nasty],
    )
    found = page(result, result)
    assert "script" not in {tag for tag, _, _ in found.elements}
    for tag in ("h2", "h3", "p", "code", "td", "caption", "figcaption", "li", "text", "small"):
        assert any(NASTY in text for text in found.texts(tag)), tag
    assert NASTY in found.attributes("aria-label")


def test_plots_take_colours_and_font_of_the_page() -> None:
    series = [Series(f"s{k}", [0, 1], [0, k + 1]) for k in range(SERIES_COLOURS + 1)]
    text = html_page([(with_section(Section("s", plots=[Plot("p", "x", "y", series)])), Path())])
    (svg,) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert not re.findall(r"(?:fill|stroke): (?!none|var\(--)[^;\"]*", svg)
    assert "font-size: 10px" in svg
    assert not re.search(r"font-family|font:", svg)
    assert "<style" not in svg
    assert "<metadata" not in svg
    used = {int(number) for number in re.findall(r"var\(--series-(\d+)\)", svg)}
    assert used == set(range(SERIES_COLOURS))
    found = Page(text)
    assert len(found.texts("ul", "legend")[0].split()) == 2 * len(series)
    for number in used:
        assert f"--series-{number}:" in text
        assert f".series-{number} {{" in text


def labels(plot: Plot) -> list[str]:
    """The texts of a plot as it stands in the page."""
    return page(with_section(Section("s", plots=[plot]))).texts("text")


def test_axes_are_labelled_with_plain_numbers() -> None:
    linear, logarithmic = RESULT.sections[0].plots
    assert {"0", "1", "2", "ahead, s", "dB"} <= set(labels(linear))
    assert "0.5" not in labels(linear), "whole numbers along x are not divided"
    assert {"0.001", "0.1", "10", "squared error"} <= set(labels(logarithmic))
    narrow = Plot("p", "x", "y", [Series("s", [0, 1], [2.0, 30.0])], log_y=True)
    assert {"2", "5", "10", "20"} <= set(labels(narrow))


@pytest.mark.parametrize("y", [[], [math.nan], [0.0], [-1.0]])
@pytest.mark.parametrize("log_y", [False, True])
def test_a_plot_without_much_to_show_is_drawn(
    y: list[float], log_y: bool, recwarn: pytest.WarningsRecorder
) -> None:
    plot = Plot("p", "across", "up", [Series("s", [0.0] * len(y), y)], log_y)
    assert {"across", "up"} <= set(labels(plot))
    assert not recwarn.list


def test_the_settings_of_matplotlib_neither_matter_nor_change() -> None:
    before = html_page([(RESULT, Path())])
    with matplotlib.rc_context({"lines.linewidth": 9.0, "axes.grid": False, "font.size": 30.0}):
        assert html_page([(RESULT, Path())]) == before
        assert matplotlib.rcParams["font.size"] == 30.0


def test_pictures_are_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    files = {"pictures/wide.png": (4, 40), "pictures/photo.jpg": (30, 40)}
    for name, (height, width) in files.items():
        cv2.imwrite(str(tmp_path / name), np.full((height, width, 3), 80, np.uint8))
    pictures = [Picture("pictures/wide.png", "A strip"), Picture("pictures/photo.jpg")]
    found = page(with_section(Section("s", pictures=pictures)), folder=tmp_path)
    images = [attributes for tag, attributes, _ in found.elements if tag == "img"]
    assert [(i["width"], i["height"], i["alt"]) for i in images] == [
        ("40", "4", "A strip"),
        ("40", "30", "pictures/photo.jpg"),
    ]
    for image, name, kind in zip(images, files, ("png", "jpeg"), strict=True):
        head, _, data = (image["src"] or "").partition(",")
        assert head == f"data:image/{kind};base64"
        assert base64.b64decode(data) == (tmp_path / name).read_bytes()
    assert len(found.texts("figure", "wide")) == 1
    assert found.texts("figcaption") == ["A strip"]


def test_what_cannot_be_shown_is_told(tmp_path: Path) -> None:
    result = with_section(Section("s", pictures=[Picture("picture.png")]))
    with pytest.raises(FileNotFoundError, match=r"picture\.png"):
        page(result, folder=tmp_path)
    (tmp_path / "picture.png").write_text("no image")
    with pytest.raises(ResultFormatError, match=r"PNG, JPEG, GIF, WEBP\. Got another file: .*png"):
        page(result, folder=tmp_path)
    with pytest.raises(ResultFormatError, match="at least one result"):
        page()

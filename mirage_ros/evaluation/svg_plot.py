"""Plots as SVG that stands inside an HTML page and takes its colours and its font from there."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from mirage_ros.evaluation.results import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours of series that the page defines, as ``--series-0`` and so on; they repeat after that.
SERIES_COLOURS = 8

#: Inches. Small, so that letters stay legible where a phone shrinks it.
_SIZE = (5.4, 3.3)
#: matplotlib's name of a marker, and the letter that looks like it in a legend.
_MARKERS = (("o", "●"), ("s", "■"), ("^", "▲"), ("D", "◆"), ("v", "▼"), ("P", "✚"), ("X", "✖"))
#: Markers along one series, at most.
_MARKERS_SHOWN = 12
_INK, _GRID = "#000001", "#000002"
#: What stands in matplotlib's output, and what the page is to put there.
_COLOURS = {
    _INK: "var(--ink)",
    _GRID: "var(--grid)",
    **{f"#0001{k:02x}": f"var(--series-{k})" for k in range(SERIES_COLOURS)},
}
_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mirage_ros",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": _GRID,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Key:
    """A line of a legend.

    Attributes:
        mark: a letter that looks like the series' markers.
        colour: number of its colour, below :data:`SERIES_COLOURS`.
        name: of the series.
    """

    mark: str
    colour: int
    name: str


def legend(plot: Plot) -> list[Key]:
    """What a plot's series look like; the drawing has no legend of its own."""
    return [
        Key(_MARKERS[number % len(_MARKERS)][1], number % SERIES_COLOURS, series.name)
        for number, series in enumerate(plot.series)
    ]


def draw(plot: Plot, prefix: str) -> str:
    """An ``<svg>`` element without title and legend, which the page sets better.

    Args:
        plot: what to draw.
        prefix: begins all ids in it, so that several may stand in one page.
    """
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.figure import Figure

    with rc_context(), warnings.catch_warnings():
        # Not what a matplotlibrc of the person at the keyboard says.
        rcdefaults()
        rcParams.update(_STYLE)
        # Widths are measured in a font without, say, Chinese; the page's reader has one with.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=_SIZE, layout="constrained")
        _fill(figure.add_subplot(), plot)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _for_a_page(file.getvalue(), prefix, plot.title)


def _fill(axes: Axes, plot: Plot) -> None:
    from matplotlib.ticker import MaxNLocator

    if plot.log_y:
        _use_logarithm(axes, plot)
    for number, series in enumerate(plot.series):
        axes.plot(
            np.asarray(series.x),
            np.asarray(series.y),
            color=f"#0001{number % SERIES_COLOURS:02x}",
            marker=_MARKERS[number % len(_MARKERS)][0],
            markersize=5.0,
            markevery=max(1, -(-len(series.x) // _MARKERS_SHOWN)),
        )
    if all(x.is_integer() for series in plot.series for x in series.x):
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)


def _use_logarithm(axes: Axes, plot: Plot) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    positive = [y for series in plot.series for y in series.y if y > 0.0]
    if not positive:
        return
    axes.set_yscale("log", nonpositive="mask")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if max(positive) < 100.0 * min(positive):
        # Powers of ten alone would be too few to read a value off.
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))


def _for_a_page(text: str, prefix: str, title: str) -> str:
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            # A style sheet here would hold for the whole page.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    for element in root.iter():
        if element.get("id") in used:
            element.set("id", f"{prefix}-{element.get('id')}")
        else:
            element.attrib.pop("id", None)
        for name, value in list(element.attrib.items()):
            element.set(name, _in_a_page(name, value, prefix))
    for name in ("width", "height", "version"):
        root.attrib.pop(name)
    root.set("role", "img")
    root.set("aria-label", title)
    root.set("class", "plot")
    return ElementTree.tostring(root, encoding="unicode")


def _in_a_page(name: str, value: str, prefix: str) -> str:
    """An attribute's value with the page's colours and font, and with the ids as they now are."""
    if name == "style":
        value = re.sub(r"font-family:[^;]*;?\s*", "", value)
        # Older matplotlib writes size and family so.
        value = re.sub(r"font: ([\d.]+px)[^;]*", r"font-size: \1", value)
        for colour, variable in _COLOURS.items():
            value = value.replace(colour, variable)
    elif name == "clip-path":
        value = value.replace("url(#", f"url(#{prefix}-")
    elif name == f"{{{_XLINK}}}href":
        value = value.replace("#", f"#{prefix}-", 1)
    return value

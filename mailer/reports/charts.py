"""Charts as SVG of our own: drawn here, sharp on paper, readable at any width, with words for ears.

Widths are percentages and letters have their own size, so that a drawing fits a telephone as well as
a sheet. Colours are the page's, by class. Every text passes through ElementTree, which escapes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

_ROW = 46
_BAR = 14
_LABEL_BASE = 14
_BAR_TOP = 22
_PLOT_HEIGHT = 190
_PLOT_TOP = 26
_AXIS = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart: a label, what it amounts to in words, and shares of the full width."""

    label: str
    words: str
    shares: Sequence[tuple[float, str]]
    """From 0 to 1, each with the class that colours it; later ones are drawn upon earlier ones."""


@dataclass(frozen=True, slots=True)
class Column:
    """One step of a chart over time: heights, each with the class that colours it."""

    label: str
    heights: Sequence[tuple[int, str]]


def bar_chart(chart_id: str, title: str, description: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars, one below the other, each beneath its own words."""
    svg = _drawing(chart_id, title, description, height=_ROW * len(bars))
    for index, bar in enumerate(bars):
        top = index * _ROW
        _text(svg, "0", top + _LABEL_BASE, bar.label, "label")
        _text(svg, "100%", top + _LABEL_BASE, bar.words, "value", anchor="end")
        _rect(svg, 0, 1, top + _BAR_TOP, _BAR, "track")
        for share, colour in bar.shares:
            if share > 0:
                _rect(svg, 0, max(min(share, 1), 0.004), top + _BAR_TOP, _BAR, colour)
    return _xml(svg)


def stacked_bar(chart_id: str, title: str, description: str, parts: Sequence[tuple[float, str]]) -> str:
    """One bar that is the whole, divided into its parts, from 0 to 1 with their colours."""
    svg = _drawing(chart_id, title, description, height=28)
    start = 0.0
    for share, colour in parts:
        _rect(svg, start, share, 0, 28, colour)
        start += share
    return _xml(svg)


def column_chart(
    chart_id: str, title: str, description: str, columns: Sequence[Column], top_label: str
) -> str:
    """Columns over time, their heights upon each other's feet, with the highest named.

    Args:
        top_label: what the highest column amounts to, in words.
    """
    svg = _drawing(chart_id, title, description, height=_PLOT_TOP + _PLOT_HEIGHT + _AXIS)
    highest = max([height for column in columns for height, _ in column.heights], default=0) or 1
    floor = _PLOT_TOP + _PLOT_HEIGHT
    for level in (0.0, 0.5, 1.0):
        y = str(floor - level * _PLOT_HEIGHT)
        SubElement(
            svg,
            "line",
            {"x1": "0", "x2": "100%", "y1": y, "y2": y, "class": "axis" if not level else "grid"},
        )
    _text(svg, "0", _PLOT_TOP - 8, top_label, "tick")
    slot = 1 / max(len(columns), 1)
    gap = min(slot * 0.22, 0.008)
    for index, column in enumerate(columns):
        for inset, (height, colour) in enumerate(column.heights):
            if height:
                tall = max(_PLOT_HEIGHT * height / highest, 1.5)
                narrower = slot * 0.16 * inset
                left, width = index * slot + gap / 2 + narrower, slot - gap - 2 * narrower
                _rect(svg, left, width, floor - tall, tall, colour)
    _time_axis(svg, columns, slot, floor + 18)
    return _xml(svg)


def _time_axis(svg: Element, columns: Sequence[Column], slot: float, baseline: float) -> None:
    """Name at most seven steps; on a telephone every other of those is left out by its class."""
    every = -(-len(columns) // 6)
    for nth, index in enumerate(range(0, len(columns), every)):
        centre = (index + 0.5) * slot
        anchor = "start" if centre < 0.04 else "end" if centre > 0.95 else "middle"
        at = 0.0 if anchor == "start" else 1.0 if anchor == "end" else centre
        classes = "tick" if nth % 2 == 0 else "tick wide"
        _text(svg, f"{at:.4%}", baseline, columns[index].label, classes, anchor=anchor)


def _drawing(chart_id: str, title: str, description: str, *, height: int) -> Element:
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "chart",
            "width": "100%",
            "height": str(max(height, 1)),
            "role": "img",
            "aria-labelledby": f"{chart_id}-t {chart_id}-d",
        },
    )
    SubElement(svg, "title", {"id": f"{chart_id}-t"}).text = title
    SubElement(svg, "desc", {"id": f"{chart_id}-d"}).text = description
    return svg


def _rect(svg: Element, left: float, width: float, top: float, height: float, colour: str) -> None:
    SubElement(
        svg,
        "rect",
        {
            "x": f"{left:.4%}",
            "y": f"{top:.1f}",
            "width": f"{max(width, 0):.4%}",
            "height": f"{height:.1f}",
            "class": colour,
        },
    )


def _text(svg: Element, x: str, y: float, text: str, classes: str, *, anchor: str = "start") -> None:
    place = {"x": x, "y": f"{y:.1f}", "class": classes, "text-anchor": anchor}
    SubElement(svg, "text", place).text = text


def _xml(svg: Element) -> str:
    return tostring(svg, encoding="unicode")

"""Charts as inline SVG. Colours are classes of the page's style sheet, so that they follow dark mode and print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 44
SERIES = 6
"""Colours in the style sheet; more series repeat them."""


@dataclass(frozen=True)
class Point:
    """One mark of a scatter chart."""

    x: float
    y: float
    label: str
    kind: str = "other"
    """Class of the mark: "chosen", "present" or "other"."""


@dataclass(frozen=True)
class _Scale:
    """From a value to a place."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (math.log10(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * ((at - low) / (high - low) if high > low else 0.5)


def intervals(rows: Sequence[tuple[str, Sequence[tuple[float, float]]]], systems: Sequence[str], measure: str) -> str:
    """A dot with its 95 % interval for each direction and system.

    Args:
        rows: (direction, (mean, half width) of each system).
        systems: Their names.
    """
    line, left = 20, 150
    height = TOP + len(rows) * (line * len(systems) + 14) + BOTTOM
    highest = max((mean + half for _, values in rows for mean, half in values), default=1.0)
    across = _Scale(0.0, _above(highest), left, WIDTH - 70)
    parts = [_vertical_grid(across, height, measure)]
    y = TOP + 12.0
    for direction, values in rows:
        middle = y + line * (len(values) - 1) / 2 + 4
        parts.append(_text(left - 12, middle, direction, "label", "end"))
        for number, (mean, half) in enumerate(values):
            x, ends = across(mean), (across(max(0.0, mean - half)), across(mean + half))
            parts.append(f'<line class="s{number}" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
            title = escape(f"{direction}, {systems[number]}: {mean:.3f} \u00b1 {half:.3f}")
            parts.append(f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{title}</title></circle>')
            parts.append(_text(ends[1] + 8, y + 4, f"{mean:.3f}", "value"))
            y += line
        y += 14
    return _svg(height, parts, f"{measure} by direction with 95 % intervals")


def histogram(values: ArrayLike, label: str, counted: str) -> str:
    """How many values fall into each of at most 40 ranges of equal width; whole numbers share no range with others."""
    numbers = np.asarray(values)
    if not len(numbers):
        return ""
    low, high = int(numbers.min()), int(numbers.max()) + 1
    width = max(1, math.ceil((high - low) / 40))
    edges = np.arange(low, high + width, width)
    counts, _ = np.histogram(numbers, edges)
    across = _Scale(low, float(edges[-1]), LEFT, WIDTH - RIGHT)
    up = _Scale(0, _above(float(counts.max())), HEIGHT - BOTTOM, TOP)
    parts = [_horizontal_grid(up, counted), _bottom_ticks(across, HEIGHT, label)]
    for start, count in zip(edges[:-1], counts, strict=True):
        x, y = across(start), up(int(count))
        title = (
            f"{int(start)} to {int(start) + width - 1}: {int(count):,}"
            if width > 1
            else f"{int(start)}: {int(count):,}"
        )
        parts.append(
            f'<rect class="s0" x="{x + 0.5:.1f}" y="{y:.1f}" width="{max(1.0, across(start + width) - x - 1):.1f}" '
            f'height="{HEIGHT - BOTTOM - y:.1f}"><title>{title}</title></rect>'
        )
    return _svg(HEIGHT, parts, f"Distribution of {label}")


def bars(rows: Sequence[tuple[str, float, str]], label: str) -> str:
    """Horizontal bars, as (name, length, text behind it)."""
    if not rows:
        return ""
    line, left = 20, 150
    height = TOP + line * len(rows) + 6
    across = _Scale(0, max(length for _, length, _ in rows) or 1, left, WIDTH - 130)
    parts = []
    for number, (name, length, text) in enumerate(rows):
        y = TOP + number * line
        parts.append(_text(left - 8, y + 13, name, "label", "end"))
        parts.append(f'<rect class="s0" x="{left}" y="{y + 2}" width="{across(length) - left:.1f}" height="14"/>')
        parts.append(_text(across(length) + 6, y + 13, text, "value"))
    return _svg(height, parts, label)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """One line of (x, y) points for each name; y is logarithmic where it spans more than a factor of 20."""
    points = [point for values in series.values() for point in values]
    if not points:
        return ""
    across = _Scale(min(x for x, _ in points), max(x for x, _ in points), LEFT + 12, WIDTH - RIGHT - 12)
    lowest, highest = min(y for _, y in points), max(y for _, y in points)
    logarithmic = lowest > 0 and highest / lowest > 20
    bottom = 10 ** math.floor(math.log10(lowest)) if logarithmic else 0.0
    top = 10 ** math.ceil(math.log10(highest)) if logarithmic else _above(highest)
    up = _Scale(bottom, top, HEIGHT - BOTTOM, TOP, logarithmic)
    parts = [_horizontal_grid(up, y_label), _bottom_ticks(across, HEIGHT, x_label, sorted({x for x, _ in points}))]
    for number, (name, values) in enumerate(series.items()):
        colour = f"s{number % SERIES}"
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(values))
        parts.append(f'<polyline class="{colour}" points="{path}"/>')
        for x, y in values:
            title = escape(f"{name}: {plain(y)} at {plain(x)}")
            parts.append(
                f'<circle class="{colour}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="4"><title>{title}</title></circle>'
            )
    return _svg(HEIGHT, parts, f"{y_label} over {x_label}")


def scatter(points: Sequence[Point], front: Sequence[Point], x_label: str, y_label: str) -> str:
    """Marks with labels; the points of the front are joined by a line."""
    if not points:
        return ""
    across = _Scale(*_around([point.x for point in points]), LEFT + 12, WIDTH - RIGHT - 24)
    up = _Scale(*_around([point.y for point in points]), HEIGHT - BOTTOM - 8, TOP + 8)
    parts = [_horizontal_grid(up, y_label), _bottom_ticks(across, HEIGHT, x_label)]
    path = " ".join(f"{across(p.x):.1f},{up(p.y):.1f}" for p in sorted(front, key=lambda point: (point.x, point.y)))
    parts.append(f'<polyline class="front" points="{path}"/>')
    for point in points:
        x, y = across(point.x), up(point.y)
        parts.append(f'<circle class="{point.kind}" cx="{x:.1f}" cy="{y:.1f}" r="6"/>')
        parts.append(_text(x + 8, y - 6, point.label, "value"))
    return _svg(HEIGHT, parts, f"{y_label} over {x_label}")


def legend(names: Sequence[str]) -> str:
    """The colours of :func:`lines` and :func:`intervals`."""
    items = "".join(
        '<li><svg class="mark" viewBox="0 0 12 12" aria-hidden="true">'
        f'<circle class="s{number % SERIES}" cx="6" cy="6" r="5"/></svg>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f'<ul class="legend">{items}</ul>'


def plain(value: float) -> str:
    """A number for people: thousands with commas, at most three significant digits below 100."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def ticks(low: float, high: float, number: int = 5) -> list[float]:
    """Round numbers in [low, high], about so many."""
    if high <= low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / number))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= number)
    first = math.ceil(low / step - 1e-9)
    return [place * step for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _above(value: float) -> float:
    """The first tick that is not below ``value``."""
    if value <= 0:
        return 1.0
    step = ticks(0.0, value)[1] if len(ticks(0.0, value)) > 1 else value
    return math.ceil(value / step - 1e-9) * step


def _around(values: Sequence[float]) -> tuple[float, float]:
    """The span of the values with a little on both sides."""
    low, high = min(values), max(values)
    extra = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return low - extra, high + extra


def _horizontal_grid(up: _Scale, label: str) -> str:
    marks = _decades(up) if up.logarithmic else ticks(up.low, up.high)
    rows = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(mark):.1f}" y2="{up(mark):.1f}"/>'
        + _text(LEFT - 8, up(mark) + 4, plain(mark), "tick", "end")
        for mark in marks
    ]
    middle = (up.start + up.end) / 2
    turned = f'transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle"'
    return "".join(rows) + f'<text class="name" {turned}>{escape(label)}</text>'


def _decades(scale: _Scale) -> list[float]:
    first, last = round(math.log10(scale.low)), round(math.log10(scale.high))
    return [10.0**power for power in range(first, last + 1)]


def _bottom_ticks(across: _Scale, height: int, label: str, marks: Sequence[float] = ()) -> str:
    places = marks if 0 < len(marks) <= 10 else ticks(across.low, across.high, 8)
    texts = [_text(across(mark), height - BOTTOM + 16, plain(mark), "tick", "middle") for mark in places]
    return "".join(texts) + _text((LEFT + WIDTH - RIGHT) / 2, height - 6, label, "name", "middle")


def _vertical_grid(across: _Scale, height: int, label: str) -> str:
    rows = [
        f'<line class="grid" x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>'
        + _text(across(mark), height - BOTTOM + 16, plain(mark), "tick", "middle")
        for mark in ticks(across.low, across.high)
    ]
    return "".join(rows) + _text((across.start + across.end) / 2, height - 6, label, "name", "middle")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: float, parts: Sequence[str], title: str) -> str:
    opening = f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
    return f"{opening}{''.join(parts)}</svg>"

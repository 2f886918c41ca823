"""Plots of curves as SVG, for pages that are light or dark: the colours are the style sheet's.

SVG is part of the page, so it takes its colours from the same variables as the text around it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sphinxext.curves import Sampled

__all__ = ["Line", "plot"]


class Line(NamedTuple):
    """A curve and how it looks: a class of ``fastact.css`` such as ``ink-0`` or ``slope``."""

    sampled: Sampled
    look: str
    #: Hollow and filled marks where it jumps.
    marked: bool = False


class _Frame(NamedTuple):
    width: float
    height: float
    margin: float
    low: tuple[float, float]
    high: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        inner = self.width - 2 * self.margin, self.height - 2 * self.margin
        right = (x - self.low[0]) / (self.high[0] - self.low[0])
        up = (y - self.low[1]) / (self.high[1] - self.low[1])
        return self.margin + right * inner[0], self.height - self.margin - up * inner[1]

    def text(self, x: float, y: float) -> str:
        return " ".join(_number(value) for value in self.at(x, y))


def plot(
    lines: Sequence[Line],
    low: tuple[float, float],
    high: tuple[float, float],
    size: tuple[float, float],
    label: str,
    ticks: bool = False,
) -> str:
    """What is shown goes from ``low`` to ``high``; ``label`` says it to those who do not see it."""
    frame = _Frame(*size, 26 if ticks else 4, low, high)
    parts = [
        f'<svg class="fa-plot" viewBox="0 0 {_number(size[0])} {_number(size[1])}" role="img"'
        f' aria-label="{html.escape(label)}">',
        _axes(frame),
        *([_ticks(frame)] if ticks else []),
        *(_line(frame, line) for line in lines),
        "</svg>",
    ]
    return "".join(parts)


def _axes(frame: _Frame) -> str:
    (left, bottom), (right, top) = frame.low, frame.high
    across = f"M{frame.text(left, 0)}L{frame.text(right, 0)}" if bottom <= 0 <= top else ""
    return f'<path class="axes" d="{across}M{frame.text(0, bottom)}L{frame.text(0, top)}"/>'


def _ticks(frame: _Frame) -> str:
    """Numbers at the edges, and a faint grid."""
    (left, bottom), (right, top) = frame.low, frame.high
    grid, texts = [], []
    for x in _steps(left, right):
        grid.append(f"M{frame.text(x, bottom)}L{frame.text(x, top)}")
        place = frame.at(x, bottom)
        texts.append(_text(place[0], place[1] + 16, _number(x), "middle"))
    for y in _steps(bottom, top):
        grid.append(f"M{frame.text(left, y)}L{frame.text(right, y)}")
        place = frame.at(left, y)
        texts.append(_text(place[0] - 5, place[1] + 4, _number(y), "end"))
    return f'<path class="grid" d="{"".join(grid)}"/>{"".join(texts)}'


def _steps(low: float, high: float) -> Iterable[float]:
    step = next(s for s in (0.5, 1, 2, 5, 10, 100) if (high - low) / s <= 8)
    return (i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1))


def _line(frame: _Frame, line: Line) -> str:
    d = "".join(_path(frame, piece) for piece in line.sampled.pieces)
    drawn = f'<path class="curve {line.look}" d="{d}"/>'
    if not line.marked:
        return drawn
    marks = []
    for x, *values in line.sampled.jumps:
        left, there, right = values
        for y in dict.fromkeys(round(limit, 6) for limit in (left, right)):
            if abs(y - there) > 1e-3:
                marks.append(_mark(frame, x, y, f"hollow {line.look}"))
        marks.append(_mark(frame, x, there, f"filled {line.look}"))
    return drawn + "".join(marks)


def _mark(frame: _Frame, x: float, y: float, look: str) -> str:
    cx, cy = (_number(value) for value in frame.at(x, y))
    return f'<circle class="{look}" cx="{cx}" cy="{cy}" r="3.5"/>'


def _path(frame: _Frame, points: Any) -> str:
    """Only what is in the frame, and where it leaves."""
    bottom, top = frame.low[1], frame.high[1]
    parts: list[str] = []
    inside_before = False
    previous: tuple[float, float] | None = None
    for x, y in points.tolist():
        inside = bottom <= y <= top
        if previous is not None and inside != inside_before:
            (x0, y0), edge = previous, top if max(y, previous[1]) > top else bottom
            at = frame.text(x0 + (x - x0) * (edge - y0) / (y - y0), edge)
            parts.append(f"M{at}" if inside else f"L{at}")
        if inside:
            parts.append(f"{'L' if parts and previous is not None else 'M'}{frame.text(x, y)}")
        inside_before, previous = inside, (x, y)
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">{text}</text>'


def _number(value: float) -> str:
    """Short, and without a sign before zero."""
    return f"{round(value, 2) + 0.0:g}"

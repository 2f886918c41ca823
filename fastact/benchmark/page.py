"""A report as one HTML page that needs no network: tables, pictures, the machine."""

from __future__ import annotations

import base64
import functools
import html
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

from fastact.benchmark import history, plots
from fastact.benchmark.results import Run
from fastact.benchmark.table import columns, conditions, constants

__all__ = ["page"]


def page(runs: list[Run]) -> str:
    """The last of the runs in full, and how it came to that if there are several."""
    run = runs[-1]
    sections = []
    for group in plots.throughput_groups(run):
        picture = _picture(functools.partial(plots.throughput, run, [group]))
        sections.append(_section(" ".join(part for part in group if part != "none"), picture))
    if len({result.case.name for result in run.results}) > 1 or not sections:
        sections.append(_section("Ratios", _picture(functools.partial(plots.ratios, run))))
    if len(runs) > 1:
        sections.append(_history(runs))
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    for key, text in {
        "SUMMARY": html.escape(conditions(run)),
        "SCOPE": html.escape(", ".join(constants(run))),
        "STARTED": html.escape(run.started),
        "TABLE": _table(run),
        "PICTURES": "\n".join(sections),
        "MACHINE": _facts(run),
    }.items():
        template = template.replace(f"<!--{key}-->", text)
    return template


def _picture(draw: Callable[..., Any]) -> str:
    light, dark = (
        base64.b64encode(plots.svg(draw(dark=dark)).encode()).decode() for dark in (False, True)
    )
    return (
        '<picture><source media="(prefers-color-scheme: dark)" '
        f'srcset="data:image/svg+xml;base64,{dark}">'
        f'<img alt="" src="data:image/svg+xml;base64,{light}"></picture>'
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2><div class=wide>{body}</div></section>"


def _history(runs: list[Run]) -> str:
    """What changed, and a chart for each case, those that changed first."""
    charts, changes = [], []
    for series in history.series(runs):
        found = series.changes()
        changes += [(series.case, change) for change in found]
        charts.append((not found, f"<figure>{_chart(series, found)}</figure>"))
    listed = "".join(
        f"<li class={'faster' if change.factor > 1 else 'slower'}>{html.escape(case)}: "
        f"× {change.factor:.2f} between {html.escape(change.last_before)} and "
        f"{html.escape(change.first_after)}</li>"
        for case, change in sorted(changes, key=lambda pair: pair[1].factor)
    )
    charts.sort(key=lambda pair: pair[0])
    return (
        "<section><h2>History</h2><p class=dim>The ratio to NumPy from commit to commit: up is "
        "faster. A line marks where the level changed.</p>"
        f"<ul>{listed or '<li>No change.</li>'}</ul>"
        f"<div class=charts>{''.join(chart for _, chart in charts)}</div></section>"
    )


def _chart(series: history.Series, changes: list[history.Change]) -> str:
    """Drawn as lines of the page, so that it has the page's colours."""
    width, height = 260, 90
    low, high = min(series.ratios), max(series.ratios)
    middle, reach = (low + high) / 2, max(high - low, 0.1 * (low + high) / 2) / 2

    def x(position: float) -> float:
        return 4 + (width - 8) * position / max(1, len(series.ratios) - 1)

    def y(ratio: float) -> float:
        return height / 2 - (height / 2 - 6) * (ratio - middle) / reach

    points = [(x(i), y(ratio)) for i, ratio in enumerate(series.ratios)]
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2"><title>{html.escape(label)}: {ratio:.3g}</title>'
        "</circle>"
        for (a, b), label, ratio in zip(points, series.labels, series.ratios, strict=True)
    )
    marks = "".join(
        f'<path class="{"faster" if change.factor > 1 else "slower"}" '
        f'd="M{x(change.position - 0.5):.1f} 0V{height}"><title>{html.escape(change.last_before)} '
        f"– {html.escape(change.first_after)}: × {change.factor:.2f}</title></path>"
        for change in changes
    )
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return (
        f"<figcaption>{html.escape(series.case)}: {series.ratios[-1]:.3g}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">{marks}'
        f'<polyline points="{line}"/>{dots}</svg>'
    )


def _table(run: Run) -> str:
    shown = columns(run)
    head = "".join(
        f'<th class="{"number" if c.numeric else ""}"><button>{html.escape(c.title)}</button></th>'
        for c in shown
    )
    rows = []
    for result in run.results:
        cells = []
        for column in shown:
            value = column.value(result)
            key = value.value if column.library and value is not None else value
            classes = ["number"] if column.numeric else []
            if column.library and value is not None:
                classes += ["faster"] if value.low > 1 else ["slower"] if value.high < 1 else []
            text = "" if value is None else column.text(value)
            cells.append(
                f'<td class="{" ".join(classes)}" data-key="{html.escape(json.dumps(key))}">'
                f"{html.escape(text)}</td>"
            )
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"


def _facts(run: Run) -> str:
    return "".join(
        f"<dt>{html.escape(key)}</dt><dd>{html.escape(value)}</dd>"
        for key, value in run.machine.items()
    )

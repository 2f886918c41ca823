"""Runs as tables: the cells, which terminal, page and README share, and the terminal's table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastact.benchmark.results import Result, Run
from fastact.benchmark.timing import Estimate

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "GAP_TITLES",
    "MODE_TITLES",
    "TITLES",
    "Column",
    "columns",
    "conditions",
    "elements",
    "long_duration",
    "markdown_table",
    "print_run",
    "ratio_text",
]

TITLES = {"numpy": "NumPy", "numba": "Numba", "torch": "PyTorch"}
GAP_TITLES = {"none": "", "sleep": "after a pause of 10 ms", "matmul": "after a matrix product"}
MODE_TITLES = {
    "out": "`out=`",
    "fresh": "new array",
    "in-place": "in place",
    "backward": "backward",
}


@dataclasses.dataclass(frozen=True)
class Column:
    title: str
    #: What is compared when the table is sorted; None for an empty cell.
    value: Callable[[Result], Any]
    text: Callable[[Any], str] = str
    numeric: bool = True
    library: str = ""


def columns(run: Run, intervals: bool = True) -> list[Column]:
    """What there is to say about each result; what is the same for all is left out."""
    described = [
        Column("function", lambda r: r.case.name, numeric=False),
        Column("mode", lambda r: r.case.mode, numeric=False),
        Column("dtype", lambda r: r.case.dtype, numeric=False),
        Column("before", lambda r: r.case.gap, numeric=False),
        Column("elements", lambda r: r.case.n, elements),
    ]
    varying = [c for c in described if len({c.value(r) for r in run.results}) > 1]
    return [
        *varying,
        Column("time", lambda r: r.median(), duration),
        Column(
            "GB/s", lambda r: r.bandwidth() / 1e9, lambda v: f"{v:.2g}" if v < 0.1 else f"{v:.3g}"
        ),
        *(
            [
                Column(
                    "of copy", lambda r: of_copy(run, r), lambda v: "" if v is None else f"{v:.0%}"
                )
            ]
            if any(of_copy(run, r) is not None for r in run.results)
            else []
        ),
        *(_versus(name, intervals) for name in run.libraries if name != "fastact"),
    ]


def _versus(library: str, intervals: bool) -> Column:
    def value(result: Result) -> Any:
        return result.ratio(library) if library in result.seconds else None

    def text(estimate: Any) -> str:
        return "" if estimate is None else ratio_text(estimate, intervals)

    return Column(f"× {TITLES.get(library, library)}", value, text, library=library)


def constants(run: Run) -> list[str]:
    """What is the same for all results."""
    case = run.results[0].case
    described = {
        "name": case.name,
        "mode": case.mode,
        "dtype": case.dtype,
        "gap": GAP_TITLES[case.gap],
        "n": f"{elements(case.n)} elements",
    }
    return [
        text
        for field, text in described.items()
        if text and len({getattr(r.case, field) for r in run.results}) == 1
    ]


def conditions(run: Run) -> str:
    """The machine in one line."""
    facts = run.machine
    versions = [f"{TITLES.get(k, k)} {facts[k]}" for k in ("numpy", "numba") if k in facts]
    if "torch" in run.libraries:
        versions.append(f"PyTorch {facts['torch']}")
    threads = f"{facts['threads']} thread{'s' if facts['threads'] != '1' else ''}"
    return ", ".join([facts["CPU"], threads, f"Python {facts['Python']}", *versions])


def of_copy(run: Run, result: Result) -> float | None:
    ceiling = run.ceiling(result.case)
    return None if ceiling is None else result.bandwidth() / ceiling


def elements(n: int) -> str:
    return f"{n:,}".replace(",", " ")


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= size or unit == "ns":
            return (
                f"{seconds / size:.3g} {unit}"
                if seconds < 999 * size
                else f"{seconds / size:.0f} {unit}"
            )
    raise AssertionError


def long_duration(seconds: float) -> str:
    """For people who wait: "50 s", "3 min", "2 h 10 min"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def ratio_text(estimate: Estimate, interval: bool = True) -> str:
    value, low, high = (
        f"{x:.2f}" if x < 9.995 else f"{x:.1f}" if x < 99.95 else f"{x:.0f}"
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} ({low}–{high})" if interval else value


def markdown_table(rows: list[list[str]]) -> str:
    """The first row is the head; the first column is text, the others are flushed right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    first, *others = widths
    rule = "|" + "|".join(["-" * (first + 2), *("-" * (w + 1) + ":" for w in others)]) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def print_run(run: Run, console: Console) -> None:
    """A table as wide as the terminal allows, in colour if that is one."""
    if not run.results:
        return
    table = _rich_table(run, intervals=True)
    unlimited = console.options.update(width=1000)
    if console.measure(table, options=unlimited).maximum > console.width:
        table = _rich_table(run, intervals=False)
    console.print()
    console.print(", ".join(constants(run)) or "all results", style="bold")
    console.print(table)
    note = "×: their time divided by fastact's, so above 1 fastact is faster."
    if any(of_copy(run, r) is not None for r in run.results):
        note += " Of copy: bytes per second beside those of a plain copy on all threads."
    console.print(f"{note}\n{conditions(run)}", style="dim", highlight=False)


def _rich_table(run: Run, intervals: bool) -> Table:
    from rich import box
    from rich.table import Table

    shown = columns(run, intervals)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0)
    for column in shown:
        table.add_column(column.title, justify="right" if column.numeric else "left", no_wrap=True)
    previous = None
    for result in run.results:
        section = dataclasses.replace(result.case, n=0)
        if previous not in (None, section) and len(run.results) > 8:
            table.add_section()
        previous = section
        table.add_row(*(_coloured(column, column.value(result)) for column in shown))
    return table


def _coloured(column: Column, value: Any) -> str:
    text = column.text(value)
    if not column.library or value is None:
        return text
    # Only what the interval is sure of.
    colour = "green" if value.low > 1 else ("red" if value.high < 1 else "")
    return f"[{colour}]{text}[/]" if colour else text

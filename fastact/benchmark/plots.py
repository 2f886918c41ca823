"""Runs as pictures, drawn with Matplotlib."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastact.benchmark.results import Result, Run, write
from fastact.benchmark.table import GAP_TITLES, MODE_TITLES, TITLES, conditions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["best", "ratios", "save", "svg", "throughput", "throughput_groups"]

#: Told apart by marker and dash, and in print by lightness: Okabe and Ito's colours.
_STYLES: dict[str, dict[str, Any]] = {
    "fastact": {"color": "#0072B2", "marker": "o", "linestyle": "-", "linewidth": 2.4},
    "numpy": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "torch": {"color": "#009E73", "marker": "^", "linestyle": "-."},
}


def throughput_groups(run: Run) -> list[tuple[str, str, str]]:
    """Function, dtype and gap of what was measured at more than one size."""
    sizes: dict[tuple[str, str, str], set[int]] = {}
    for result in run.results:
        case = result.case
        sizes.setdefault((case.name, case.dtype, case.gap), set()).add(case.n)
    return [group for group, measured in sizes.items() if len(measured) > 1]


def best(run: Run) -> Figure:
    """What shows most of it in one picture."""
    groups = throughput_groups(run)
    covered = all(_group(result) in groups for result in run.results)
    return throughput(run, groups) if covered else ratios(run)


def throughput(run: Run, groups: list[tuple[str, str, str]], dark: bool = False) -> Figure:
    """Bytes per second over size: a row for each group, a panel for each mode."""
    results = [[r for r in run.results if _group(r) == group] for group in groups]
    modes = list(dict.fromkeys(r.case.mode for row in results for r in row))
    with _canvas(dark, 1.2 + 2.7 * len(modes), 1 + 2.5 * len(groups)) as figure:
        axes = figure.subplots(len(groups), len(modes), sharex=True, sharey=True, squeeze=False)
        for group, row, panels in zip(groups, results, axes, strict=True):
            for mode, panel in zip(modes, panels, strict=True):
                _throughput_panel(panel, run, [r for r in row if r.case.mode == mode])
                name, dtype, gap = group
                title = [name, MODE_TITLES[mode].strip("`"), dtype, GAP_TITLES[gap]]
                panel.set_title(", ".join(filter(None, title)))
            panels[0].set_ylabel("GB/s")
        for panel in axes[-1]:
            panel.set_xlabel("elements")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        figure.supxlabel(conditions(run), fontsize=7)
    return figure


def _throughput_panel(panel: Any, run: Run, results: list[Result]) -> None:
    copies = [(r.case.n, run.ceiling(r.case)) for r in results]
    drawn = [(n, copy / 1e9) for n, copy in copies if copy is not None]
    ink = panel.xaxis.label.get_color()
    if drawn:
        panel.plot(*zip(*drawn, strict=True), ":", color=ink, linewidth=1.6, label="copy (ceiling)")
    for name in run.libraries:
        points = [(r.case.n, r.bandwidth(name) / 1e9) for r in results if name in r.seconds]
        if points:
            label = TITLES.get(name, name)
            x, y = zip(*points, strict=True)
            panel.plot(x, y, label=label, **_STYLES.get(name, {}))
    panel.set_xscale("log")
    panel.set_yscale("log")


def ratios(run: Run, dark: bool = False) -> Figure:
    """Others' time divided by ours: a bar for each result, for many functions at few sizes."""
    others = [name for name in run.libraries if name != "fastact"]
    labels = [str(result.case) for result in run.results]
    with _canvas(dark, 3 + 3 * len(others), 1.2 + 0.2 * len(labels)) as figure:
        axes = figure.subplots(1, len(others), sharey=True, squeeze=False)
        for name, panel in zip(others, axes[0], strict=True):
            style = _STYLES.get(name, {})
            for i, result in enumerate(run.results):
                if name in result.seconds:
                    e = result.ratio(name)
                    errors = [[e.value - e.low], [e.high - e.value]]
                    panel.barh(i, e.value, xerr=errors, color=style.get("color"), height=0.7)
            panel.axvline(1, color=panel.xaxis.label.get_color(), linewidth=1)
            panel.set_xscale("log")
            panel.set_title(f"{TITLES.get(name, name)}'s time / fastact's")
            panel.grid(axis="y", visible=False)
        axes[0][0].set_yticks(range(len(labels)), labels)
        axes[0][0].invert_yaxis()
        axes[0][0].margins(y=0.01)
        figure.supxlabel(conditions(run), fontsize=7)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write it, whole or not at all, in the format that the file's suffix names."""
    if path.suffix == ".svg":
        write(path, svg(figure).encode())
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.removeprefix("."), dpi=150, facecolor="white")
    write(path, buffer.getvalue())


def svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().decode()


def _group(result: Result) -> tuple[str, str, str]:
    return result.case.name, result.case.dtype, result.case.gap


@contextlib.contextmanager
def _canvas(dark: bool, width: float, height: float) -> Iterator[Figure]:
    """A figure that no display and no global state knows of, for a light or a dark page."""
    import matplotlib
    from matplotlib.figure import Figure

    ink, grid = ("#e6edf3", "#3d444d") if dark else ("#1f2328", "#d0d7de")
    inked = ["text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"]
    inked += ["xtick.color", "ytick.color"]
    style = {
        **dict.fromkeys(inked, ink),
        "grid.color": grid,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "font.size": 9,
        "legend.frameon": False,
        "lines.markersize": 4,
        "svg.fonttype": "none",
        "svg.hashsalt": "fastact",  # equal data give equal files
    }
    with matplotlib.rc_context(style):
        yield Figure((width, height), facecolor="none", layout="constrained")

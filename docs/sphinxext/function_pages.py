"""A page for every function of the catalogue, written before Sphinx reads the pages.

What it says is computed from the entry and its compiled functions, or stands in the files of
measurements; nothing is written here about a single function.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fastact.benchmark.cases import DTYPES, Case
from fastact.benchmark.table import MODE_TITLES, TITLES, elements
from fastact.catalogue import (
    CATALOGUE,
    Activation,
    Entry,
    Form,
    Gated,
    Joined,
    Parameter,
    Rows,
    Variants,
)
from fastact.catalogue.entries import REQUIRED, formulas
from fastact.public.names import OTHER_NAMES
from sphinxext import notation, stored
from sphinxext.curves import drawn, instances, jumps, sampled, window
from sphinxext.drawing import Line, plot
from sphinxext.pages import code, page, raw, section, table, write
from sphinxext.properties import PROPERTIES, cost, properties

__all__ = ["setup"]

SIZE = (460.0, 320.0)
SMALL = (340.0, 240.0)


def function_page(entry: Entry) -> str:
    names = [form.name for form in entry.forms]
    alias = f"Also called {', '.join(f'``{a}``' for a in entry.aliases)}." if entry.aliases else ""
    return page(
        entry.name,
        entry.summary,
        alias,
        _figure(entry),
        section("Formula", *_formula(entry)),
        section("Parameters", *_parameters(entry)),
        section("In place of", _idioms(entry)),
        section("Properties", _facts(entry)),
        section("Accuracy", *_accuracy(entry)),
        section("Speed", *_speed(entry)),
        section("Similar functions", *_similar(entry)),
        section(
            "Reference",
            _dtypes(entry),
            ".. currentmodule:: fastact",
            *(f".. autofunction:: {name}" for name in names),
        ),
    )


# --- pictures ------------------------------------------------------------------------------------


def _figure(entry: Entry) -> str:
    half = window(entry)
    functions = drawn(entry)
    several = len(functions) > 1 and not isinstance(entry, Variants)
    lines, legend = [], []
    for i, function in enumerate(functions):
        ending = f", {function.label}" if function.label and (i or several) else ""
        look = f"slope-{i}" if several else "slope"
        lines.append(Line(sampled(function.slope, -half, half), look, marked=True))
        lines.append(Line(sampled(function.value, -half, half), f"ink-{i}", marked=True))
        legend.append((f"ink-{i}", f"{entry.name}{ending}"))
        if several or i == len(functions) - 1:
            legend.append((look, f"its derivative{ending if several else ''}"))
    low, high = _range(lines, half)
    label = f"{entry.name} and its derivative, for x from {-half:g} to {half:g}"
    text = plot(lines, (-half, low), (half, high), SIZE, label, ticks=True)
    return raw(f"<figure>{text}{_legend(legend)}</figure>") + "\n\n" + _kinks(entry, half)


def _range(lines: Iterable[Line], half: float) -> tuple[float, float]:
    """Of the values, but not of what goes far beyond the width."""
    values = np.concatenate([points[:, 1] for line in lines for points in line.sampled.pieces])
    low, high = max(values.min(), -1.1 * half), min(values.max(), 1.1 * half)
    room = 0.06 * (high - low)
    return low - room, high + room


def _legend(looks: Iterable[tuple[str, str]]) -> str:
    items = (
        f'<li><svg viewBox="0 0 28 8" aria-hidden="true"><path class="curve {look}" d="M0 4H28"/>'
        f"</svg>{text}</li>"
        for look, text in looks
    )
    return f'<figcaption><ul class="fa-legend">{"".join(items)}</ul></figcaption>'


def _kinks(entry: Entry, half: float) -> str:
    """What the derivative is where it jumps, in words."""
    slope = drawn(entry)[0].slope
    lines = []
    for at in jumps(slope, -half, half):
        left, there, right = slope(np.array([at - 1e-7, at, at + 1e-7]))
        lines.append(
            f"At x = {at:g} the derivative is {there:.4g}; from the left it is {left:.4g}, "
            f"from the right {right:.4g}."
        )
    own = entry.derivative_parameters if isinstance(entry, Activation) else {}
    backward = f":func:`~fastact.{entry.name}_backward`"
    lines += [f"``{name}`` of {backward} gives it another value there." for name in own]
    return "\n".join(lines)


def _facts(entry: Entry) -> str:
    rows = [
        [name, "yes" if holds else "no", PROPERTIES[name][0]]
        for name, holds in properties(entry).items()
    ]
    found = cost(entry)
    if found is not None:
        machine = stored.costs()["machine"]["CPU"]
        rows.append(["time", f"{found[1]:.3g} × relu", f"for 10 000 float32 on {machine}"])
    return table(["property", "", "meaning"], rows)


# --- formula and parameters ----------------------------------------------------------------------


def _formula(entry: Entry) -> list[str]:
    blocks: list[str] = []
    used: dict[str, str] = {}
    for shown, label in _shown(entry, notation.operator(entry.name)):
        first, *where = shown.lines
        blocks.append(f".. math:: {label}{first}")
        blocks += [rf".. math:: \qquad\text{{where }}\; {line}" for line in where]
        used |= shown.names
    meaning = ", ".join(f":math:`{letter}` is ``{word}``" for word, letter in used.items())
    linked = re.sub(r"arXiv:([\d.]+\d)", r"`\g<0> <https://arxiv.org/abs/\1>`__", entry.reference)
    reference = f"Reference: {linked}." if linked else ""
    return [*blocks, f"{meaning[:1].upper()}{meaning[1:]}." if meaning else "", reference]


def _shown(entry: Entry, name: str) -> list[tuple[notation.Shown, str]]:
    if isinstance(entry, Variants):
        found: list[tuple[notation.Shown, str]] = []
        for (variant, _), key in zip(entry.formulas, entry.variants, strict=True):
            mark = f"_{{\\mathrm{{{key}}}}}" if found else ""
            found += _of(variant, f"{name}{mark}")
        return found
    if isinstance(entry, Activation):
        return _of(entry, name)
    if isinstance(entry, Gated):
        gate, up = ("b", "a") if entry.halves else ("gate", "up")
        arguments = "x" if entry.halves else rf"\mathrm{{{gate}}}, \mathrm{{{up}}}"
        source = f"{entry.activation}({gate}) * {up}"
        return [(notation.shown(source), rf"{name}({arguments}) = ")]
    if isinstance(entry, Joined):
        first, second = map(notation.formula, (entry.first, entry.second))
        return [(first, rf"{name}(x)_1 = "), (second, rf"{name}(x)_2 = ")]
    return [(notation.formula(entry), f"{name}(x) = ")]


def _of(entry: Activation, name: str) -> list[tuple[notation.Shown, str]]:
    return [
        (notation.formula(entry), f"{name}(x) = "),
        (notation.derivative(entry), f"{name}'(x) = "),
    ]


def _parameters(entry: Entry) -> list[str]:
    if not isinstance(entry, Activation):
        return []
    blocks = []
    for parameter in entry.arguments:
        if not parameter.type.startswith("float"):
            continue
        values = instances(entry, parameter)
        if values:
            blocks.append(_parameter(entry, parameter, values))
    return blocks


def _parameter(entry: Activation, parameter: Parameter, values: list[float]) -> str:
    half = window(entry)
    lines, legend = [], []
    for i, value in enumerate(values):
        function = drawn(entry, **{parameter.name: value})[0]
        lines.append(Line(sampled(function.value, -half, half), f"ink-{i}", marked=True))
        default = ", the default" if value == parameter.default else ""
        legend.append((f"ink-{i}", f"{parameter.name} = {value:.3g}{default}"))
    low, high = _range(lines, half)
    label = f"{entry.name} with {parameter.name} = {', '.join(f'{v:.3g}' for v in values)}"
    text = plot(lines, (-half, low), (half, high), SMALL, label, ticks=True)
    about = f"``{parameter.name}``: {parameter.about}."
    return f"{about}\n\n" + raw(f'<figure class="small">{text}{_legend(legend)}</figure>')


# --- what it replaces ----------------------------------------------------------------------------


def _idioms(entry: Entry) -> str:
    """Calls, and above each the NumPy idiom that it replaces."""
    variants = [v for v, _ in entry.formulas] if isinstance(entry, Variants) else [entry]
    pairs = []
    for variant, (forward, backward) in zip(variants, _calls(entry), strict=True):
        pairs += [(variant.idiom, forward), (variant.backward_idiom, backward)]
    return code("\n\n".join(f"# {idiom}\n{call}" for idiom, call in pairs))


def _calls(entry: Entry) -> list[tuple[str, str]]:
    """How forward and backward are called here, for each variant."""
    choices = [""]
    if isinstance(entry, Variants):
        keys = list(entry.variants)[1:]
        choices += [f', {entry.parameter}="{key}"' for key in keys]
    forms = {form.which: form for form in entry.forms}
    return [
        (_call(forms["forward"], choice), _call(forms["backward"], choice)) for choice in choices
    ]


def _call(form: Form, choice: str) -> str:
    own = getattr(form.entry, "parameters", {})
    given = [p.name for p in form.parameters if p.name in own or p.default is REQUIRED]
    return f"fa.{form.name}({', '.join([*form.arrays, *given])}{choice})"


# --- measurements --------------------------------------------------------------------------------


def _accuracy(entry: Entry) -> list[str]:
    found = stored.accuracy()
    names = [f.name for f, _ in entry.formulas] if isinstance(entry, Activation | Variants) else []
    blocks = []
    for name in names:
        if name in found:
            rows = [[title, *_parts(cell)] for title, cell in found[name].items() if cell]
            label = [f"``{name}``:"] if len(names) > 1 else []
            blocks += [*label, table(["", "largest error, ulp", "at x", "mean"], rows)]
    if blocks:
        return [*blocks, ":doc:`How it was measured </accuracy>`, and on which machine."]
    if entry.family == "piecewise":
        return ["Exact: each operation of the formula is rounded once, as in NumPy's idiom."]
    if isinstance(entry, Gated):
        return [f"That of :func:`~fastact.{entry.activation}`, and one product, rounded once."]
    return [":doc:`/accuracy` says what is guaranteed."] if isinstance(entry, Rows) else []


def _parts(cell: str) -> list[str]:
    """Of "1.65 at -2.786; 0.05": error, where, mean."""
    largest, _, mean = cell.partition("; ")
    error, _, place = largest.partition(" at ")
    return [error, place, mean]


def _speed(entry: Entry) -> list[str]:
    blocks = []
    for found in stored.performance():
        tabs = [text for dtype in DTYPES if (text := _speed_tab(found, entry.name, dtype))]
        if tabs:
            machine = found["machine"]
            blocks += [
                f"On {machine['CPU']}, {machine['threads']} threads, beside NumPy "
                f"{machine['numpy']} and PyTorch {machine['torch']}: their time divided by "
                "fastact's, so above 1 fastact is faster.",
                ".. tab-set::\n\n" + _indented("\n\n".join(tabs)),
            ]
    more = ":doc:`How it was measured, and the other functions </measurements>`."
    return [*blocks, more] if blocks else []


def _speed_tab(found: dict[str, Any], name: str, dtype: str) -> str:
    ratios = found["ratios"]
    cells = {
        (mode, n): ratios[key]
        for mode in MODE_TITLES
        for n in (100, 10_000, 100_000, 1_000_000)
        if (key := str(Case(name, mode, dtype, n))) in ratios
    }
    if not cells:
        return ""
    libraries = [x for x in TITLES if x != "fastact" and any(x in c for c in cells.values())]
    titles = ["call", "elements", *(TITLES[x] for x in libraries)]
    rows = [
        [MODE_TITLES[mode].replace("`", "``"), elements(n), *(_ratio(c.get(x)) for x in libraries)]
        for (mode, n), c in cells.items()
    ]
    return f".. tab-item:: {dtype}\n\n" + _indented(table(titles, rows))


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value >= 1 else f"{value:.2f}"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())


# --- relatives -----------------------------------------------------------------------------------

_X = np.linspace(-6, 6, 481)
_WEIGHTS = np.exp(-_X * _X / 8)


@functools.cache
def _curve(entry: Entry) -> Any:
    return drawn(entry)[0].value(_X)


def _similar(entry: Entry) -> list[str]:
    """Those whose curves are closest, for inputs that are normally distributed."""
    own = _curve(entry)
    elementwise = isinstance(entry, Activation | Variants)
    distance = {
        other.name: float(np.average(abs(_curve(other) - own), weights=_WEIGHTS))
        for other in CATALOGUE.values()
        if other is not entry and (isinstance(other, Activation | Variants) or not elementwise)
    }
    nearest = sorted(distance, key=lambda name: (round(distance[name], 6), name))[:3]
    formula_names = formulas()
    compared = [name for name in [entry.name, *nearest] if name in formula_names]
    link = f"`Compare them interactively <../compare.html#{','.join(compared)}>`__."
    return [f".. gallery:: {' '.join(nearest)}", link if len(compared) > 1 else ""]


def _dtypes(entry: Entry) -> str:
    keeps = getattr(entry, "keeps_integers", False)
    integers = "integers stay integers" if keeps else "integers are promoted as by ``np.exp``"
    return f"For float16, bfloat16 (of ml_dtypes), float32 and float64; {integers}."


# --- the files -----------------------------------------------------------------------------------


def _write(app: Any) -> None:
    wanted = {f"{name}.rst": function_page(entry) for name, entry in CATALOGUE.items()}
    names = list(CATALOGUE)
    others = [
        f".. py:data:: {alias}\n\n   Another name of :func:`{name}`."
        for alias, name in OTHER_NAMES.items()
    ]
    wanted["index.rst"] = page(
        "Functions",
        ".. toctree::\n   :maxdepth: 1\n\n" + "\n".join(f"   {name}" for name in names),
        section("Other names", ".. currentmodule:: fastact", *others),
    )
    write(Path(app.srcdir) / "functions", wanted)


def setup(app: Any) -> dict[str, Any]:
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

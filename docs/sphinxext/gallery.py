"""The directive ``gallery``: a card for each function of the catalogue, and filters.

Without scripts there are all cards and no filters.
"""

from __future__ import annotations

import html
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from fastact.catalogue import CATALOGUE, Entry
from sphinxext.curves import drawn, sampled, window
from sphinxext.drawing import Line, plot
from sphinxext.properties import COSTS, PROPERTIES, cost, properties

__all__ = ["picture", "setup"]

CARD = (200.0, 150.0)


def picture(entry: Entry) -> str:
    """The function and its derivative, as much to the right as up."""
    half = window(entry)
    lines = []
    for function in drawn(entry):
        for curve, look in ((function.slope, "slope"), (function.value, "ink-0")):
            lines.append(Line(sampled(curve, -half, half), look))
    label = f"{entry.name} and its derivative, for x from {-half:g} to {half:g}"
    return plot(lines, (-half, -half / 2), (half, half), CARD, label)


class Gallery(SphinxDirective):
    """With names: the cards of these functions; without: all, and filters."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        names = self.arguments[0].split() if self.arguments else list(CATALOGUE)
        cards = "".join(_card(CATALOGUE[name], self._address(name)) for name in names)
        filters = "" if self.arguments else _filters()
        text = f'{filters}<ul class="fa-cards">{cards}</ul>'
        return [nodes.raw("", text, format="html")]

    def _address(self, name: str) -> str:
        builder = self.env.app.builder
        return builder.get_relative_uri(self.env.docname, f"functions/{name}")


def _card(entry: Entry, page: str) -> str:
    has = [name for name, holds in properties(entry).items() if holds]
    found = cost(entry)
    tags = [entry.family, *has]
    times = ""
    if found is not None:
        tags.append(f"cost-{found[0]}")
        times = f", {_times(found[1])}"
    summary = html.escape(entry.summary.replace("``", "").rstrip("."))
    return (
        f'<li class="fa-card" data-tags="{"|".join(tags)}"><a href="{page}">'
        f'<span class="name">{entry.name}</span>{picture(entry)}'
        f'<span class="summary">{summary}</span>'
        f'<span class="facts">{", ".join(has) or "unbounded"}{times}</span></a></li>'
    )


def _times(cost: float) -> str:
    return "as fast as relu" if cost < 1.15 else f"{cost:.2g} times relu's time"


def _filters() -> str:
    families = dict.fromkeys(entry.family for entry in CATALOGUE.values())
    groups = [
        _choices("Family", "family", {family: (family, "") for family in families}),
        _choices(
            "Time",
            "cost",
            {f"cost-{name}": (name, _bound(largest)) for name, largest in COSTS.items()},
        ),
        "".join(
            [
                "<fieldset><legend>Properties</legend>",
                *(
                    f'<label title="{html.escape(meaning)}"><input type="checkbox" value="{name}">'
                    f" {name}</label>"
                    for name, (meaning, _) in PROPERTIES.items()
                ),
                "</fieldset>",
            ]
        ),
    ]
    return (
        f'<form class="fa-filters" hidden aria-label="Which functions are shown">{"".join(groups)}'
        '<p role="status"></p></form>'
    )


def _bound(largest: float) -> str:
    return f"less than {largest:g} times relu's" if largest < float("inf") else "more than that"


def _choices(title: str, name: str, choices: dict[str, tuple[str, str]]) -> str:
    listed = {"": ("all", "")} | choices
    options = [
        f'<label title="{html.escape(meaning)}"><input type="radio" name="{name}" value="{value}"'
        f"{'' if value else ' checked'}> {text}</label>"
        for value, (text, meaning) in listed.items()
    ]
    return f"<fieldset><legend>{title}</legend>{''.join(options)}</fieldset>"


def setup(app: Any) -> dict[str, Any]:
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

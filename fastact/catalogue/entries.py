"""The kinds of entries that the catalogue has, and the entries by name.

What the fields mean is said at the top of ``activations``, the page that enters them.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = [
    "ALIASES",
    "CATALOGUE",
    "GATED",
    "ROWS",
    "Activation",
    "Gated",
    "Rows",
    "activation",
    "gated",
    "rows",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Activation:
    """One entry of the catalogue; the fields are described at the top of this module."""

    name: str
    doc: str
    formula: Callable[..., Any]
    derivative: Callable[..., Any] | None = None
    derivative_from_output: Callable[..., Any] | None = None
    default_formula: Callable[..., Any] | None = None
    default_derivative: Callable[..., Any] | None = None
    idiom: str = ""
    backward_idiom: str = ""
    reference: str = ""
    about: tuple[str, ...] = ()
    keeps_integers: bool = False
    constraints: tuple[tuple[str | float, str | float], ...] = ()
    arrays: int = 1
    weights: bool = False

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        """Names of the parameters after the arrays, with their defaults."""
        parameters = list(inspect.signature(self.formula).parameters.values())[self.arrays :]
        return {p.name: p.default for p in parameters}

    @property
    def has_defaults(self) -> bool:
        """Whether there are parameters, and all of them have defaults."""
        defaults = self.parameters.values()
        return bool(defaults) and inspect.Parameter.empty not in defaults


@dataclasses.dataclass(frozen=True)
class Gated:
    """A gated linear unit: activation(gate) * up, ``activation`` being a name in the catalogue."""

    name: str
    doc: str
    activation: str
    idiom: str
    backward_idiom: str
    reference: str = ""


@dataclasses.dataclass(frozen=True)
class Rows:
    """A function of rows: ``result`` of each element and of the sum of ``term`` over its row.

    ``term(..., top)``: ``top`` is the largest element of the row, for functions of one array.
    ``total`` says what ``result`` gets to know of the sum, in two parts, the second being what the
    first has lost to rounding: the "sum" itself, its "inverse", or its "logarithm" plus ``top``.
    ``keeps_term``: ``result`` is a function of the term instead of the element.
    """

    name: str
    doc: str
    term: Callable[..., Any]
    result: Callable[..., Any]
    total: str
    keeps_term: bool = False

    @property
    def inputs(self) -> list[str]:
        return [name for name in inspect.signature(self.term).parameters if name != "top"]


CATALOGUE: dict[str, Activation] = {}
ROWS: dict[str, Rows] = {}
GATED: dict[str, Gated] = {}
#: Other names of entries.
ALIASES = {"swish": "silu"}


def activation(body: type) -> Activation:
    """Enter the decorated class body into the catalogue, under the class's name."""
    fields = {name: value for name, value in vars(body).items() if not name.startswith("__")}
    entry = Activation(name=body.__name__, doc=inspect.getdoc(body) or "", **fields)
    if len(entry.about) != len(entry.parameters):
        raise TypeError(f"{entry.name}: 'about' must describe {list(entry.parameters)}")
    CATALOGUE[entry.name] = entry
    return entry


def gated(body: type) -> Gated:
    """Enter the decorated class body into the catalogue of gated units."""
    fields = {name: value for name, value in vars(body).items() if not name.startswith("__")}
    entry = Gated(name=body.__name__, doc=inspect.getdoc(body) or "", **fields)
    GATED[entry.name] = entry
    return entry


def rows(body: type) -> Rows:
    """Enter the decorated class body into the catalogue of functions of rows."""
    fields = {name: value for name, value in vars(body).items() if not name.startswith("__")}
    entry = Rows(name=body.__name__, doc=inspect.getdoc(body) or "", **fields)
    ROWS[entry.name] = entry
    return entry

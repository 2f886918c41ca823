"""Which names the package has, and what is built when one of them is first used."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from fastact.catalogue import (
    ALIASES,
    CATALOGUE,
    Activation,
    Entry,
    Form,
    Gated,
    Joined,
    Largest,
    Randomized,
    Rows,
    Variants,
)
from fastact.catalogue.entries import SUFFIXES
from fastact.public.made import record

__all__ = ["FORMS", "FUNCTIONS", "MODULES", "NAMES", "OTHER_NAMES", "build"]

#: The public functions of the catalogue, by name.
FORMS: dict[str, Form] = {form.name: form for e in CATALOGUE.values() for form in e.forms}
#: Names of functions under other names.
OTHER_NAMES = {
    alias + suffix: name + suffix
    for alias, name in ALIASES.items()
    for suffix in SUFFIXES.values()
    if name + suffix in FORMS
}
#: Names of all functions, without their forms.
FUNCTIONS = [*CATALOGUE, *ALIASES]

#: What makes a function of an entry, by the entry's kind.
_MAKERS: dict[type[Entry], tuple[str, str]] = {
    Activation: ("elementwise", "activation"),
    Randomized: ("composed", "randomized"),
    Variants: ("elementwise", "variants"),
    Gated: ("elementwise", "gated"),
    Joined: ("composed", "joined"),
    Rows: ("rows", "rows"),
    Largest: ("rows", "largest"),
}
_ELSEWHERE = {
    "get_num_threads": "fastact.cpu.pool",
    "num_threads": "fastact.cpu.pool",
    "set_num_threads": "fastact.cpu.pool",
    "show_config": "fastact.public.environment",
}
MODULES = ["fused", "integrations", "losses", "memory", "objectives", "special"]

NAMES = sorted({*FORMS, *OTHER_NAMES, *_ELSEWHERE, *MODULES})


@functools.cache
def build(name: str) -> Any:
    """The public object of this name."""
    if name in OTHER_NAMES:
        return build(OTHER_NAMES[name])
    if name in MODULES or name == "cuda":  # which says what is missing if it cannot be had
        return importlib.import_module(f"fastact.{name}")
    if name in _ELSEWHERE:
        return _as_public(getattr(importlib.import_module(_ELSEWHERE[name]), name))
    if name not in FORMS:
        raise AttributeError(f"module 'fastact' has no attribute {name!r}")
    form = FORMS[name]
    function = _in_place(form) if form.which == "in_place" else _maker(form)(form)
    if inspect.isfunction(function):
        record(function, form)
    return function


def _maker(form: Form) -> Callable[[Form], Any]:
    module, name = _MAKERS[type(form.entry)]
    if isinstance(form.entry, Gated) and form.entry.halves:
        module, name = "composed", "halves"
    made: Callable[[Form], Any] = getattr(importlib.import_module(f"fastact.public.{module}"), name)
    return made


def _in_place(form: Form) -> Any:
    from fastact.public.define import in_place

    return in_place(form, build(form.entry.name))


def _as_public(function: Any) -> Any:
    """Where it is found is where it says that it is: for ``repr``, ``help`` and ``pickle``."""
    function.__module__ = "fastact"
    return function

"""Overloads of public functions that are not ufuncs themselves: each is a call of one.

They are inlined, so that Numba finds the ufuncs and makes one loop of an array expression.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import RequireLiteralValue, TypingError
from numba.extending import overload

from fastact.catalogue import (
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
from fastact.catalogue.entries import REQUIRED
from fastact.compiled.kernels import define
from fastact.compiled.ufuncs import absent
from fastact.public.define import default, signature

__all__ = ["overload_function"]

#: The types of arguments by name; or a default, as it is.
Given = Mapping[str, Any]


def overload_function(function: Any, form: Form) -> None:
    """Have Numba know a function of this form."""
    defaults = {default(p.name): p.default for p in form.parameters if p.default is not REQUIRED}
    body = _body_of(form)

    def implementation(given: Given) -> Any:
        lines, names = body(function, form, given)
        text = f"def call({signature(form)}):\n" + "".join(f"    {line}\n" for line in lines)
        return define("call", text, {**defaults, **names})

    text = f"def typing({signature(form)}):\n    return implementation(locals())\n"
    known = {"implementation": implementation, **defaults}
    typing = define("typing", text, known)
    overload(function, inline="always", prefer_literal=True)(typing)


#: Of a function of this form, given arguments of these types: the lines of its body, and what these
#: name.
Body = Callable[[Any, Form, Given], tuple[list[str], dict[str, Any]]]


def _body_of(form: Form) -> Body:
    if form.which == "in_place":
        return _in_place
    if isinstance(form.entry, Gated) and form.entry.halves:
        return _missing
    return _BODIES[type(form.entry)]


def _missing(function: Any, form: Form, given: Given) -> Any:
    raise TypingError(f"fastact.{form.name} is not among the functions that compiled code can call")


def _in_place(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    of = given[form.out]
    if not isinstance(of, types.Array):
        raise TypingError(f"{form.name}: {form.out} must be an array, not {of}")
    forward = function.__globals__["forward"]
    given_by_name = [f"{p.name}={p.name}" for p in form.parameters if not _omitted(given[p.name])]
    # A ufunc takes nothing by name.
    out = f"out={form.out}" if form.parameters else form.out
    arguments = ", ".join([*form.arrays, *given_by_name, out])
    return [f"return forward({arguments})"], {"forward": forward}


def _activation(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    entry = form.entry
    assert isinstance(entry, Activation)
    own = [p.name for p in form.parameters if p.name != "axis" or not entry.channels]
    arrays = [*form.arrays]
    out = [] if absent(given["out"]) else ["out"]
    plain = getattr(function, "default_ufunc", None)
    full = function.ufunc
    if all(parameter.keyword_only for parameter in form.parameters):
        plain, full = function.ufunc, getattr(function, f"{own[0]}_ufunc")
    if plain is not None and all(_omitted(given[name]) for name in own):
        return [f"return kernel({', '.join(arrays + out)})"], {"kernel": plain}
    lines = [
        line
        for small, large in entry.constraints
        for line in _constraint(form, str(small), str(large), given)
    ]
    names: dict[str, Any] = {"kernel": full}
    if entry.channels and isinstance(given[own[0]], types.Array):
        lines += _per_channel(form, own[0], given)
        names["np"] = np
    return [*lines, f"return kernel({', '.join(arrays + own + out)})"], names


def _constraint(form: Form, small: str, large: str, given: Given) -> list[str]:
    arrays = [name for name in (small, large) if isinstance(given.get(name), types.Array)]
    violated = f"({small} > {large}).any()" if arrays else f"{small} > {large}"
    message = f"{form.name}: {large} must be at least {small}"
    return [f"if {violated}:", f"    raise ValueError({message!r})"]


def _per_channel(form: Form, weight: str, given: Given) -> list[str]:
    """An array of numbers for the channels, in a shape that broadcasts along the axis of x."""
    x, of = given["x"], given[weight]
    if not isinstance(x, types.Array) or of.ndim == x.ndim > 1:
        return []
    axis = _constant(form, given, "axis")
    if of.ndim != 1:
        raise TypingError(f"{form.name}: {weight} must be a number or one-dimensional, not {of}")
    if not -x.ndim <= axis < x.ndim:
        raise TypingError(f"{form.name}: x has no axis {axis}")
    after = ", 1" * (x.ndim - axis % x.ndim - 1)
    message = f"{form.name}: {weight} has another length than axis {axis} of x"
    return [
        f"if {weight}.size != 1 and {weight}.size != x.shape[{axis}]:",
        f"    raise ValueError({message!r})",
        f"{weight} = np.ascontiguousarray({weight}).reshape(({weight}.size{after},))",
    ]


def _randomized(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    if not _omitted(given.get("training")) or not _omitted(given.get("rng")):
        raise TypingError(f"{form.name}: compiled code cannot draw random numbers: training, rng")
    out = [] if absent(given["out"]) else ["out"]
    if absent(given["noise"]):
        lines = [*_constraint(form, "lower", "upper", given), "drawn = (lower + upper) / 2"]
    elif form.which == "backward":
        lines = ["drawn = noise"]
    else:
        raise TypingError(f"{form.name}: noise is for training, which compiled code cannot do")
    arguments = ", ".join([*form.arrays, "drawn", *out])
    return [*lines, f"return kernel({arguments})"], {"kernel": function.ufunc}


def _with_choice(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    (choice,) = form.parameters
    entry = form.entry.of if isinstance(form.entry, Gated) else form.entry
    assert isinstance(entry, Variants)
    wanted = _constant(form, given, choice.name)
    try:
        entry.variant(form.name, wanted)
    except ValueError as error:
        raise TypingError(str(error)) from None
    attribute = "ufunc" if wanted == choice.default else f"{wanted}_ufunc"
    out = [] if absent(given["out"]) else ["out"]
    arguments = ", ".join([*form.arrays, *out])
    return [f"return kernel({arguments})"], {"kernel": getattr(function, attribute)}


_BODIES: dict[type[Entry], Body] = {
    Activation: _activation,
    Randomized: _randomized,
    Variants: _with_choice,
    Gated: _with_choice,
    Joined: _missing,
    Rows: _missing,
    Largest: _missing,
}


# --- arguments ----------------------------------------------------------------------------------


def _omitted(given: Any) -> bool:
    """Whether an argument has its default because it was not given."""
    return isinstance(given, types.Omitted) or not isinstance(given, types.Type)


def _constant(form: Form, given: Given, name: str) -> Any:
    """The value of an argument that has to be known when a call is compiled."""
    of = given[name]
    if isinstance(of, types.Omitted):
        return of.value
    if isinstance(of, types.Literal):
        return of.literal_value
    if not isinstance(of, types.Type):
        return of
    raise RequireLiteralValue(f"{form.name}: {name} must be a constant in compiled code, not {of}")

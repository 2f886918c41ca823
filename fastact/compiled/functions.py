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
from numba.np.numpy_support import as_dtype

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
from fastact.compiled.rows import maxout, maxout_backward, of_rows
from fastact.compiled.ufuncs import absent, float_of
from fastact.public.define import default, signature

__all__ = ["overload_function"]

#: The types of arguments by name; or a default, as it is.
Given = Mapping[str, Any]


def overload_function(
    function: Any, form: Form, overload: Callable[..., Any] = overload, target: str = "cpu"
) -> None:
    """Have Numba know a function of this form, by the ``overload`` for a target."""
    defaults = {default(p.name): p.default for p in form.parameters if p.default is not REQUIRED}
    body = _body_of(form)
    arguments = signature(form).replace(" *,", "")  # Numba confuses what is by name only

    def implementation(given: Given) -> Any:
        lines, names = body(function, form, given)
        text = f"def call({arguments}):\n" + "".join(f"    {line}\n" for line in lines)
        return define("call", text, {**defaults, **names})

    text = f"def typing({arguments}):\n    return implementation(locals())\n"
    known = {"implementation": implementation, **defaults}
    typing = define("typing", text, known)
    overload(function, inline="always", prefer_literal=True, target=target)(typing)


#: Of a function of this form, given arguments of these types: the lines of its body, and what these
#: name.
Body = Callable[[Any, Form, Given], tuple[list[str], dict[str, Any]]]


def _body_of(form: Form) -> Body:
    if form.which == "in_place":
        return _in_place
    if isinstance(form.entry, Gated) and form.entry.halves:
        return _halves
    return _BODIES[type(form.entry)]


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


# --- along an axis ------------------------------------------------------------------------------


def _axis(form: Form, given: Given, more: int = 0) -> tuple[int, int]:
    """The axis, counted from the front, and the dimensions of the last array, and ``more``."""
    of, axis = given[form.arrays[-1]], _constant(form, given, "axis")
    if not isinstance(of, types.Array):
        raise TypingError(f"{form.name}: {form.arrays[-1]} must be an array, not {of}")
    dimensions = of.ndim + more
    if not -dimensions <= axis < dimensions:
        raise TypingError(f"{form.name}: there is no axis {axis} of {dimensions} dimensions")
    return axis % dimensions, dimensions


def _place(axis: int, of: str) -> str:
    """Source of an index that is ``of`` along an axis."""
    return ", ".join([":"] * axis + [of])


def _halves(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    axis, _ = _axis(form, given)
    names = {"np": np, "kernel": function.ufunc, "dtype": _dtype(form, given)}
    up, gate = (f"[{_place(axis, of)}]" for of in (":half", "half:"))
    lines = [
        f"half = x.shape[{axis}] // 2",
        f"if 2 * half != x.shape[{axis}]:",
        f"    raise ValueError('{form.name}: axis {axis} is halved, so its length must be even')",
    ]
    if form.which == "forward":
        out = "" if absent(given["out"]) else ", out"
        return [*lines, f"return kernel(x{gate}, x{up}{out})"], names
    lines += [f"grads = {_allocated(given, 'x.shape')}"]
    lines += [f"kernel(grad, x{gate}, x{up}, (grads{gate}, grads{up}))", "return grads"]
    return lines, names


def _joined(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    axis, dimensions = _axis(form, given)
    names = {"np": np, "kernel": function.ufunc, "dtype": _dtype(form, given)}
    first, second = (f"[{_place(axis, of)}]" for of in (":length", "length:"))
    length = f"length = x.shape[{axis}]"
    if form.which == "backward":
        out = "" if absent(given["out"]) else ", out"
        return [length, f"return kernel(grad{first}, grad{second}, x{out})"], names
    names["second"] = function.second_ufunc
    doubled = ", ".join(f"{1 + (d == axis)} * x.shape[{d}]" for d in range(dimensions))
    lines = [length, f"both = {_allocated(given, f'({doubled},)')}"]
    return [*lines, f"kernel(x, both{first})", f"second(x, both{second})", "return both"], names


def _rows(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    entry = form.entry
    assert isinstance(entry, Rows)
    axis, _ = _axis(form, given)
    dtype = _dtype(form, given)
    formula = entry.backward if form.which == "backward" else entry.formula
    names = {"np": np, "run": of_rows(formula, dtype.name), "dtype": dtype}
    shapes = ", ".join(f"{name}.shape" for name in form.arrays)
    arrays = ", ".join(f"np.broadcast_to({name}, shape)" for name in form.arrays)
    out = given["out"]
    # Rows go where they are wanted at once if that is an array without gaps of their own type.
    fits = not absent(out) and out.layout == "C" and as_dtype(out.dtype) == dtype
    lines = [f"shape = np.broadcast_shapes({shapes})"]
    lines += ["result = out" if fits else "result = np.empty(shape, dtype)"]
    if not absent(out):
        message = f"{form.name}: out has another shape than the result"
        lines += ["if out.shape != shape:", f"    raise ValueError({message!r})"]
    lines += [f"run({arrays}, {axis}, result)"]
    if not absent(out) and not fits:
        lines += ["out[...] = result", "return out"]
    return [*lines, "return result"], names


def _largest(function: Any, form: Form, given: Given) -> tuple[list[str], dict[str, Any]]:
    if not absent(given["out"]):
        raise TypingError(f"{form.name}: compiled code cannot pass out")
    backward = form.which == "backward"
    axis, dimensions = _axis(form, given, more=backward)
    # The axis comes last, and the others become one.
    order = [d for d in range(dimensions) if d != axis]
    if not backward:
        shape = ", ".join(f"x.shape[{d}]" for d in order)
        lines = [
            f"if x.shape[{axis}] == 0:",
            f"    raise ValueError('{form.name}: axis {axis} of x has no elements')",
            f"length = x.shape[{axis}]",
            f"matrix = np.ascontiguousarray(x.transpose({(*order, axis)}))",
            "matrix = matrix.reshape((x.size // length, length))",
            "values = np.empty(matrix.shape[0], x.dtype)",
            "indices = np.empty(matrix.shape[0], np.int64)",
            "run(matrix, values, indices)",
            f"return values.reshape(({shape},)), indices.reshape(({shape},))",
        ]
        if not order:
            lines[-1] = "return values.reshape(()), indices.reshape(())"
        return lines, {"np": np, "run": maxout}
    shape = ", ".join([f"grad.shape[{d}]" for d in range(dimensions - 1)] + ["pieces"])
    back = sorted(range(dimensions), key=(*order, axis).__getitem__)
    lines = [
        "if grad.shape != indices.shape:",
        f"    raise ValueError('{form.name}: grad and indices must have one shape')",
        "matrix = np.empty((grad.size, pieces), grad.dtype)",
        "flat = np.ascontiguousarray(grad).reshape(grad.size)",
        "where = np.ascontiguousarray(indices).reshape(grad.size)",
        "run(flat, where, matrix)",
        f"return matrix.reshape(({shape},)).transpose({tuple(back)})",
    ]
    return lines, {"np": np, "run": maxout_backward}


def _dtype(form: Form, given: Given) -> Any:
    """The dtype of the result."""
    return np.dtype(float_of(form.name, [given[name] for name in form.arrays]))


def _allocated(given: Given, shape: str) -> str:
    """Source of the array that the result is written to."""
    return f"np.empty({shape}, dtype)" if absent(given["out"]) else "out"


_BODIES: dict[type[Entry], Body] = {
    Activation: _activation,
    Randomized: _randomized,
    Variants: _with_choice,
    Gated: _with_choice,
    Joined: _joined,
    Rows: _rows,
    Largest: _largest,
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

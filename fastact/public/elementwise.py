"""The public functions of activations and of gated units, built from the catalogue.

Each is built when its name is first used. Without parameters a function is a NumPy ufunc. With
parameters it is a Python function that has their names and defaults and calls its ufunc, which it
carries as ``.ufunc``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastact.catalogue import Activation, Form, Gated, Variants
from fastact.catalogue.entries import REQUIRED
from fastact.cpu import loops
from fastact.cpu.compiler import Unit
from fastact.public import shapes
from fastact.public.define import constraints, default, define, names, select
from fastact.public.documentation import documentation
from fastact.public.kernels import elementwise_ufunc
from fastact.public.made import Kernel, record

__all__ = ["activation", "gated", "kernel_ufunc", "variants"]


def activation(form: Form) -> Any:
    """``f``, ``f_backward`` or ``f_backward_from_output`` of an activation of one array."""
    entry = form.entry
    assert isinstance(entry, Activation)
    doc = documentation(form)
    if not form.parameters:
        return kernel_ufunc(entry, form.which, form.name, doc)
    full, plain = "ufunc", "default_ufunc"
    if all(parameter.keyword_only for parameter in form.parameters):
        # The function is known for the kernel without them.
        full, plain = f"{form.parameters[0].name}_ufunc", "ufunc"
    made: dict[str, Any] = {full: kernel_ufunc(entry, form.which, f"{form.name}.{full}", doc)}
    arrays = ", ".join(form.arrays)
    body = constraints(form)
    if entry.channels:
        (weight,) = entry.parameters
        body += f"{weight} = per_channel({form.name!r}, {weight!r}, x, {weight}, axis)\n"
        made["per_channel"] = _per_channel
    elif all(parameter.default is not REQUIRED for parameter in form.parameters):
        # Where each argument is the very object in the signature, there is a simpler kernel: NumPy
        # would convert each of them.
        tests = " and ".join(f"{p.name} is {default(p.name)}" for p in form.parameters)
        body = f"if {tests}:\n    return {plain}({arrays}, out, **keywords)\n{body}"
        about = f"The kernel of ``{form.name}`` for calls with default parameters."
        made[plain] = kernel_ufunc(entry, form.which, f"{form.name}.{plain}", about, parameters=0)
    body += f"return {full}({arrays}, {names(form)}, out, **keywords)"
    return define(form, body, doc, module="fastact", last="**keywords", **made)


def _per_channel(function: str, name: str, x: Any, numbers: Any, axis: int) -> Any:
    """A number as it is, or an array in a shape that broadcasts along ``axis`` of x."""
    if isinstance(numbers, float | int):
        return numbers
    numbers = np.asanyarray(numbers)
    return numbers.reshape(shapes.channels(function, name, numbers.shape, axis, np.shape(x)))


def gated(form: Form) -> Any:
    """``f`` or ``f_backward`` of a gated unit."""
    entry = form.entry
    assert isinstance(entry, Gated)
    if isinstance(entry.of, Variants):
        return _with_choice(form, f"gated_{form.which}", entry.of.variants)
    return kernel_ufunc(entry.of, f"gated_{form.which}", form.name, documentation(form))


def variants(form: Form) -> Any:
    """``f`` or ``f_backward`` of an activation with variants."""
    entry = form.entry
    assert isinstance(entry, Variants)
    return _with_choice(form, form.which, entry.variants)


def _with_choice(form: Form, which: str, kernels: Mapping[str, Activation]) -> Any:
    doc = documentation(form)
    ufuncs: dict[str, np.ufunc] = {}
    made = {}
    for key, kernel in kernels.items():
        attribute = f"{key}_ufunc" if ufuncs else "ufunc"
        ufuncs[key] = kernel_ufunc(kernel, which, f"{form.name}.{attribute}", doc)
        made[attribute] = ufuncs[key]
    arrays = ", ".join(form.arrays)
    body = f"{select(form, 'ufuncs')}return chosen({arrays}, out=out, **keywords)"
    return define(form, body, doc, module="fastact", last="**keywords", ufuncs=ufuncs, **made)


# --- ufuncs -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a kernel does with an activation: what makes its loop, and how many arrays it has."""

    loop: Callable[[Activation, loops.Operands], Unit]
    arrays: int
    outputs: int = 1


_WORK = {
    "forward": _Work(loops.forward, 1),
    "backward": _Work(loops.backward, 2),
    "backward_from_output": _Work(loops.backward_from_output, 2),
    "gated_forward": _Work(loops.gated, 2),
    "gated_backward": _Work(loops.gated_backward, 3, 2),
}


def kernel_ufunc(
    entry: Activation, which: str, name: str, doc: str, parameters: int | None = None
) -> np.ufunc:
    """A ufunc of the arrays, and of all parameters unless ``parameters`` is 0.

    ``name`` is where pickle finds it: "f", or "f.ufunc" where it is an attribute of the function.
    """
    work = _WORK[which]
    forward = which == "forward"
    arrays = entry.arrays if forward else work.arrays
    if parameters is None:
        own = which in ("forward", "backward")
        parameters = len(entry.parameters) if own else 0
        parameters += len(entry.derivative_parameters) if which == "backward" else 0
    ufunc = elementwise_ufunc(
        name,
        doc,
        functools.partial(work.loop, entry),
        arrays,
        parameters,
        work.outputs,
        # Gradients are floating-point numbers, whatever x is.
        integers=forward and entry.keeps_integers,
        weights=entry.weights,
    )
    record(ufunc, Kernel(name, entry, which, arrays, parameters, work.outputs))
    return ufunc

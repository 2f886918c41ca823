"""The public functions of elementwise activations, built from the catalogue.

An activation ``f`` gives three: ``f``, ``f_`` (in place) and ``f_backward``, and some give
``f_backward_from_output``; each is built when its name is first used. Without parameters a
function is a NumPy ufunc. With parameters it is a Python function that has their names and defaults
and calls its ufunc, which it carries as ``.ufunc``.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.catalogue import CATALOGUE, Activation, Gated
from fastact.catalogue.dtypes import BFLOAT16, FLOATS, INTEGERS, Kind, bfloat16_dtype
from fastact.cpu import loops
from fastact.cpu.ufunc import Loop, Shape, make
from fastact.public import documentation

__all__ = [
    "backward",
    "backward_from_output",
    "backward_ufunc",
    "check_in_place",
    "check_out",
    "constrain",
    "elementwise",
    "forward",
    "forward_ufunc",
    "gated",
    "gated_backward",
    "gated_in_place",
    "in_place",
    "select_approximation",
]


def forward(entry: Activation) -> Callable[..., Any]:
    ufunc = forward_ufunc(entry)
    if not entry.parameters:
        return ufunc
    arguments = ", ".join(entry.parameters)
    return _define(
        entry.name,
        f"x, {_defaults(entry)}, out=None, **keywords",
        f"{_by_default(entry, 'x')}{_constraints(entry)}"
        f"return ufunc(x, {arguments}, out, **keywords)",
        doc=documentation.forward(entry),
        entry=entry,
        ufunc=ufunc,
        default_ufunc=_default_ufunc(entry, loops.forward, entry.name, entry.arrays),
    )


def in_place(entry: Activation, function: Callable[..., Any]) -> Callable[..., Any]:
    """``f_``, given ``f``."""
    arguments = ", ".join(["x", *entry.parameters])
    return _define(
        f"{entry.name}_",
        ", ".join(filter(None, ["x", _defaults(entry)])),
        f"try:\n"
        f"    return function({arguments}, out=x)\n"
        f"except (TypeError, ValueError):\n"
        f"    check_in_place('{entry.name}_', x, {entry.keeps_integers})\n"
        f"    raise",
        doc=documentation.in_place(entry),
        entry=entry,
        function=function,
        check_in_place=check_in_place,
    )


def backward(entry: Activation) -> Callable[..., Any]:
    ufunc = backward_ufunc(entry)
    if not entry.parameters:
        return ufunc
    arguments = ", ".join(entry.parameters)
    return _define(
        f"{entry.name}_backward",
        f"grad, x, {_defaults(entry)}, out=None, **keywords",
        f"{_by_default(entry, 'grad, x')}{_constraints(entry)}"
        f"return ufunc(grad, x, {arguments}, out, **keywords)",
        doc=documentation.backward(entry),
        entry=entry,
        ufunc=ufunc,
        default_ufunc=_default_ufunc(entry, loops.backward, f"{entry.name}_backward", 2),
    )


def backward_from_output(entry: Activation) -> np.ufunc:
    """``f_backward_from_output``, of functions without parameters."""
    doc = documentation.backward_from_output(entry)
    name = f"{entry.name}_backward_from_output"
    by_output = dataclasses.replace(
        entry, name=f"{entry.name}_from_output", derivative=entry.derivative_from_output
    )
    return elementwise(by_output, name, loops.backward, doc, 2, False)


def gated(entry: Gated, name: str = "") -> np.ufunc:
    """``f(gate, up)``."""
    doc = documentation.gated(entry)
    return elementwise(CATALOGUE[entry.activation], name or entry.name, loops.gated, doc, 2, False)


def gated_backward(entry: Gated, name: str = "") -> np.ufunc:
    """``f_backward(grad, gate, up)``, with two results."""
    doc = documentation.gated_backward(entry)
    name = name or f"{entry.name}_backward"
    activation = CATALOGUE[entry.activation]
    return elementwise(activation, name, loops.gated_backward, doc, 3, False, outputs=2)


def gated_in_place(entry: Gated, function: Callable[..., Any]) -> Callable[..., Any]:
    """``f_(gate, up)``, given ``f``."""
    return _define(
        f"{entry.name}_",
        "gate, up",
        f"try:\n"
        f"    return function(gate, up, out=gate)\n"
        f"except (TypeError, ValueError):\n"
        f"    check_in_place('{entry.name}_', gate, False, 'gate')\n"
        f"    raise",
        doc=documentation.gated_in_place(entry),
        entry=None,
        function=function,
        check_in_place=check_in_place,
    )


# --- ufuncs -------------------------------------------------------------------------------------


def forward_ufunc(entry: Activation, name: str = "") -> np.ufunc:
    doc = documentation.forward(entry)
    return elementwise(
        entry, name or entry.name, loops.forward, doc, entry.arrays, entry.keeps_integers
    )


def backward_ufunc(entry: Activation, name: str = "") -> np.ufunc:
    doc = documentation.backward(entry)
    # Gradients are floating-point numbers, whatever x is.
    return elementwise(entry, name or f"{entry.name}_backward", loops.backward, doc, 2, False)


def _default_ufunc(entry: Activation, loop: Any, name: str, arrays: int) -> np.ufunc | None:
    """The ufunc without parameters for calls that give none: NumPy would convert each of them."""
    if not entry.has_defaults:
        return None
    keeps_integers = entry.keeps_integers and loop is loops.forward
    doc = f"The kernel of ``{name}`` for calls with default parameters."
    return elementwise(
        entry, f"{name}.default_ufunc", loop, doc, arrays, keeps_integers, parameters=0
    )


def elementwise(
    entry: Activation,
    name: str,
    loop: Any,
    doc: str,
    arrays: int,
    keeps_integers: bool,
    outputs: int = 1,
    parameters: int | None = None,
) -> np.ufunc:
    """A ufunc of ``arrays`` arrays and all ``parameters``; ``loop`` is what makes its loops."""
    parameters = len(entry.parameters) if parameters is None else parameters
    if parameters and "." not in name:
        # pickle stores a ufunc by its name, and finds it as an attribute of the function.
        name = f"{name}.ufunc"

    def of(kind: Kind, dtype: np.dtype[Any], parameter: tuple[Kind, np.dtype[Any]] | None) -> Loop:
        parameter_kind, parameter_dtype = parameter or (None, dtype)
        operands = loops.Operands(arrays, parameters, kind, parameter_kind, entry.weights, outputs)
        dtypes = (*[dtype] * arrays, *[parameter_dtype] * parameters, *[dtype] * outputs)
        return Loop(dtypes, tuple(operands.kinds), parameters, lambda: loop(entry, operands))

    integers = INTEGERS if keeps_integers else {}
    made = [of(kind, np.dtype(char), None) for char, kind in (integers | FLOATS).items()]
    bfloat16 = bfloat16_dtype()
    if bfloat16 is not None:
        # NumPy promotes bfloat16 with a Python float to float32, so parameters are taken as
        # float64, which every number can be cast to safely, and rounded to float32.
        double = (FLOATS["d"], np.dtype("d")) if parameters else None
        made.append(of(BFLOAT16, bfloat16, double))
        if entry.weights:
            made.append(of(BFLOAT16, bfloat16, None))
    return make(name, doc, Shape(arrays + parameters, outputs), made)


# --- Python functions around them ---------------------------------------------------------------


def _define(
    name: str, signature: str, body: str, *, doc: str, entry: Activation | None, **namespace: Any
) -> Any:
    """A function from source text: it costs a call exactly what it says, and has a signature."""
    namespace = {name: value for name, value in namespace.items() if value is not None}
    namespace |= {"constrain": constrain, "__name__": "fastact"}
    namespace |= {f"DEFAULT_{key}": v for key, v in (entry.parameters if entry else {}).items()}
    exec(f"def {name}({signature}):\n{textwrap.indent(body, '    ')}", namespace)
    function = namespace[name]
    function.__doc__ = doc
    for name in {"ufunc", "default_ufunc"} & set(namespace):
        setattr(function, name, namespace[name])
    return function


def _defaults(entry: Activation) -> str:
    return ", ".join(
        name if default is inspect.Parameter.empty else f"{name}=DEFAULT_{name}"
        for name, default in entry.parameters.items()
    )


def _by_default(entry: Activation, arrays: str) -> str:
    """Where each argument is the very object in the signature, there is a simpler kernel."""
    if not entry.has_defaults:
        return ""
    tests = [f"{name} is DEFAULT_{name}" for name in entry.parameters]
    return f"if {' and '.join(tests)}:\n    return default_ufunc({arrays}, out, **keywords)\n"


def _constraints(entry: Activation) -> str:
    return "".join(
        f"constrain('{entry.name}', '{small}', {small}, '{large}', {large})\n"
        for small, large in entry.constraints
    )


def constrain(function: str, small_name: str, small: Any, large_name: str, large: Any) -> None:
    """Raise ValueError unless ``small <= large``, also element by element; NaN passes."""
    violated = small > large
    if violated is not False and np.any(violated):
        bound = small_name if small_name == str(small) else f"{small_name} = {small}"
        raise ValueError(f"{function}: {large_name} must be at least {bound}, got {large}")


def select_approximation(function: str, ufuncs: dict[str, np.ufunc], approximate: str) -> np.ufunc:
    """The ufunc of a GELU that is exact or approximated by tanh."""
    ufunc = ufuncs.get(approximate)
    if ufunc is None:
        raise ValueError(f"{function}: approximate must be 'none' or 'tanh', got {approximate!r}")
    return ufunc


def check_out(function: str, out: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``out`` is an array of that shape."""
    if not isinstance(out, np.ndarray) or out.shape != shape:
        got = getattr(out, "shape", type(out).__name__)
        raise ValueError(f"{function}: out must be an ndarray of shape {shape}, got {got}")


def check_in_place(function: str, x: Any, integers: bool, name: str = "x") -> None:
    """Raise an error that says what is wrong with ``x``; return if nothing is."""
    kinds = "a floating-point or integer" if integers else "a floating-point"
    wanted = f"{function}: {name} must be {kinds} ndarray that can be written to, got"
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{wanted} {type(x).__name__}")
    if x.dtype.kind not in ("fiuV" if integers else "fV"):
        raise TypeError(f"{wanted} an array of {x.dtype}")
    if not x.flags.writeable:
        raise ValueError(f"{wanted} a read-only array")

"""Formulas as functions of numbers for Numba, from the source text that our kernels have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import njit, types

from fastact.cpu import intrinsics
from fastact.public.made import Kernel
from fastact.source.formulas import (
    Formula,
    backward_source,
    functions_source,
    gated_backward_source,
    gated_source,
    with_defaults,
)

__all__ = ["AS_OURS", "NAMESPACE", "define", "is_long", "values"]

#: Options of all that computes, whatever the caller's are: a division is not checked, compensated
#: sums stay as they are under ``fastmath``, and a call in a loop does not keep it from being
#: vectorized.
AS_OURS = {"error_model": "numpy", "fastmath": False, "forceinline": True}

#: What every source text may name.
NAMESPACE: dict[str, Any] = {
    **{name: getattr(intrinsics, name) for name in intrinsics.FOR_LOOPS},
    "A": types.float64,
    "INFINITY": float("inf"),
    "formula": njit(**AS_OURS),
}


def define(name: str, text: str, namespace: dict[str, Any]) -> Any:
    """The function of this name that a text defines."""
    exec(compile(text, f"<fastact {name}>", "exec"), namespace)
    return namespace[name]


@functools.cache
def values(kernel: Kernel, compute: str) -> list[Any]:
    """The functions of numbers that give a kernel's outputs, in the type ``compute``."""
    namespace = NAMESPACE | {"T": getattr(types, compute)}
    text = _source(kernel, compute)
    exec(compile(text, f"<fastact {kernel.name} in {compute}>", "exec"), namespace)
    if kernel.outputs == 1:
        return [namespace["value"]]
    return [namespace[f"value{k}"] for k in range(kernel.outputs)]


def is_long(kernel: Kernel, compute: str) -> bool:
    """Whether a kernel has polynomials, so that its operations wait for each other."""
    return "fma(" in _source(kernel, compute)


def _source(kernel: Kernel, compute: str) -> str:
    entry = kernel.entry

    def formula(which: str) -> Formula:
        if kernel.parameters:
            return Formula(getattr(entry, which))
        return with_defaults(entry, which, compute)

    def forward() -> str:
        return functions_source(compute, value=formula("formula"))

    def backward() -> str:
        names = entry.parameters | entry.derivative_parameters if kernel.parameters else {}
        return backward_source(formula("derivative"), names, compute)

    def backward_from_output() -> str:
        return backward_source(Formula(entry.derivative_from_output), (), compute)

    sources: dict[str, Callable[[], str]] = {
        "forward": forward,
        "backward": backward,
        "backward_from_output": backward_from_output,
        "gated_forward": lambda: gated_source(entry, compute),
        "gated_backward": lambda: gated_backward_source(entry, compute),
    }
    return sources[kernel.which]()

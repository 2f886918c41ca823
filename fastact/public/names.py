"""Which names the package has, and what is built when one of them is first used."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from fastact.catalogue import ALIASES, CATALOGUE, GATED

__all__ = ["ACTIVATIONS", "FUNCTIONS", "NAMES", "build"]

_ENTRIES = [name for name in CATALOGUE if not name.startswith("_")]
_GATED = [name for name in GATED if not name.startswith("_")]
#: Names of the activations of one array.
ACTIVATIONS = [*_ENTRIES, "crelu", "gelu"]
#: Names of all functions, without their forms.
FUNCTIONS = [*ACTIVATIONS, *ALIASES, *_GATED, "geglu", "glu", "log_softmax", "maxout", "softmax"]

_COMPOSED = [
    "crelu",
    "crelu_backward",
    "geglu",
    "geglu_",
    "geglu_backward",
    "gelu",
    "gelu_",
    "gelu_backward",
    "glu",
    "glu_backward",
    "prelu",
    "prelu_",
    "prelu_backward",
    "relu_backward",
    "rrelu",
    "rrelu_",
    "rrelu_backward",
]
_ROWS = ["log_softmax", "log_softmax_", "log_softmax_backward", "maxout", "maxout_backward"]
_ROWS += ["softmax", "softmax_", "softmax_backward"]
_ELSEWHERE = {
    **dict.fromkeys(_ROWS, "fastact.public.rows"),
    **{
        name: "fastact.public.gated" if "glu" in name else "fastact.public.composed"
        for name in _COMPOSED
    },
    "get_num_threads": "fastact.cpu.pool",
    "num_threads": "fastact.cpu.pool",
    "set_num_threads": "fastact.cpu.pool",
    "show_config": "fastact.public.environment",
}
_MODULES = ["fused", "memory"]
_FORMS = ("", "_", "_backward")
_DERIVED = [
    *(f"{name}{form}" for name in _ENTRIES for form in _FORMS if f"{name}{form}" not in _COMPOSED),
    *(f"{name}{form}" for name in _GATED for form in _FORMS),
    *(
        f"{name}_backward_from_output"
        for name in _ENTRIES
        if CATALOGUE[name].derivative_from_output
    ),
]
_OTHER_NAMES = {f"{a}{form}": f"{name}{form}" for a, name in ALIASES.items() for form in _FORMS}

NAMES = sorted({*_ELSEWHERE, *_DERIVED, *_OTHER_NAMES, *_MODULES})


@functools.cache
def build(name: str) -> Any:
    """The public object of this name."""
    if name in _OTHER_NAMES:
        return build(_OTHER_NAMES[name])
    if name in _MODULES or name == "cuda":  # which says what is missing if it cannot be had
        return importlib.import_module(f"fastact.{name}")
    if name in _ELSEWHERE:
        return _as_public(getattr(importlib.import_module(_ELSEWHERE[name]), name))
    if name not in _DERIVED:
        raise AttributeError(f"module 'fastact' has no attribute {name!r}")
    from fastact.public import elementwise

    base, form = next((name.removesuffix(f), f) for f in reversed(_FORMS) if name.endswith(f))
    if base in GATED:
        if form == "_":
            return elementwise.gated_in_place(GATED[base], build(base))
        return (elementwise.gated_backward if form else elementwise.gated)(GATED[base])
    if name.endswith("_from_output"):
        return elementwise.backward_from_output(
            CATALOGUE[name.removesuffix("_backward_from_output")]
        )
    if form == "_":
        return elementwise.in_place(CATALOGUE[base], build(base))
    return (elementwise.backward if form else elementwise.forward)(CATALOGUE[base])


def _as_public(function: Any) -> Any:
    """Where it is found is where it says that it is: for ``repr``, ``help`` and ``pickle``."""
    function.__module__ = "fastact"
    return function

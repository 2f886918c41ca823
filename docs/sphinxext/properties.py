"""Properties of the catalogue's functions, found by calling them.

What is said on a card of the gallery is measured on the compiled function with default parameters;
where an entry is several functions, a property holds if it holds for each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastact.catalogue import Entry
from sphinxext import stored
from sphinxext.curves import Drawn, drawn, jumps

__all__ = ["COSTS", "PROPERTIES", "cost", "properties"]

#: The x at which properties are looked for: where things happen, and far out.
_NEAR = np.linspace(-8, 8, 4001)
_X = np.concatenate([-np.geomspace(1e4, 8, 500), _NEAR, np.geomspace(8, 1e4, 500)])
#: Weights with which the near ones are normally distributed.
_NORMAL = np.exp(-_NEAR * _NEAR / 2)


def _zero_centred(function: Drawn) -> bool:
    y = function.value(_NEAR)
    mean = np.average(y, weights=_NORMAL)
    deviation = np.average((y - mean) ** 2, weights=_NORMAL) ** 0.5
    return bool(abs(mean) <= deviation / 10)


def _monotonic(function: Drawn) -> bool:
    y = function.value(_X)
    return bool((np.diff(y) >= -4 * np.spacing(abs(y[1:]))).all())


def _bounded(function: Drawn) -> bool:
    return bool((abs(function.value(np.array([-1e9, 1e9]))) < 1e3).all())


def _sparse(function: Drawn) -> bool:
    return bool((function.value(_NEAR) == 0).mean() > 0.05)


def _smooth(function: Drawn) -> bool:
    return not any(jumps(f, -8, 8) for f in (function.value, function.slope))


#: Name, what it means, and how it is found.
PROPERTIES: dict[str, tuple[str, Callable[[Drawn], bool]]] = {
    "zero-centred": (
        "for inputs of a standard normal distribution, the mean of the outputs is within a tenth "
        "of their standard deviation",
        _zero_centred,
    ),
    "monotonic": ("a larger input never gives a smaller output", _monotonic),
    "bounded": ("outputs stay between two numbers", _bounded),
    "sparse": ("a whole interval of inputs gives exactly 0", _sparse),
    "smooth": ("the derivative has no jumps", _smooth),
}

#: Classes of cost, and the largest time in them, as a multiple of relu's.
COSTS = {"low": 2.5, "moderate": 6.5, "high": np.inf}


@functools.cache
def properties(entry: Entry) -> dict[str, bool]:
    with np.errstate(all="ignore"):
        return {
            name: all(found(function) for function in drawn(entry))
            for name, (_, found) in PROPERTIES.items()
        }


def cost(entry: Entry) -> tuple[str, float] | None:
    """Its class and the multiple of relu's time, if it was measured."""
    measured: dict[str, Any] = stored.costs()["times"]
    if entry.name not in measured:
        return None
    times = measured[entry.name]
    return next(name for name, largest in COSTS.items() if times < largest), times

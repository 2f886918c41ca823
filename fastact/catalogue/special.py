"""Functions under SciPy's names, beside the catalogue: formulas without derivatives.

``fastact.special`` makes ufuncs of them. The rules for formulas are those of ``activations``.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastact.catalogue.entries import Activation
from fastact.catalogue.scalar import (
    error_near,
    error_tail,
    exp,
    exp_difference_times,
    log1p,
    log1p_of_quotient,
    log_normal_tail,
    logistic,
    normal_tail,
)

__all__ = ["SPECIAL"]

#: By name.
SPECIAL: dict[str, Activation] = {}


def _enter(arrays: int = 1) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def entered(formula: Callable[..., Any]) -> Callable[..., Any]:
        name = formula.__name__
        SPECIAL[name] = Activation(name=f"special_{name}", formula=formula, arrays=arrays)
        return formula

    return entered


@_enter()
def expit(x):
    return logistic(x)


@_enter()
def log_expit(x):
    rest = log1p(exp(-abs(x)))
    return -rest if x > 0 else x - rest


@_enter()
def softplus(x):
    rest = log1p(exp(-abs(x)))
    return x + rest if x > 0 else rest


@_enter()
def logit(x):
    # 2 x - 1 is exact where that matters, and so is the smaller one of x and 1 - x.
    high = x >= 0.5
    size = log1p_of_quotient(abs(2 * x - 1), 1 - x if high else abs(x))
    outside = (x < 0) | (x > 1)
    return (x - x) / (x - x) if outside else (size if high else -size)


@_enter()
def erf(x):
    t = abs(x)
    near = error_near(0.5 if t > 0.5 else t)
    size = near if t < 0.5 else 1 - error_tail(t)
    return x if x == 0 else (size if x > 0 else -size)


@_enter()
def erfc(x):
    tail = error_tail(abs(x))
    small = 1 - error_near(0.5 if abs(x) > 0.5 else x)
    far = tail if x > 0 else 2 - tail
    return small if abs(x) < 0.25 else far


@_enter()
def ndtr(x):
    tail = normal_tail(abs(x))
    return 1 - tail if x > 0 else tail


@_enter()
def log_ndtr(x):
    t = abs(x)
    tail = normal_tail(t)
    right = -log1p_of_quotient(tail, 1 - tail)
    return right if x > 0 else log_normal_tail(t)


@_enter(arrays=2)
def xlogy(x, y):
    below = y < 1
    size = log1p_of_quotient(abs(y - 1), y if below else 1)
    log = -size if below else size
    product = x * log
    outside = (y - y) / (y - y) if y < 0 else product
    return 0 if (x == 0) & (y == y) else outside


@_enter(arrays=3)
def weighted(x, top, weight):
    """weight e^(x - top)"""
    return exp_difference_times(x, top, weight)

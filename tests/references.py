"""Every function once more, in plain NumPy over whole arrays: what the compiled ones must equal.

Written with other means than the catalogue's formulas (masks rather than nested choices), so that a
slip in one of them shows. Arguments are arrays and scalars of the type that is computed in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Reference:
    forward: Callable[..., Any]
    derivative: Callable[..., Any]
    parameters: tuple[dict[str, Any], ...] = ({},)


def pieces(x, *choices):
    """Values by mask, later choices first; NaN stays."""
    result = x.copy()
    for mask, value in choices:
        result = np.where(mask, value, result).astype(x.dtype)
    return np.where(np.isnan(x), x, result) if x.dtype.kind == "f" else result


def slope(x, *choices):
    return pieces(np.where(x == x, np.zeros_like(x), 0).astype(x.dtype), *choices)


REFERENCES = {
    "relu": Reference(
        lambda x: pieces(x, (x <= 0, 0)),
        lambda x: slope(x, (x > 0, 1)),
    ),
    "relu6": Reference(
        lambda x: pieces(x, (x <= 0, 0), (x >= 6, 6)),
        lambda x: slope(x, ((x > 0) & (x < 6), 1)),
    ),
    "clipped_relu": Reference(
        lambda x, m: pieces(x, (x >= m, m), (x <= 0, 0)),
        lambda x, m: slope(x, ((x > 0) & (x < m), 1)),
        ({}, {"max_value": 3}, {"max_value": 0}),
    ),
    "leaky_relu": Reference(
        lambda x, a: pieces(x, (~(x > 0), a * x)),
        lambda x, a: slope(x, (x > 0, 1), (~(x > 0), a)),
        ({}, {"negative_slope": 0.3}, {"negative_slope": 0.0}, {"negative_slope": -1.5}),
    ),
    "prelu": Reference(
        lambda x, a: pieces(x, (~(x > 0), a * x)),
        lambda x, a: slope(x, (x > 0, 1), (~(x > 0), a)),
        ({"weight": 0.25}, {"weight": -2.0}),
    ),
    "rrelu": Reference(
        lambda x, a, b: pieces(x, (~(x > 0), (a + b) / 2 * x)),
        lambda x, a, b: slope(x, (x > 0, 1), (~(x > 0), (a + b) / 2)),
        ({"lower": 0.25, "upper": 0.5},),
    ),
    "threshold": Reference(
        lambda x, t, v: pieces(x, (x <= t, v)),
        lambda x, t, v: slope(x, (x > t, 1)),
        ({"threshold": 1, "value": 5}, {"threshold": 0, "value": 20}),
    ),
    "thresholded_relu": Reference(
        lambda x, a: pieces(x, (x <= a, 0)),
        lambda x, a: slope(x, (x > a, 1)),
        ({}, {"alpha": 2}),
    ),
    "squared_relu": Reference(
        lambda x: pieces(x * x, (x <= 0, 0)),
        lambda x: pieces(x + x, (x <= 0, 0)),
    ),
    "hardtanh": Reference(
        lambda x, a, b: pieces(x, (x >= b, b), (x <= a, a)),
        lambda x, a, b: slope(x, ((a < x) & (x < b), 1)),
        ({}, {"min_val": 1, "max_val": 4}, {"min_val": 2, "max_val": 2}),
    ),
    "hardsigmoid": Reference(
        lambda x: pieces((x + 3) / 6, (x <= -3, 0), (x >= 3, 1)),
        lambda x: slope(x, ((x > -3) & (x < 3), x.dtype.type(1) / x.dtype.type(6))),
    ),
    "hardswish": Reference(
        lambda x: pieces(x * (x + 3) / 6, (x <= -3, 0), (x >= 3, x)),
        lambda x: pieces((x + x + 3) / 6, (x <= -3, 0), (x >= 3, 1)),
    ),
    "hardshrink": Reference(
        lambda x, a: pieces(x, (abs(x) <= a, 0)),
        lambda x, a: slope(x, (abs(x) > a, 1)),
        ({}, {"lambd": 2.0}, {"lambd": 0.0}),
    ),
    "softshrink": Reference(
        lambda x, a: pieces(x, (x > a, x - a), (x < -a, x + a), (abs(x) <= a, 0)),
        lambda x, a: slope(x, (abs(x) > a, 1)),
        ({}, {"lambd": 2.0}, {"lambd": 0.0}),
    ),
    "clipped_linear": Reference(
        lambda x, s, o, a, b: pieces(s * x + o, (s * x + o >= b, b), (s * x + o <= a, a)),
        lambda x, s, o, a, b: slope(x, ((a < s * x + o) & (s * x + o < b), s)),
        ({}, {"slope": -0.75, "offset": 0.3, "min_val": -1, "max_val": 2}),
    ),
    "sparse_plus": Reference(
        lambda x: pieces(((x + 1) / 2) ** 2, (x <= -1, 0), (x >= 1, x)),
        lambda x: pieces((x + 1) / 2, (x <= -1, 0), (x >= 1, 1)),
    ),
    "sparse_sigmoid": Reference(
        lambda x: pieces((x + 1) / 2, (x <= -1, 0), (x >= 1, 1)),
        lambda x: slope(x, ((x > -1) & (x < 1), 0.5)),
    ),
}

# --- rows ---------------------------------------------------------------------------------------


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis):
    difference = x - x.max(axis, keepdims=True)
    at_top = difference == 0
    others = np.where(at_top, 0, np.exp(difference)).sum(axis, keepdims=True)
    return difference - np.log1p(others + (at_top.sum(axis, keepdims=True) - 1))


def softmax_backward(grad, y, axis):
    return y * (grad - (grad * y).sum(axis, keepdims=True))


def log_softmax_backward(grad, y, axis):
    return grad - np.exp(y) * grad.sum(axis, keepdims=True)


#: Of functions of rows: forward, and backward from the output.
ROW_REFERENCES = {
    "softmax": (softmax, softmax_backward),
    "log_softmax": (log_softmax, log_softmax_backward),
}


# --- all of them --------------------------------------------------------------------------------

#: Values where something happens: kinks, signed zeros, subnormals, the largest, the special ones.
SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 6.0, 0.5, -0.5, 0.25, 6e-8, -1e-40, 5e-324]
SPECIAL += [3.4e38, -3.4e38, 65504.0, np.inf, -np.inf, np.nan]


def backward(name: str, grad: Any, x: Any, *parameters: Any) -> Any:
    """``grad * derivative``, and 0 where the derivative is."""
    derivative = REFERENCES[name].derivative(x, *parameters)
    return np.where(derivative != 0, grad * derivative, 0).astype(x.dtype)


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Equal, with the same signs of zeros; any NaN equals any other."""
    assert np.shape(actual) == np.shape(expected)
    assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
    if actual.dtype.kind not in "iu":
        with np.errstate(invalid="ignore"):  # a signalling NaN that was only moved still is one
            actual, expected = np.asarray(actual, "f8"), np.asarray(expected, "f8")
        np.testing.assert_array_equal(
            np.signbit(actual) & ~np.isnan(actual), np.signbit(expected) & ~np.isnan(expected)
        )
    np.testing.assert_array_equal(actual, expected)

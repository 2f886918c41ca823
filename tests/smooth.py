"""The smooth functions in a wider type: what the compiled ones are measured against.

Formulas take and give arrays of float64 or of np.longdouble. They are other than the catalogue's
where there is a choice, and as plain as accuracy in the wider type allows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numba
import numpy as np
import scipy.special

from fastact.cpu.target import traits

#: Where products are rounded before something is added to them, everything is rounded more often.
FUSED = "fma" in traits()


@dataclasses.dataclass(frozen=True)
class Smooth:
    forward: Callable[..., Any]
    derivative: Callable[..., Any]
    parameters: tuple[dict[str, Any], ...] = ({},)
    #: Values at -inf and at inf, forward and of the derivative.
    limits: tuple[float, float, float, float] = (-0.0, np.inf, 0.0, 1.0)


def normal_tail(t):
    """Phi(-t) for t >= 0."""
    if t.dtype == np.float64:
        return scipy.special.erfc(t / math.sqrt(2)) / 2
    near = np.minimum(t, 6)
    # Phi(t) - 1/2 = phi(t) (t + t^3 / 3 + t^5 / (3 5) + ...): Abramowitz and Stegun 26.2.11. What
    # is left of 1/2 loses digits with growing t, so it is used up to 2 only.
    term = total = near
    for k in range(1, 120):
        term = term * near * near / (2 * k + 1)
        total = total + term
    density = np.exp(-t * t / 2) / np.sqrt(2 * PI)
    fraction = far = np.maximum(t, 2)
    for k in range(160, 0, -1):
        fraction = far + k / fraction
    return np.where(t < 2, np.longdouble(0.5) - density * total, density / fraction)


PI = np.longdouble("3.14159265358979323846264338327950288")
CUBIC = np.longdouble("0.044715")
QUICK = np.longdouble("1.702")
SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")


def of(x, number):
    return number.astype(x.dtype)


def sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x > 0, 1, e) / (1 + e)


def normal(x):
    tail = normal_tail(abs(x))
    return np.where(x > 0, 1 - tail, tail)


def density(x):
    return np.exp(-x * x / 2) / of(x, np.sqrt(2 * PI))


def gelu_exponent(x):
    return of(x, np.sqrt(8 / PI)) * (x + of(x, CUBIC) * x**3)


def gelu_growth(x):
    return of(x, np.sqrt(8 / PI)) * (1 + 3 * of(x, CUBIC) * x**2)


def sigmoid_product(x, z, growth):
    """The derivative of x * sigmoid(z), growth being that of z."""
    return sigmoid(z) * (1 + x * growth * sigmoid(-z))


def mish_derivative(x):
    t = np.tanh(np.log1p(np.exp(x)))
    return t + x * sigmoid(x) * (1 - t) * (1 + t)


def tanhshrink(x):
    near = np.clip(x, -1, 1)
    # (x cosh(x) - sinh(x)) / cosh(x), as a series.
    total = sum(2 * k * near ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(14, 0, -1))
    return np.where(abs(x) < 1, total / np.cosh(near), x - np.tanh(x))


def dish_derivative(x):
    t, square = abs(x), 1 + x * x
    g = t / np.sqrt(square) * (1 + 1 / square)
    falling = (1 / square**3 - t / square * (t / square)) / (1 + g) / 2
    return np.where(x > 0, 0.5 + g / 2, falling)


SMOOTH = {
    "elu": Smooth(
        lambda x, a: np.where(x > 0, x, a * np.expm1(x)),
        lambda x, a: np.where(x > 0, 1, a * np.exp(x)),
        ({}, {"alpha": 0.3}),
        (-1, np.inf, 0, 1),
    ),
    "selu": Smooth(
        lambda x: of(x, SELU_SCALE) * np.where(x > 0, x, of(x, SELU_ALPHA) * np.expm1(x)),
        lambda x: of(x, SELU_SCALE) * np.where(x > 0, 1, of(x, SELU_ALPHA) * np.exp(x)),
        limits=(-float(SELU_SCALE * SELU_ALPHA), np.inf, 0, float(SELU_SCALE)),
    ),
    "celu": Smooth(
        lambda x, a: np.where(x > 0, x, a * np.expm1(x / a)),
        lambda x, a: np.where(x > 0, 1, np.exp(x / a)),
        ({}, {"alpha": 0.3}),
        (-1, np.inf, 0, 1),
    ),
    "gelu": Smooth(lambda x: x * normal(x), lambda x: normal(x) + x * density(x)),
    "gelu_tanh": Smooth(
        lambda x: x * sigmoid(gelu_exponent(x)),
        lambda x: sigmoid_product(x, gelu_exponent(x), gelu_growth(x)),
    ),
    "quick_gelu": Smooth(
        lambda x: x * sigmoid(of(x, QUICK) * x),
        lambda x: sigmoid_product(x, of(x, QUICK) * x, of(x, QUICK)),
    ),
    "silu": Smooth(lambda x: x * sigmoid(x), lambda x: sigmoid_product(x, x, 1)),
    "mish": Smooth(lambda x: x * np.tanh(np.log1p(np.exp(x))), mish_derivative),
    "softplus": Smooth(
        lambda x, b, t: np.where(b * x > t, x, np.logaddexp(0, b * x) / b),
        lambda x, b, t: np.where(b * x > t, 1, sigmoid(b * x)),
        ({}, {"beta": 0.7, "threshold": 50}),
        (0, np.inf, 0, 1),
    ),
    "squareplus": Smooth(
        lambda x, b: np.where(
            x > 0, (x + np.sqrt(x * x + b)) / 2, b / (np.sqrt(x * x + b) - x) / 2
        ),
        lambda x, b: np.where(
            x > 0,
            (1 + x / np.sqrt(x * x + b)) / 2,
            b / np.sqrt(x * x + b) / (np.sqrt(x * x + b) - x) / 2,
        ),
        ({}, {"b": 0.5}),
        (0, np.inf, 0, 1),
    ),
    "sigmoid": Smooth(sigmoid, lambda x: sigmoid(x) * sigmoid(-x), limits=(0, 1, 0, 0)),
    "log_sigmoid": Smooth(
        lambda x: -np.logaddexp(0, -x), lambda x: sigmoid(-x), limits=(-np.inf, -0.0, 1, 0)
    ),
    "tanh": Smooth(np.tanh, lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x), limits=(-1, 1, 0, 0)),
    "tanhshrink": Smooth(tanhshrink, lambda x: np.tanh(x) ** 2, limits=(-np.inf, np.inf, 1, 1)),
    "softsign": Smooth(
        lambda x: x / (1 + abs(x)), lambda x: (1 + abs(x)) ** -2, limits=(-1, 1, 0, 0)
    ),
    "dish": Smooth(
        lambda x: np.where(
            x > 0,
            x / 2 * (1 + x / np.sqrt(1 + x * x)),
            x / 2 / (np.sqrt(1 + x * x) * (np.sqrt(1 + x * x) - x)),
        ),
        dish_derivative,
    ),
}


def expected(name: str, mode: str, x: Any, *parameters: Any) -> Any:
    """In the wider type, limits at the infinities included."""
    smooth = SMOOTH[name]
    function = smooth.forward if mode == "forward" else smooth.derivative
    with np.errstate(all="ignore"):
        result = function(x, *parameters)
    low, high = smooth.limits[:2] if mode == "forward" else smooth.limits[2:]
    scale = parameters[0] if name == "celu" or (name == "elu" and mode == "forward") else 1
    result = np.where(np.isneginf(x), low * scale if low == -1 else low, result)
    return np.where(np.isposinf(x), high, result)


def ulps(actual: Any, wide: Any) -> Any:
    """Distance in units of the last place that the right result has in actual's dtype."""
    info = (np.finfo if actual.dtype.kind == "f" else ml_dtypes.finfo)(actual.dtype)
    with np.errstate(all="ignore"):
        _, exponent = np.frexp(wide)
        lowest = int(info.minexp) + 1
        unit = np.ldexp(wide.dtype.type(1), np.maximum(exponent, lowest) - 1 - int(info.nmant))
        error = abs(actual.astype(wide.dtype) - wide) / unit
        largest = wide.dtype.type(float(info.max))
        error = np.where(abs(wide) > largest, np.where(abs(actual) >= info.max, 0, np.inf), error)
    same = (np.isnan(wide) & np.isnan(actual)) | (actual == wide)
    return np.where(same, 0, error)


@numba.njit(parallel=True, error_model="numpy")
def float32_ulps(actual: Any, right: Any) -> Any:
    """``ulps`` of float32 results, right ones being float64: for billions of them."""
    errors = np.empty(actual.size, np.float32)
    bits = right.view(np.int64)
    for i in numba.prange(actual.size):
        got, wide = np.float64(actual[i]), right[i]
        exponent = max(((bits[i] >> 52) & 2047) - 1023, -126)
        error = abs(got - wide) / 2.0 ** (exponent - 23)
        if abs(wide) > 3.4028234663852886e38:
            error = 0.0 if abs(got) > 3.4028234e38 else np.inf
        if got == wide or (np.isnan(got) and np.isnan(wide)):
            error = 0.0
        errors[i] = np.inf if np.isnan(error) else error
    return errors

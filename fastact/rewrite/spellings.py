"""What people write for an activation besides what the catalogue says, and how results may differ.

Each row is a pattern, what it becomes, and the differences. In a pattern ``np`` and ``special`` are
NumPy and ``scipy.special``; any other name stands for whatever is in its place, a name in capitals
for a number that is written out. What commutes or has another form of the same meaning
(``np.multiply``, ``x.sum()``, ``0 < x``, ``/ 2`` for ``* 0.5``) need not be listed. An integer in a
pattern may be a float in the code, but not the other way around.

The differences are not opinions: a test computes them on arrays of every dtype.
"""

from __future__ import annotations

from collections.abc import Callable

from fastact.rewrite.differences import Difference
from fastact.rewrite.terms import Number

__all__ = ["DIFFERENCES", "IN_PLACE", "NOT_COMPARED", "NOT_FOR_IT_ALONE", "SPELLINGS"]

#: A pattern, what it becomes, the differences, and what must be true of numbers in it.
Row = tuple[str, str, Difference] | tuple[str, str, Difference, Callable[[Number], bool]]

ZERO = Difference.ZERO
NAN = Difference.NAN
INFINITY = Difference.INFINITY
ROUNDING = Difference.ROUNDING
KINK = Difference.KINK
INTEGERS = Difference.INTEGERS
DTYPE = Difference.DTYPE
SLOPE = Difference.SLOPE
EXACT = Difference(0)


def a_fraction(number: Number) -> bool:
    return 0 <= number.value <= 1


def a_float(number: Number) -> bool:
    """Of integers, np.where would make an array of integers, which may be labels or indices."""
    return not number.integral


#: Of a gradient times a mask: infinity times 0 is NaN, and so is NaN.
MASKED = ZERO | NAN | INFINITY
#: Of a smooth function: all that can differ between two ways to compute one.
SMOOTH = ZERO | INFINITY | ROUNDING | INTEGERS

_ROWS = "axis=axis, keepdims=True"
_ERF = "(1 + special.erf(x / np.sqrt(2)))"
_TANH = "np.sqrt(2 / np.pi)"
_SELU = ("1.0507009873554805", "1.6732632423543772")

SPELLINGS: dict[str, list[Row]] = {
    "relu": [
        ("np.maximum(x, np.zeros_like(x))", "fa.relu(x)", ZERO),
        ("np.clip(x, 0, None)", "fa.relu(x)", ZERO),
        ("np.clip(x, 0, np.inf)", "fa.relu(x)", ZERO | INTEGERS),
        ("x.clip(0)", "fa.relu(x)", ZERO),
        ("x.clip(min=0)", "fa.relu(x)", ZERO),
        ("np.where(x > 0, x, 0)", "fa.relu(x)", NAN),
        ("np.where(x >= 0, x, 0)", "fa.relu(x)", ZERO | NAN),
        ("np.where(x < 0, 0, x)", "fa.relu(x)", ZERO),
        ("np.where(x <= 0, 0, x)", "fa.relu(x)", EXACT),
        ("np.where(x > 0, x, np.zeros_like(x))", "fa.relu(x)", NAN),
        ("x * (x > 0)", "fa.relu(x)", ZERO | INFINITY),
        ("x * (x >= 0)", "fa.relu(x)", ZERO | INFINITY),
        ("x * (x > 0).astype(dtype)", "fa.relu(x)", ZERO | INFINITY | DTYPE),
        ("x * np.where(x > 0, 1, 0)", "fa.relu(x)", ZERO | INFINITY | INTEGERS | DTYPE),
        ("x * np.where(x >= 0, 1, 0)", "fa.relu(x)", ZERO | INFINITY | INTEGERS | DTYPE),
        ("(x + np.abs(x)) / 2", "fa.relu(x)", INFINITY | INTEGERS),
    ],
    "relu_backward": [
        ("np.where(x > 0, grad, 0)", "fa.relu_backward(grad, x)", EXACT),
        ("np.where(x <= 0, 0, grad)", "fa.relu_backward(grad, x)", NAN),
        ("np.where(x >= 0, grad, 0)", "fa.relu_backward(grad, x, at_zero=1.0)", EXACT),
        ("np.where(x < 0, 0, grad)", "fa.relu_backward(grad, x, at_zero=1.0)", NAN),
        ("grad * (x >= 0)", "fa.relu_backward(grad, x, at_zero=1.0)", MASKED),
        ("grad * (x > 0).astype(dtype)", "fa.relu_backward(grad, x)", MASKED | DTYPE),
        (
            "grad * (x >= 0).astype(dtype)",
            "fa.relu_backward(grad, x, at_zero=1.0)",
            MASKED | DTYPE,
        ),
        ("grad * np.where(x > 0, 1, 0)", "fa.relu_backward(grad, x)", MASKED | DTYPE),
        (
            "grad * np.where(x >= 0, 1, 0)",
            "fa.relu_backward(grad, x, at_zero=1.0)",
            MASKED | DTYPE,
        ),
        ("grad * np.where(x <= 0, 0, 1)", "fa.relu_backward(grad, x)", MASKED | DTYPE),
        (
            "grad * np.where(x < 0, 0, 1)",
            "fa.relu_backward(grad, x, at_zero=1.0)",
            MASKED | DTYPE,
        ),
        ("(x > 0).astype(x.dtype)", "fa.relu_backward(1.0, x)", INTEGERS),
        ("(x > 0).astype(float)", "fa.relu_backward(1.0, x)", DTYPE),
        ("(x > 0).astype(np.float64)", "fa.relu_backward(1.0, x)", DTYPE),
        ("(x > 0).astype(np.float32)", "fa.relu_backward(1.0, x)", DTYPE | INTEGERS),
        ("1.0 * (x > 0)", "fa.relu_backward(1.0, x)", DTYPE),
        ("np.where(x > 0, 1.0, 0)", "fa.relu_backward(1.0, x)", DTYPE),
        ("np.where(x >= 0, 1.0, 0)", "fa.relu_backward(1.0, x, at_zero=1.0)", DTYPE),
        ("np.where(x > 0, 1, 0.0)", "fa.relu_backward(1.0, x)", DTYPE),
        ("np.where(x >= 0, 1, 0.0)", "fa.relu_backward(1.0, x, at_zero=1.0)", DTYPE),
    ],
    "relu6": [
        ("np.minimum(np.maximum(x, 0), 6)", "fa.relu6(x)", ZERO),
        ("np.maximum(np.minimum(x, 6), 0)", "fa.relu6(x)", ZERO),
    ],
    "hardtanh": [
        ("np.clip(x, -1, 1)", "fa.hardtanh(x)", EXACT),
        ("np.minimum(np.maximum(x, -1), 1)", "fa.hardtanh(x)", EXACT),
        ("np.maximum(np.minimum(x, 1), -1)", "fa.hardtanh(x)", EXACT),
    ],
    "leaky_relu": [
        ("np.where(x >= 0, x, slope * x)", "fa.leaky_relu(x, slope)", EXACT),
        ("np.where(x < 0, slope * x, x)", "fa.leaky_relu(x, slope)", EXACT),
        ("np.where(x <= 0, slope * x, x)", "fa.leaky_relu(x, slope)", EXACT),
        ("np.maximum(x, slope * x)", "fa.leaky_relu(x, slope)", ZERO | SLOPE, a_fraction),
        (
            "np.maximum(x, 0) + slope * np.minimum(x, 0)",
            "fa.leaky_relu(x, slope)",
            ZERO,
        ),
        (
            "x * (x > 0) + slope * x * (x <= 0)",
            "fa.leaky_relu(x, slope)",
            ZERO | INFINITY,
        ),
        ("x * np.where(x > 0, 1, slope)", "fa.leaky_relu(x, slope)", DTYPE),
    ],
    "leaky_relu_backward": [
        ("np.where(x <= 0, slope * grad, grad)", "fa.leaky_relu_backward(grad, x, slope)", NAN),
        (
            "np.where(x >= 0, grad, slope * grad)",
            "fa.leaky_relu_backward(grad, x, slope)",
            KINK,
        ),
        (
            "np.where(x < 0, slope * grad, grad)",
            "fa.leaky_relu_backward(grad, x, slope)",
            NAN | KINK,
        ),
        (
            "grad * np.where(x > 0, 1, slope)",
            "fa.leaky_relu_backward(grad, x, slope)",
            DTYPE,
        ),
        (
            "grad * np.where(x >= 0, 1, slope)",
            "fa.leaky_relu_backward(grad, x, slope)",
            DTYPE | KINK,
        ),
        (
            "grad * np.where(x < 0, slope, 1)",
            "fa.leaky_relu_backward(grad, x, slope)",
            DTYPE | NAN | KINK,
        ),
        (
            "grad * np.where(x <= 0, slope, 1)",
            "fa.leaky_relu_backward(grad, x, slope)",
            DTYPE | NAN,
        ),
        (
            "(x > 0) + slope * (x <= 0)",
            "fa.leaky_relu_backward(1.0, x, slope)",
            NAN | INTEGERS | DTYPE,
        ),
        (
            "np.where(x > 0, 1, slope)",
            "fa.leaky_relu_backward(1.0, x, slope)",
            INTEGERS | DTYPE,
            a_float,
        ),
        (
            "np.where(x >= 0, 1, slope)",
            "fa.leaky_relu_backward(1.0, x, slope)",
            INTEGERS | DTYPE | KINK,
            a_float,
        ),
        (
            "np.where(x < 0, slope, 1)",
            "fa.leaky_relu_backward(1.0, x, slope)",
            INTEGERS | DTYPE | NAN | KINK,
            a_float,
        ),
        (
            "np.where(x <= 0, slope, 1)",
            "fa.leaky_relu_backward(1.0, x, slope)",
            INTEGERS | DTYPE | NAN,
            a_float,
        ),
    ],
    "threshold": [
        ("np.where(x > THRESHOLD, x, VALUE)", "fa.threshold(x, THRESHOLD, VALUE)", NAN),
    ],
    "clipped_linear": [
        (
            f"{pattern}",
            "fa.clipped_linear(x, SLOPE, OFFSET)",
            ROUNDING | INTEGERS,
        )
        for pattern in (
            "np.clip(SLOPE * x + OFFSET, 0, 1)",
            "np.maximum(np.minimum(SLOPE * x + OFFSET, 1), 0)",
            "np.minimum(np.maximum(SLOPE * x + OFFSET, 0), 1)",
        )
    ],
    "hardsigmoid": [
        ("np.minimum(np.maximum(x + 3, 0), 6) / 6", "fa.hardsigmoid(x)", ROUNDING | INTEGERS),
        ("np.clip(x / 6 + 0.5, 0, 1)", "fa.hardsigmoid(x)", ROUNDING | INTEGERS),
    ],
    "hardswish": [
        ("x * np.minimum(np.maximum(x + 3, 0), 6) / 6", "fa.hardswish(x)", SMOOTH),
        ("x * np.clip(x / 6 + 0.5, 0, 1)", "fa.hardswish(x)", SMOOTH),
        ("x * np.maximum(np.minimum(x / 6 + 0.5, 1), 0)", "fa.hardswish(x)", SMOOTH),
    ],
    "sigmoid": [
        ("np.exp(x) / (1 + np.exp(x))", "fa.sigmoid(x)", SMOOTH),
        ("1 - 1 / (1 + np.exp(x))", "fa.sigmoid(x)", SMOOTH),
        ("0.5 * (1 + np.tanh(x / 2))", "fa.sigmoid(x)", SMOOTH),
        ("0.5 + 0.5 * np.tanh(x / 2)", "fa.sigmoid(x)", SMOOTH),
        ("np.exp(-np.logaddexp(0, -x))", "fa.sigmoid(x)", SMOOTH),
        (
            "np.where(x >= 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))",
            "fa.sigmoid(x)",
            SMOOTH,
        ),
        (
            "np.where(x > 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))",
            "fa.sigmoid(x)",
            SMOOTH,
        ),
    ],
    "sigmoid_backward": [
        ("grad * y * (1 - y)", "fa.sigmoid_backward_from_output(grad, y)", SMOOTH | NAN),
        ("(s := 1 / (1 + np.exp(-x))) * (1 - s)", "fa.sigmoid_backward(1.0, x)", SMOOTH),
        ("np.exp(-x) / (1 + np.exp(-x)) ** 2", "fa.sigmoid_backward(1.0, x)", SMOOTH),
        ("np.exp(x) / (1 + np.exp(x)) ** 2", "fa.sigmoid_backward(1.0, x)", SMOOTH),
        ("grad * np.exp(-x) / (1 + np.exp(-x)) ** 2", "fa.sigmoid_backward(grad, x)", SMOOTH),
    ],
    "log_sigmoid": [
        ("-np.log(1 + np.exp(-x))", "fa.log_sigmoid(x)", SMOOTH),
        ("np.log(1 / (1 + np.exp(-x)))", "fa.log_sigmoid(x)", SMOOTH),
    ],
    "silu": [],
    "silu_backward": [
        (
            "grad * ((s := 1 / (1 + np.exp(-x))) + x * s * (1 - s))",
            "fa.silu_backward(grad, x)",
            SMOOTH,
        ),
        ("(s := 1 / (1 + np.exp(-x))) + x * s * (1 - s)", "fa.silu_backward(1.0, x)", SMOOTH),
        ("(s := 1 / (1 + np.exp(-x))) * (1 + x * (1 - s))", "fa.silu_backward(1.0, x)", SMOOTH),
    ],
    "tanh_backward": [
        ("grad * (1 - y ** 2)", "fa.tanh_backward_from_output(grad, y)", SMOOTH | NAN),
        ("1 - np.tanh(x) ** 2", "fa.tanh_backward(1.0, x)", SMOOTH),
        ("grad * (1 / np.cosh(x)) ** 2", "fa.tanh_backward(grad, x)", SMOOTH),
    ],
    "softplus": [
        ("np.log(1 + np.exp(x))", "fa.softplus(x)", SMOOTH),
        ("np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x)))", "fa.softplus(x)", SMOOTH),
        ("np.log(1 + np.exp(BETA * x)) / BETA", "fa.softplus(x, BETA)", SMOOTH),
    ],
    "mish": [
        ("x * np.tanh(np.logaddexp(0, x))", "fa.mish(x)", SMOOTH),
    ],
    "gelu": [
        (f"0.5 * x * {_ERF}", "fa.gelu(x)", SMOOTH | DTYPE),
        (f"x * (0.5 * {_ERF})", "fa.gelu(x)", SMOOTH | DTYPE),
        ("x * (0.5 + 0.5 * special.erf(x / np.sqrt(2)))", "fa.gelu(x)", SMOOTH | DTYPE),
        (
            f"0.5 * x * (1 + np.tanh({_TANH} * (x + 0.044715 * x ** 3)))",
            'fa.gelu(x, "tanh")',
            SMOOTH | DTYPE,
        ),
        (
            f"0.5 * x * (1 + np.tanh({_TANH} * (x + 0.044715 * (x * x * x))))",
            'fa.gelu(x, "tanh")',
            SMOOTH | DTYPE,
        ),
        (
            f"0.5 * x * (1 + np.tanh({_TANH} * x * (1 + 0.044715 * x ** 2)))",
            'fa.gelu(x, "tanh")',
            SMOOTH | DTYPE,
        ),
    ],
    "geglu": [
        (f"0.5 * gate * {_ERF.replace('x', 'gate')} * up", "fa.geglu(gate, up)", SMOOTH | DTYPE),
    ],
    "elu": [
        ("np.where(x > 0, x, alpha * (np.exp(x) - 1))", "fa.elu(x, alpha)", SMOOTH),
        ("np.where(x >= 0, x, alpha * (np.exp(x) - 1))", "fa.elu(x, alpha)", SMOOTH),
        ("np.where(x < 0, alpha * (np.exp(x) - 1), x)", "fa.elu(x, alpha)", SMOOTH),
        ("np.where(x <= 0, alpha * (np.exp(x) - 1), x)", "fa.elu(x, alpha)", SMOOTH),
        ("np.where(x > 0, x, np.exp(x) - 1)", "fa.elu(x)", SMOOTH),
        ("np.where(x >= 0, x, np.exp(x) - 1)", "fa.elu(x)", SMOOTH),
        ("np.where(x < 0, np.exp(x) - 1, x)", "fa.elu(x)", SMOOTH),
        (
            "np.maximum(x, 0) + np.minimum(alpha * (np.exp(x) - 1), 0)",
            "fa.elu(x, alpha)",
            SMOOTH | SLOPE,
        ),
    ],
    "elu_backward": [
        (f"{factor}np.where({where})", f"fa.elu_backward({grad}, x, alpha)", SMOOTH | more)
        for factor, grad in (("grad * ", "grad"), ("", "1.0"))
        for where, more in (
            ("x > 0, 1, alpha * np.exp(x)", DTYPE),
            ("x > 0, np.ones_like(x), alpha * np.exp(x)", DTYPE),
            ("x >= 0, 1, alpha * np.exp(x)", DTYPE | KINK),
            ("x < 0, alpha * np.exp(x), 1", DTYPE | NAN | KINK),
            ("x <= 0, alpha * np.exp(x), 1", DTYPE | NAN),
        )
    ],
    "selu": [
        (f"{_SELU[0]} * np.where(x > 0, x, {_SELU[1]} * (np.exp(x) - 1))", "fa.selu(x)", SMOOTH),
        (f"{_SELU[0]} * np.where(x >= 0, x, {_SELU[1]} * (np.exp(x) - 1))", "fa.selu(x)", SMOOTH),
    ],
    "celu": [
        ("np.where(x > 0, x, alpha * (np.exp(x / alpha) - 1))", "fa.celu(x, alpha)", SMOOTH),
        (
            "np.maximum(x, 0) + np.minimum(alpha * (np.exp(x / alpha) - 1), 0)",
            "fa.celu(x, alpha)",
            SMOOTH,
        ),
    ],
    "softmax": [
        (f"np.exp(x) / np.sum(np.exp(x), {_ROWS})", "fa.softmax(x, axis=axis)", SMOOTH),
        (
            "np.exp(x) / np.sum(np.exp(x))",
            "fa.softmax(np.ravel(x)).reshape(np.shape(x))",
            SMOOTH,
        ),
        ("(np.exp(x).T / np.sum(np.exp(x), axis=1)).T", "fa.softmax(x, axis=1)", SMOOTH),
        ("special.softmax(x, axis=axis)", "fa.softmax(x, axis=axis)", SMOOTH),
        ("special.softmax(x)", "fa.softmax(np.ravel(x)).reshape(np.shape(x))", SMOOTH),
    ],
    "softmax_backward": [
        (
            f"y * (grad - np.sum(grad * y, {_ROWS}))",
            "fa.softmax_backward(grad, y, axis=axis)",
            SMOOTH,
        ),
    ],
    "log_softmax": [
        (f"x - np.log(np.sum(np.exp(x), {_ROWS}))", "fa.log_softmax(x, axis=axis)", SMOOTH),
        (
            f"np.log(np.exp(x) / np.sum(np.exp(x), {_ROWS}))",
            "fa.log_softmax(x, axis=axis)",
            SMOOTH,
        ),
        ("special.log_softmax(x, axis=axis)", "fa.log_softmax(x, axis=axis)", SMOOTH),
        (f"x - special.logsumexp(x, {_ROWS})", "fa.log_softmax(x, axis=axis)", SMOOTH),
    ],
}

#: Statements that change an array where a condition holds.
IN_PLACE: dict[str, list[Row]] = {
    "relu": [
        ("x[x < 0] = 0", "fa.relu_(x)", ZERO),
        ("x[x <= 0] = 0", "fa.relu_(x)", EXACT),
        ("x[x < 0] *= 0", "fa.relu_(x)", ZERO | INFINITY),
        ("x *= x > 0", "fa.relu_(x)", ZERO | INFINITY),
    ],
    "relu_backward": [
        ("grad[x <= 0] = 0", "fa.relu_backward(grad, x, out=grad)", NAN),
        ("grad[x < 0] = 0", "fa.relu_backward(grad, x, at_zero=1.0, out=grad)", NAN),
        ("grad *= x > 0", "fa.relu_backward(grad, x, out=grad)", MASKED),
        ("grad *= x >= 0", "fa.relu_backward(grad, x, at_zero=1.0, out=grad)", MASKED),
    ],
    "leaky_relu": [
        ("x[x < 0] *= slope", "fa.leaky_relu_(x, slope)", EXACT),
        ("x[x <= 0] *= slope", "fa.leaky_relu_(x, slope)", EXACT),
    ],
    "leaky_relu_backward": [
        ("grad[x <= 0] *= slope", "fa.leaky_relu_backward(grad, x, slope, out=grad)", NAN),
        ("grad[x < 0] *= slope", "fa.leaky_relu_backward(grad, x, slope, out=grad)", NAN | KINK),
    ],
}

#: How results of the catalogue's idioms may differ.
DIFFERENCES: dict[str, Difference] = {
    "relu": ZERO,
    "relu_backward": ZERO | NAN | INFINITY,
    "relu6": ZERO,
    "relu6_backward": ZERO | NAN | INFINITY,
    "leaky_relu": EXACT,
    "leaky_relu_backward": EXACT,
    "squared_relu": EXACT,
    "squared_relu_backward": ZERO | INFINITY,
    "thresholded_relu": NAN | INTEGERS,
    "hardsigmoid": ROUNDING | INTEGERS,
    "hardsigmoid_backward": ZERO | NAN | INFINITY | ROUNDING,
    "hardswish": SMOOTH,
    "hardswish_backward": SMOOTH,
    "geglu": SMOOTH | DTYPE,
    "gelu": SMOOTH | DTYPE,
    "gelu_backward": SMOOTH | DTYPE,
    "hardshrink": NAN | INTEGERS,
    "softshrink": NAN,
    **{
        f"{name}{form}": SMOOTH
        for name in (
            "celu", "dish", "elu", "log_sigmoid", "mish", "quick_gelu", "selu", "sigmoid", "silu",
            "softplus", "softsign", "squareplus", "swiglu", "tanh", "tanhshrink",
        )
        for form in ("", "_backward")
    },
}  # fmt: skip

#: Of an idiom that nobody has compared yet: anything.
NOT_COMPARED = SMOOTH | NAN | KINK | DTYPE

#: Functions whose idiom in the catalogue means other things, too: a clip of anything between any
#: bounds, a mask by any threshold, a gradient times any sigmoid, ReLU times anything. What is left
#: of them is in ``SPELLINGS``.
NOT_FOR_IT_ALONE = {
    "clipped_relu",
    "clipped_relu_backward",
    "clipped_linear",
    "clipped_linear_backward",
    "hardtanh",
    "hardtanh_backward",
    "hardshrink_backward",
    "softshrink_backward",
    "log_sigmoid_backward",
    "softplus_backward",
    "reglu",
    "threshold",
    "thresholded_relu_backward",
}

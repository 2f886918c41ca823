"""Every gradient against numerical derivatives in 60 digits."""

from __future__ import annotations

import inspect
import types

import mpmath
import numpy as np
import pytest
from mpmath import mp
from thorough import only

import fastact as fa
from fastact.catalogue import CATALOGUE, Activation, Gated, Rows, Variants, scalar
from fastact.catalogue.entries import REQUIRED, formulas

POINTS = [-30.3, -7.1, -3.2, -1.9, -0.77, -0.3, -0.011, 0.013, 0.41, 0.9, 2.6, 5.3, 11.7, 40.1]
STEP = mpmath.mpf(10) ** -25

#: The functions of ``scalar``, exact: what is rounded elsewhere has lost nothing here.
EXACT = {
    "bounded": lambda x, bound: max(-bound, min(bound, x)),
    "constant": mp.mpf,
    "constant_low": lambda digits: mp.mpf(0),
    "copysign": lambda x, sign: abs(x) if sign >= 0 else -abs(x),
    "exp": mp.exp,
    "exp_difference_times": lambda a, b, y: y * mp.exp(a - b),
    "exp_sum_times": lambda x, low, y: y * mp.exp(x + low),
    "exp_times": lambda x, y: y * mp.exp(x),
    "expm1": mp.expm1,
    "fma": lambda a, b, c: a * b + c,
    "gelu_tanh_ratio": lambda x: mp.sqrt(8 / mp.pi) * (1 + mp.mpf("0.044715") * x * x),
    "gelu_tanh_ratio_low": lambda x: mp.mpf(0),
    "log1p": mp.log1p,
    "log1p_of_sum": mp.log1p,
    "logistic": lambda x: 1 / (1 + mp.exp(-x)),
    "logistic_density_times": lambda x, y: y * mp.exp(x) / (1 + mp.exp(x)) ** 2,
    "logistic_product_slope": lambda x: 1 / (1 + mp.exp(x)) * (1 - x / (1 + mp.exp(-x))),
    "logistic_tail_product": lambda x: x / (1 + mp.exp(x)),
    "hyperbolic_tangent": mp.tanh,
    "logistic_slope": lambda x, low, u, one: 1 / (1 + mp.exp(x)) * (one - u / (1 + mp.exp(-x))),
    "logistic_tail_times": lambda x, low, y: y / (1 + mp.exp(x)),
    "normal_slope": lambda t: mp.ncdf(-t) - t * mp.npdf(t),
    "normal_tail_product": lambda t: t * mp.ncdf(-t),
    "product_low": lambda a, b, product: mp.mpf(0),
    "quotient_squared": lambda a, b, b_low: (a / (b + b_low)) ** 2,
    "quotient_of_product": lambda a, c, b, b_low: a * c / (b + b_low),
    "quotient": lambda a, b, b_low: a / (b + b_low),
    "sigmoid_sum_times": lambda x, low, y: y / (1 + mp.exp(-x - low)),
    "sqrt": mp.sqrt,
    "tanhshrink_rest": lambda s: (
        ((mp.sqrt(s) - mp.tanh(mp.sqrt(s))) / (mp.sqrt(s) * s) - mp.mpf(1) / 3) / s
    ),
    "log1p_of_quotient": lambda n, d: mp.log1p(n / d),
    "normal_tail": lambda t: mp.ncdf(-t),
    "error_tail": mp.erfc,
    "error_near": mp.erf,
    "log_normal_tail": lambda t: mp.log(mp.ncdf(-t)),
}
FORMULAS = formulas()


def exact(formula):
    """A formula of the catalogue with the exact functions in place of the rounded ones."""
    return types.FunctionType(
        formula.__code__, {**formula.__globals__, **EXACT}, argdefs=formula.__defaults__
    )


def parameters_of(name):
    """Numbers that are the same in every type; 1/4 where there is no default."""
    given = FORMULAS[name].parameters
    return {key: 0.25 if value is REQUIRED else float(value) for key, value in given.items()}


def test_every_scalar_function_has_an_exact_one():
    functions = inspect.getmembers(scalar, inspect.isfunction)
    own = {name for name, f in functions if f.__module__ == scalar.__name__}
    assert set(EXACT) == {name for name in own if not name.startswith("_")}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_derivative_is_that_of_its_formula(name):
    entry, parameters = FORMULAS[name], parameters_of(name)
    formula, derivative = exact(entry.formula), exact(entry.derivative)
    with mpmath.workdps(60):
        exact_parameters = [mp.mpf(p) for p in parameters.values()]
        for x in map(mp.mpf, POINTS):
            right = mp.diff(lambda v: formula(v, *exact_parameters), x, h=STEP)
            # Literals of the formulas have 17 digits; far out, formulas take the limit.
            assert abs(derivative(x, *exact_parameters) - right) < 1e-14 * max(abs(right), 1e-3)


@pytest.mark.parametrize("dtype", only(["float64"], ["float32", "float64"]))
@pytest.mark.parametrize(
    ("function", "name", "chosen"),
    [
        (function.name, formula.name, chosen)
        for function in CATALOGUE.values()
        if isinstance(function, Activation | Variants)
        for formula, chosen in function.formulas
    ],
)
def test_the_compiled_gradient(function, name, chosen, dtype):
    entry, parameters = FORMULAS[name], parameters_of(name)
    keywords = {"lower": 0.25, "upper": 0.25} if name == "rrelu" else parameters | chosen
    x, formula = np.array(POINTS, dtype), exact(entry.formula)
    backward = getattr(fa, f"{function}_backward")
    grad = np.linspace(0.5, 2, len(x)).astype(dtype)
    result = backward(grad, x, **keywords)
    with mpmath.workdps(60):
        exact_parameters = [mp.mpf(float(np.dtype(dtype).type(p))) for p in parameters.values()]
        for g, point, value in zip(grad, x, result, strict=True):
            slope = mp.diff(lambda v: formula(v, *exact_parameters), mp.mpf(float(point)), h=STEP)
            eps = float(np.finfo(dtype).eps)
            limit = 4 * eps * max(abs(slope), 1 / 8) + 1e-18
            assert abs(mp.mpf(float(value)) - float(g) * slope) < float(g) * limit


def gradient(function, arrays, grad):
    """Of sum(grad * function(*arrays)), by every element of every array."""
    result = []
    for k, array in enumerate(arrays):
        flat = [mp.mpf(float(v)) for v in array]
        found = []
        for i in range(len(flat)):

            def along(v, k=k, i=i, flat=flat):
                moved = [[mp.mpf(float(u)) for u in a] for a in arrays]
                moved[k] = [*flat[:i], v, *flat[i + 1 :]]
                return sum(float(g) * y for g, y in zip(grad, function(*moved), strict=True))

            found.append(float(mp.diff(along, flat[i], h=STEP)))
        result.append(found)
    return result


@pytest.mark.parametrize(
    ("name", "activation", "chosen"),
    [
        (unit.name, activation.name, chosen)
        for unit in CATALOGUE.values()
        if isinstance(unit, Gated)
        for activation, chosen in unit.of.formulas
    ],
)
def test_gated(name, activation, chosen):
    rng = np.random.default_rng(4)
    grad, gate, up = rng.normal(size=(3, 9))
    formula = exact(FORMULAS[activation].formula)
    with mpmath.workdps(60):
        right = gradient(
            lambda a, b: [formula(v) * u for v, u in zip(a, b, strict=True)], (gate, up), grad
        )
    backward = getattr(fa, f"{name}_backward")
    if CATALOGUE[name].halves:
        result = np.split(backward(grad, np.concatenate([up, gate])), 2)[::-1]
    else:
        result = backward(grad, gate, up, **chosen)
    np.testing.assert_allclose(result, right, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("name", [n for n, e in CATALOGUE.items() if isinstance(e, Rows)])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_rows(name, n):
    formula = CATALOGUE[name].formula
    term, result = exact(formula.term), exact(formula.result)

    def function(x):
        top = max(x)
        terms = [term(v, top) for v in x]
        total = sum(terms)
        known = {"sum": total, "inverse": 1 / total, "logarithm": mp.log(total) + top}
        each = terms if formula.keeps_term else x
        return [result(v, known[formula.total], 0) for v in each]

    rng = np.random.default_rng(5)
    x, grad = rng.normal(size=(2, n))
    with mpmath.workdps(60):
        (right,) = gradient(function, (x,), grad)
    result = getattr(fa, f"{name}_backward")(grad, getattr(fa, name)(x))
    np.testing.assert_allclose(result, right, rtol=1e-13, atol=1e-15)


def test_maxout():
    x = np.random.default_rng(6).normal(size=(4, 3))
    values, indices = fa.maxout(x)
    grad = np.arange(1.0, 5)
    step = 1e-6
    right = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += step
        right[i] = ((fa.maxout(moved)[0] - values) * grad).sum() / step
    np.testing.assert_allclose(fa.maxout_backward(grad, indices, 3), right, atol=1e-6)

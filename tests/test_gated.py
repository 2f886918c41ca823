"""Gated linear units: the product, both gradients at once, halves of one array."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np
import pytest
from smooth import expected, ulps
from thorough import only

import fastact as fa
from fastact.catalogue import CATALOGUE, Gated

RNG = np.random.default_rng(2)
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def activated(name, x):
    """The gate's activation and its derivative."""
    if name == "relu":
        return np.where(x > 0, x, 0), np.where(x > 0, 1, 0)
    return expected(name, "forward", x), expected(name, "derivative", x)


#: The unit, the formula of its gate, and what is passed to choose that.
UNITS = [
    (unit.name, activation.name, chosen)
    for unit in CATALOGUE.values()
    if isinstance(unit, Gated) and not unit.halves
    for activation, chosen in unit.of.formulas
]


def function(name, form=""):
    return getattr(fa, name + form)


def numpy_dtype(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def operands(dtype, n=10_007):
    grad, gate, up = RNG.normal(size=(3, n)).astype(numpy_dtype(dtype))
    return grad, gate * numpy_dtype(dtype).type(3), up


def wide(array):
    return array.astype(np.longdouble if array.dtype == np.float64 else np.float64)


@pytest.mark.parametrize("dtype", only(["float32"], DTYPES))
@pytest.mark.parametrize(("name", "activation", "keywords"), UNITS)
def test_against_the_product_in_a_wider_type(name, activation, keywords, dtype):
    grad, gate, up = operands(dtype)
    value, slope = activated(activation, wide(gate))
    result = function(name)(gate, up, **keywords)
    assert result.dtype == gate.dtype
    # What the activation is off by, and one rounding.
    assert ulps(result, value * wide(up)).max() < 3
    by_gate, by_up = function(name, "_backward")(grad, gate, up, **keywords)
    assert by_gate.dtype == by_up.dtype == gate.dtype
    assert ulps(by_up, wide(grad) * value).max() < 3
    # Near the zero crossing of the derivative only the absolute error is small.
    info = ml_dtypes.finfo(gate.dtype)
    unit = float(info.eps) * abs(wide(grad) * wide(up)) + float(info.smallest_subnormal)
    assert np.all(abs(wide(by_gate) - wide(grad) * wide(up) * slope) < 6 * unit)


@pytest.mark.parametrize("n", [1, 5, 33, 200_003])
@pytest.mark.parametrize(("name", "activation", "keywords"), UNITS)
def test_results_may_replace_operands(name, activation, keywords, n):
    original = operands("float32", n)
    right = function(name, "_backward")(*original, **keywords)
    for first, second in itertools.permutations(range(3), 2):
        arrays = [a.copy() for a in original]
        out = (arrays[first], arrays[second])
        results = function(name, "_backward")(*arrays, out=out, **keywords)
        for result, given, expected_result in zip(results, out, right, strict=True):
            assert result is given
            np.testing.assert_array_equal(result, expected_result)
    gate, up = original[1].copy(), original[2].copy()
    product = function(name)(gate, up, **keywords)
    np.testing.assert_array_equal(function(name)(gate, up, out=up, **keywords), product)
    assert function(name, "_")(gate, original[2], **keywords) is gate
    np.testing.assert_array_equal(gate, product)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_result_does_not_depend_on_the_number_of_threads(threads):
    arrays = operands("float32", 1_000_003)
    with fa.num_threads(1):
        right = (fa.swiglu(*arrays[1:]), *fa.swiglu_backward(*arrays))
    with fa.num_threads(threads):
        for _ in range(5):
            results = (fa.swiglu(*arrays[1:]), *fa.swiglu_backward(*arrays))
            for result, expected_result in zip(results, right, strict=True):
                np.testing.assert_array_equal(result, expected_result)


def test_strides_and_broadcasting():
    both = RNG.normal(size=(6, 20)).astype(np.float32)
    gate, up = both[:, :10], both[:, 10:]
    np.testing.assert_array_equal(fa.swiglu(gate, up), fa.swiglu(gate.copy(), up.copy()))
    np.testing.assert_array_equal(fa.swiglu(gate[::-1, ::2], 2), fa.swiglu(gate, 2)[::-1, ::2])
    row = fa.reglu(gate, up[0])
    np.testing.assert_array_equal(row, fa.reglu(gate, np.tile(up[0], (6, 1))))
    by_gate, by_up = fa.swiglu_backward(gate, gate, up[0])
    assert by_gate.shape == by_up.shape == gate.shape


def test_what_is_inactive_passes_nothing_on():
    grad = np.array([np.inf, np.nan, -np.inf, 1.0])
    gate, up = np.array([-1.0, -1.0, -np.inf, 0.0]), np.full(4, 2.0)
    for result in fa.reglu_backward(grad, gate, up):
        np.testing.assert_array_equal(result, np.zeros(4))
    with np.errstate(all="raise"):
        assert np.isnan(fa.swiglu(np.float32([np.nan]), 1)).all()


@pytest.mark.parametrize("dtype", only(["float32"], DTYPES))
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_glu(dtype, axis):
    x = RNG.normal(size=(6, 8)).astype(numpy_dtype(dtype))
    first, second = (wide(h) for h in np.split(x, 2, axis))
    gate = expected("sigmoid", "forward", second)
    y = fa.glu(x, axis)
    assert y.dtype == x.dtype
    assert ulps(y, first * gate).max() < 3
    grad = RNG.normal(size=y.shape).astype(x.dtype)
    by_gate = wide(grad) * first * expected("sigmoid", "derivative", second)
    right = np.concatenate([wide(grad) * gate, by_gate], axis)
    result = fa.glu_backward(grad, x, axis)
    assert result.dtype == x.dtype
    assert ulps(result, right).max() < 5
    assert fa.glu_backward(grad, x, axis, out=x) is x
    np.testing.assert_array_equal(x, result)


def test_wrong_calls():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(
        ValueError, match=r"glu: axis 1 is halved.* even, but the shape is \(2, 3\)"
    ):
        fa.glu(x)
    with pytest.raises(ValueError, match=r"grad must have shape \(1, 3\), got \(2, 3\)"):
        fa.glu_backward(x, x, axis=0)
    with pytest.raises(ValueError, match=r"out must be an ndarray of shape \(2, 3\), got \(2, 2\)"):
        fa.glu_backward(x[:1], x, axis=0, out=np.ones((2, 2)))
    with pytest.raises(np.exceptions.AxisError):
        fa.glu(1.0)
    with pytest.raises(ValueError, match="geglu: approximate must be"):
        fa.geglu(x, x, "erf")
    with pytest.raises(TypeError, match=r"swiglu_: gate must be a floating-point ndarray .* list"):
        fa.swiglu_([1.0], [1.0])
    with pytest.raises(TypeError, match=r"geglu_: gate must be .* got an array of int64"):
        fa.geglu_(np.array([1]), 1.0)
    with pytest.raises(ValueError, match="broadcast"):
        fa.reglu(x, np.ones(4))

"""What is more than one elementwise kernel: channels, random slopes, halves, the kink of ReLU."""

from __future__ import annotations

import numpy as np
import pytest
from references import assert_same_bits

import fastact as fa

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4), (2, 3, 50, 60), (2, 3, 1, 1), (0, 3)])
def test_prelu_along_channels(dtype, shape):
    x = RNG.normal(size=shape).astype(dtype)
    weight = np.array([0.5, -1, 0.25], dtype)
    column = weight.reshape(3, *[1] * (len(shape) - 2))
    assert_same_bits(fa.prelu(x, weight), np.where(x > 0, x, column * x))
    grad = RNG.normal(size=shape).astype(dtype)
    assert_same_bits(fa.prelu_backward(grad, x, weight), np.where(x > 0, grad, column * grad))
    expected = fa.prelu(x, weight)
    assert fa.prelu_(x, weight) is x
    assert_same_bits(x, expected)


def test_prelu_along_other_axes():
    x = RNG.normal(size=(4, 3, 2)).astype("f4")
    for axis in (0, 1, 2, -1, -2, -3):
        weight = np.arange(1, 1 + x.shape[axis], dtype="f4") / 8
        shape = [1, 1, 1]
        shape[axis] = -1
        expected = np.where(x > 0, x, weight.reshape(shape) * x)
        assert_same_bits(fa.prelu(x, weight, axis=axis), expected)
        assert_same_bits(fa.prelu(x, weight.reshape(shape)), expected)


@pytest.mark.parametrize(
    "weight", [0.5, np.float32(0.5), np.array(0.5, "f4"), np.array([0.5], "f4")]
)
def test_prelu_with_one_weight(weight):
    assert_same_bits(fa.prelu(np.float32([-2, 4]), weight), np.float32([-1, 4]))


def test_rrelu_in_training():
    x = RNG.normal(size=(300, 400)).astype("f4")
    noise = np.empty_like(x)
    y = fa.rrelu(x, 0.2, 0.4, training=True, rng=7, noise=noise)
    assert_same_bits(y, np.where(x > 0, x, noise * x))
    assert np.all(noise[x > 0] == 1)
    drawn = noise[x <= 0]
    assert 0.2 <= drawn.min() < 0.201 and 0.399 < drawn.max() <= 0.4 + 1e-7
    # The mean of n uniform numbers: its standard error is 0.2 / sqrt(12 n).
    assert abs(drawn.mean() - 0.3) < 5 * 0.2 / np.sqrt(12 * drawn.size)
    grad = RNG.normal(size=x.shape).astype("f4")
    assert_same_bits(fa.rrelu_backward(grad, x, noise=noise), np.where(x > 0, grad, noise * grad))
    again = fa.rrelu(x, 0.2, 0.4, training=True, rng=7)
    assert_same_bits(again, y)
    assert not np.array_equal(fa.rrelu(x, 0.2, 0.4, training=True, rng=8), y)
    generator = np.random.default_rng(7)
    assert_same_bits(fa.rrelu_(x, 0.2, 0.4, training=True, rng=generator), y)
    assert_same_bits(x, y)


def test_rrelu_in_training_keeps_dtypes():
    for dtype in ("f2", "f4", "f8"):
        assert fa.rrelu(np.ones(3, dtype), training=True).dtype == np.dtype(dtype)
    assert fa.rrelu([1, -1], training=True).dtype == np.float64


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_crelu(dtype, axis):
    x = (RNG.normal(size=(3, 4, 5)) * 9).astype(dtype)
    expected = np.concatenate([np.where(x <= 0, 0, x), np.where(x >= 0, 0, -x)], axis)
    expected = expected.astype(dtype)
    assert_same_bits(fa.crelu(x, axis), expected)
    out = np.full_like(expected, 9)
    assert fa.crelu(x, axis=axis, out=out) is out
    assert_same_bits(out, expected)
    # x being a part of out
    half = out[tuple([slice(None)] * (axis % 3) + [slice(x.shape[axis])])]
    half[...] = x
    assert_same_bits(fa.crelu(half, axis, out=out), expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_crelu_backward(axis):
    x = RNG.normal(size=(4, 6))
    x[0, 0] = 0
    grad = RNG.normal(size=fa.crelu(x, axis).shape)
    first, second = np.split(grad, 2, axis)
    expected = np.where(x > 0, first, np.where(x < 0, -second, 0.0))
    assert_same_bits(fa.crelu_backward(grad, x, axis), expected)
    assert fa.crelu_backward(grad, x, axis, out=x) is x
    assert_same_bits(x, expected)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_derivative_of_relu_at_0(dtype):
    grad, x = np.array([[3, 5, 7, 9], [-1, 0, -0.0, 1]], dtype)
    assert_same_bits(fa.relu_backward(grad, x), np.array([0, 0, 0, 9], dtype))
    assert_same_bits(fa.relu_backward(grad, x, at_zero=1), np.array([0, 5, 7, 9], dtype))
    assert_same_bits(fa.relu_backward(grad, x, at_zero=0.5), np.array([0, 2.5, 3.5, 9], dtype))


def test_relu_backward_takes_the_output_too():
    x = RNG.normal(size=1000).astype("f4")
    grad = RNG.normal(size=1000).astype("f4")
    assert_same_bits(fa.relu_backward(grad, fa.relu(x)), fa.relu_backward(grad, x))


def test_an_inactive_unit_passes_nothing_on():
    grad = np.array([np.inf, np.nan, -np.inf])
    for name in ("relu", "relu6", "hardsigmoid", "hardswish", "squared_relu", "thresholded_relu"):
        result = getattr(fa, f"{name}_backward")(grad, np.full(3, -9.0))
        assert_same_bits(result, np.zeros(3))

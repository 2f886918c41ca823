"""A call that cannot work says what was wrong with it, and leaves its operands alone."""

from __future__ import annotations

import numpy as np
import pytest

import fastact as fa

X = np.array([-1.0, 2.0], np.float32)


def refused(error, message, function, *arguments, **keywords):
    arrays = [a for a in (*arguments, *keywords.values()) if isinstance(a, np.ndarray)]
    before = [a.copy() for a in arrays]
    with pytest.raises(error, match=message):
        function(*arguments, **keywords)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("dtype", ["F", "D", "O", "g", "G", "M8[s]", "m8[s]", "U3", "S3"])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "hardswish", "relu_backward"])
def test_unsupported_dtypes(name, dtype):
    x = np.zeros(2, dtype)
    arguments = (x, x) if name.endswith("backward") else (x,)
    # For most of them NumPy says "not supported for the input types", for strings "did not contain
    # a loop".
    refused(TypeError, "not supported|did not contain a loop", getattr(fa, name), *arguments)


def test_wrong_out():
    refused(ValueError, r"\(3,\)", fa.relu, X, out=np.zeros(3, np.float32))
    refused(TypeError, "Cannot cast ufunc 'relu' output", fa.relu, X, out=np.zeros(2, int))
    refused(TypeError, "return arrays must be of ArrayType", fa.relu, X, out=[0, 0])
    out = np.zeros(2, np.float32)
    out.flags.writeable = False
    refused(ValueError, "read-only", fa.relu, X, out=out)
    refused(ValueError, r"out must be an ndarray of shape \(4,\)", fa.crelu, X, out=np.zeros(2))


def test_in_place_on_what_cannot_be_changed():
    refused(TypeError, r"relu_: x must be .* ndarray .*, got list", fa.relu_, [1.0])
    refused(TypeError, r"relu_: .* got float64", fa.relu_, np.float64(1))
    refused(TypeError, r"leaky_relu_: .* got an array of int64", fa.leaky_relu_, np.array([1]))
    refused(TypeError, r"relu_: .* got an array of complex128", fa.relu_, np.array([1j]))
    refused(TypeError, r"prelu_: .* got an array of int64", fa.prelu_, np.array([1]), 0.5)
    refused(TypeError, r"rrelu_: .* got list", fa.rrelu_, [1.0])
    x = X.copy()
    x.flags.writeable = False
    for function in (fa.relu_, fa.leaky_relu_, fa.rrelu_):
        refused(ValueError, f"{function.__name__}: .* read-only", function, x)
    refused(ValueError, "prelu_: .* read-only", fa.prelu_, x, 0.5)


def test_in_place_on_integers_where_they_stay_integers():
    x = np.array([-3, 4], np.int8)
    assert fa.relu_(x) is x
    assert x.tolist() == [0, 4]
    refused(TypeError, "Cannot cast", fa.clipped_relu_, x, 2.5)


def test_parameters_out_of_range():
    refused(
        ValueError, "hardtanh: max_val must be at least min_val = 2, got 1", fa.hardtanh, X, 2, 1
    )
    refused(ValueError, "hardtanh_backward: max_val", fa.hardtanh_backward, X, X, 2, 1)
    refused(ValueError, "hardtanh: max_val", fa.hardtanh_, X, 2, 1)
    refused(ValueError, "hardtanh: max_val", fa.hardtanh, X, np.array([0, 2]), np.array([1, 1]))
    refused(
        ValueError, "clipped_relu: max_value must be at least 0, got -1", fa.clipped_relu, X, -1
    )
    refused(ValueError, "softshrink: lambd must be at least 0", fa.softshrink, X, -0.5)
    refused(ValueError, "rrelu: upper must be at least lower = 0.5", fa.rrelu, X, 0.5, 0.25)
    refused(ValueError, "rrelu_backward: upper", fa.rrelu_backward, X, X, 0.5, 0.25)
    refused(ValueError, "clipped_linear: max_val", fa.clipped_linear, X, 1, 0, 3, 2)


def test_missing_and_unknown_arguments():
    refused(TypeError, "value", fa.threshold, X, 1)
    refused(TypeError, "slope", fa.leaky_relu, X, slope=0.1)
    refused(TypeError, "weight", fa.prelu, X)


def test_prelu_weights_that_fit_no_axis():
    x = np.ones((2, 3), np.float32)
    refused(
        ValueError, r"4 elements, which does not fit axis 1 .* \(2, 3\)", fa.prelu, x, np.ones(4)
    )
    refused(ValueError, "axis 1 of x", fa.prelu, X, np.ones(2))
    refused(ValueError, "axis 5 of x", fa.prelu, x, np.ones(3), axis=5)
    refused(ValueError, "one-dimensional", fa.prelu, x, np.ones((1, 1, 3)))
    refused(ValueError, "prelu_backward: weight", fa.prelu_backward, x, x, np.ones(4))


def test_composed_functions_with_wrong_shapes():
    refused(np.exceptions.AxisError, "axis 2", fa.crelu, X, 2)
    refused(np.exceptions.AxisError, "axis -1", fa.crelu, 1.0)
    refused(ValueError, r"grad must have shape \(4,\), got \(2,\)", fa.crelu_backward, X, X)
    refused(ValueError, "noise", fa.rrelu, X, training=True, noise=np.ones(3, np.float32))


def test_thread_counts():
    for n in (0, -1, 257):
        refused(ValueError, f"n must be from 1 to 256, got {n}", fa.set_num_threads, n)
    refused(TypeError, "n must be an integer, got float", fa.set_num_threads, 1.5)
    with pytest.raises(ValueError), fa.num_threads(-2):
        pass


def test_numpy_warns_of_nothing():
    special = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0, -0.0] * 1000, np.float32)
    with np.errstate(all="raise"):
        for name in ("relu", "squared_relu", "hardswish", "leaky_relu", "clipped_linear"):
            getattr(fa, name)(special)
            getattr(fa, f"{name}_backward")(special, special)

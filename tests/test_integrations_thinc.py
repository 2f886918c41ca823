"""Thinc's operations with fastact's activations, beside those of its own."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

thinc = pytest.importorskip("thinc.api")

from fastact.integrations.thinc import FastactOps  # noqa: E402

THEIRS, OURS = thinc.NumpyOps(), FastactOps()
ACTIVATIONS = [
    "clipped_linear",
    "dish",
    "gelu",
    "gelu_approx",
    "hard_sigmoid",
    "hard_swish",
    "hard_swish_mobilenet",
    "hard_tanh",
    "mish",
    "relu",
    "relu_k",
    "sigmoid",
    "softmax",
    "swish",
]
# Thinc's own gelu is an approximation, and its constants for gelu_approx are of six digits.
TOLERANCE = {"gelu": 1e-6, "gelu_approx": 1e-5}


def numbers(dtype, shape=(40, 30), seed=0):
    return np.random.default_rng(seed).normal(0, 4, shape).astype(dtype)


def test_thinc_finds_them():
    assert isinstance(thinc.get_ops("fastact"), FastactOps)
    assert type(thinc.get_ops("cpu")) is thinc.NumpyOps
    with thinc.use_ops("fastact"):
        assert isinstance(thinc.get_current_ops(), FastactOps)


def test_signatures_are_thincs():
    for name, method in inspect.getmembers(FastactOps, inspect.isfunction):
        if not name.startswith("_"):
            theirs = inspect.signature(getattr(thinc.Ops, name)).parameters.values()
            ours = inspect.signature(method).parameters.values()
            assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_forward(name, dtype):
    x = numbers(dtype)
    expected = getattr(THEIRS, name)(x.copy())
    before = x.copy()
    result = getattr(OURS, name)(x)
    np.testing.assert_array_equal(x, before)
    assert result.dtype == x.dtype
    tolerance = TOLERANCE.get(name, 1e-6 if dtype == "f" else 1e-8)  # clipped at 20
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=tolerance)
    assert getattr(OURS, name)(x, inplace=True) is x
    np.testing.assert_array_equal(x, result)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("name", [n for n in ACTIVATIONS if n != "softmax"])
def test_backprop(name, dtype):
    x, dy = numbers(dtype), numbers(dtype, seed=1)
    y = getattr(THEIRS, name)(x.copy())
    known = {"X": x, "Y": y, "dY": dy}
    parameters = inspect.signature(getattr(thinc.Ops, f"backprop_{name}")).parameters
    arrays = {key: known[key].copy() for key in parameters if key in known}
    expected = getattr(THEIRS, f"backprop_{name}")(**{k: a.copy() for k, a in arrays.items()})
    result = getattr(OURS, f"backprop_{name}")(**arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, known[key])
    assert result.dtype == x.dtype
    tolerance = TOLERANCE.get(name, 1e-5 if dtype == "f" else 1e-7)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=10 * tolerance)
    written = arrays["Y" if name == "sigmoid" else "dY"]
    assert getattr(OURS, f"backprop_{name}")(**arrays, inplace=True) is written
    np.testing.assert_array_equal(written, result)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax(axis, temperature):
    x, dy = numbers("f"), numbers("f", seed=1)
    expected = THEIRS.softmax(x, axis=axis, temperature=temperature)
    y = OURS.softmax(x, axis=axis, temperature=temperature)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        OURS.backprop_softmax(y, dy, axis=axis, temperature=temperature),
        THEIRS.backprop_softmax(y, dy, axis=axis, temperature=temperature),
        rtol=1e-4,
        atol=1e-6,
    )
    assert OURS.softmax(x, axis=axis, temperature=temperature, inplace=True) is x
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("inplace", [False, True])
def test_softmax_of_sequences(inplace):
    x, lengths = 3 * numbers("f"), np.array([5, 20, 15], np.int32)
    expected = THEIRS.softmax_sequences(x, lengths)
    result = OURS.softmax_sequences(x, lengths, inplace=inplace)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert (result is x) is inplace
    with pytest.raises(NotImplementedError, match="2d"):
        OURS.softmax_sequences(x[None], lengths)


@pytest.mark.parametrize("threshold", [1.0, 20.0, 25.0])
def test_threshold_of_mish(threshold):
    x, dy = numbers("d") * 3, numbers("d", seed=1)
    np.testing.assert_allclose(
        OURS.mish(x, threshold), THEIRS.mish(x.copy(), threshold), rtol=1e-8, atol=1e-13
    )
    np.testing.assert_allclose(
        OURS.backprop_mish(dy, x, threshold),
        THEIRS.backprop_mish(dy.copy(), x, threshold),
        rtol=1e-6,
        atol=1e-10,
    )


def test_other_arrays_are_left_to_thinc():
    half = numbers(np.float16) / 4
    assert OURS.swish(half).dtype == np.float16
    assert OURS.relu(np.array([-2, 3])).tolist() == [0, 3]
    with pytest.raises(ValueError, match="incompatible shapes"):
        OURS.backprop_relu(numbers("f"), numbers("f")[:3])
    with pytest.raises(ValueError, match="incompatible shapes"):
        OURS.backprop_mish(numbers("f"), numbers("f")[:3])
    broadcast = OURS.backprop_swish(numbers("d"), numbers("d", 30), numbers("d", 30))
    assert broadcast.shape == (40, 30)


def trained(name):
    with thinc.use_ops(name):
        thinc.fix_random_seed(0)
        model = thinc.chain(
            thinc.Mish(20, 30), thinc.Maxout(20, 20), thinc.Swish(20, 20), thinc.Softmax(3, 20)
        )
        x, y = numbers("f"), np.eye(3, dtype="f")[np.arange(40) % 3]
        model.initialize(X=x, Y=y)
        optimizer = thinc.Adam(0.01)
        for _ in range(20):
            guess, backprop = model.begin_update(x)
            backprop((guess - y) / len(x))
            model.finish_update(optimizer)
        return model.predict(x)


def test_training_gives_the_same_network():
    np.testing.assert_allclose(trained("fastact"), trained("numpy"), atol=1e-3)

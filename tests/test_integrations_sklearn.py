"""scikit-learn's perceptrons with fastact's activations."""
# ruff: noqa: N803

from __future__ import annotations

import concurrent.futures
import multiprocessing
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor, _base, _multilayer_perceptron

from fastact.integrations import sklearn as integration

X, LABELS = load_digits(return_X_y=True)
DERIVATIVES = ["relu", "logistic", "tanh"]
FORWARD = [*DERIVATIVES, "softmax"]
BEFORE = {**_base.ACTIVATIONS}, {**_base.DERIVATIVES}


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert (_base.ACTIVATIONS, _base.DERIVATIVES) == BEFORE


def trained(kind, activation, dtype="d"):
    target = LABELS if kind is MLPClassifier else X[:, 20]
    network = kind(hidden_layer_sizes=(32, 16), activation=activation, max_iter=4, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        return network.fit(X.astype(dtype)[:600], target[:600])


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("activation", DERIVATIVES)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_training_gives_the_same_network(kind, activation, dtype):
    theirs = trained(kind, activation, dtype)
    with integration.patched(exact=True):
        exact = trained(kind, activation, dtype)
    with integration.patched():
        ours = trained(kind, activation, dtype)
    for a, b, c in zip(theirs.coefs_, exact.coefs_, ours.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=0, atol=1e-3 if dtype == "f" else 1e-11)
    with integration.patched():  # a network that exists already
        np.testing.assert_allclose(theirs.predict(X[600:]), ours.predict(X[600:]), rtol=1e-3)


def some(dtype):
    x = np.random.default_rng(0).normal(0, 4, (50, 12)).astype(dtype)
    x.flat[:6] = 0, -0.0, np.nan, np.inf, -np.inf, np.finfo(dtype).tiny / 8
    return x


def call(functions, name, *arrays):
    arrays = [array.copy() for array in arrays]
    with np.errstate(all="ignore"):
        functions[name](*arrays)
    return arrays


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("name", FORWARD)
def test_activations(name, dtype):
    x = some(dtype)
    (expected,) = call(_base.ACTIVATIONS, name, x)
    with integration.patched():
        assert _base.ACTIVATIONS is _multilayer_perceptron.ACTIVATIONS
        (result,) = call(_base.ACTIVATIONS, name, x)
        again = x.copy()
        assert _base.ACTIVATIONS[name](X=again) is None
    np.testing.assert_array_equal(again, result)
    # scikit-learn's softmax loses the bits that x less the largest one loses.
    eps = {"relu": 0, "softmax": 32}.get(name, 4) * np.finfo(dtype).eps
    np.testing.assert_allclose(result, expected, rtol=eps, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives_are_the_same_bits(name, dtype):
    z, delta = some(dtype), some(dtype)[::-1].copy()
    delta[:, 3] = np.nan
    delta[:, 4] = np.inf
    expected = call(_base.DERIVATIVES, name, z, delta)
    with integration.patched(exact=True):
        result = call(_base.DERIVATIVES, name, z, delta)
    for a, b in zip(expected, result, strict=True):
        np.testing.assert_array_equal(a, b)
    if name == "relu":
        assert result[1][0, 2] == delta[0, 2], "where z is NaN, delta stays"


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.longdouble),
        np.asfortranarray,
        lambda x: x[:, ::2],
        lambda x: np.ma.masked_array(x, x > 2),
    ],
    ids=["float16", "longdouble", "Fortran", "strided", "masked"],
)
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_other_arrays_are_left_to_scikit_learn(name, form):
    def computed():
        x, z, delta = (form(some("d")) for _ in range(3))
        with np.errstate(all="ignore"):
            _base.ACTIVATIONS[name](x)
            _base.DERIVATIVES[name](z, delta)
        return x, delta

    theirs = computed()
    with integration.patched():
        ours = computed()
    for a, b in zip(theirs, ours, strict=True):
        np.testing.assert_array_equal(a, b)
        assert type(a) is type(b)


def test_errors_are_scikit_learns():
    x = np.ones((3, 2))
    x.flags.writeable = False
    with integration.patched(), pytest.raises(ValueError, match="read-only"):
        _base.ACTIVATIONS["relu"](x)


CHANGES = {
    "a table that is missing": (
        lambda m: m.delattr(_base, "DERIVATIVES"),
        "there is no dict sklearn.neural_network._base.DERIVATIVES",
    ),
    "a table that is not used": (
        lambda m: m.setattr(_base, "ACTIVATIONS", {}),
        "the perceptrons do not use sklearn.neural_network._base.ACTIVATIONS",
    ),
    "an entry that is missing": (
        lambda m: m.delitem(_base.ACTIVATIONS, "tanh"),
        r"has no ACTIVATIONS\['tanh'\]",
    ),
    "another signature": (
        lambda m: m.setitem(_base.DERIVATIVES, "relu", lambda Z, delta, slope: None),
        r"DERIVATIVES\['relu'\] takes \(Z, delta, slope\), not \(Z, delta\)",
    ),
    "other results": (
        lambda m: m.setitem(_base.DERIVATIVES, "relu", lambda Z, delta: delta.fill(0)),
        r"DERIVATIVES\['relu'\] computes something else",
    ),
    "a function that returns": (
        lambda m: m.setitem(_base.ACTIVATIONS, "relu", lambda X: np.maximum(X, 0)),
        r"ACTIVATIONS\['relu'\] computes something else",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_named(change, monkeypatch):
    make, message = CHANGES[change]
    with monkeypatch.context() as m:
        make(m)
        refused = rf"^scikit-learn \d+\.\d+.*{message}.*: nothing is replaced"
        with pytest.raises(integration.Refused, match=refused):
            integration.patch()
        assert integration.replaced() == []
    integration.patch()
    assert len(integration.replaced()) == 7
    integration.unpatch()


def test_spawned_workers_have_an_initializer():
    context = multiprocessing.get_context("spawn")
    for initializer, count in ((None, 0), (integration.patch, 7)):
        with concurrent.futures.ProcessPoolExecutor(1, context, initializer) as pool:
            assert len(pool.submit(integration.replaced).result()) == count

"""Keras' NumPy backend with fastact's activations."""

from __future__ import annotations

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "numpy")
keras = pytest.importorskip("keras")
if keras.config.backend() != "numpy":
    pytest.skip("Keras uses another backend", allow_module_level=True)

from keras.src import backend  # noqa: E402

from fastact.integrations import keras as integration  # noqa: E402

FUNCTIONS = [*integration._FUNCTIONS]
EXACT = [name for name, (exact, *_) in integration._FUNCTIONS.items() if exact]
BEFORE = {**vars(backend.nn)}


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert {name: vars(backend.nn)[name] for name in FUNCTIONS} == {n: BEFORE[n] for n in FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_by_kerass_own_names(name):
    x = np.random.default_rng(0).normal(0, 4, (20, 6)).astype(np.float32)
    expected = BEFORE[name](x)
    with integration.patched(exact=name in EXACT):
        assert vars(backend.nn)[name] is not BEFORE[name]
        result = vars(backend.nn)[name](x)
        if name != "tanh":  # the operation of that name is not the activation
            np.testing.assert_array_equal(getattr(keras.ops, name)(x), result)
    assert result.dtype == np.float32
    relative, absolute = (0, 0) if name in EXACT else integration._TOLERANCE
    np.testing.assert_allclose(result, expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize(
    "call",
    [
        lambda nn, x: nn.leaky_relu(x, 0.5),
        lambda nn, x: nn.leaky_relu(x, negative_slope=1.5),
        lambda nn, x: nn.elu(x, alpha=0.5),
        lambda nn, x: nn.gelu(x, approximate=False),
        lambda nn, x: nn.softmax(x, axis=0),
        lambda nn, x: nn.softmax(x, axis=(0, 1)),
        lambda nn, x: nn.squareplus(x, 1),
        lambda nn, x: nn.relu(x.astype(np.float16)),
        lambda nn, x: nn.silu(x.astype(np.float64)),
        lambda nn, x: nn.relu([[1.0, -1.0]]),
        lambda nn, x: nn.sigmoid(x.astype(np.int32)),
    ],
)
def test_arguments_and_other_arrays(call):
    x = np.random.default_rng(0).normal(0, 4, (20, 6)).astype(np.float32)
    expected = call(backend.nn, x)
    with integration.patched():
        result = call(backend.nn, x)
    assert result.dtype == expected.dtype
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_a_model_that_exists():
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(16, activation="gelu"),
            keras.layers.Dense(16),
            keras.layers.LeakyReLU(),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(30, 12)).astype(np.float32)
    expected = model.predict(x, verbose=0)
    with integration.patched():
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5)


def test_what_has_changed_is_named(monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(backend.nn, "elu", lambda x, alpha=1.0, slope=0: x)
        with pytest.raises(integration.Refused, match=r"^Keras .*nn.elu takes \(x, alpha, slope\)"):
            integration.patch()
        m.setattr(backend.nn, "elu", lambda x, alpha=1.0: x)
        with pytest.raises(integration.Refused, match="elu computes something else"):
            integration.patch()
        m.setattr(keras.config, "backend", lambda: "jax")
        with pytest.raises(integration.Refused, match="the backend is jax"):
            integration.patch()
    assert integration.replaced() == []

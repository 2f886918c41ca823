"""The public functions are NumPy citizens: ufuncs, picklable, documented, known to others."""

from __future__ import annotations

import copy
import doctest
import inspect
import multiprocessing
import operator
import pickle
import pydoc

import dask.array
import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from references import REFERENCES
from thorough import only

import fastact as fa
from fastact.catalogue import CATALOGUE
from fastact.public.names import FORMS, NAMES, OTHER_NAMES

X = np.array([-2.0, -0.0, 0.5, 3.0], np.float32)
RELU_X = np.array([0.0, 0.0, 0.5, 3.0], np.float32)
DOCUMENTED = ["fused", "losses", "memory", "special"]
PLAIN = [name for name in REFERENCES if not CATALOGUE[name].parameters]


@pytest.mark.parametrize("name", PLAIN)
def test_a_function_without_parameters_is_a_ufunc(name):
    assert isinstance(getattr(fa, name), np.ufunc)
    assert getattr(fa, name).__name__ == name


@pytest.mark.parametrize("name", [n for n in FORMS if not n.endswith("_")])
def test_a_function_with_parameters_carries_its_ufunc(name):
    function = getattr(fa, name)
    assert isinstance(getattr(function, "ufunc", function), np.ufunc)


def test_ufunc_keywords():
    out = np.full(4, 9, np.float32)
    assert fa.relu(X, out=out, where=[True, False, True, False]) is out
    np.testing.assert_array_equal(out, [0, 9, 0.5, 9])
    assert fa.relu(X, dtype=np.float64).dtype == np.float64
    assert fa.relu(X.astype("f8"), dtype="f4", casting="same_kind").dtype == np.float32
    assert fa.relu(np.asfortranarray(np.ones((3, 2))), order="K").flags.f_contiguous
    assert fa.relu(np.asfortranarray(np.ones((3, 2))), order="C").flags.c_contiguous
    assert fa.leaky_relu(X, 0.1, where=X < 0, out=np.zeros(4, np.float32))[0] == np.float32(-0.2)
    assert fa.leaky_relu(X, 0.1, out, order="C") is out


def test_ufunc_methods():
    x = X.copy()
    fa.relu.at(x, [0, 0, 2])
    np.testing.assert_array_equal(x, [0, -0.0, 0.5, 3])
    table = fa.relu_backward.ufunc.outer(np.float32([1, 2]), X)
    np.testing.assert_array_equal(table, [[0, 0, 1, 1], [0, 0, 2, 2]])
    outer = fa.leaky_relu.ufunc.outer(X, np.float32([0.5, 2]))
    np.testing.assert_array_equal(outer[0], [-1, -4])
    with pytest.raises(ValueError, match="only supported for binary"):
        fa.relu.reduce(X)


def test_parameters_broadcast_and_accept_positions_and_names():
    slopes = np.float32([[0.1], [0.5]])
    assert fa.leaky_relu(X, slopes).shape == (2, 4)
    np.testing.assert_array_equal(fa.leaky_relu(X, 0.5), fa.leaky_relu(X, negative_slope=0.5))
    np.testing.assert_array_equal(fa.threshold([1, 2, 3], 1, 9), [9, 2, 3])


@pytest.mark.parametrize("name", [n for n in REFERENCES if CATALOGUE[n].keeps_integers])
@pytest.mark.parametrize("dtype", only("Bl", "bBhHiIlLqQ"))
def test_integers_stay_integers(name, dtype):
    parameters = REFERENCES[name].parameters[-1]
    x = np.array([0, 1, 2, 7, 100], dtype)
    result = getattr(fa, name)(x, **parameters)
    assert result.dtype == np.dtype(dtype)
    wide = getattr(fa, name)(x.astype(float), **parameters)
    np.testing.assert_array_equal(result, wide.astype(np.int64).astype(dtype))


@pytest.mark.parametrize("dtype", "bBQ")
def test_a_default_that_the_dtype_does_not_have(dtype):
    """hardtanh's -1: where there are no negative numbers, none is below it."""
    x = np.array([0, 1, 100], dtype)
    np.testing.assert_array_equal(fa.hardtanh(x), np.array([0, 1, 1], dtype))
    assert fa.hardtanh_(x) is x


@pytest.mark.parametrize("name", [n for n in REFERENCES if not CATALOGUE[n].parameters])
def test_other_integers_are_promoted_as_exp_promotes_them(name):
    for dtype in ("b", "B", "h", "H", "i", "q", "?"):
        x = np.ones(3, dtype)
        if CATALOGUE[name].keeps_integers and dtype != "?":
            continue
        if not CATALOGUE[name].keeps_integers:
            assert getattr(fa, name)(x).dtype == np.exp(x).dtype
        assert getattr(fa, f"{name}_backward")(x, x).dtype == np.exp(x).dtype


@pytest.mark.parametrize("name", only(["leaky_relu", "relu"], REFERENCES))
def test_bfloat16_stays_bfloat16(name):
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    x = X.astype(bfloat16)
    parameters = REFERENCES[name].parameters[0]
    assert getattr(fa, name)(x, **parameters).dtype == bfloat16
    assert getattr(fa, f"{name}_backward")(x, x, **parameters).dtype == bfloat16
    assert getattr(fa, f"{name}_")(x.copy(), **parameters).dtype == bfloat16


def test_bfloat16_stays_bfloat16_with_weights():
    bfloat16 = np.dtype(ml_dtypes.bfloat16)
    assert fa.prelu(np.ones((2, 3), bfloat16), np.ones(3, bfloat16)).dtype == bfloat16


def test_scalars_and_lists():
    assert fa.relu(-1.5) == 0.0
    assert isinstance(fa.relu(-1.5), np.float64)
    assert fa.relu([[-1, 2]]).tolist() == [[0, 2]]
    assert fa.relu(np.float32(2)).dtype == np.float32
    assert fa.relu(np.zeros((0, 3))).shape == (0, 3)


# --- other libraries ----------------------------------------------------------------------------


def test_masked_arrays():
    x = np.ma.masked_array([-1.0, 2.0, -3.0], mask=[False, False, True])
    y = fa.relu(x)
    assert isinstance(y, np.ma.MaskedArray)
    np.testing.assert_array_equal(y.mask, [False, False, True])
    np.testing.assert_array_equal(y.compressed(), [0, 2])


def test_pandas():
    series = pd.Series([-1.0, 2.0], index=["a", "b"], name="unit")
    y = fa.leaky_relu(series, 0.5)
    pd.testing.assert_series_equal(y, pd.Series([-0.5, 2.0], index=["a", "b"], name="unit"))
    assert isinstance(fa.relu(pd.DataFrame({"a": [-1.0]})), pd.DataFrame)


def test_xarray():
    y = fa.relu(xr.DataArray([[-1.0, 2.0]], dims=("time", "unit")))
    assert y.dims == ("time", "unit")
    np.testing.assert_array_equal(y, [[0, 2]])


def test_dask_in_threads():
    x = dask.array.from_array(np.linspace(-1, 1, 1000), chunks=100)
    for function in (fa.relu, fa.leaky_relu, fa.hardswish):
        y = function(x)
        assert isinstance(y, dask.array.Array)
        np.testing.assert_array_equal(y.compute(), function(x.compute()))


def test_dask_on_a_cluster_of_processes():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster),
    ):
        x = dask.array.random.default_rng(0).normal(size=(400_000,), chunks=100_000)
        for function in (fa.relu, fa.leaky_relu):
            y = function(x).compute()
            np.testing.assert_array_equal(y, function(x.compute()))


def test_subclasses_and_overrides():
    class Tagged(np.ndarray):
        pass

    assert isinstance(fa.relu(X.view(Tagged)), Tagged)
    assert type(fa.relu(X.view(Tagged), subok=False)) is np.ndarray

    class Override:
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return ufunc, method

    assert fa.relu(Override()) == (fa.relu, "__call__")
    assert fa.leaky_relu(Override(), 0.5) == (fa.leaky_relu.ufunc, "__call__")


# --- objects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMS)
def test_pickle_and_copy(name):
    function = getattr(fa, name)
    own = {} if isinstance(function, np.ufunc) else vars(function)
    for item in {function, *(value for value in own.values() if isinstance(value, np.ufunc))}:
        assert pickle.loads(pickle.dumps(item)) is item
        assert copy.copy(item) is item
        assert copy.deepcopy(item) is item


def test_pickle_to_another_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(fa.relu, (X,)), RELU_X)
        np.testing.assert_array_equal(pool.apply(fa.leaky_relu.ufunc, (X, 0.0)), RELU_X)


@pytest.mark.parametrize(
    "name", [*NAMES, *(f"{m}.{n}" for m in DOCUMENTED for n in getattr(fa, m).__all__)]
)
def test_documentation(name):
    function = operator.attrgetter(name)(fa)
    text = inspect.getdoc(function)
    assert text and len(text) > 100
    assert pydoc.render_doc(function)
    test = doctest.DocTestParser().get_doctest(text, {"fa": fa, "np": np}, name, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("name", [n for n in NAMES if inspect.isfunction(getattr(fa, n))])
def test_functions_say_where_they_are_found(name):
    function = getattr(fa, name)
    name = OTHER_NAMES.get(name, name)
    assert (function.__module__, function.__qualname__) == ("fastact", name)
    assert name in repr(function)


def test_swish_is_silu():
    assert fa.swish is fa.silu
    assert fa.swish_ is fa.silu_
    assert fa.swish_backward is fa.silu_backward


def test_gelu_names_its_approximations():
    with pytest.raises(ValueError, match="gelu: approximate must be 'none' or 'tanh', got 'erf'"):
        fa.gelu(np.ones(3), "erf")
    with pytest.raises(ValueError, match="gelu_backward: approximate must be"):
        fa.gelu_backward(np.ones(3), np.ones(3), approximate=None)
    with pytest.raises(ValueError, match=r"got ndarray \(an output is given as out=\)"):
        fa.gelu(np.ones(3), np.ones(3))


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_backward_from_output(name):
    x = np.linspace(-4, 4, 1001)
    from_output = getattr(fa, f"{name}_backward_from_output")(x, getattr(fa, name)(x))
    np.testing.assert_allclose(from_output, getattr(fa, f"{name}_backward")(x, x), rtol=1e-12)


def test_signatures_name_the_parameters():
    assert list(inspect.signature(fa.leaky_relu).parameters)[:2] == ["x", "negative_slope"]
    assert inspect.signature(fa.leaky_relu_).parameters["negative_slope"].default == 0.01
    assert list(inspect.signature(fa.hardtanh_backward).parameters)[:2] == ["grad", "x"]


def test_tab_completion_and_unknown_names():
    assert {"relu", "relu_", "relu_backward", "num_threads"} <= set(dir(fa))
    assert set(fa.__all__) <= set(dir(fa))
    with pytest.raises(AttributeError, match="no attribute 'rellu'"):
        _ = fa.rellu
    with pytest.raises(ImportError):
        from fastact import nothing_of_the_kind  # noqa: F401


def test_a_name_is_one_object():
    assert fa.relu is fa.relu
    assert fa.leaky_relu is fa.leaky_relu

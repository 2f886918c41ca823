"""softmax, log_softmax and maxout, along any axis and in every form that their loops have."""

from __future__ import annotations

import dask.array
import ml_dtypes
import numpy as np
import pytest
import xarray as xr
from references import ROW_REFERENCES as REFERENCES
from references import softmax
from smooth import FUSED, ulps
from thorough import only

import fastact as fa
from fastact.public import rows

RNG = np.random.default_rng(3)
DTYPES = ["float16", "bfloat16", "float32", "float64"]
#: Short, just above, whole vectors and not, long; few and many rows.
SHAPES = [
    (1, 1),
    (3, 1),
    (9, 3),
    (8, 16),
    (21, 10),
    (5, 33),
    (7, 64),
    (3, 65),
    (20, 100),
    (2, 1000),
]
SHAPES += [(1000, 2), (40, 129), (2, 3, 4), (5, 40, 17), (3, 2, 200, 2)]


def numpy_dtype(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def wide(array):
    return array.astype(np.longdouble if array.dtype == np.float64 else np.float64)


def layouts(x):
    """The same numbers elsewhere in memory."""
    yield x
    yield np.asfortranarray(x)
    spread = np.zeros([2 * n for n in x.shape], x.dtype)[(slice(None, None, 2),) * x.ndim]
    spread[...] = x
    yield spread
    yield x[..., ::-1].copy()[..., ::-1]


@pytest.mark.parametrize("dtype", only(["bfloat16", "float32"], DTYPES))
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", REFERENCES)
def test_against_a_wider_type(name, shape, dtype):
    reference, reference_backward = REFERENCES[name]
    original = (RNG.normal(size=shape) * RNG.choice([0.1, 1, 10])).astype(numpy_dtype(dtype))
    grad = RNG.normal(size=shape).astype(original.dtype)
    eps = float(ml_dtypes.finfo(original.dtype).eps)
    for x in layouts(original):
        for axis in range(-x.ndim, x.ndim):
            y = getattr(fa, name)(x, axis)
            assert y.dtype == x.dtype
            right = reference(wide(x), axis)
            # float64: log_softmax where all but one element count for next to nothing.
            assert ulps(y, right).max() <= (3 if dtype == "float64" or not FUSED else 2)
            result = getattr(fa, f"{name}_backward")(grad, y, axis)
            assert result.dtype == x.dtype
            right = reference_backward(wide(grad), wide(y), axis)
            scale = abs(wide(grad)).max() if name == "softmax" else abs(wide(grad)).sum(axis).max()
            assert abs(wide(result) - right).max() <= 2 * eps * scale


@pytest.mark.parametrize("n", [4, 50, 100, 1000, 300_001])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", REFERENCES)
def test_results_may_replace_operands(name, axis, n):
    original = RNG.normal(size=(n, 3) if axis == 0 else (3, n)).astype(np.float32)
    grad = RNG.normal(size=original.shape).astype(np.float32)
    forward, backward = getattr(fa, name), getattr(fa, f"{name}_backward")
    right = forward(original, axis)
    x = original.copy()
    assert getattr(fa, f"{name}_")(x, axis) is x
    np.testing.assert_array_equal(x, right)
    out = np.full_like(x, 9)
    assert forward(original, axis, out=out) is out
    np.testing.assert_array_equal(out, right)
    right_grad = backward(grad, right, axis)
    for k in (0, 1):
        arrays = [grad.copy(), right.copy()]
        assert backward(*arrays, axis, out=arrays[k]) is arrays[k]
        np.testing.assert_array_equal(arrays[k], right_grad)


@pytest.mark.parametrize("dtype", only(["float32"], ["float32", "float64"]))
@pytest.mark.parametrize("shape", [(300_001,), (2, 270_000), (262_144, 3), (1, 262_144 + 5)])
@pytest.mark.parametrize("name", REFERENCES)
def test_few_long_rows(name, shape, dtype, monkeypatch):
    """They are computed by parts, and as well as whole."""
    axis = int(np.argmax(shape))
    x = (RNG.normal(size=shape) * 5).astype(dtype)
    grad = RNG.normal(size=shape).astype(dtype)
    taken = []
    by_parts = rows._RowFunction._by_parts

    def watched(self, *arguments):
        taken.append(self.formula.name)
        by_parts(self, *arguments)

    monkeypatch.setattr(rows._RowFunction, "_by_parts", watched)
    y = getattr(fa, name)(x, axis)
    result = getattr(fa, f"{name}_backward")(grad, y, axis)
    assert taken == [name, f"{name}_backward"]
    whole = getattr(fa, name).ufunc(x, axis=axis)
    whole_limit = 2 if FUSED else 3
    # Of float64 numbers a part's terms are rounded once more.
    wider = np.finfo(np.longdouble).nmant > np.finfo(dtype).nmant
    limit = whole_limit if dtype == "float32" else whole_limit + 0.5 if wider else 4
    right = REFERENCES[name][0](wide(x), axis)
    assert ulps(y, right).max() <= limit
    assert ulps(whole, right).max() <= whole_limit
    right = REFERENCES[name][1](wide(grad), wide(y), axis)
    scale = abs(grad).max() if name == "softmax" else abs(grad).sum(axis).max()
    assert abs(wide(result) - right).max() <= 2 * np.finfo(dtype).eps * scale


def test_a_part_of_a_long_row_far_below_its_top():
    """What is left of the row, five elements, is a part by itself."""
    x = RNG.normal(size=(1, 262_149)) * 5
    x[0, 0], x[0, -5:] = 23.4, RNG.uniform(0.1, 0.9, 5)
    right = softmax(wide(x), -1)
    assert ulps(fa.softmax(x), right).max() <= (4 if FUSED else 5)


def test_few_long_rows_with_special_values():
    x = np.zeros((5, 300_000), np.float32)
    x[1, 77] = np.nan
    x[2, 299_999] = np.inf
    x[3] = -np.inf
    x[4, 1:] = -np.inf
    with np.errstate(all="raise"):
        for function in (fa.softmax, fa.log_softmax):
            y = function(x)
            assert np.isfinite(y[0]).all()
            assert np.isnan(y[1:4]).all()
        assert fa.softmax(x)[4, :2].tolist() == [1, 0]
        assert fa.log_softmax(x)[4, :2].tolist() == [0, -np.inf]


@pytest.mark.parametrize("n", [2, 10, 100, 1000])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", only(["bfloat16", "float32"], DTYPES))
def test_special_values_stay_in_their_rows(dtype, axis, n):
    x = RNG.normal(size=(12, n)).astype(numpy_dtype(dtype))
    x[1, n // 2] = np.nan
    x[3, 0] = np.inf
    x[5] = -np.inf
    x[7, 1:] = -np.inf
    x[9] = 3
    broken, whole = [1, 3, 5], [0, 2, 4, 6, 7, 8, 9, 10, 11]
    for function in (fa.softmax, fa.log_softmax):
        with np.errstate(all="raise"):
            y = function(x, 1) if axis == 1 else function(x.T, 0).T
        assert np.isnan(y[broken].astype("f4")).all()
        assert not np.isnan(y[whole].astype("f4")).any()
        np.testing.assert_array_equal(y[whole], function(x[whole]))
    y = fa.softmax(x)
    assert y[7, 0] == 1 and (y[7, 1:] == 0).all()
    np.testing.assert_allclose(y[9].astype("f8"), 1 / n, rtol=1e-2)
    y = fa.log_softmax(x)
    assert y[7, 0] == 0 and (y[7, 1:] == -np.inf).all()


def test_large_and_small_numbers():
    for dtype in (np.float32, np.float64):
        largest, smallest = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
        x = np.array([[largest, -largest], [largest, largest], [smallest, 0]], dtype)
        with np.errstate(all="raise"):
            np.testing.assert_array_equal(fa.softmax(x), [[1, 0], [0.5, 0.5], [0.5, 0.5]])
    # What is beside a large element is not lost.
    x = np.array([0, -60.0], np.float32)
    np.testing.assert_allclose(fa.log_softmax(x)[0], -np.exp(-60.0), rtol=1e-6)


def test_where_the_output_is_0_the_gradient_does_not_matter():
    y = np.float32([0.25, 0.75, 0, 0])
    grad = np.float32([1, 2, np.inf, np.nan])
    np.testing.assert_array_equal(fa.softmax_backward(grad, y)[2:], [0, 0])
    np.testing.assert_array_equal(
        fa.softmax_backward(grad, y)[:2], fa.softmax_backward(grad[:2], y[:2])
    )
    long = np.concatenate([y, np.zeros(500, np.float32)])
    nan = np.concatenate([grad, np.full(500, np.nan, np.float32)])
    np.testing.assert_array_equal(fa.softmax_backward(nan, long)[:2], [-0.1875, 0.1875])


@pytest.mark.parametrize(
    "shape", [(100_000, 7), (3000, 100), (100, 4099), (3, 300_000), (64, 2, 99)]
)
@pytest.mark.parametrize("axis", [0, -1])
def test_the_result_does_not_depend_on_the_number_of_threads(shape, axis):
    x = RNG.normal(size=shape).astype(np.float32)
    functions = [
        lambda: fa.softmax(x, axis),
        lambda: fa.log_softmax(x, axis),
        lambda: fa.softmax_backward(x, x, axis),
        lambda: fa.maxout(x, axis)[0],
    ]
    with fa.num_threads(1):
        right = [f() for f in functions]
    for threads in (2, 3, 8):
        with fa.num_threads(threads):
            for f, expected in zip(functions * 2, right * 2, strict=True):
                np.testing.assert_array_equal(f(), expected)


@pytest.mark.parametrize("dtype", only(["bfloat16", "float32"], DTYPES))
@pytest.mark.parametrize("shape", SHAPES)
def test_maxout(shape, dtype):
    original = RNG.integers(-9, 9, shape).astype(numpy_dtype(dtype))  # with many ties
    original.flat[RNG.integers(original.size)] = np.nan
    for x in layouts(original):
        for axis in range(-x.ndim, x.ndim):
            with np.errstate(all="raise"):
                values, indices = fa.maxout(x, axis)
            np.testing.assert_array_equal(values.astype("f4"), x.astype("f4").max(axis))
            np.testing.assert_array_equal(indices, x.astype("f4").argmax(axis))
            assert (values.dtype, indices.dtype) == (x.dtype, np.int64)
            grad = RNG.normal(size=values.shape).astype(x.dtype)
            right = np.zeros_like(x, order="C")
            np.put_along_axis(
                right, np.expand_dims(indices, axis), np.expand_dims(grad, axis), axis
            )
            out = np.full_like(x, 9)
            result = fa.maxout_backward(grad, indices, x.shape[axis], axis, out=out)
            assert result is out
            np.testing.assert_array_equal(result, right)
            again = fa.maxout_backward(grad, indices, x.shape[axis], axis)
            np.testing.assert_array_equal(again, right)


def test_maxout_finds_the_first_of_equals_in_long_rows():
    x = np.zeros((3, 5000), np.float32)
    x[0, [700, 701, 4000]] = 1
    x[1, [4999]] = 1
    x[2, [256, 900]] = np.nan
    assert fa.maxout(x)[1].tolist() == [700, 4999, 256]
    assert fa.maxout(np.full(300, -np.inf))[1] == 0


def test_keywords_and_dtypes():
    x = RNG.normal(size=(3, 4, 5))
    assert fa.softmax([[1, 2]]).dtype == np.float64
    assert fa.softmax(np.ones((2, 2), np.int8)).dtype == np.float16
    assert fa.softmax(x, dtype=np.float32).dtype == np.float32
    right = fa.softmax(x, 1)
    np.testing.assert_array_equal(
        fa.softmax(np.moveaxis(x, 1, 0), axis=0), np.moveaxis(right, 1, 0)
    )
    out = np.empty((3, 4, 5), np.float32)
    np.testing.assert_allclose(fa.softmax(x, 1, out=out), right, rtol=1e-6)
    assert fa.softmax(np.zeros((3, 0))).shape == (3, 0)
    assert fa.softmax(np.zeros((0, 3))).shape == (0, 3)
    swapped = x.astype(">f4")
    np.testing.assert_array_equal(fa.softmax(swapped), fa.softmax(swapped.astype("f4")))
    long = RNG.normal(size=300_000).astype(">f4")
    np.testing.assert_array_equal(fa.softmax(long), fa.softmax.ufunc(long.astype("f4")))


def test_other_libraries():
    x = RNG.normal(size=(40, 6))
    y = fa.softmax(dask.array.from_array(x, chunks=(10, 6)))
    assert isinstance(y, dask.array.Array)
    np.testing.assert_array_equal(y.compute(), fa.softmax(x))
    table = xr.DataArray(x, dims=("sample", "unit"))
    result = xr.apply_ufunc(
        fa.softmax, table, input_core_dims=[["unit"]], output_core_dims=[["unit"]]
    )
    np.testing.assert_array_equal(result, fa.softmax(x))


def test_wrong_calls():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(np.exceptions.AxisError):
        fa.softmax(x, 2)
    with pytest.raises(np.exceptions.AxisError):
        fa.softmax(np.zeros(300_000), 1)
    with pytest.raises(ValueError, match="does not have enough dimensions"):
        fa.softmax(1.0)
    with pytest.raises(ValueError, match="mismatch"):
        fa.softmax(x, out=np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="mismatch"):
        fa.softmax(np.zeros(300_000), out=np.zeros(3))
    with pytest.raises(TypeError, match=r"softmax_: x must be a floating-point ndarray .* list"):
        fa.softmax_([1.0])
    with pytest.raises(TypeError, match=r"log_softmax_: x must be .* int64"):
        fa.log_softmax_(np.ones((2, 2), int))
    read_only = x.copy()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        fa.softmax_(read_only)
    with pytest.raises(ValueError, match=r"maxout: axis 1 of x has no elements.* \(2, 0\)"):
        fa.maxout(np.ones((2, 0)), 1)
    with pytest.raises(TypeError):
        fa.maxout_backward(np.ones(2), np.ones(2), 3)
    with pytest.raises(ValueError, match=r"out must be an ndarray of shape \(2, 3\), got \(2, 4\)"):
        fa.maxout_backward(np.ones(2), np.ones(2, int), 3, out=np.ones((2, 4)))
    for dtype in ("F", "O", "g"):
        with pytest.raises(TypeError):
            fa.softmax(np.ones((2, 2), dtype))


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_results_lie_in_memory_as_their_operands_do(axis, order):
    x = np.ones((3, 4, 5), np.float32, order=order)
    for result in (fa.softmax(x, axis), fa.log_softmax_backward(x, x, axis)):
        assert result.strides == x.strides


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 5, 9), 1), ((2, 3, 40, 10), -2), ((9, 2, 300), 1)]
)
def test_an_axis_in_the_middle_is_like_the_last_one(dtype, shape, axis):
    x, grad = (RNG.normal(0, 3, shape).astype(dtype) for _ in range(2))

    def moved(a):
        return np.ascontiguousarray(np.moveaxis(a, axis, -1))

    for name in ("softmax", "log_softmax"):
        function, backward = getattr(fa, name), getattr(fa, f"{name}_backward")
        y = function(x, axis)
        for result, expected in (
            (y, function(moved(x))),
            (backward(grad, y, axis), backward(moved(grad), moved(y))),
        ):
            assert_close(moved(result), expected, dtype)
        # Not what the loops of the middle take: it has gaps.
        assert_close(function(np.repeat(x, 2, -1)[..., ::2], axis), y, dtype)
        assert function(x, axis, out=x) is x
        np.testing.assert_array_equal(x, y)


def assert_close(actual, expected, dtype):
    tolerance = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-13}[dtype]
    actual, expected = actual.astype(float), expected.astype(float)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", [(3, 4, 10), (1, rows.LONG_ROW)])
def test_an_axis_that_there_is_not_is_named(shape):
    with pytest.raises(np.exceptions.AxisError, match="softmax: axis 5 is out of bounds"):
        fa.softmax(np.ones(shape, np.float32), 5)

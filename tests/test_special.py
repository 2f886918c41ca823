"""SciPy's names: accuracy, special values, and SciPy's conventions for axes."""

from __future__ import annotations

import pickle

import mpmath
import numpy as np
import pytest
import scipy.special
from mpmath import mp
from smooth import FUSED, ulps
from thorough import only

import fastact as fa
from fastact.catalogue.special import SPECIAL

RNG = np.random.default_rng(4)
#: In as many digits as are set; of numbers at which float64 has a result that is not 0.
EXACT = {
    "erf": mp.erf,
    "erfc": mp.erfc,
    "expit": lambda x: 1 / (1 + mp.exp(-x)),
    "log_expit": lambda x: -mp.log1p(mp.exp(-x)),
    "logit": lambda x: mp.log(x) - mp.log1p(-x),
    "ndtr": mp.ncdf,
    "log_ndtr": lambda x: mp.log(mp.ncdf(x)) if x < 0 else mp.log1p(-mp.ncdf(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
}


def numbers(name, dtype, count):
    rng = np.random.default_rng(7)
    if name == "logit":
        made = [rng.uniform(0, 1, count), 0.5 + rng.normal(0, 1e-3, count)]
        made += [10 ** rng.uniform(-40, -1, count), 1 - 10 ** rng.uniform(-7, -1, count)]
        made = np.concatenate(made).astype(dtype)
        return made[(made > 0) & (made < 1)]
    top = 12 if dtype == np.float32 else 35
    made = [rng.uniform(-top, top, count), rng.uniform(-3, 3, count), rng.normal(0, 0.01, count)]
    if name == "log_ndtr":
        made.append(rng.uniform(-1000, -30, count))
    return np.concatenate(made).astype(dtype)


def limit(name):
    # 30 million float32 between -1000 and 12: 3.28, at 0.77379.
    return (3.5 if name == "log_ndtr" else 2) + (not FUSED)


@pytest.mark.parametrize("name", EXACT)
def test_float32(name):
    x = numbers(name, np.float32, 20_000)
    right = getattr(scipy.special, name)(x.astype(np.float64))
    assert ulps(getattr(fa.special, name)(x), right).max() <= limit(name)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="needs more digits than float64's")
@pytest.mark.parametrize("name", EXACT)
def test_float64(name):
    x = numbers(name, np.float64, 200)
    with mpmath.workdps(60):
        exact = [EXACT[name](mp.mpf(float(v))) for v in x]
        right = np.array([np.longdouble(mp.nstr(v, 25)) for v in exact])
    assert ulps(getattr(fa.special, name)(x), right).max() <= limit(name)


@pytest.mark.parametrize("dtype", only(["float32"], ["float32", "float64"]))
@pytest.mark.parametrize("name", EXACT)
def test_special_values(name, dtype):
    x = np.array(
        [0, -0.0, np.inf, -np.inf, np.nan, 1, 0.5, -1, 2, 1e-30, -1e-30, 1e30, 1e-16], dtype
    )
    with np.errstate(all="raise"):
        actual = getattr(fa.special, name)(x)
    with np.errstate(all="ignore"):
        right = getattr(scipy.special, name)(x)
    np.testing.assert_allclose(actual, right, 1e-5 if dtype == "float32" else 1e-14)
    assert actual.dtype == x.dtype
    zeros = (right == 0) & (x == 0)
    assert list(np.signbit(actual[zeros])) == list(np.signbit(right[zeros]))


def test_formulas_run_uncompiled():
    for name in EXACT:
        for x in (0.2, 0.7) if name == "logit" else (-30.0, -2.5, -0.1, 0.0, 0.1, 2.5, 30.0):
            right = getattr(scipy.special, name)(x)
            np.testing.assert_allclose(SPECIAL[name].formula(x), right, 1e-12)


def test_xlogy():
    y = np.concatenate([10 ** RNG.uniform(-300, 300, 1000), RNG.uniform(0.9, 1.1, 1000)])
    x = RNG.normal(size=y.size)
    with np.errstate(all="ignore"):
        right = x.astype(np.longdouble) * np.log(y.astype(np.longdouble))
    assert ulps(fa.special.xlogy(x, y), right).max() <= limit("xlogy")
    x, y = np.array([[0, 0, 2, 0], [0, np.nan, 0, -1]], float)[:, np.newaxis]
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(fa.special.xlogy(x, y.T), scipy.special.xlogy(x, y.T))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,)])
def test_axes(axis):
    x = RNG.normal(0, 3, (3, 4, 5))
    for name in ("softmax", "log_softmax", "logsumexp"):
        actual, right = (getattr(s, name)(x, axis=axis) for s in (fa.special, scipy.special))
        assert np.shape(actual) == np.shape(right)
        np.testing.assert_allclose(actual, right, 1e-14, 1e-15)
    kept = fa.special.logsumexp(x, axis=axis, keepdims=True)
    assert kept.shape == scipy.special.logsumexp(x, axis=axis, keepdims=True).shape


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
def test_logsumexp_with_factors(dtype):
    a = RNG.normal(0, 3, (4, 6)).astype(dtype)
    b = np.array([1, 0, -2, 0.5, 3, -1], a.dtype if a.dtype.kind == "f" else "f8")
    actual = fa.special.logsumexp(a, axis=1, b=b, return_sign=True)
    right = scipy.special.logsumexp(a.astype("f8"), axis=1, b=b.astype("f8"), return_sign=True)
    for one, other in zip(actual, right, strict=True):
        np.testing.assert_allclose(one, other, {"float16": 2e-3, "float32": 1e-5}.get(dtype, 1e-12))
    assert actual[0].dtype == (np.float64 if dtype == "int64" else a.dtype)


def test_logsumexp_of_complex_numbers():
    a = RNG.normal(0, 300, (3, 5)) + 1j * RNG.normal(0, 2, (3, 5))
    b = RNG.normal(size=5) * np.array([1, 0, 1j, 1, 1])
    for factors in (None, b):
        for sign in (False, True):
            actual = fa.special.logsumexp(a, axis=1, b=factors, return_sign=sign)
            right = scipy.special.logsumexp(a, axis=1, b=factors, return_sign=sign)
            for one, other in zip(np.atleast_2d(actual), np.atleast_2d(right), strict=True):
                np.testing.assert_allclose(one, other, 1e-12)


@pytest.mark.parametrize(
    ("a", "b", "right"),
    [
        ([], None, (-np.inf, 0)),
        ([np.nan, 1], None, (np.nan, np.nan)),
        ([np.inf, 1], None, (np.inf, 1)),
        ([-np.inf, -np.inf], None, (-np.inf, 0)),
        ([np.inf, np.nan], [1, 0], (np.inf, 1)),
        ([np.inf, 1], [-1, 1], (np.inf, -1)),
        ([2, 2], [1, -1], (-np.inf, 0)),
        ([1e10, 1e-10], None, (1e10, 1)),
    ],
)
def test_logsumexp_of_special_values(a, b, right):
    actual = fa.special.logsumexp(np.array(a, float), b=b, return_sign=True)
    np.testing.assert_array_equal(actual, right)


def test_digits_that_scipy_loses():
    x = np.array([0.0, -50.0])
    with mpmath.workdps(40):
        right = float(-mp.log1p(mp.exp(-50)))
    assert fa.special.log_softmax(x)[0] == pytest.approx(right, rel=1e-15)
    assert scipy.special.log_softmax(x)[0] == 0


def test_masked_softmax_with_a_temperature():
    x = RNG.normal(size=(3, 5)).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0], [0] * 5, [1] * 5], bool)
    actual = fa.special.softmax(x, axis=1, temperature=2, where=mask)
    powers = np.where(mask, np.exp(x.astype("f8") / 2), 0)
    total = powers.sum(1, keepdims=True)
    right = np.divide(powers, total, where=total > 0, out=np.zeros_like(powers))
    np.testing.assert_allclose(actual, right, 1e-6)
    assert actual.dtype == x.dtype


def projected(x):
    """A row's sparsemax by sorting, in float64."""
    ordered = -np.sort(-x.astype(np.float64))
    sums = np.cumsum(ordered) - 1
    last = np.flatnonzero(ordered > sums / np.arange(1, x.size + 1))[-1]
    return np.maximum(x - sums[last] / (last + 1), 0)


@pytest.mark.parametrize("dtype", only(["float32"], ["float16", "float32", "float64"]))
@pytest.mark.parametrize("shape", [(30, 7), (3, 1000)])
def test_sparsemax(shape, dtype):
    x = RNG.normal(0, 1, shape).astype(dtype)
    x[0, 1] = -np.inf
    y = fa.special.sparsemax(x)
    eps = np.finfo(dtype).eps
    right = np.apply_along_axis(projected, 1, x)
    np.testing.assert_allclose(y, right, 0, eps)
    np.testing.assert_array_equal(fa.special.sparsemax(x.T, axis=0).T, y)
    grad = RNG.normal(size=shape).astype(dtype)
    inside = y > 0
    mean = np.where(inside, grad, 0).sum(1, keepdims=True, dtype="f8") / inside.sum(1)[:, None]
    by = fa.special.sparsemax_backward(grad, y)
    np.testing.assert_allclose(by, np.where(inside, grad - mean, 0), 4 * eps, eps)
    assert fa.special.sparsemax_backward(grad, y, out=grad) is grad
    np.testing.assert_array_equal(grad, by)
    assert fa.special.sparsemax(x, out=x) is x
    np.testing.assert_array_equal(x, y)


def test_sparsemax_of_special_rows():
    rows = np.array([[np.nan, 1], [np.inf, 1], [-np.inf, -np.inf], [5, -np.inf], [1e300, 1e300]])
    with np.errstate(all="raise"):
        y = fa.special.sparsemax(rows)
    np.testing.assert_array_equal(y, [[np.nan] * 2] * 3 + [[1, 0], [0.5, 0.5]])


def test_errors():
    with pytest.raises(TypeError, match="logsumexp: takes numbers of up to 64 bits"):
        fa.special.logsumexp(np.array([1], np.clongdouble))
    with pytest.raises(ValueError, match="temperature must be positive"):
        fa.special.softmax([1.0], temperature=0)


def test_ufuncs_are_pickled_by_name():
    assert pickle.loads(pickle.dumps(fa.special.erf)) is fa.special.erf

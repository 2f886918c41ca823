"""How far the smooth functions are from the right result, in ulps.

By default every half-precision number, one float32 in 4096 (and more where things happen), and a
quarter of a million float64, against references in a wider type. ``pytest -m exhaustive`` goes
through all float32 numbers, half a minute each function, and through 10^8 float64, some minutes
each; it shows how far it is, and continues where it was interrupted. There the reference of float32
is our own float64, which the other tests have measured.
"""

from __future__ import annotations

import ml_dtypes
import mpmath
import numpy as np
import pytest
from smooth import FUSED, SMOOTH, expected, float32_ulps, ulps
from thorough import only

import fastact as fa
from fastact.catalogue.entries import formulas

FORMULAS = formulas()
CASES = [(name, i) for name, smooth in SMOOTH.items() for i in range(len(smooth.parameters))]
CASES = only(lambda case: case[1] == 0, CASES)
#: Where the derivative crosses zero no relative error can be small: what is bounded nearby is the
#: absolute error, by the dtype's eps.
CROSSING = {"gelu": -0.752, "gelu_tanh": -0.752, "quick_gelu": -0.751, "silu": -1.278}
CROSSING |= {"mish": -1.192, "dish": -0.786}
wide_enough = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="needs a type wider than float64"
)


def parameters_of(name, i, dtype):
    """Parameters of the i-th set, as the dtype holds them."""
    given = SMOOTH[name].parameters[i]
    return [dtype.type(given.get(k, v)) for k, v in FORMULAS[name].parameters.items()]


def computed(name, mode, x, parameters=()):
    """With default parameters, which have kernels of their own, where none are given."""
    keywords = dict(zip(FORMULAS[name].parameters, parameters, strict=bool(parameters)))
    if name == "gelu_tanh":
        name, keywords = "gelu", {"approximate": "tanh"}
    if mode == "forward":
        return getattr(fa, name)(x, **keywords)
    return getattr(fa, f"{name}_backward")(np.ones_like(x), x, **keywords)


def errors(name, mode, x, i):
    """In ulps; near a zero crossing, of 1/2 if that is less: 4 of them are eps."""
    wide = np.dtype(np.longdouble if x.dtype == np.float64 else np.float64)
    parameters = parameters_of(name, i, x.dtype)
    with np.errstate(all="raise"):
        actual = computed(name, mode, x, parameters if i else ())
    assert actual.dtype == x.dtype
    with np.errstate(all="ignore"):
        point = x.astype(wide)
        right = expected(name, mode, point, *(wide.type(p) for p in parameters))
        error = ulps(actual, right)
        if mode == "backward" and name in CROSSING:
            near = abs(point - CROSSING[name]) < 1
            unit = float(np.finfo(x.dtype).eps) / 4
            absolute = abs(actual.astype(wide) - right) / unit
            error = np.where(near, np.minimum(error, absolute), error)
    return error


def assert_accurate(name, mode, x, i, allowed):
    error = errors(name, mode, x, i)
    worst = int(np.argmax(np.where(np.isnan(error), np.inf, error)))
    assert error[worst] <= allowed, f"{error[worst]} ulp at {x[worst]!r}"


def limit(name, mode, i):
    """Ulps allowed; other parameters than the defaults, and a CPU without FMA, round more often."""
    allowed = 4 if mode == "backward" else 2 if i == 0 else 2.5
    return allowed if FUSED else allowed + 1


@pytest.mark.parametrize("dtype", only(["float32"], ["float16", "float32", "float64"]))
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", [n for n in SMOOTH if FORMULAS[n].parameters])
def test_default_parameters_may_be_given(name, mode, dtype):
    x = np.linspace(-30, 30, 10_001).astype(dtype)
    given = computed(name, mode, x, parameters_of(name, 0, x.dtype))
    assert ulps(given, computed(name, mode, x).astype(np.longdouble)).max() <= 4


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize(("name", "i"), CASES)
def test_float32(name, i, mode):
    every = np.arange(0, 1 << 32, 4096 - 3, dtype=np.uint64).astype(np.uint32).view(np.float32)
    dense = [np.linspace(a, b, 200_001).astype(np.float32) for a, b in ((-110, 30), (-3, 3))]
    special = [np.float32([0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1e-45, -1e-45])]
    assert_accurate(name, mode, np.concatenate([every, *dense, *special]), i, limit(name, mode, i))


@wide_enough
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize(("name", "i"), CASES)
def test_float64(name, i, mode):
    rng = np.random.default_rng(0)
    x = [rng.integers(0, 1 << 64, 100_000, np.uint64).view(np.float64)]
    x += [rng.uniform(-760, 40, 50_000), rng.uniform(-3, 3, 100_000), rng.normal(0, 1e-4, 10_000)]
    x += [np.array([0, -0.0, np.inf, -np.inf, np.nan, 1.7e308, -1.7e308, 5e-324, -5e-324])]
    assert_accurate(name, mode, np.concatenate(x), i, limit(name, mode, i))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", only(["gelu", "softplus"], SMOOTH))
def test_every_half_precision_number(name, mode, dtype):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x = np.arange(1 << 16).astype(np.uint16).view(dtype)
    parameters = [float(p) for p in parameters_of(name, 0, np.dtype(np.float32))]
    with np.errstate(all="raise"):
        actual = computed(name, mode, x)
    assert actual.dtype == dtype
    with np.errstate(all="ignore"):
        right = expected(name, mode, x.astype(np.float64), *parameters)
        rounded = right.astype(np.float32).astype(dtype)
        # Rounded once: where it is another number than the nearest, it is as good as that.
        same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
        further = abs(actual.astype(np.float64) - right) - abs(rounded.astype(np.float64) - right)
        finer = float(np.finfo(np.float32).eps) * np.maximum(abs(right), 1 / 8)
    assert np.all(same | (further <= 8 * finer))
    assert np.mean(same) > 0.99


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SMOOTH)
def test_signs_of_zeros_and_limits(name, dtype):
    x = np.array([0.0, -0.0, -np.inf, np.inf, np.nan], dtype)
    low, high, slope_low, slope_high = (np.array(v, dtype) for v in SMOOTH[name].limits)
    with np.errstate(all="raise"):
        y = computed(name, "forward", x)
        slope = computed(name, "backward", x)
    assert list(y[2:4]) == [low, high]
    assert np.signbit(y[2]) == np.signbit(low)
    assert list(slope[2:4]) == [slope_low, slope_high]
    assert np.isnan(y[4])
    assert np.isnan(slope[4])
    if y[0] == 0:
        assert list(np.signbit(y[:2])) == [False, True]


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", SMOOTH)
def test_formulas_run_uncompiled(name, mode):
    """The catalogue's formula in plain Python is its own reference."""
    entry = FORMULAS[name]
    formula = entry.formula if mode == "forward" else entry.derivative
    x = np.array([-700.0, -30.0, -2.5, -0.3, -1e-3, 0.0, 1e-3, 0.3, 2.5, 30.0, 1e4])
    parameters = parameters_of(name, 0, x.dtype)
    actual = [formula(float(v), *map(float, parameters)) for v in x]
    right = expected(name, mode, x, *parameters)
    np.testing.assert_allclose(actual, right, rtol=1e-11, atol=1e-300)


def test_references_agree_with_mpmath():
    """The references in wider types, in 50 digits."""
    mp = mpmath.mp
    sigmoid = lambda x: 1 / (1 + mp.exp(-x))  # noqa: E731
    functions = {
        "elu": lambda x: x if x > 0 else mp.expm1(x),
        "selu": lambda x: (
            mp.mpf("1.0507009873554804934193349852946")
            * (x if x > 0 else mp.mpf("1.6732632423543772848170429916717") * mp.expm1(x))
        ),
        "gelu": lambda x: x * mp.ncdf(x),
        "gelu_tanh": lambda x: x * sigmoid(mp.sqrt(8 / mp.pi) * (x + mp.mpf("0.044715") * x**3)),
        "quick_gelu": lambda x: x * sigmoid(mp.mpf("1.702") * x),
        "silu": lambda x: x * sigmoid(x),
        "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
        "softplus": lambda x: mp.log1p(mp.exp(x)),
        "squareplus": lambda x: (x + mp.sqrt(x * x + 4)) / 2,
        "sigmoid": sigmoid,
        "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
        "tanh": mp.tanh,
        "tanhshrink": lambda x: x - mp.tanh(x),
        "softsign": lambda x: x / (1 + abs(x)),
        "dish": lambda x: x / 2 * (1 + x / mp.sqrt(1 + x * x)),
    }
    functions["celu"] = functions["elu"]
    assert set(functions) == set(SMOOTH)
    numbers = np.float64([-8.7, -6.3, -3.7, -1.9, -0.6, -0.031, -1e-5, 1e-5, 0.02, 0.7, 2.2, 19.0])
    with mpmath.workdps(60):
        for name, function in functions.items():
            for mode in ("forward", "backward"):
                for wide in {np.float64, np.longdouble}:
                    x = numbers.astype(wide)
                    parameters = [wide(v) for v in parameters_of(name, 0, np.dtype(np.float64))]
                    got = expected(name, mode, x, *parameters)
                    for value, number in zip(got, numbers, strict=True):
                        point = mpmath.mpf(float(number))
                        if mode == "forward":
                            right = function(point)
                        else:
                            right = mpmath.diff(function, point, h=mpmath.mpf(10) ** -25)
                        total = mpmath.mpf(str(value))  # as many digits as it has
                        scale = max(abs(right), mpmath.mpf(10) ** -3 if mode == "backward" else 0)
                        error = abs(total - right) / scale
                        # float64 is the reference of float32 and of half types.
                        allowed = 2**-40 if wide == np.float64 else 2**-55
                        assert error < allowed, (name, mode, number)


# --- everything ---------------------------------------------------------------------------------


@pytest.fixture
def progress(request, capfd):
    """Goes through numbers that a bar counts, from where an earlier run was interrupted."""
    from rich.progress import track

    key = f"exhaustive/{request.node.name}"

    def each(stop, step):
        begin = request.config.cache.get(key, 0)
        with capfd.disabled():
            for start in track(range(begin, stop, step), request.node.name):
                yield start
                request.config.cache.set(key, start + step)
        request.config.cache.set(key, 0)

    return each


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", SMOOTH)
def test_every_float32(name, mode, progress, record_property):
    largest, at = 0.0, 0.0
    chunk = 1 << 22
    for start in progress(1 << 32, chunk):
        x = (np.arange(chunk, dtype=np.uint32) + np.uint32(start)).view(np.float32)
        with np.errstate(invalid="ignore"):  # signalling NaN
            right = computed(name, mode, x.astype(np.float64))
            near = abs(x - np.float32(CROSSING.get(name, np.inf))) < (mode == "backward")
        error = float32_ulps(computed(name, mode, x), right)
        absolute = abs(computed(name, mode, x[near]) - right[near])
        error[near] = np.minimum(error[near], absolute / (np.finfo(np.float32).eps / 4))
        worst = int(np.argmax(error))
        if error[worst] > largest:
            largest, at = float(error[worst]), float(x[worst])
    record_property("ulps", largest)
    print(f"{name} {mode}: at most {largest:.3f} ulp, at {at!r}")
    assert largest <= limit(name, mode, 0)


@wide_enough
@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("name", SMOOTH)
def test_a_hundred_million_float64(name, mode, progress):
    chunk = 1 << 18
    for start in progress(10**8, chunk):
        rng = np.random.default_rng(start)
        x = [rng.integers(0, 1 << 64, chunk // 2, np.uint64).view(np.float64)]
        x += [rng.uniform(-760, 40, chunk // 4), rng.uniform(-3, 3, chunk // 4)]
        # 2.05 in gelu at -2.2074, 4.09 in the derivative of its tanh form at -1.7602.
        assert_accurate(name, mode, np.concatenate(x), 0, 1.05 * limit(name, mode, 0))

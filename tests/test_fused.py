"""Fused kernels against plain NumPy in float64, for any shape, and for any number of threads."""

from __future__ import annotations

import inspect
import pickle

import ml_dtypes
import numpy as np
import pytest
from references import assert_same_bits
from thorough import only

import fastact as fa
from fastact import fused
from fastact.catalogue import ALIASES, CATALOGUE, Activation, Variants
from fastact.catalogue.entries import REQUIRED
from fastact.cpu import layout, pool
from fastact.cpu.target import traits

RNG = np.random.default_rng(11)
DTYPES = [np.dtype(c) for c in "efd"] + [np.dtype(ml_dtypes.bfloat16)]
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
SHAPES = [(1, 1), (1, 7), (4, 1), (3, 5), (70, 33), (513, 3), (130, 64), (64, 1100), (3, 5000)]
SHAPES += [(2, 3, 4, 5), (5000, 2), (9,), (2, 0), (0, 3)]
#: By activation, a number for each parameter that has no default.
NEEDED = {
    name: {p.name: 0.25 for p in entry.forms[0].parameters if p.default is REQUIRED}
    for name, entry in fused.ACTIVATIONS.items()
}


def numbers(shape, dtype, scale=1.0):
    return RNG.normal(0, scale, shape).astype(dtype)


def along(vector, ndim, axis):
    return vector.reshape([-1 if k == axis % ndim else 1 for k in range(ndim)])


def others(ndim, axis):
    return tuple(k for k in range(ndim) if k != axis % ndim)


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


def computed_in(dtype):
    return np.dtype("d" if dtype.itemsize == 8 else "f")


def assert_sums(actual, terms, axes):
    """As exact as the dtype can hold, but for the roundings of blocks."""
    right = terms.sum(axes)
    eps = EPS[str(computed_in(actual.dtype))]
    bound = 20 * eps * abs(terms).sum(axes) + EPS[str(actual.dtype)] * abs(right)
    bound = bound + float(ml_dtypes.finfo(actual.dtype).smallest_subnormal)
    assert (abs(actual.astype(np.float64) - right) <= bound).all()


# --- bias and activation ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", only([np.float32], DTYPES), ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("with_residual", [False, True])
def test_bias_relu(shape, dtype, with_residual):
    for axis in {-1, 0, len(shape) // 2}:
        x, grad, residual = (numbers(shape, dtype) for _ in range(3))
        bias = numbers(shape[axis], dtype)
        given = {"residual": residual} if with_residual else {}
        compute = computed_in(dtype)
        z = x.astype(compute) + along(bias, x.ndim, axis).astype(compute)
        if with_residual:
            z = z + residual.astype(compute)
        y = fused.bias_act(x, bias, axis=axis, **given)
        assert_same_bits(y, np.where(z > 0, z, 0).astype(dtype))
        assert fused.bias_act(x.copy(), bias, axis=axis, **given).flags.c_contiguous

        right = np.where(z > 0, grad, 0).astype(dtype)
        dx, dbias = fused.bias_act_backward(grad, x, bias=bias, axis=axis, **given)
        assert_same_bits(dx, right)
        assert (dbias.shape, dbias.dtype) == (bias.shape, dtype)
        assert_sums(dbias, right.astype(np.float64), others(x.ndim, axis))
        saved, _ = fused.bias_act_backward(grad, z.astype(dtype), axis=axis)
        if dtype == compute:
            assert_same_bits(saved, right)


@pytest.mark.parametrize("name", only(["gelu", "leaky_relu", "softplus"], fused.ACTIVATIONS))
def test_every_activation(name):
    parameters = NEEDED[name]
    x, grad, bias = numbers((37, 70), "f4", 3), numbers((37, 70), "f4"), numbers(70, "f4")
    forward, backward = getattr(fa, name), getattr(fa, f"{name}_backward")
    y = fused.bias_act(x, bias, name, **parameters)
    assert_close(y, forward(x + bias, **parameters))
    dx, dbias = fused.bias_act_backward(grad, x, name, bias, **parameters)
    assert_close(dx, backward(grad, x + bias, **parameters))
    assert_sums(dbias, dx.astype(np.float64), 0)
    if name not in ("gelu", "leaky_relu"):  # the loops over rows are the same for all
        return
    image = x.reshape(37, 7, 10)
    channels = bias[:7]
    assert_close(
        fused.bias_act(image, channels, name, axis=1, **parameters),
        forward(image + channels[:, None], **parameters),
    )


def assert_close(actual, right):
    """The same formula, compiled into another loop: at most an ulp apart.

    But where vectors have 512 bits, elementwise loops have formulas of their own: what both may be
    off by, near a zero crossing too.
    """
    if "avx512" in traits():
        eps = np.finfo(actual.dtype).eps
        np.testing.assert_allclose(actual, right, rtol=6 * eps, atol=6 * eps)
    else:
        np.testing.assert_array_max_ulp(actual, right, 1)


def test_parameters_of_activations():
    x, bias = numbers((6, 5), "f4"), numbers(5, "f4")
    assert_same_bits(
        fused.bias_act(x, bias, "leaky_relu", negative_slope=0.5), fa.leaky_relu(x + bias, 0.5)
    )
    assert_close(fused.bias_act(x, bias, "gelu", approximate="tanh"), fa.gelu(x + bias, "tanh"))
    half = x.astype("f2")
    assert_same_bits(
        fused.bias_act(half, np.zeros(5, "f2"), "leaky_relu"), fa.leaky_relu(half, 0.01)
    )


@pytest.mark.parametrize("zeros", [(0.0, -0.0), (-0.0, 0.0), (0, -0.0)])
def test_zeros_as_parameters(zeros):
    x, bias = np.full((2, 3), -1, "f4"), np.zeros(3, "f4")
    for zero in zeros * 2:
        parameters = {"threshold": 0.5, "value": zero}
        y = fused.bias_act(x, bias, "threshold", **parameters)
        assert_same_bits(y, fa.threshold(x, **parameters))


def test_in_place():
    x, grad, bias = numbers((300, 40), "f4"), numbers((300, 40), "f4"), numbers(40, "f4")
    right, (dx, dbias) = fused.bias_act(x, bias), fused.bias_act_backward(grad, x, bias=bias)
    for target in (grad, x):
        g, s = grad.copy(), x.copy()
        out = g if target is grad else s
        result, sums = fused.bias_act_backward(g, s, bias=bias, out=out)
        assert result is out
        assert_same_bits(result, dx)
        assert_same_bits(sums, dbias)
    assert fused.bias_act(x, bias, out=x) is x
    assert_same_bits(x, right)


def test_memory_that_overlaps():
    memory = numbers(1001, "f4")
    x, out = memory[:-1].reshape(20, 50), memory[1:].reshape(20, 50)
    bias = numbers(50, "f4")
    right = np.maximum(x + bias, 0)
    assert_same_bits(fused.bias_act(x, bias, out=out), right)
    memory = numbers((21, 50), "f4")
    right = np.maximum(memory[1:] + memory[0], 0)
    assert_same_bits(fused.bias_act(memory[1:], memory[0], out=memory[:-1]), right)


@pytest.mark.parametrize("layout", ["rows apart", "transposed", "reversed", "swapped", "unaligned"])
def test_layouts(layout):
    x, bias = numbers((90, 31), "f4"), numbers(31, "f4")
    grad = numbers((90, 31), "f4")
    if layout == "rows apart":
        given = np.zeros((90, 40), "f4")[:, :31]
    elif layout == "transposed":
        given = np.zeros((31, 90), "f4").T
    elif layout == "reversed":
        given = np.zeros((90, 31), "f4")[::-1, ::-1]
    elif layout == "swapped":
        given = np.zeros((90, 31), ">f4")
    else:
        given = np.zeros(90 * 31 * 4 + 1, "u1")[1:].view("f4").reshape(90, 31)
    given[...] = x
    assert_same_bits(fused.bias_act(given, bias[::-1]), np.maximum(x + bias[::-1], 0))
    dx, dbias = fused.bias_act_backward(grad, given, bias=bias)
    assert_same_bits(dx, np.where(x + bias > 0, grad, 0).astype("f4"))
    again, _ = fused.bias_act_backward(grad, x, bias=bias)
    assert_sums(dbias, again.astype("f8"), 0)


def test_dtypes():
    x = np.arange(-3, 3).reshape(2, 3)
    for dtype, result in (("i1", "f2"), ("i2", "f4"), ("i8", "f8"), ("?", "f2")):
        bias = np.ones(3, dtype)
        assert fused.bias_act(x.astype(dtype), bias).dtype == result
    assert fused.bias_act(x.astype("f4"), np.ones(3)).dtype == "f8"
    for dtype in ("c8", "O", "g", "M8[s]"):
        if np.dtype(dtype) != np.float64:
            with pytest.raises(TypeError):
                fused.bias_act(np.zeros((2, 3), dtype), np.zeros(3, dtype))


def test_special_values():
    x = np.array([[np.nan, np.inf, -np.inf, -0.0]], "f4")
    bias = np.zeros(4, "f4")
    with np.errstate(all="raise"):
        assert_same_bits(fused.bias_act(x, bias), np.array([[np.nan, np.inf, 0, 0]], "f4"))
        grad = np.full((1, 4), np.nan, "f4")
        dx, dbias = fused.bias_act_backward(grad, np.array([[-1, 1, 0, -2]], "f4"), bias=bias)
    assert_same_bits(dx, np.array([[0, np.nan, 0, 0]], "f4"))
    assert_same_bits(dbias, np.array([0, np.nan, 0, 0], "f4"))


# --- PReLU --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", only([np.float32], DTYPES), ids=str)
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 1], ids=str)
def test_prelu_backward(shape, dtype):
    for axis in (1, -1, None):
        x, grad = numbers(shape, dtype), numbers(shape, dtype)
        weight = np.asarray(numbers((), dtype) if axis is None else numbers(shape[axis], dtype))
        keywords = {} if axis is None else {"axis": axis}
        dx, dweight = fused.prelu_backward(grad, x, weight, **keywords)
        assert_same_bits(dx, fa.prelu_backward(grad, x, weight, **keywords).astype(dtype))
        assert (dweight.shape, dweight.dtype) == (weight.shape, dtype)
        terms = np.where(x > 0, 0, np.multiply(*wide(grad, x)))
        assert_sums(dweight, terms, None if axis is None else others(x.ndim, axis))


def test_prelu_with_one_number():
    x = numbers(1000, "f4")
    dx, dweight = fused.prelu_backward(x, x, 0.25)
    assert dx.dtype == dweight.dtype == np.float32
    assert dweight.shape == ()
    with pytest.raises(ValueError, match=r"weight must have shape \(4,\)"):
        fused.prelu_backward(np.ones((3, 4)), np.ones((3, 4)), np.ones(3))


# --- masks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", only([np.float32], DTYPES), ids=str)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 1000, 16384, 16384 + 3, 100_003])
def test_masks(n, dtype):
    x, grad = numbers(n, dtype), numbers(n, dtype)
    special = np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, -np.nan], dtype)[:n]
    x[: len(special)] = special
    with np.errstate(all="raise"):
        y, mask = fused.relu_mask(x)
        dx = fused.relu_mask_backward(grad, mask)
    with np.errstate(invalid="ignore"):
        positive = x.astype("f8") > 0
    assert_same_bits(y, fa.relu(x))
    assert np.array_equal(mask, np.packbits(positive, bitorder="little"))
    assert_same_bits(dx, np.where(positive, grad, 0).astype(dtype))
    same, bits = fused.relu_mask(x, out=x, mask=np.full_like(mask, 255))
    assert same is x
    assert np.array_equal(bits, mask)
    assert fused.relu_mask_backward(grad, mask, out=grad) is grad
    assert_same_bits(grad, dx)


@pytest.fixture
def tiny_cache():
    """Everything is stored as if it were larger than the cache."""
    fa.relu(np.ones(1_000_000, "f4"))
    words = pool.pool().words
    before = words[layout.STREAM_FROM]
    words[layout.STREAM_FROM] = 1
    yield
    words[layout.STREAM_FROM] = before


@pytest.mark.parametrize("offset", [0, 1, 4])
@pytest.mark.parametrize("dtype", only([np.float32], DTYPES), ids=str)
@pytest.mark.parametrize("shape", [(100, 64), (7, 1000), (33, 1037), (500, 3), (3, 8, 40, 50)])
def test_matrices_beyond_the_cache(shape, dtype, offset, tiny_cache):
    x, bias = numbers(shape, dtype), numbers(shape[1], dtype)
    out = np.empty(x.size + offset, dtype)[offset:].reshape(shape)
    z = (x + along(bias, x.ndim, 1)).astype(dtype)
    if dtype.itemsize == 2:
        z = x.astype("f4") + along(bias, x.ndim, 1).astype("f4")
    right = np.where(z > 0, z, 0).astype(dtype)
    assert_same_bits(fused.bias_act(x, bias, axis=1, out=out), right)
    dx, dbias = fused.bias_act_backward(x, x, bias=bias, axis=1, out=out)
    right = np.where(z > 0, x, 0).astype(dtype)
    assert_same_bits(dx, right)
    assert_sums(dbias, right.astype("f8"), others(x.ndim, 1))


@pytest.mark.parametrize("offset", [0, 1])
def test_masks_of_arrays_beyond_the_cache(offset, tiny_cache):
    x = numbers(100_003, "f4")
    out = np.empty(x.size + offset, "f4")[offset:]
    y, mask = fused.relu_mask(x, out=out)
    assert y is out
    assert_same_bits(y, np.maximum(x, 0))
    assert_same_bits(fused.relu_mask_backward(x, mask, out=np.empty_like(out)), np.maximum(x, 0))


def test_masks_in_the_memory_of_arrays():
    memory = np.zeros(100, "u1")
    x, apart = memory[:64].view("f4"), numbers(16, "f4")
    for given, out, mask, name in (
        (x, apart.copy(), memory[60:62], "x"),
        (x[::2], apart[:8].copy(), memory[4:5], None),  # not contiguous: a copy is taken
        (apart, x, memory[:2], "out"),
        (x, x, memory[64:66], None),
    ):
        right = fused.relu_mask(given.copy())
        if name is None:
            results = fused.relu_mask(given, out, mask)
            for result, expected in zip(results, right, strict=True):
                np.testing.assert_array_equal(result, expected)
            continue
        with pytest.raises(ValueError, match=f"relu_mask: mask shares memory with {name}"):
            fused.relu_mask(given, out, mask)
    grad = numbers(16, "f4")
    bits = memory[31:33]
    bits[:] = 0b10101100, 0b11001010
    expected = fused.relu_mask_backward(grad, bits.copy())
    np.testing.assert_array_equal(fused.relu_mask_backward(grad, bits, out=x), expected)


def test_a_mask_is_a_32nd_of_the_memory():
    x = numbers((100, 320), "f4")
    y, mask = fused.relu_mask(x)
    assert y.shape == x.shape
    assert mask.nbytes * 32 == x.nbytes


# --- dropout ------------------------------------------------------------------------------------


def philox(counter, key, rounds=7):
    """Philox4x32 on arrays of counters, from the paper."""
    words = [counter & 0xFFFFFFFF, counter >> np.uint64(32), np.zeros_like(counter)]
    words.append(np.zeros_like(counter))
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(rounds):
        a, b = np.uint64(0xD2511F53) * words[0], np.uint64(0xCD9E8D57) * words[2]
        high = np.uint64(32)
        words = [
            (b >> high) ^ words[1] ^ np.uint64(k0),
            b & np.uint64(0xFFFFFFFF),
            (a >> high) ^ words[3] ^ np.uint64(k1),
            a & np.uint64(0xFFFFFFFF),
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return words


def test_the_generator_is_philox():
    """By the known answers of the paper's own library."""
    for rounds, known in (
        (7, [0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48]),
        (10, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ):
        assert [int(w[0]) for w in philox(np.zeros(1, np.uint64), 0, rounds)] == known


@pytest.mark.parametrize("dtype", only([np.float32], DTYPES), ids=str)
@pytest.mark.parametrize("n", [0, 1, 511, 513, 50_001])
def test_dropout(n, dtype):
    seed, p = 0x123456789ABCDEF0, 0.3
    i = np.arange(n, dtype=np.uint64)
    words = philox(i // 512 * 128 + i % 128, seed)
    kept = np.choose((i % 512 // 128).astype(int), words) >= round(p * 2**32)
    x, grad = numbers(n, dtype), numbers(n, dtype)
    scale = computed_in(dtype).type(1 / (1 - p))
    right = np.where(kept & (x > 0), x.astype(computed_in(dtype)) * scale, 0).astype(dtype)
    y = fused.relu_dropout(x, p, seed)
    assert_same_bits(y, right)
    right = np.where(kept & (x > 0), grad.astype(computed_in(dtype)) * scale, 0).astype(dtype)
    assert_same_bits(fused.relu_dropout_backward(grad, x, p, seed), right)
    assert_same_bits(fused.relu_dropout_backward(grad, y, p, seed), right)
    assert fused.relu_dropout(x, p, seed, out=x) is x


@pytest.mark.parametrize("p", [0.0, 0.01, 0.5, 0.99])
def test_dropout_statistics(p):
    n = 1_000_000
    x = np.ones(n, "f4")
    one, other = (fused.relu_dropout(x, p, seed) != 0 for seed in (1, 2))
    for kept in (one, other):
        assert abs(kept.mean() - (1 - p)) <= 5 * np.sqrt(p * (1 - p) / n)
    # Neither neighbours nor seeds know of each other; 5 standard deviations.
    bound = 5 * p * (1 - p) / np.sqrt(n)
    for a, b in [
        (one[1:], one[:-1]),
        (one[128:], one[:-128]),
        (one[512:], one[:-512]),
        (one, other),
    ]:
        assert abs(np.mean((a - (1 - p)) * (b - (1 - p)))) <= bound
    # As many in each of 1000 parts as there should be: chi squared with 999 degrees of freedom.
    if 0 < p < 1:
        counts = one.reshape(1000, -1).sum(1)
        chi = ((counts - 1000 * (1 - p)) ** 2 / (1000 * p * (1 - p))).sum()
        assert abs(chi - 1000) < 5 * np.sqrt(2000)


def test_dropout_of_nothing_is_relu():
    x = np.array([np.nan, -1, 2, np.inf, -np.inf], "f4")
    assert_same_bits(fused.relu_dropout(x, 0.0), fa.relu(x))


# --- statistics ---------------------------------------------------------------------------------


def test_counts_beyond_what_float32_can_hold(monkeypatch):
    monkeypatch.setattr(fused, "EXACT", 100)
    x, out = numbers((250, 3), "f4"), np.empty((250, 3), "f4")
    for target in (None, out):
        stats = fused.ActivationStats()
        assert_same_bits(fused.relu_stats(x, stats, out=target), np.maximum(x, 0))
        assert stats == fused.ActivationStats((x > 0).sum(0), 250)


@pytest.mark.parametrize("shape", [(1000, 3), (64, 200), (7, 5, 6), (9,)], ids=str)
def test_stats(shape):
    stats = fused.ActivationStats()
    assert repr(stats) == "ActivationStats(nothing counted)"
    counts = np.zeros(shape[-1], int)
    for _ in range(3):
        x = numbers(shape, "f4") - np.arange(shape[-1], dtype="f4")
        assert_same_bits(fused.relu_stats(x, stats), np.maximum(x, 0))
        counts += (x > 0).reshape(-1, shape[-1]).sum(0)
    assert np.array_equal(stats.counts, counts)
    assert stats.samples == 3 * x.size // shape[-1]
    np.testing.assert_allclose(stats.active_fraction, counts / stats.samples)
    assert stats.sparsity == pytest.approx(1 - counts.sum() / (3 * x.size))
    assert np.array_equal(stats.dead_units(), np.flatnonzero(counts == 0))
    assert np.array_equal(stats.dead_units(0.5), np.flatnonzero(counts <= stats.samples / 2))
    assert pickle.loads(pickle.dumps(stats)) == stats
    older = pickle.dumps(stats, 0).replace(b"fastact.fused.statistics", b"fastact.statistics")
    assert pickle.loads(older) == stats
    both = stats + stats
    assert both.samples == 2 * stats.samples
    both.merge(fused.ActivationStats())
    assert both == fused.ActivationStats(2 * counts, 2 * stats.samples)
    with pytest.raises(ValueError, match="units, not"):
        fused.relu_stats(np.ones((2, shape[-1] + 1)), stats)
    with pytest.raises(ValueError, match="units, not"):
        stats.merge(fused.ActivationStats([1] * (shape[-1] + 1), 1))


def test_stats_are_drawn():
    pytest.importorskip("matplotlib")
    stats = fused.ActivationStats([0, 3, 4, 10], 10)
    ax = stats.plot()
    assert ax.get_title() == "4 units, 1 dead, sparsity 57.5%"
    assert sum(bar.get_height() for bar in ax.patches) == 4
    assert stats.plot(ax) is ax


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1000, 300), (3, 70_000), (50_000, 3), (8, 16, 40, 40)], ids=str)
def test_results_do_not_depend_on_threads(shape):
    x, grad = numbers(shape, "f4"), numbers(shape, "f4")
    axis = 1
    bias = numbers(shape[axis], "f4")

    def everything():
        stats = fused.ActivationStats()
        fused.relu_stats(x, stats)
        return [
            fused.bias_act(x, bias, "gelu", axis=axis),
            *fused.bias_act_backward(grad, x, "gelu", bias, axis=axis),
            *fused.prelu_backward(grad, x, bias),
            *fused.relu_mask(x),
            fused.relu_dropout(x, 0.3, 9),
            stats.counts,
        ]

    with fa.num_threads(1):
        alone = everything()
    for threads in (2, 3, 8):
        with fa.num_threads(threads):
            for _ in range(3):
                for one, other in zip(alone, everything(), strict=True):
                    assert one.tobytes() == other.tobytes()


# --- what is wrong with a call ------------------------------------------------------------------

X = np.ones((4, 6), "f4")
B = np.ones(6, "f4")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fused.bias_act(X, B[:5]), ValueError, r"bias must have shape \(6,\)"),
        (lambda: fused.bias_act(np.ma.array(X), B), TypeError, "takes no masked arrays"),
        (lambda: fused.bias_act(X, 1.0), ValueError, r"bias must have shape \(6,\)"),
        (lambda: fused.bias_act(X, B, "rleu"), ValueError, "no activation 'rleu'; did you mean"),
        (lambda: fused.bias_act(X, B, "softmax"), ValueError, "no activation 'softmax'"),
        (lambda: fused.bias_act(X, B, "relu", slope=1), TypeError, "relu has no parameter 'slope'"),
        (lambda: fused.bias_act(X, B, "elu", beta=1), TypeError, "it takes alpha"),
        (lambda: fused.bias_act(X, B, "prelu"), TypeError, "prelu needs its parameter 'weight'"),
        (lambda: fused.bias_act(X, B, "elu", alpha="1"), TypeError, "alpha must be a number, got"),
        (lambda: fused.bias_act(X, B, "gelu", approximate=1), ValueError, "approximate must be"),
        (lambda: fused.bias_act(X, B, "softshrink", lambd=-1), ValueError, "lambd must be at"),
        (lambda: fused.bias_act(X, B, residual=X[:3]), ValueError, "residual must have shape"),
        (lambda: fused.bias_act(X, B, axis=2), ValueError, "axis 2 is out of bounds"),
        (lambda: fused.bias_act(1.0, B), ValueError, "x must have at least one dimension"),
        (lambda: fused.bias_act_backward(X, X[:2], bias=B), ValueError, "saved must have shape"),
        (lambda: fused.relu_mask_backward(X, B), TypeError, "mask must be a .* uint8, got float32"),
        (lambda: fused.relu_mask_backward(X, np.ones(4, "u1")), ValueError, r"shape \(3,\), got"),
        (lambda: fused.relu_mask(X, mask=np.ones(6, "u1")[::2]), ValueError, "not contiguous"),
        (lambda: fused.relu_dropout(X, 1.0), ValueError, "p must be at least 0 and less than 1"),
        (lambda: fused.relu_dropout(X, -0.1), ValueError, "p must be at least 0"),
        (lambda: fused.relu_dropout(X, float("nan")), ValueError, "p must be at least 0"),
        (lambda: fused.relu_dropout(X, 0.5, -1), ValueError, "seed must be from 0"),
        (
            lambda: fused.relu_stats(X, None),
            TypeError,
            "stats must be an ActivationStats, got None",
        ),
        (lambda: fused.ActivationStats([2], 1), ValueError, "counts must be from 0 to samples"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([1.0], TypeError, "got list"),
        (np.empty((4, 6)), TypeError, "got one of float64"),
        (np.empty((6, 4), "f4"), ValueError, r"got shape \(6, 4\)"),
        (np.empty((6, 4), "f4").T, ValueError, "got one that is not contiguous"),
        (np.broadcast_to(np.float32(0), (4, 6)), ValueError, "got one that is read-only"),
    ],
)
def test_wrong_outputs(out, error, message):
    for function in (
        lambda: fused.bias_act(X, B, out=out),
        lambda: fused.bias_act_backward(X, X, out=out),
        lambda: fused.prelu_backward(X, X, 0.5, out=out),
        lambda: fused.relu_mask(X, out=out),
        lambda: fused.relu_dropout(X, out=out),
        lambda: fused.relu_stats(X, fused.ActivationStats(), out=out),
    ):
        with pytest.raises(error, match=message):
            function()
    assert (X == 1).all()


def test_a_wrong_call_touches_nothing():
    x = X.copy()
    for bad in ({"bias": B[:5]}, {"bias": B, "residual": X[:2]}):
        with pytest.raises(ValueError):
            fused.bias_act(x, **bad, out=x)
    stats = fused.ActivationStats()
    with pytest.raises(TypeError):
        fused.relu_stats(x, stats, out=np.empty((4, 6)))
    assert (x == 1).all()
    assert stats == fused.ActivationStats()


def test_names_are_those_of_the_catalogue():
    of_one_array = {n for n, e in CATALOGUE.items() if isinstance(e, Activation | Variants)}
    assert set(fused.ACTIVATIONS) == {*of_one_array, *ALIASES}
    for name in fused.__all__:
        assert len(inspect.getdoc(getattr(fused, name))) > 100

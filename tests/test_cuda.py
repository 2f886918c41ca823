"""The catalogue on a GPU, or on Numba's CUDA simulator: ``pytest -m cuda``, on either.

The simulator needs NUMBA_ENABLE_CUDASIM=1. Results are compared with the CPU's, bit for bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import operator
import subprocess
import sys
import types

import ml_dtypes
import numpy as np
import pytest
from programs import environment
from references import assert_same_bits

import fastact as fa
from fastact.catalogue import CATALOGUE, Activation, Gated, Joined, Rows, Variants
from fastact.catalogue.dtypes import bfloat16_dtype
from fastact.catalogue.entries import REQUIRED
from fastact.catalogue.losses import LOSSES
from fastact.cpu.target import traits
from fastact.public.names import FORMS, OTHER_NAMES

pytestmark = pytest.mark.cuda

try:
    from numba import cuda

    import fastact.cuda as fc
    from fastact.cuda import (
        arrays,
        calls,
        dlpack,
        functions,
        kernels,
        launch,
        native,
        workspace,
    )
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)

SIMULATED = kernels.simulated()
RNG = np.random.default_rng(5)
DTYPES = [np.dtype(c) for c in "efd"] + [bfloat16_dtype()] * SIMULATED
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 3.0, -3.0, 0.5, -0.5, 20.5, -90.0, 1e-6]
#: Calls of every activation: its name, and the parameters given.
CALLS = [
    (name, given)
    for name, entry in CATALOGUE.items()
    if isinstance(entry, Activation | Variants)
    for given in (
        [{entry.parameter: key} for key in entry.variants]
        if isinstance(entry, Variants)
        else [{p: 0.25 for p, default in entry.parameters.items() if default is REQUIRED}]
    )
]
CALLS = [(name, {} if name == "rrelu" else given) for name, given in CALLS]


def other_numbers(name):
    """Values for the parameters that are numbers, other than the defaults."""
    return {
        p.name: 0.25 if p.default is REQUIRED else 1.5 * p.default + 0.25
        for p in FORMS[name].parameters
        if p.type.startswith("float")
    }


WITH_NUMBERS = [
    n for n, form in FORMS.items() if form.which in ("forward", "backward") and other_numbers(n)
]


def numbers(shape, dtype, special=False):
    x = RNG.normal(0, 3, shape)
    if special:
        x.reshape(-1)[: len(SPECIAL)] = SPECIAL[: x.size]
    return x.astype(dtype)


def count(dtype):
    """Elements for every part of a kernel: several loads at once, one, and single elements."""
    return (80 if SIMULATED else 80_000) // dtype.itemsize * 2 + 3


def device(array):
    return cuda.to_device(np.array(array, order="C"))


def host(array):
    return array.copy_to_host()


def assert_equal(result, right):
    right = np.asarray(right)
    assert result.shape == right.shape
    assert result.dtype == right.dtype
    if "fma" in traits():
        assert_same_bits(host(result), right)
    else:
        np.testing.assert_array_max_ulp(host(result), right, 4)


# --- the catalogue ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "given"), CALLS, ids=str)
def test_every_activation(name, given, dtype):
    x, grad = numbers(count(dtype), dtype, special=True), numbers(count(dtype), dtype)
    forward, in_place, backward = (getattr(fc, name + form) for form in ("", "_", "_backward"))
    right = getattr(fa, name)(x, **given)
    assert_equal(forward(device(x), **given), right)
    target = device(x)
    assert in_place(target, **given) is target
    assert_equal(target, right)

    right = getattr(fa, f"{name}_backward")(grad, x, **given)
    assert_equal(backward(device(grad), device(x), **given), right)
    out = device(grad)
    assert backward(out, device(x), **given, out=out) is out
    assert_equal(out, right)


@pytest.mark.parametrize("name", WITH_NUMBERS)
def test_parameters(name):
    for dtype in (np.float32, np.float16):
        arrays = [numbers(70, dtype, special=True) for _ in FORMS[name].arrays]
        given = other_numbers(name)
        right = getattr(fa, name)(*arrays, **given)
        assert_equal(getattr(fc, name)(*map(device, arrays), **given), right)


@pytest.mark.parametrize(
    "name", [n for n, e in CATALOGUE.items() if getattr(e, "keeps_integers", False)]
)
def test_integers(name):
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32):
        ends = np.iinfo(dtype)
        x = RNG.integers(ends.min, ends.max, 45, dtype, endpoint=True)
        x[:30] = RNG.integers(max(ends.min, -9), 9, 30)
        needed = [3] * sum(p.default is REQUIRED for p in FORMS[name].parameters)
        with np.errstate(all="ignore"):
            right = getattr(fa, name)(x, *needed)
        assert_equal(getattr(fc, name)(device(x), *needed), right)
        target = device(x[1:])
        assert getattr(fc, f"{name}_")(target, *needed) is target
        assert_equal(target, right[1:])
    with pytest.raises(TypeError, match="dtype int32; on a GPU there are float16"):
        getattr(fc, f"{name}_backward")(device(np.ones(3, "i4")), device(np.ones(3, "i4")), *needed)


def parameters(function):
    """Of a signature: names, order, kinds and defaults."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


STREAM = ("stream", inspect.Parameter.KEYWORD_ONLY, None)


@pytest.mark.parametrize("name", [*FORMS, *(f"fused.{name}" for name in fc.fused.__all__)])
def test_signatures_are_those_of_the_cpu(name):
    on_cpu, on_gpu = (operator.attrgetter(name)(module) for module in (fa, fc))
    if isinstance(on_cpu, np.ufunc):
        out = None if on_cpu.nout == 1 else (None,) * on_cpu.nout
        expected = [
            (n, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty)
            for n in FORMS[name].arrays
        ]
        expected.append(("out", inspect.Parameter.POSITIONAL_OR_KEYWORD, out))
        assert parameters(on_gpu) == [*expected, STREAM]
        return
    given = parameters(on_cpu)
    others = [p for p in given if p[1] == inspect.Parameter.VAR_KEYWORD and p[0] != "keywords"]
    given = [p for p in given if p[1] != inspect.Parameter.VAR_KEYWORD]
    assert parameters(on_gpu) == [*given, STREAM, *others]


def test_names_are_those_of_the_cpu():
    assert set(functions.NAMES) == {*FORMS, *OTHER_NAMES}
    for name in functions.NAMES:
        assert callable(getattr(fc, name))
        assert getattr(fc, name).__doc__
    assert fc.swish is fc.silu
    with pytest.raises(AttributeError, match="no attribute 'rleu'"):
        _ = fc.rleu
    with pytest.raises(AttributeError):
        fc.call  # noqa: B018


def test_derivative_at_zero_and_from_output():
    x = np.array([-1, 0, 2], np.float32)
    grad = np.ones(3, np.float32)
    at_zero = fc.relu_backward(device(grad), device(x), at_zero=0.5)
    assert_equal(at_zero, np.array([0, 0.5, 1], np.float32))
    y, grad = fa.tanh(numbers(30, "f4")), numbers(30, "f4")
    for name in ("sigmoid", "tanh"):
        function = f"{name}_backward_from_output"
        right = getattr(fa, function)(grad, y)
        assert_equal(getattr(fc, function)(device(grad), device(y)), right)


def test_rrelu():
    x, grad = numbers(40, "f4"), numbers(40, "f4")
    assert_equal(fc.rrelu(device(x), 0.1, 0.3), fa.rrelu(x, 0.1, 0.3))
    for dtype in DTYPES:
        x = numbers((5, 8), dtype, special=True)
        noise, filled = np.empty_like(x), device(np.empty_like(x))
        right = fa.rrelu(x, 0.1, 0.3, training=True, rng=3, noise=noise)
        result = fc.rrelu(device(x), 0.1, 0.3, training=True, rng=3, noise=filled)
        assert_equal(result, right)
        assert_equal(filled, noise)
        assert_equal(fc.rrelu(device(x), 0.1, 0.3, training=True, rng=3), right)
        grad = numbers((5, 8), dtype)
        result = fc.rrelu_backward(device(grad), device(x), noise=filled)
        assert_equal(result, fa.rrelu_backward(grad, x, noise=noise))
    with pytest.raises(ValueError, match="upper must be at least lower"):
        fc.rrelu(device(x), 0.5, 0.1)


@pytest.mark.parametrize(
    "name", [n for n, e in CATALOGUE.items() if isinstance(e, Gated) and not e.halves]
)
def test_gated(name):
    gate, up, grad = (numbers(83, "f4") for _ in range(3))
    assert_equal(getattr(fc, name)(device(gate), device(up)), getattr(fa, name)(gate, up))
    target = device(gate)
    assert getattr(fc, f"{name}_")(target, device(up)) is target
    assert_equal(target, getattr(fa, name)(gate, up))
    backward = f"{name}_backward"
    right = getattr(fa, backward)(grad, gate, up)
    results = getattr(fc, backward)(device(grad), device(gate), device(up))
    outs = device(gate), device(up)
    assert getattr(fc, backward)(device(grad), *outs, out=outs) is outs
    for result, out, expected in zip(results, outs, right, strict=True):
        assert_equal(result, expected)
        assert_equal(out, expected)
    with pytest.raises(ValueError, match="tuple of 2"):
        getattr(fc, backward)(device(grad), *outs, out=outs[:1])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_halves(axis):
    x = numbers((4, 6, 8), "f4")
    right = fa.glu(x, axis)
    grad = numbers(right.shape, "f4")
    assert_equal(fc.glu(device(x), axis), right)
    result = fc.glu_backward(device(grad), device(x), axis)
    assert_equal(result, fa.glu_backward(grad, x, axis))
    target = device(x)
    assert fc.glu_backward(device(grad), target, axis, out=target) is target
    assert_equal(target, fa.glu_backward(grad, x, axis))

    right = fa.crelu(x, axis)
    grad = numbers(right.shape, "f4")
    assert_equal(fc.crelu(device(x), axis), right)
    assert_equal(fc.crelu_backward(device(grad), device(x), axis), fa.crelu_backward(grad, x, axis))
    with pytest.raises(ValueError, match="must be even"):
        fc.glu(device(x[:3, :5, :7]), axis)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [n for n, e in CATALOGUE.items() if isinstance(e, Rows)])
def test_rows(name, dtype):
    forward, in_place, backward = (getattr(fc, name + form) for form in ("", "_", "_backward"))
    for shape, axis in (((5, 13), -1), ((3, 4, 5), 1), ((2, 1), 1), ((6,), 0)):
        x, grad = numbers(shape, dtype), numbers(shape, dtype)
        if len(shape) == 1:
            x[:] = [3, -np.inf, 3, 40, -200, 0]
        right = getattr(fa, name)(x, axis)
        assert_close(forward(device(x), axis), right)
        target = device(x)
        assert in_place(target, axis) is target
        assert_close(target, right)
        expected = getattr(fa, f"{name}_backward")(grad, right, axis)
        result = host(backward(device(grad), device(right), axis)).astype("f8")
        # Differences cancel.
        scale = abs(grad.astype("f8")).sum(axis, keepdims=True) + abs(expected.astype("f8"))
        assert (abs(result - expected.astype("f8")) <= 4 * ml_dtypes.finfo(dtype).eps * scale).all()
    for special in ([np.nan, 1], [np.inf, 1], [-np.inf, -np.inf]):
        x = np.array(special * 3, dtype)
        assert np.array_equal(
            np.isnan(host(forward(device(x))).astype("f4")),
            np.isnan(getattr(fa, name)(x).astype("f4")),
        )
    with pytest.raises(ValueError, match="x has gaps"):
        forward(device(numbers((4, 6), dtype))[:, ::2])
    with pytest.raises(ValueError, match="axis 3 is out of bounds"):
        forward(device(numbers((4, 6), dtype)), 3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_maxout(dtype):
    for shape, axis in (((5, 4), -1), ((3, 4, 5), 1), ((6, 2), 0), ((3,), 0), ((0, 2), 1)):
        x = numbers(shape, dtype)
        x.reshape(-1)[:5] = np.array([np.nan, 1, 1, 0, np.nan])[: x.size].astype(dtype)
        values, indices = fa.maxout(x, axis)
        result, where = fc.maxout(device(x), axis)
        assert_equal(result, values)
        assert np.array_equal(host(where), indices)
        back = fc.maxout_backward(device(values), where, shape[axis], axis)
        assert_equal(back, fa.maxout_backward(values, indices, shape[axis], axis))
    x = device(numbers((4, 3), dtype))
    outs = device(np.zeros(4, dtype)), device(np.zeros(4, np.int64))
    assert fc.maxout(x, out=outs)[1] is outs[1]
    with pytest.raises(ValueError, match=r"indices must be int64 of shape \(4,\)"):
        fc.maxout(x, out=(None, device(np.zeros(4, np.int32))))
    with pytest.raises(ValueError, match="has no elements"):
        fc.maxout(device(np.zeros((3, 0), dtype)))


def test_what_is_next_to_one_is_not_lost():
    x = np.array([0, -50, -60], np.float32)
    assert host(fc.log_softmax(device(x)))[0] == pytest.approx(
        -np.exp(-50.0) - np.exp(-60.0), rel=1e-6
    )


def assert_close(result, right):
    """Sums in another order, in float64: an ulp or two."""
    assert result.shape == right.shape
    given = host(result)
    if right.dtype.itemsize == 2 and right.dtype.kind != "f":
        given, right = given.view("u2").astype(int), right.view("u2").astype(int)
        assert abs(given - right).max() <= 1
    else:
        np.testing.assert_array_max_ulp(given, right, 4 if right.dtype == np.float64 else 2)


def test_weights_of_channels():
    x, grad, weight = numbers((3, 5, 4), "f4"), numbers((3, 5, 4), "f4"), numbers(5, "f4")
    assert_equal(fc.prelu(device(x), device(weight)), fa.prelu(x, weight))
    result = fc.prelu_backward(device(grad), device(x), device(weight), 1)
    assert_equal(result, fa.prelu_backward(grad, x, weight))
    assert_equal(fc.prelu(device(x), device(weight[:1])), fa.prelu(x, weight[:1]))
    with pytest.raises(ValueError, match="does not fit axis 0"):
        fc.prelu(device(x), device(weight), axis=0)


# --- memory -------------------------------------------------------------------------------------


def test_strides_and_broadcasting():
    x = numbers((6, 8, 10), "f4")
    on = device(x)
    for view in (np.s_[::2], np.s_[:, 1:7:3], np.s_[..., ::-1], np.s_[::-1, :, 3:4], np.s_[1:2]):
        assert_equal(fc.silu(on[view]), fa.silu(x[view]))
    assert_equal(fc.relu(device(x[0]).transpose()), fa.relu(x[0].T))
    assert_equal(fc.relu(on[1:, 1:]), fa.relu(x[1:, 1:]))
    grad = numbers((8, 1), "f4")
    assert_equal(fc.relu_backward(device(grad), on), fa.relu_backward(grad, x))
    out = device(np.zeros((6, 16, 10), "f4"))
    part = out[:, ::2]
    assert fc.relu(on, out=part) is part
    assert_equal(part, fa.relu(x))
    assert not host(out)[:, 1::2].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_addresses_that_are_not_aligned(dtype):
    x = numbers(50, dtype)
    assert_equal(fc.relu(device(x)[1:]), fa.relu(x[1:]))
    right, bits = fa.fused.relu_mask(x[1:])
    y, mask = fc.fused.relu_mask(device(x)[1:])
    assert_equal(y, right)
    assert np.array_equal(host(mask), bits)


def test_empty_and_scalar():
    assert fc.relu(device(np.zeros((0, 3), "f4"))).shape == (0, 3)
    zero_dimensional = cuda.to_device(np.full((), -2.0, "f4"))
    assert host(fc.leaky_relu(zero_dimensional, 0.5)) == -1


def test_dimensions_are_merged():
    shape = (2, 3, 4, 5)
    strides = arrays.contiguous_strides(shape, 4)
    kind = arrays.KINDS["float32"]
    whole = arrays.View(64, shape, strides, kind, 0, 0)
    assert whole.contiguous
    assert arrays.collapsed([whole, whole]) == ([120], [[4], [4]])
    turned = arrays.View(64, shape[::-1], strides[::-1], kind, 0, 0)
    assert not turned.contiguous
    assert arrays.collapsed([turned]) == ([120], [[4]])
    row = arrays.broadcast("f", arrays.View(64, (5,), (4,), kind, 0, 0), shape)
    assert arrays.collapsed([row, whole]) == ([24, 5], [[0, 4], [20, 4]])


def test_what_may_share_memory():
    kind = arrays.KINDS["float32"]

    def view(pointer, shape, strides):
        return arrays.View(pointer, shape, strides, kind, 0, 0)

    whole = view(64, (4, 6), (24, 4))
    assert not arrays.overlaps(whole, whole)
    assert arrays.overlaps(whole, view(68, (4, 6), (24, 4)))
    assert not arrays.overlaps(whole, view(64 + 96, (4, 6), (24, 4)))
    left, right = whole.part(1, 0, 3), whole.part(1, 3, 3)
    assert not arrays.overlaps(left, right)
    assert arrays.overlaps(whole, view(64, (6, 4), (4, 24)))


# --- dropout and statistics ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(3,), (5, 120), (2, 3, 171), (0, 4)])
def test_dropout_drops_what_the_cpu_drops(shape, dtype):
    x, grad = numbers(shape, dtype, special=True), numbers(shape, dtype)
    seed = 3 << 40 | 5
    right = fa.fused.relu_dropout(x, 0.3, seed)
    assert_equal(fc.fused.relu_dropout(device(x), 0.3, seed), right)
    target = device(x)
    assert fc.fused.relu_dropout(target, 0.3, seed, out=target) is target
    assert_equal(target, right)
    result = fc.fused.relu_dropout_backward(device(grad), device(x), 0.3, seed)
    assert_equal(result, fa.fused.relu_dropout_backward(grad, x, 0.3, seed))
    for p, number in ((1.0, 0), (0.5, -1)):
        with pytest.raises(ValueError, match="relu_dropout: "):
            fc.fused.relu_dropout(device(x), p, number)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_statistics(dtype):
    x = numbers((40, 6), dtype)
    x[:, 2] = -1
    stats, right = fa.fused.ActivationStats(), fa.fused.ActivationStats()
    for given in (x, x[:7], x[:0]):
        assert_equal(fc.fused.relu_stats(device(given), stats), fa.fused.relu_stats(given, right))
        assert stats == right
    assert stats.dead_units() == [2]
    with pytest.raises(ValueError, match="has counted 6 units, not 5"):
        fc.fused.relu_stats(device(x[:, :5]), stats)
    with pytest.raises(TypeError, match="must be an ActivationStats"):
        fc.fused.relu_stats(device(x), [])


# --- calls like an earlier one ------------------------------------------------------------------


@pytest.fixture
def checks(monkeypatch):
    """How often a call was checked from the ground up."""
    counted = []
    checked = calls.Call._checked

    def watched(self, *arguments):
        counted.append(self)
        return checked(self, *arguments)

    monkeypatch.setattr(calls.Call, "_checked", watched)
    return counted


@pytest.mark.skipif(not SIMULATED, reason="Numba's arrays are looked at anew each time")
def test_what_was_checked_is_not_checked_again(checks):
    x, grad, weight = numbers((4, 6), "f4"), numbers((4, 6), "f4"), numbers(6, "f4")
    on, by, along, out = device(x), device(grad), device(weight), device(x)
    for _ in range(3):
        assert fc.silu(on, out=out) is out
        assert_equal(out, fa.silu(x))
        assert_equal(fc.relu_backward(by, on), fa.relu_backward(grad, x))
        assert_equal(fc.prelu(on, along, axis=1), fa.prelu(x, weight, axis=1))
        assert_equal(fc.leaky_relu(on, 0.3), fa.leaky_relu(x, 0.3))
        assert_equal(fc.gelu(on, "tanh"), fa.gelu(x, "tanh"))
    assert len(checks) == len({id(call) for call in checks}) == 5
    for slope in (0.1, 0.7):  # a parameter is no part of what is remembered
        assert_equal(fc.leaky_relu(on, slope), fa.leaky_relu(x, slope))
    assert len(checks) == 5
    other = numbers((4, 6), "f4")
    assert_equal(fc.silu(device(other), out=out), fa.silu(other))
    assert len(checks) == 5
    for changed in (x[:3], x.T.copy(), x.astype("f8"), x[:, ::2], x[::-1]):
        assert_equal(fc.silu(device(changed)), fa.silu(changed))


def test_what_may_change_between_calls_is_looked_at():
    memory = device(numbers(103, "f4"))
    first, second = memory[:48], memory[52:100]
    right = fa.silu(host(first))
    assert_equal(fc.silu(first, out=second), right)
    assert_equal(fc.silu(first, out=second), right)
    for overlapping in (memory[1:49], memory[47:95]):
        with pytest.raises(ValueError, match="shares memory"):
            fc.silu(first, out=overlapping)
    unaligned = memory[53:101]
    assert_equal(fc.silu(first, out=unaligned), right)
    in_place = fa.silu(host(second))
    assert fc.silu(second, out=second) is second
    assert_equal(second, in_place)
    x, bias = device(numbers((4, 12), "f4")), memory[:12]
    for _ in range(2):
        right = fa.fused.bias_act(host(x), host(bias))
        assert_equal(fc.fused.bias_act(x, bias), right)
    with pytest.raises(ValueError, match="shares memory"):
        fc.fused.bias_act(memory[:48].reshape(4, 12), bias, out=memory[4:52].reshape(4, 12))


def test_arguments_reach_the_driver():
    """In the types that the kernel has; by a stand-in for the driver, which there may not be."""
    kinds = (ctypes.c_int64, ctypes.c_int64, ctypes.c_float, ctypes.c_double)
    seen = []

    def launch(function, *rest):
        *shape, stream, addresses, _ = rest
        function, stream, shape = function.value, stream.value or 0, [n.value for n in shape]
        places = [ctypes.cast(place, ctypes.c_void_p) for place in addresses]
        given = [
            ctypes.cast(place, ctypes.POINTER(kind))[0]
            for place, kind in zip(places, kinds, strict=True)
        ]
        seen.append((function, shape, stream, given))
        return 0

    types_ = ("int64", "int64", "float32", "float64")
    launcher = native.Launcher(launch, 7, (5, 2), (256,), types_, 1, (-3,))
    assert launcher((1 << 40,), (0.5, 0.1), 9) == 0
    assert launcher((64,), (np.float32(0.1), 2.0), 0) == 0
    shape = [5, 2, 1, 256, 1, 1, 0]
    assert seen[0] == (7, shape, 9, [1 << 40, -3, 0.5, 0.1])
    assert seen[1] == (7, shape, 0, [64, -3, float(np.float32(0.1)), 2.0])
    with pytest.raises(ValueError):
        launcher((1,), (2.0,), 0)


# --- what is wrong with a call ------------------------------------------------------------------


def test_errors():
    x = device(numbers(8, "f4"))
    with pytest.raises(TypeError, match=r"relu: x must be an array on a GPU.*got ndarray.*fastact"):
        fc.relu(np.ones(3, "f4"))
    with pytest.raises(TypeError, match="grad must be an array on a GPU"):
        fc.relu_backward(np.ones(8, "f4"), x)
    with pytest.raises(TypeError, match="x has dtype int32; on a GPU there are float16"):
        fc.silu(device(np.ones(3, "i4")))
    with pytest.raises(TypeError, match="x is of dtype float32, but out of float64"):
        fc.relu(x, out=device(np.zeros(8)))
    with pytest.raises(ValueError, match=r"out must have shape \(8,\), got \(7,\)"):
        fc.relu(x, out=device(np.zeros(7, "f4")))
    with pytest.raises(ValueError, match="cannot be broadcast"):
        fc.relu_backward(x, device(numbers(7, "f4")))
    with pytest.raises(ValueError, match="shares memory"):
        fc.relu(x[:-1], out=x[1:])
    with pytest.raises(ValueError, match="max_val must be at least"):
        fc.hardtanh(x, 2.0, 1.0)
    with pytest.raises(ValueError, match="approximate"):
        fc.gelu(x, "tan")
    with pytest.raises(TypeError, match="stream must be"):
        fc.relu(x, stream="stream")
    fc.softmax(x, axis=0)
    for axis in (0.0, [0]):
        with pytest.raises(TypeError, match="integer"):
            fc.softmax(x, axis=axis)
    with pytest.raises(TypeError, match="tensor" if "torch" in sys.modules else "list"):
        fc.relu([1.0])


class Exporter:
    """What any library with ``__cuda_array_interface__`` looks like, as far as it matters."""

    def __init__(self, array, number=0, typestr=None, read_only=False):
        self.array = array
        self.device = types.SimpleNamespace(id=number)
        of = arrays.view("test", "array", array)
        self.__cuda_array_interface__ = {
            "version": 3,
            "shape": of.shape,
            "strides": None if of.contiguous else of.strides,
            "typestr": typestr or np.dtype(of.kind.name).str,
            "data": (of.pointer, read_only),
            "stream": 1,
        }


def test_the_interface():
    x, out = numbers((5, 7), "f4"), device(np.zeros((5, 7), "f4"))
    given = Exporter(device(x))
    assert_equal(fc.relu(given), fa.relu(x))
    target = Exporter(out)
    assert fc.relu(given, out=target) is target
    assert_equal(out, fa.relu(x))
    on = device(x)
    assert_equal(fc.relu(Exporter(on[:, ::2])), fa.relu(x[:, ::2]))
    with pytest.raises(ValueError, match="read-only"):
        fc.relu(given, out=Exporter(out, read_only=True))
    with pytest.raises(ValueError, match="x is on GPU 0, but out on GPU 1"):
        fc.relu(given, out=Exporter(out, number=1))
    with pytest.raises(TypeError, match="byte-swapped >f4"):
        fc.relu(Exporter(on, typestr=">f4"))


class Device:
    index = 0


class Tensor:
    """As much of PyTorch's tensors as is looked at, on the simulator's memory."""

    is_cuda = True
    device = Device()

    def __init__(self, array):
        self.array, self.of = array, arrays.view("test", "array", array)
        self.shape, self.dtype = self.of.shape, f"torch.{self.of.kind.name}"

    def element_size(self):
        return self.of.kind.itemsize

    def stride(self):
        return tuple(step // self.of.kind.itemsize for step in self.of.strides)

    def data_ptr(self):
        return self.of.pointer

    def new_empty(self, shape, dtype=None):
        return Tensor(device(np.empty(shape, (dtype or self.dtype).removeprefix("torch."))))


Tensor.__module__ = "torch"


class Ndarray:
    """The same of CuPy's."""

    device = types.SimpleNamespace(id=0)

    def __init__(self, array):
        self.array = array
        of = arrays.view("test", "array", array)
        self.shape, self.strides, self.dtype = of.shape, of.strides, np.dtype(of.kind.name)
        self.data = types.SimpleNamespace(ptr=of.pointer, device_id=0)


Ndarray.__module__ = "cupy.core"


@pytest.mark.skipif(not SIMULATED, reason="there the real ones can be used")
@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_results_are_of_the_callers_library(library, monkeypatch):
    streams = []

    @contextlib.contextmanager
    def on(handle):
        streams.append(handle)
        yield

    if library == "torch":
        current = lambda number: types.SimpleNamespace(cuda_stream=0)  # noqa: E731
        of_cuda = {"current_stream": current, "stream": on, "ExternalStream": int}
        names, kind = {"float32": "torch.float32"}, Tensor
    else:
        current = lambda: types.SimpleNamespace(ptr=0)  # noqa: E731
        of_cuda = {"get_current_stream": current, "ExternalStream": on}
        names = {"empty": lambda shape, dtype: Ndarray(device(np.empty(shape, dtype)))}
        kind = Ndarray
    module = types.SimpleNamespace(cuda=types.SimpleNamespace(**of_cuda), **names)
    monkeypatch.setitem(sys.modules, library, module)
    x = numbers((5, 8), "f4")
    for stream in (None, 7):
        result = fc.gelu(kind(device(x)), stream=stream)
        assert type(result) is kind
        assert_equal(result.array, fa.gelu(x))
    assert_equal(fc.relu(kind(device(x)[:, ::2])).array, fa.relu(x[:, ::2]))
    dx, dbias = fc.fused.bias_act_backward(kind(device(x)), kind(device(x)), stream=7)
    assert_equal(dx.array, np.maximum(x, 0))
    assert type(dbias) is kind
    assert set(streams) == {7}


@pytest.mark.skipif(not SIMULATED, reason="there the real ones can be used")
def test_a_tensor_that_changed_is_looked_at_again(monkeypatch):
    current = lambda number: types.SimpleNamespace(cuda_stream=0)  # noqa: E731
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(current_stream=current))
    monkeypatch.setitem(sys.modules, "torch", torch)
    first = numbers((4, 6), "f4")
    x, out = Tensor(device(first)), Tensor(device(first))
    for _ in range(2):
        assert fc.silu(x, out=out) is out
        assert_equal(out.array, fa.silu(first))
    turned = numbers((6, 4), "f4")
    x.__init__(device(turned).transpose())
    fc.silu(x, out=out)
    assert_equal(out.array, fa.silu(turned.T))
    x.__init__(device(turned))
    with pytest.raises(ValueError, match=r"out must have shape \(6, 4\), got \(4, 6\)"):
        fc.silu(x, out=out)
    x.__init__(device(first.astype("f8")))
    with pytest.raises(TypeError, match="x is of dtype float64, but out of float32"):
        fc.silu(x, out=out)
    x.__init__(device(first))
    out.device = Device()
    out.device.index = 1
    with pytest.raises(ValueError, match="x is on GPU 0, but out on GPU 1"):
        fc.silu(x, out=out)
    half = first.astype(bfloat16_dtype())
    for _ in range(2):  # no out= is needed
        result = fc.silu(Tensor(device(half)))
        assert isinstance(result, Tensor)
        assert_equal(result.array, fa.silu(half))


def test_streams():
    for stream in (7, types.SimpleNamespace(cuda_stream=7), types.SimpleNamespace(ptr=7)):
        assert arrays.handle(stream) == 7
    assert arrays.handle(types.SimpleNamespace(__cuda_stream__=lambda: (0, 7))) == 7
    assert arrays.handle(types.SimpleNamespace(handle=types.SimpleNamespace(value=None))) == 0
    x = numbers(20, "f4")
    stream = cuda.stream()
    result = fc.relu(device(x), stream=0 if SIMULATED else stream)
    stream.synchronize()
    assert_equal(result, fa.relu(x))


def test_what_is_missing_is_said():
    program = """
import sys
for name in [n for n in sys.modules if n.partition(".")[0] == "numba"]:
    del sys.modules[name]
sys.modules["numba"] = None
import fastact as fa
try:
    import fastact.cuda
except ImportError as error:
    print(error)
import numpy as np
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True
    )
    assert done.stdout == (
        "fastact.cuda is not available: numba is not installed: pip install 'fastact[cuda]'\n"
    ), done.stderr


# --- fused kernels ------------------------------------------------------------------------------

SHAPES = [(1, 1), (7, 3), (3, 8), (18, 5), (100, 4), (2, 5, 3), (2, 3, 2, 4), (0, 4)]


def close_sums(actual, terms, axes, dtype):
    right = terms.astype("f8").sum(axes)
    eps = np.finfo(np.float32 if dtype.itemsize < 8 else dtype).eps
    own = {2: 2.0**-7}.get(dtype.itemsize, float(eps))
    bound = 40 * eps * abs(terms.astype("f8")).sum(axes) + own * abs(right)
    return bool((abs(host(actual).astype("f8") - right) <= bound + 1e-30).all())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bias(shape, dtype):
    for axis in (-1, 1 if len(shape) > 2 else 0):
        others = tuple(k for k in range(len(shape)) if k != axis % len(shape))
        x, grad, residual = (numbers(shape, dtype) for _ in range(3))
        bias = numbers(shape[axis], dtype)
        on = [device(a) for a in (x, grad, residual, bias)]
        for residuals in [{}, {"residual": residual}][: 1 + (len(shape) < 4)]:
            given = dict.fromkeys(residuals, on[2])
            y = fc.fused.bias_act(on[0], on[3], axis=axis, **given)
            assert_equal(y, fa.fused.bias_act(x, bias, axis=axis, **residuals))
            dx, dbias = fc.fused.bias_act_backward(on[1], on[0], "relu", on[3], axis=axis, **given)
            right, _ = fa.fused.bias_act_backward(grad, x, "relu", bias, axis=axis, **residuals)
            assert_equal(dx, right)
            assert close_sums(dbias, right, others, dtype)
        dx, _ = fc.fused.bias_act_backward(on[1], on[0], axis=axis)
        assert_equal(dx, fa.fused.bias_act_backward(grad, x, axis=axis)[0])
        out = device(x)
        assert fc.fused.bias_act(out, on[3], "gelu", axis=axis, out=out) is out
        right = fa.gelu(x + bias.reshape([-1 if k not in others else 1 for k in range(x.ndim)]))
        if dtype.itemsize > 2:
            np.testing.assert_array_max_ulp(host(out), right, 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_channels_on_a_middle_axis(dtype):
    """By vectors of 16 bytes where there is a multiple of them, and addresses are, too."""
    for after, start in ((16, 0), (15, 0), (16, 1)):
        x = numbers((3, 5, after), dtype)
        grad, bias = numbers(x.shape, dtype), numbers(5, dtype)
        memory = device(np.zeros(x.size + start, dtype))
        on = memory[start:].reshape(x.shape)
        on.copy_to_device(x)
        args = device(grad), device(bias)
        assert_equal(fc.fused.bias_act(on, args[1], axis=1), fa.fused.bias_act(x, bias, axis=1))
        dx, dbias = fc.fused.bias_act_backward(args[0], on, "relu", args[1], axis=1)
        right, _ = fa.fused.bias_act_backward(grad, x, "relu", bias, axis=1)
        assert_equal(dx, right)
        assert close_sums(dbias, right, (0, 2), dtype)


def test_which_kernel_channels_get(monkeypatch):
    used = []
    watched = lambda self, *_: used.append(self._kernel.name)  # noqa: E731
    monkeypatch.setattr(launch.Launch, "__call__", watched)
    bias = device(numbers(5, "f4"))
    memory = device(np.zeros(3 * 5 * 16 + 1, "f4"))
    for after, start in ((16, 0), (15, 0), (16, 1)):
        x = memory[start : start + 15 * after].reshape(3, 5, after)
        fc.fused.bias_act(x, bias, axis=1)
    assert [name.rpartition("_channels")[2] for name in used] == [
        "4_float32",
        "1_float32",
        "1_float32",
    ]


def test_sums_are_the_same_every_time():
    grad, x = device(numbers((200, 8), "f4")), device(numbers((200, 8), "f4"))
    first = host(fc.fused.bias_act_backward(grad, x)[1])
    assert_same_bits(host(fc.fused.bias_act_backward(grad, x)[1]), first)
    for parts in (1, 2, 3, 8, 10, 96, 256):
        for columns in (1, 3, 64, 1000):
            (wide, many), (across, high) = fc.fused._columns_grid(columns, parts)
            assert wide * across >= columns
            assert many * high == parts


def test_prelu_with_gradient_of_weight():
    for shape, axis in (((40, 6), 1), ((3, 5, 7), 1), ((40, 6), -1)):
        grad, x = numbers(shape, "f4"), numbers(shape, "f4")
        weight = numbers(shape[axis], "f4")
        dx, dweight = fc.fused.prelu_backward(*map(device, (grad, x, weight)), axis)
        right, sums = fa.fused.prelu_backward(grad, x, weight, axis)
        assert_equal(dx, right)
        np.testing.assert_allclose(host(dweight), sums, 1e-4, 1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [0, 1, 7, 8, 43, 256])
def test_masks(n, dtype):
    x, grad = numbers(n, dtype, special=True), numbers(n, dtype)
    right, bits = fa.fused.relu_mask(x)
    y, mask = fc.fused.relu_mask(device(x))
    assert_equal(y, right)
    assert np.array_equal(host(mask), bits)
    assert_equal(
        fc.fused.relu_mask_backward(device(grad), mask), fa.fused.relu_mask_backward(grad, bits)
    )
    out = device(x)
    assert fc.fused.relu_mask(out, out=out, mask=mask)[1] is mask
    assert_equal(out, right)


def part_of(memory, begin, length, typestr):
    """An array in the memory of another."""
    of = arrays.memory("test", "memory", memory)
    interface = {"version": 3, "shape": (length,), "typestr": typestr, "stream": 1}
    interface |= {"strides": None, "data": (of.pointer + begin, False)}
    device = types.SimpleNamespace(id=0)
    return types.SimpleNamespace(
        __cuda_array_interface__=interface, device=device, dtype=np.dtype(typestr)
    )


def test_masks_in_the_memory_of_arrays():
    memory, other = device(np.zeros(100, "u1")), device(numbers(16, "f4"))
    x, mask = part_of(memory, 0, 16, "<f4"), part_of(memory, 60, 2, "|u1")
    with pytest.raises(ValueError, match="relu_mask: mask shares memory with x"):
        fc.fused.relu_mask(x, out=other, mask=mask)
    with pytest.raises(ValueError, match="relu_mask: mask shares memory with out"):
        fc.fused.relu_mask(other, out=x, mask=mask)
    with pytest.raises(ValueError, match="relu_mask_backward: mask shares memory with out"):
        fc.fused.relu_mask_backward(other, mask, out=x)
    fc.fused.relu_mask(x, out=other, mask=part_of(memory, 64, 2, "|u1"))
    fc.fused.relu_mask_backward(x, mask, out=other)


def test_nothing_is_allocated_for_a_wrong_output(monkeypatch):
    x, out = device(numbers((4, 6), "f4")), device(numbers((4, 5), "f4"))
    monkeypatch.setattr(arrays, "empty", lambda *_: pytest.fail("allocated"))
    with pytest.raises(ValueError, match=r"out must have shape \(4, 6\), got \(4, 5\)"):
        fc.fused.bias_act_backward(x, x, out=out)
    with pytest.raises(ValueError, match=r"out must have shape \(4, 6\), got \(4, 5\)"):
        fc.fused.relu_mask_backward(x, device(np.zeros(3, "u1")), out=out)


@pytest.mark.skipif(not SIMULATED, reason="there the real one can be used")
@pytest.mark.parametrize("shape", [(3, 8), (0, 8), (3, 0)])
def test_results_for_jax_are_its_own(shape, monkeypatch):
    """By NumPy as the consumer of what is handed over; JAX itself takes it the same way."""
    kind = type("Array", (Exporter,), {"__module__": "jaxlib.xla_extension"})
    numpy = types.SimpleNamespace(empty=lambda shape, dtype, device: np.empty(shape, dtype))
    by_dlpack = types.SimpleNamespace(from_dlpack=np.from_dlpack)
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(numpy=numpy, dlpack=by_dlpack))
    monkeypatch.setitem(sys.modules, "jax.numpy", numpy)
    monkeypatch.setitem(sys.modules, "jax.dlpack", by_dlpack)
    x, bias = numbers(shape, "f4"), numbers(shape[1], "f4")
    y = fc.fused.bias_act(kind(device(x)), kind(device(bias)))
    dx, dbias = fc.fused.bias_act_backward(kind(device(x)), kind(device(x)))
    assert_same_bits(y, fa.fused.bias_act(x, bias))
    assert_same_bits(dx, fa.fused.bias_act_backward(x, x)[0])
    np.testing.assert_allclose(dbias, fa.fused.bias_act_backward(x, x)[1], 1e-6)
    del y, dx, dbias
    assert not dlpack._handed_over  # the consumer has freed them


@pytest.mark.skipif(
    not SIMULATED, reason="the simulator's memory is the CPU's, and so is this JAX's"
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_jax(dtype):
    jax = pytest.importorskip("jax")
    for shape in ((3, 8), (0, 4), (5,)):
        x = jax.numpy.asarray(numbers(shape, "f4"), dtype)
        y, (values, mask) = fc.silu(x), fc.fused.relu_mask(x)
        for result in (y, values, mask):
            assert isinstance(result, jax.Array)
        assert y.dtype == values.dtype == x.dtype
        assert_same_bits(np.asarray(y), fa.silu(np.asarray(x)))
        assert_same_bits(np.asarray(mask), fa.fused.relu_mask(np.asarray(x))[1])


# --- CUDA graphs --------------------------------------------------------------------------------


def operands_of(form):
    """Arrays of the form's arguments, its results on the CPU, and the parameters given."""
    x, given = numbers((4, 6), "f4"), {}
    arrays = dict.fromkeys(form.arrays, x)
    entry = form.entry
    if "indices" in arrays:
        values, arrays["indices"] = fa.maxout(x)
        arrays["grad"], given = values, {"pieces": 6}
    elif "grad" in arrays and (isinstance(entry, Joined) or getattr(entry, "halves", False)):
        forward = getattr(fa, form.name.removesuffix("_backward"))
        arrays["grad"] = forward(x)
    given |= {
        p.name: 0.25
        for p in form.parameters
        if p.default is REQUIRED and p.name not in given and p.type.startswith("float")
    }
    return list(arrays.values()), given


def calls_with_out():
    """Of each public function that takes ``out``: arguments, and what it gives on the CPU."""
    for name, form in FORMS.items():
        if form.which != "in_place":
            given, parameters = operands_of(form)
            yield name, given, parameters, getattr(fa, name)(*given, **parameters)
    x, grad, bias = numbers((4, 6), "f4"), numbers((4, 6), "f4"), numbers(6, "f4")
    y, mask = fa.fused.relu_mask(x)
    fused = fa.fused
    for axis in (0, 1):
        along = {"axis": axis}
        vector = bias[: x.shape[axis]]
        yield "fused.bias_act", (x, vector), along, fused.bias_act(x, vector, **along)
        for function, given in (
            ("bias_act_backward", (grad, x)),
            ("bias_act_backward", (grad, x, "silu", vector)),
            ("prelu_backward", (grad, x, vector)),
        ):
            yield f"fused.{function}", given, along, getattr(fused, function)(*given, **along)
    yield "fused.relu_mask", (x,), {}, (y, mask)
    yield "fused.relu_mask_backward", (grad, mask), {}, fused.relu_mask_backward(grad, mask)
    yield "fused.relu_dropout", (x,), {"seed": 3}, fused.relu_dropout(x, seed=3)
    by = fused.relu_dropout_backward(grad, x, seed=3)
    yield "fused.relu_dropout_backward", (grad, x), {"seed": 3}, by


def outs_of(name, results, on):
    """Places for the results, as the function takes them."""
    if not isinstance(results, tuple):
        return {"out": on(np.zeros_like(results))}
    made = tuple(on(np.zeros_like(result)) for result in results)
    return dict(zip(("out", "mask"), made, strict=True)) if "mask" in name else {"out": made}


@pytest.mark.skipif(not SIMULATED, reason="there real graphs are captured")
def test_with_out_nothing_is_allocated_and_nothing_waits(monkeypatch):
    """So calls can be captured. What was remembered runs what was run when it was checked."""
    launched = []

    def watched(self, pointers, parameters, stream):
        kernel = (self._kernel.name, self._grid, self._block, self._numbers)
        launched.append((*kernel, tuple(pointers), tuple(parameters), stream))

    monkeypatch.setattr(launch.Launch, "__call__", watched)
    one = device(np.ones(1, "f4"))
    workspace.space(one, arrays.view("test", "one", one), 1000, 0)  # enough for all of them
    calls_, seen = [], []
    for name, given, parameters, right in calls_with_out():
        on = [device(a) if isinstance(a, np.ndarray) else a for a in given]
        keywords = parameters | outs_of(name, right, device)
        calls_.append((operator.attrgetter(name)(fc), on, keywords))
        calls_[-1][0](*on, **keywords)
        assert launched, name
        seen.append([*launched])
        launched.clear()

    def forbidden(*_, **__):
        raise AssertionError("not while a graph is captured")

    for module, names in (
        (arrays, ("empty", "copied", "allocating_on", "_wait", "to_host", "kept_zeros", "view")),
        (cuda, ("device_array", "to_device", "synchronize", "stream", "event")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(native, "capture", lambda stream: 7)
    for (function, on, keywords), before in zip(calls_, seen, strict=True):
        function(*on, **keywords)
        assert launched == before
        launched.clear()
    monkeypatch.setattr(workspace, "_spaces", {})
    with pytest.raises(AssertionError, match="not while"):  # what has to be made is noticed
        fc.fused.bias_act_backward(*calls_[-1][1][:1] * 2)


def test_captures_do_not_share_memory(monkeypatch):
    grad = device(numbers((40, 6), "f4"))
    of = arrays.view("test", "grad", grad)
    monkeypatch.setattr(workspace, "_spaces", {})
    number = 0
    monkeypatch.setattr(native, "capture", lambda stream: number)

    def space(count, stream=0):
        return workspace.space(grad, of, count, stream)

    first = space(10)
    assert space(10) is space(5) is first
    assert space(10, stream=9) is not first
    number = 1
    assert space(10) is first  # the stream's own, which is the graph's from now on
    larger = space(20)
    assert first in workspace._captured
    number = 2
    second = space(10)
    number = 0
    assert len({first.pointer, larger.pointer, second.pointer, space(10).pointer}) == 4


@pytest.mark.skipif(SIMULATED, reason="graphs need a GPU")
@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_graphs(library):
    module = pytest.importorskip(library)
    if library == "torch":
        on = lambda a: module.from_numpy(a).cuda()  # noqa: E731
        back = lambda a: a.cpu().numpy()  # noqa: E731
    else:
        on, back = module.asarray, module.asnumpy
    stream = module.cuda.Stream() if library == "torch" else module.cuda.Stream(non_blocking=True)
    for name, given, parameters, right in calls_with_out():
        arguments = [on(a) if isinstance(a, np.ndarray) else a for a in given]
        keywords = parameters | outs_of(name, right, on)
        function = operator.attrgetter(name)(fc)
        if library == "torch":
            with module.cuda.stream(stream):
                function(*arguments, **keywords)
            stream.synchronize()
            graph = module.cuda.CUDAGraph()
            with module.cuda.graph(graph, stream=stream):
                function(*arguments, **keywords)
            launch_graph = graph.replay
        else:
            with stream:
                function(*arguments, **keywords)
                stream.begin_capture()
                function(*arguments, **keywords)
                launch_graph = stream.end_capture().launch
        outs = [a for a in (keywords["out"], keywords.get("mask")) if a is not None]
        places = outs[0] if isinstance(outs[0], tuple) else outs
        for place in places:
            place[...] = 0
        module.cuda.Device().synchronize() if library == "cupy" else module.cuda.synchronize()
        launch_graph()
        stream.synchronize()
        module.cuda.Device().synchronize() if library == "cupy" else module.cuda.synchronize()
        results = right if isinstance(right, tuple) else (right,)
        for place, result in zip(places, results, strict=True):
            np.testing.assert_allclose(back(place), result, 1e-5, 1e-6, err_msg=name)


# --- errors, the command line, grids -----------------------------------------------------------


def test_errors_of_fused_kernels():
    x, bias = device(numbers((4, 6), "f4")), device(numbers(6, "f4"))
    with pytest.raises(ValueError, match=r"bias must have shape \(6,\).*axis 1.*got \(4,\)"):
        fc.fused.bias_act(x, device(numbers(4, "f4")))
    with pytest.raises(ValueError, match="did you mean 'relu"):
        fc.fused.bias_act(x, bias, "rellu")
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        fc.fused.bias_act(x, bias, axis=2)
    with pytest.raises(ValueError, match="x has gaps"):
        fc.fused.bias_act(x[:, ::2], device(numbers(3, "f4")))
    with pytest.raises(ValueError, match=r"mask must have shape \(3,\)"):
        fc.fused.relu_mask_backward(x, device(np.zeros(2, "u1")))
    with pytest.raises(TypeError, match="mask must be of dtype uint8, got float32"):
        fc.fused.relu_mask_backward(x, device(np.zeros(3, "f4")))
    with pytest.raises(TypeError, match="bias must be an array on a GPU"):
        fc.fused.bias_act(x, np.zeros(6, "f4"))


def test_bench(capsys, monkeypatch):
    from fastact.benchmark import gpu
    from fastact.cli import main

    monkeypatch.setattr(gpu, "ROUNDS", 1)
    monkeypatch.setattr(gpu, "SAMPLE_SECONDS", 0)
    given = ["relu", "bias_act", "relu_stats", "prelu_weight", "--device", "cuda", "--vs", "cupy"]
    assert main(["bench", *given, "--size", "200"]) == 0
    lines = capsys.readouterr().out.splitlines()
    measured = [line.split()[1:6:2] for line in lines if "float32" in line]
    assert measured == [
        ["relu", "out", "float32"],
        ["relu", "backward", "float32"],
        ["bias_act", "out", "float32"],
        ["bias_act", "backward", "float32"],
        ["relu_stats", "out", "float32"],
        ["prelu_weight", "backward", "float32"],
    ]
    assert main(["bench", "relu", "--device", "cuda", "--gap", "sleep"]) == 2
    assert capsys.readouterr().err == "fastact bench: --gap is not for --device cuda\n"


def test_grids():
    if SIMULATED:
        assert launch.elementwise_grid(10**9, 0) == ((2,), (4,))
    else:
        (blocks,), (threads,) = launch.elementwise_grid(1, 0)
        assert (blocks, threads) == (1, kernels.THREADS)


# --- losses -------------------------------------------------------------------------------------


def loss_operands(name, shape, dtype):
    x, targets = RNG.normal(0, 2, shape), RNG.uniform(0, 1, shape)
    return (-abs(x) if name == "kl_div" else x).astype(dtype), targets.astype(dtype)


def assert_summed(result, right):
    """Equal but for the order of the additions."""
    assert (result.dtype, result.shape) == (right.dtype, ())
    np.testing.assert_allclose(host(result), right, 4 * np.finfo(right.dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_elements(name, dtype):
    x, targets = loss_operands(name, (7, 9), dtype)
    for reduction in LOSSES[name].reductions:
        on_gpu, on_cpu = (getattr(of.losses, f"{name}_with_grad") for of in (fc, fa))
        loss, grad = on_gpu(device(x), device(targets), reduction=reduction)
        right, right_grad = on_cpu(x, targets, reduction=reduction)
        assert_equal(grad, right_grad)
        if reduction == "none":
            assert_equal(loss, right)
        else:
            assert_summed(loss, right)
    out = device(x)
    assert getattr(fc.losses, f"{name}_grad")(out, device(targets), out=out) is out
    assert_equal(out, on_cpu(x, targets)[1])
    value = getattr(fc.losses, name)(device(x), device(targets), reduction="sum")
    assert_summed(value, on_cpu(x, targets, reduction="sum")[0])


def test_parameters_of_losses():
    x, targets = loss_operands("mse", (7, 9), np.float32)
    pos_weight = RNG.uniform(1, 2, 9).astype(np.float32)
    name = "binary_cross_entropy_with_logits_grad"
    given = {"weight": 0.5, "reduction": "sum"}
    grad = getattr(fc.losses, name)(
        device(x), device(targets), pos_weight=device(pos_weight), **given
    )
    right = getattr(fa.losses, name)(x, targets, pos_weight=pos_weight, **given)
    assert_equal(grad, right)
    logarithms = fc.losses.kl_div(device(-abs(x)), device(-targets), log_target=True)
    assert_summed(logarithms, fa.losses.kl_div(-abs(x), -targets, log_target=True))
    with pytest.raises(ValueError, match="pos_weight must be a number, or have the last axes"):
        getattr(fc.losses, name)(device(x), device(targets), pos_weight=device(pos_weight[:2]))
    with pytest.raises(ValueError, match="huber: delta must be at least 0"):
        fc.losses.huber(device(x), device(targets), delta=-1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize(("shape", "axis"), [((6, 11), -1), ((2, 5, 3), 1)])
def test_cross_entropy(shape, axis, dtype):
    x = RNG.normal(0, 3, shape).astype(dtype)
    small = np.delete(shape, axis)
    labels = RNG.integers(0, shape[axis], small)
    labels.reshape(-1)[1] = -100
    weight = RNG.uniform(0.5, 2, shape[axis])
    for given in ({}, {"reduction": "none"}, {"reduction": "sum"}, {"weight": weight}):
        on_gpu = {k: v if isinstance(v, str) else device(v) for k, v in given.items()}
        loss, grad = fc.losses.cross_entropy_with_grad(
            device(x), device(labels), axis=axis, **on_gpu
        )
        right, right_grad = fa.losses.cross_entropy_with_grad(x, labels, axis=axis, **given)
        eps = np.finfo(dtype).eps
        assert (loss.dtype, loss.shape) == (x.dtype, np.shape(right))
        np.testing.assert_allclose(host(loss), right, 4 * eps)
        np.testing.assert_allclose(host(grad), right_grad, 4 * eps, eps * abs(right_grad).max())
    out = device(x)
    assert fc.losses.cross_entropy_grad(out, device(labels), axis=axis, out=out) is out
    right = fa.losses.cross_entropy_grad(x, labels, axis=axis)
    np.testing.assert_allclose(host(out), right, 4 * eps, eps * abs(right).max())


def test_cross_entropy_of_special_rows():
    rows = np.array([[0, -np.inf], [np.nan, 1], [-np.inf, -np.inf], [1, 2]], np.float32)
    labels = np.array([1, -100, 0, 2])
    loss, grad = fc.losses.cross_entropy_with_grad(device(rows), device(labels), reduction="none")
    np.testing.assert_array_equal(host(loss), [np.inf, 0, np.nan, np.nan])
    np.testing.assert_array_equal(host(grad), [[1, -1], [0, 0], [np.nan] * 2, [np.nan] * 2])
    with pytest.raises(ValueError, match="labels must be int64 of shape"):
        fc.losses.cross_entropy(device(rows), device(labels[:2]))

"""Every function of the family against plain NumPy, over everything that an array can be."""

from __future__ import annotations

import inspect

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import REFERENCES, SPECIAL, assert_same_bits, backward
from smooth import SMOOTH
from thorough import only

import fastact as fa
from fastact.catalogue import CATALOGUE
from fastact.catalogue.entries import formulas
from fastact.catalogue.losses import LOSSES
from fastact.catalogue.special import SPECIAL as SCIPY

FLOATS = [np.dtype(c) for c in "efd"] + [np.dtype(ml_dtypes.bfloat16)]
INTEGERS = [np.dtype(c) for c in "bBhHiIlLqQ"]
COMPUTE = {2: np.dtype("f"), 4: np.dtype("f"), 8: np.dtype("d")}
LAYOUTS = ["C", "F", "strided", "reversed", "transposed", "swapped", "unaligned"]


def test_every_activation_has_a_reference():
    assert set(formulas()) == {*REFERENCES, *SMOOTH}


def values(rng, shape, dtype):
    """Random numbers of which a quarter are special."""
    size = int(np.prod(shape))
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        numbers = rng.integers(max(info.min, -9), 9, size, dtype=dtype, endpoint=True)
        special = np.array([0, 1, 3, 6, info.min, info.max], dtype)
    else:
        numbers = rng.normal(0, 3, size).astype(dtype)
        with np.errstate(all="ignore"):
            special = np.array(SPECIAL).astype(dtype)
    chosen = rng.random(size) < 0.25
    numbers[chosen] = rng.choice(special, chosen.sum())
    return numbers.reshape(shape)


def laid_out(array, layout):
    """An array of the same values in another memory layout."""
    if array.ndim == 0 and layout not in ("swapped", "unaligned"):
        return array.copy()
    if layout == "F":
        return np.asfortranarray(array)
    if layout == "strided":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    if layout == "reversed":
        return np.ascontiguousarray(array[::-1])[::-1]
    if layout == "transposed":
        return np.ascontiguousarray(array.T).T
    if layout == "swapped" and array.dtype.kind in "fiu" and array.dtype.itemsize > 1:
        return array.astype(array.dtype.newbyteorder())
    if layout == "unaligned" and array.dtype.itemsize > 1:
        raw = np.zeros(array.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(array.tobytes(), np.uint8)
        return raw[1:].view(array.dtype).reshape(array.shape)
    return array.copy()


def arguments(name, parameters, dtype):
    """The parameters as the reference gets them: rounded to what the kernel computes with."""
    names = list(REFERENCES[name].parameters[0]) or list(CATALOGUE[name].parameters)
    if not names:
        return []
    signature = inspect.signature(getattr(fa, f"{name}_backward"))
    chosen = {n: parameters.get(n, signature.parameters[n].default) for n in names}
    if dtype.kind in "iu":
        return [dtype.type(v) for v in chosen.values()]
    # float16 takes Python numbers as float16, as NumPy does; bfloat16 as float32.
    rounded = dtype if dtype.kind == "f" and dtype.itemsize == 2 else COMPUTE[dtype.itemsize]
    if dtype == np.dtype(ml_dtypes.bfloat16):
        rounded = np.dtype("f")
    if name == "rrelu":
        # The mean of the two is taken before it is rounded; both numbers are exact.
        assert all(float(rounded.type(v)) == v for v in chosen.values())
    return [COMPUTE[dtype.itemsize].type(rounded.type(v)) for v in chosen.values()]


def expected_value(name, mode, dtype, grad, x, parameters):
    with np.errstate(all="ignore"):
        if name in SMOOTH:
            # How accurate they are is test_accuracy's matter. Here: equal for all layouts, half
            # types being computed in float32 and rounded once.
            compute = COMPUTE[dtype.itemsize]
            # float16 takes Python numbers as float16, as NumPy does; bfloat16 as float32.
            rounded = dtype if dtype == np.float16 else compute
            numbers = {
                key: v if isinstance(v, str) else compute.type(rounded.type(v))
                for key, v in parameters.items()
            }
            inputs = (grad, x) if mode == "backward" else (x,)
            wide = [np.array(v, compute, ndmin=1) for v in inputs]
            result = function_of(name, mode.replace("in_place", "forward"))(*wide, **numbers)
            return result.reshape(np.shape(x)).astype(dtype)
        if dtype.kind in "iu":
            return REFERENCES[name].forward(x, *arguments(name, parameters, dtype))
        compute = COMPUTE[dtype.itemsize]
        wide = x.astype(compute)
        numbers = arguments(name, parameters, dtype)
        if mode == "backward":
            result = backward(name, grad.astype(compute), wide, *numbers)
        else:
            result = REFERENCES[name].forward(wide, *numbers)
        return result.astype(dtype)


def function_of(name, mode):
    return getattr(fa, {"in_place": f"{name}_", "backward": f"{name}_backward"}.get(mode, name))


shapes = st.one_of(
    st.just(()),
    st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple),
    st.sampled_from([(1000,), (129, 3), (3, 129), (5000,), (40_000,), (300, 200), (200_000,)]),
)


@st.composite
def cases(draw):
    name = draw(st.sampled_from(sorted([*REFERENCES, *SMOOTH])))
    mode = draw(st.sampled_from(["forward", "in_place", "backward"]))
    if name in SMOOTH:
        parameters = draw(st.sampled_from(SMOOTH[name].parameters))
        if name == "gelu_tanh":
            name, parameters = "gelu", {"approximate": "tanh"}
        return name, mode, draw(st.sampled_from(FLOATS)), parameters
    integers = CATALOGUE[name].keeps_integers and mode != "backward"
    dtype = draw(st.sampled_from(FLOATS + (INTEGERS if integers else [])))
    parameters = draw(st.sampled_from(REFERENCES[name].parameters))
    if dtype.kind == "u" and name == "hardtanh" and not parameters:
        parameters = {"min_val": 1, "max_val": 4}
    return name, mode, dtype, parameters


@given(
    case=cases(),
    shape=shapes,
    seed=st.integers(0, 2**32 - 1),
    layout=st.sampled_from(LAYOUTS),
    other_layout=st.sampled_from(LAYOUTS),
    out=st.sampled_from(["none", "fresh", "x", "grad", "ahead", "behind"]),
    masked=st.booleans(),
)
def test_like_numpy(case, shape, seed, layout, other_layout, out, masked):
    name, mode, dtype, parameters = case
    rng = np.random.default_rng(seed)
    if mode == "in_place":
        out = "none"
    if out in ("ahead", "behind") and len(shape) == 1:
        # x and the output are windows of one array, one element apart.
        memory = values(rng, (shape[0] + 1,), dtype)
        first, second = memory[:-1], memory[1:]
        x, target = (second, first) if out == "ahead" else (first, second)
    else:
        x = laid_out(values(rng, shape, dtype), layout)
        target = None
    grad = laid_out(values(rng, shape, dtype), other_layout)
    if out == "fresh":
        target = laid_out(values(rng, shape, dtype), other_layout)
    elif out in ("x", "grad"):
        target = x if out == "x" or mode == "forward" else grad
    where = rng.random(shape) < 0.5 if masked and target is not None else True
    if where is not True and np.ndim(where) == 0:
        where = bool(where)

    plain = x.astype(dtype)
    expected = expected_value(name, mode, dtype, grad.astype(dtype), plain.copy(), parameters)
    if target is not None:
        expected = np.where(where, expected, target.astype(dtype))

    function = function_of(name, mode)
    with np.errstate(all="raise"):
        if mode == "in_place":
            result = function(x, **parameters)
            assert result is x
        else:
            inputs = (grad, x) if mode == "backward" else (x,)
            if target is None:
                result = function(*inputs, **parameters)
            else:
                result = function(*inputs, **parameters, out=target, where=where)
                assert result is target
    assert_same_bits(np.asarray(result).astype(dtype), np.asarray(expected).astype(dtype))


@given(
    name=st.sampled_from([n for n, formula in SCIPY.items() if formula.arrays == 1]),
    dtype=st.sampled_from(FLOATS),
    shape=shapes,
    seed=st.integers(0, 2**32 - 1),
    layout=st.sampled_from(LAYOUTS),
    in_place=st.booleans(),
)
def test_names_of_scipy(name, dtype, shape, seed, layout, in_place):
    """The same for all layouts; half types are computed in float32 and rounded once."""
    x = laid_out(values(np.random.default_rng(seed), shape, dtype), layout)
    function = getattr(fa.special, name)
    with np.errstate(all="raise"):
        right = function(np.array(x, COMPUTE[dtype.itemsize], ndmin=1)).reshape(shape)
        result = function(x, out=x) if in_place else function(x)
    with np.errstate(all="ignore"):
        assert_same_bits(np.asarray(result).astype(dtype), right.astype(dtype))


@given(
    name=st.sampled_from(sorted(LOSSES)),
    dtype=st.sampled_from(FLOATS),
    shape=shapes,
    seed=st.integers(0, 2**32 - 1),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
    reduction=st.sampled_from(["none", "sum", "mean"]),
    out=st.sampled_from(["none", "fresh", "x", "targets"]),
)
def test_losses(name, dtype, shape, seed, layouts, reduction, out):
    """The same for all layouts and outputs, and each function of a loss the same as the others."""
    rng = np.random.default_rng(seed)
    x, targets = (laid_out(values(rng, shape, dtype), layout) for layout in layouts)
    value, grad, both = (getattr(fa.losses, name + end) for end in ("", "_grad", "_with_grad"))
    compute = COMPUTE[dtype.itemsize]
    wide = [np.array(array, compute) for array in (x, targets)]
    target = {"fresh": laid_out(values(rng, shape, dtype), layouts[1]), "x": x, "targets": targets}
    with np.errstate(all="raise"):
        right, right_grad = both(*wide, reduction=reduction)
        alone = value(x, targets, reduction=reduction)
        result, result_grad = both(x.copy(), targets.copy(), reduction=reduction)
        by = grad(x, targets, reduction=reduction, out=target.get(out))
    assert by is target.get(out, by)
    with np.errstate(all="ignore"):
        for actual in (alone, result):
            assert_same_bits(np.asarray(actual).astype(dtype), np.asarray(right).astype(dtype))
        for actual in (result_grad, by):
            assert_same_bits(actual.astype(dtype), right_grad.astype(dtype))


@pytest.mark.parametrize("dtype", ["f2", "bfloat16"])
@pytest.mark.parametrize("name", only(["hardswish", "leaky_relu", "relu"], sorted(REFERENCES)))
def test_every_half_precision_number(name, dtype):
    dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    x = np.arange(1 << 16).astype(np.uint16).view(dtype)
    for parameters in REFERENCES[name].parameters:
        for mode in ("forward", "backward"):
            grad = np.roll(x, 12_345)
            expected = expected_value(name, mode, dtype, grad, x, parameters)
            if mode == "forward":
                actual = getattr(fa, name)(x, **parameters)
            else:
                actual = getattr(fa, f"{name}_backward")(grad, x, **parameters)
            assert_same_bits(actual, expected)

"""Fused training kernels: in one pass over memory what NumPy does in two to five.

``bias_act`` and its backward, with the sum over columns in the same pass; PReLU with the gradient
of its weight; ReLU that saves one bit of each element, that drops elements out, or that counts how
often each unit is active.

Results are the same, bit for bit, for any number of threads. The functions take arrays of float16,
bfloat16 (of ml_dtypes), float32 and float64; integers are promoted as by ``np.exp``. Half types are
computed and summed in float32, and rounded once.
"""

from __future__ import annotations

import difflib
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue import ALIASES, CATALOGUE, Activation, Variants
from fastact.catalogue.dtypes import BFLOAT16, FLOATS, Kind
from fastact.catalogue.entries import REQUIRED, activation_of, constrain
from fastact.cpu import masks
from fastact.fused import plans
from fastact.fused.statistics import ActivationStats
from fastact.public import shapes
from fastact.public.checks import as_they_are
from fastact.source import fused as source

__all__ = [
    "ActivationStats",
    "bias_act",
    "bias_act_backward",
    "prelu_backward",
    "relu_dropout",
    "relu_dropout_backward",
    "relu_mask",
    "relu_mask_backward",
    "relu_stats",
]

Array = npt.NDArray[Any]

_RELU = activation_of("relu")
_PRELU = activation_of("prelu")


# --- bias and activation ------------------------------------------------------------------------


def bias_act(
    x: npt.ArrayLike,
    bias: npt.ArrayLike,
    activation: str = "relu",
    residual: npt.ArrayLike | None = None,
    *,
    axis: int = -1,
    out: Array | None = None,
    **parameters: Any,
) -> Array:
    """``activation(x + bias [+ residual])`` in one pass.

    Parameters
    ----------
    x : array_like
        What a layer computed, of at least one dimension.
    bias : array_like
        One number for each channel.
    activation : str, default "relu"
        The name of any activation of one array, such as "gelu"; "rrelu" is as in evaluation.
    residual : array_like, optional
        Added before the activation; of x's shape.
    axis : int, default -1
        The axis of x that counts channels: 1 for images in PyTorch's order.
    out : ndarray, optional
        Where the result goes, C-contiguous; it may be x or residual.
    **parameters
        Those of the activation, numbers, such as ``negative_slope=0.1``.

    Returns
    -------
    ndarray
        Of x's shape. For ``bias_act_backward``, save x or the sum. For ReLU and its like, whose
        derivative can be told from the output, the output will do.

    Raises
    ------
    ValueError
        If shapes do not fit, or there is no activation of that name.
    TypeError
        If a parameter is missing, unknown or no number, or a dtype is not supported.

    Examples
    --------
    >>> x = np.array([[1.0, -2.0], [3.0, 4.0]])
    >>> fa.fused.bias_act(x, [1.0, 1.0])
    array([[2., 0.],
           [4., 5.]])
    >>> fa.fused.bias_act(x, [1.0, 1.0], "leaky_relu", negative_slope=0.5, out=x) is x
    True
    """
    name = "bias_act"
    with_residual = residual is not None
    plan = _plan_of_activation(name, source.bias_act, activation, with_residual, parameters)
    arrays = (x, residual) if with_residual else (x,)
    done = plan.quickly(arrays, bias, axis, out)
    if done is not None:
        return done[0]
    call = _Call(name, {"x": x, "residual": residual, "bias": bias}, axis)
    vector = call.vector("bias")
    matrices = call.matrices("x", "residual", out=out)
    call.run(plan, matrices, vector)
    return matrices[-1]


def bias_act_backward(
    grad: npt.ArrayLike,
    saved: npt.ArrayLike,
    activation: str = "relu",
    bias: npt.ArrayLike | None = None,
    residual: npt.ArrayLike | None = None,
    *,
    axis: int = -1,
    out: Array | None = None,
    **parameters: Any,
) -> tuple[Array, Array]:
    """Gradients of ``bias_act`` by x and by the bias, in one pass.

    dx = grad * activation'(saved [+ bias] [+ residual]), and dbias = the sum of dx over all axes
    but ``axis``. The gradient by the residual is dx, too.

    Parameters
    ----------
    grad : array_like
        Gradient by the output.
    saved : array_like
        The sum that the activation was applied to; or, with ``bias`` and ``residual`` given again,
        x; for functions such as ReLU, the output will do as well.
    activation, axis, **parameters
        As for ``bias_act``.
    bias, residual : array_like, optional
        What is to be added to ``saved`` to get that sum.
    out : ndarray, optional
        Where dx goes, C-contiguous; it may be grad or saved.

    Returns
    -------
    (ndarray, ndarray)
        dx, of grad's shape, and dbias, of one dimension. Sums of float32 and of half types are
        taken in float32 within blocks of 64 rows or more, and those are added up in float64.

    Raises
    ------
    ValueError, TypeError
        As ``bias_act``.

    Examples
    --------
    >>> grad, saved = np.ones((3, 2)), np.array([[1.0, -2.0], [3.0, 4.0], [5.0, 0.0]])
    >>> dx, dbias = fa.fused.bias_act_backward(grad, saved)
    >>> dbias
    array([3., 1.])
    """
    name = "bias_act_backward"
    with_residual = residual is not None
    kernel = source.bias_act_backward
    plan = _plan_of_activation(name, kernel, activation, with_residual, parameters)
    arrays = (grad, saved, residual) if with_residual else (grad, saved)
    done = plan.quickly(arrays, bias, axis, out)
    if done is not None:
        dx, sums = done
        return dx, sums.astype(dx.dtype, copy=False)
    given = {"grad": grad, "saved": saved, "residual": residual, "bias": bias}
    call = _Call(name, given, axis)
    vector = call.vector("bias")
    matrices = call.matrices("grad", "saved", "residual", out=out)
    sums = call.run(plan, matrices, vector)
    return matrices[-1], sums.astype(call.dtype, copy=False)


# --- PReLU --------------------------------------------------------------------------------------


def prelu_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    axis: int = 1,
    out: Array | None = None,
) -> tuple[Array, Array]:
    """Gradients of ``prelu`` by x and by the weight, in one pass.

    dx = grad where x > 0, else weight * grad; dweight = the sum of grad * x where x < 0, over all
    axes but ``axis``, or over all if there is one weight.

    Parameters
    ----------
    grad, x : array_like
        Gradient by the output, and what ``prelu`` was called with.
    weight : float or array_like
        A number, or one for each channel.
    axis : int, default 1
        The axis of x that counts channels.
    out : ndarray, optional
        Where dx goes, C-contiguous; it may be grad or x.

    Returns
    -------
    (ndarray, ndarray)
        dx, of x's shape, and dweight, of weight's.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or a dtype is not supported.

    References
    ----------
    .. [1] He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, arXiv:1502.01852.

    Examples
    --------
    >>> x = np.array([[-2.0, 3.0], [-1.0, -5.0]])
    >>> dx, dweight = fa.fused.prelu_backward(np.ones((2, 2)), x, [0.5, 0.25])
    >>> dx
    array([[0.5 , 1.  ],
           [0.5 , 0.25]])
    >>> dweight
    array([-3., -5.])
    """
    name = "prelu_backward"
    plan = plans.plan(source.prelu_backward, _PRELU)
    each: Any = weight
    one = False
    if isinstance(weight, float) and isinstance(x, np.ndarray) and x.ndim == 2:
        one = True
        each = np.full(x.shape[1], weight, x.dtype)
    done = None if weight is None else plan.quickly((grad, x), each, axis, out)
    if done is not None:
        dx, sums = done
        if one:
            sums = np.asarray(np.add.reduce(sums, dtype=np.float64))
        return dx, sums.astype(dx.dtype, copy=False)
    shape = np.shape(weight)
    numbers = _array(weight).reshape(-1)
    arrays = {"grad": grad, "x": x, "weight": numbers}
    # A number does not promote an array, as in arithmetic.
    promoting = ("grad", "x", "weight")[: 2 + (shape != ())]
    call = _Call(name, arrays, None if numbers.size == 1 else axis, promoting)
    vector = call.vector("weight")
    matrices = call.matrices("grad", "x", out=out)
    sums = call.run(plan, matrices, vector)
    return matrices[-1], sums.astype(call.dtype, copy=False).reshape(shape)


# --- one-bit masks ------------------------------------------------------------------------------


def relu_mask(
    x: npt.ArrayLike, out: Array | None = None, mask: Array | None = None
) -> tuple[Array, Array]:
    """ReLU, and one bit for each element: all that its backward needs.

    Parameters
    ----------
    x : array_like
    out : ndarray, optional
        Where the result goes, C-contiguous; it may be x.
    mask : ndarray of uint8, optional
        Where the bits go: one-dimensional, contiguous, a byte for each eight elements.

    Returns
    -------
    (ndarray, ndarray)
        ``relu(x)``, and ``np.packbits(x > 0, axis=None, bitorder="little")``: 1/32 of the memory
        that saving float32 takes.

    Raises
    ------
    ValueError, TypeError
        If out or mask does not fit, or x is not supported.

    Examples
    --------
    >>> y, mask = fa.fused.relu_mask(np.array([1.0, -2.0, 3.0]))
    >>> y
    array([1., 0., 3.])
    >>> mask
    array([5], dtype=uint8)
    """
    name = "relu_mask"
    x, out = _flat(name, {"x": x}, out)
    bits = np.empty((x.size + 7) // 8, np.uint8) if mask is None else mask
    _check_mask(name, bits, x.size, writeable=True)
    for other, array in (("x", x), ("out", out)):
        if mask is not None and np.may_share_memory(mask, array):
            raise ValueError(f"{name}: mask shares memory with {other}")
    plans.run_flat(masks.relu_mask, [x, out], bits)
    return out, bits


def relu_mask_backward(grad: npt.ArrayLike, mask: Array, out: Array | None = None) -> Array:
    """Gradient of ``relu_mask``: grad where there is a bit, else 0.

    Parameters
    ----------
    grad : array_like
        Gradient by the output.
    mask : ndarray of uint8
        What ``relu_mask`` gave.
    out : ndarray, optional
        Where the result goes, C-contiguous; it may be grad.

    Returns
    -------
    ndarray
        Gradient by x.

    Raises
    ------
    ValueError, TypeError
        If mask or out does not fit, or grad is not supported.

    Examples
    --------
    >>> y, mask = fa.fused.relu_mask(np.array([1.0, -2.0, 3.0]))
    >>> fa.fused.relu_mask_backward(np.array([0.5, 0.5, 0.5]), mask)
    array([0.5, 0. , 0.5])
    """
    name = "relu_mask_backward"
    grad, out = _flat(name, {"grad": grad}, out)
    _check_mask(name, mask, grad.size, writeable=False)
    plans.run_flat(masks.relu_mask_backward, [grad, out], _apart(mask, out))
    return out


# --- dropout ------------------------------------------------------------------------------------


def relu_dropout(
    x: npt.ArrayLike, p: float = 0.5, seed: int = 0, out: Array | None = None
) -> Array:
    """ReLU and dropout: relu(x) / (1 - p) with probability 1 - p, else 0.

    Parameters
    ----------
    x : array_like
    p : float, default 0.5
        The probability that an element is dropped, from 0 up to but not including 1.
    seed : int, default 0
        From 0 to 2^64 - 1. Take another one for each call.
    out : ndarray, optional
        Where the result goes, C-contiguous; it may be x.

    Returns
    -------
    ndarray
        Of x's shape. Which elements are dropped depends on seed, p and their numbers alone.

    Raises
    ------
    ValueError, TypeError
        If p or seed is out of range, out does not fit, or x is not supported.

    Notes
    -----
    Random numbers come from Philox4x32-7, a function of the element's number: nothing is stored,
    and the backward makes them again. p is rounded to a multiple of 2^-32.

    References
    ----------
    .. [1] Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: a simple way to
       prevent neural networks from overfitting, JMLR 15, 2014.
    .. [2] Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.

    Examples
    --------
    >>> y = fa.fused.relu_dropout(np.ones(10_000), 0.25, seed=1)
    >>> float(y.max()), bool(abs((y == 0).mean() - 0.25) < 0.02)
    (1.3333333333333333, True)
    """
    name = "relu_dropout"
    x, out = _flat(name, {"x": x}, out)
    plans.run_flat(masks.relu_dropout, [x, out], _dropout(name, p, seed, out.dtype))
    return out


def relu_dropout_backward(
    grad: npt.ArrayLike,
    x: npt.ArrayLike,
    p: float = 0.5,
    seed: int = 0,
    out: Array | None = None,
) -> Array:
    """Gradient of ``relu_dropout``: grad / (1 - p) where an element was kept and positive, else 0.

    Parameters
    ----------
    grad : array_like
        Gradient by the output.
    x, p, seed
        What ``relu_dropout`` was called with; its output will do as well as x.
    out : ndarray, optional
        Where the result goes, C-contiguous; it may be grad or x.

    Returns
    -------
    ndarray
        Gradient by x.

    Raises
    ------
    ValueError, TypeError
        As ``relu_dropout``.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 1000)
    >>> y = fa.fused.relu_dropout(x, 0.5, seed=3)
    >>> dx = fa.fused.relu_dropout_backward(np.ones(1000), x, 0.5, seed=3)
    >>> bool(np.array_equal(dx, 2.0 * (y > 0)))
    True
    """
    name = "relu_dropout_backward"
    grad, x, out = _flat(name, {"grad": grad, "x": x}, out)
    vector = _dropout(name, p, seed, out.dtype)
    plans.run_flat(masks.relu_dropout_backward, [grad, x, out], vector)
    return out


# --- statistics ---------------------------------------------------------------------------------


def relu_stats(x: npt.ArrayLike, stats: ActivationStats, out: Array | None = None) -> Array:
    """ReLU, and in the same pass how often each unit is active (positive).

    Parameters
    ----------
    x : array_like
        Units along the last axis.
    stats : ActivationStats
        What is counted is added to it.
    out : ndarray, optional
        Where the result goes, C-contiguous; it may be x.

    Returns
    -------
    ndarray
        ``relu(x)``.

    Raises
    ------
    ValueError, TypeError
        If stats has counted another number of units, or x is not supported.

    Examples
    --------
    >>> stats = fa.fused.ActivationStats()
    >>> y = fa.fused.relu_stats(np.array([[1.0, -1.0], [2.0, -3.0], [-1.0, -1.0]]), stats)
    >>> stats.active_fraction
    array([0.66666667, 0.        ])
    >>> stats.dead_units()
    array([1])
    """
    name = "relu_stats"
    check_stats(name, stats)
    plan = plans.plan(source.relu_stats, _RELU)
    done = None
    if isinstance(x, np.ndarray) and x.ndim == 2 and len(x) <= EXACT:
        stats.check_units(name, x.shape[1])
        done = plan.quickly((x,), None, -1, out)
    if done is None:
        call = _Call(name, {"x": x}, -1)
        samples, units, _ = call.shape
        stats.check_units(name, units)
        matrices = call.matrices("x", out=out)
        if samples > EXACT:
            rows, results = (array.reshape(samples, units) for array in matrices)
            for i in range(0, samples, EXACT):
                relu_stats(rows[i : i + EXACT], stats, results[i : i + EXACT])
            return matrices[-1]
        done = matrices[-1], call.run(plan, matrices, call.vector(""))
    y, counts = done
    stats.add(counts.astype(np.int64), y.size // max(1, len(counts)))
    return y


def check_stats(function: str, stats: Any) -> None:
    if not isinstance(stats, ActivationStats):
        raise TypeError(f"{function}: stats must be an ActivationStats, got {type(stats).__name__}")


#: Counts up to this are exact in float32.
EXACT = 1 << 24


# --- what is given ------------------------------------------------------------------------------


def _plan_of_activation(
    function: str,
    kernel: Callable[..., source.FusedKernel],
    name: str,
    with_residual: bool,
    given: Mapping[str, Any],
) -> plans.Plan:
    make = _new_plan.__wrapped__
    if type(name) is str and all(type(value) in (int, float, str) for value in given.values()):
        make = _new_plan  # what can be looked up
    # 0.0 and -0.0 are equal and yet another parameter: their text tells them apart.
    zeros = str([value for value in given.values() if value == 0]) if given else ""
    return make(function, kernel, name, with_residual, tuple(given.items()), zeros)


@functools.lru_cache(256)
def _new_plan(
    function: str,
    kernel: Callable[..., source.FusedKernel],
    name: str,
    with_residual: bool,
    given: tuple[tuple[str, Any], ...],
    zeros: str,
) -> plans.Plan:
    entry, parameters = chosen_activation(function, name, dict(given))
    return plans.Plan(plans.maker(kernel, entry, with_residual), parameters)


def chosen_activation(
    function: str, name: str, given: Mapping[str, Any]
) -> tuple[Activation, tuple[float, ...]]:
    """The activation to compile, and its parameters in their order."""
    if not isinstance(name, str):
        got = type(name).__name__
        raise TypeError(f"{function}: activation must be the name of one, a str, got {got}")
    if name not in ACTIVATIONS:
        near = difflib.get_close_matches(str(name), ACTIVATIONS)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"{function}: there is no activation {name!r}{hint}")
    try:
        kernel, numbers = ACTIVATIONS[name].chosen(given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{function}: {error}") from None
    for parameter, number in numbers.items():
        if number is REQUIRED:
            raise TypeError(f"{function}: {name} needs its parameter {parameter!r}")
        if not isinstance(number, int | float | np.integer | np.floating):
            got = type(number).__name__
            raise TypeError(f"{function}: {parameter} must be a number, got {got}")
    for small, large in kernel.constraints:
        low, high = (numbers.get(str(side), side) for side in (small, large))
        constrain(function, str(small), low, str(large), high)
    return kernel, tuple(float(number) for number in numbers.values())


#: What ``bias_act`` takes, by name.
ACTIVATIONS: dict[str, Activation | Variants] = {
    name: entry
    for name in sorted([*CATALOGUE, *ALIASES])
    if isinstance(entry := CATALOGUE[ALIASES.get(name, name)], Activation | Variants)
}


def make_ufuncs(activations: Sequence[str]) -> None:
    """Make the ufuncs of all fused kernels, with ``bias_act`` for these activations."""
    entries = [entry for name in activations for entry, _ in ACTIVATIONS[name].formulas]
    for kernel in (source.bias_act, source.bias_act_backward):
        for entry in entries:
            for with_residual in (False, True):
                plans.make_ufuncs(plans.maker(kernel, entry, with_residual))
    plans.make_ufuncs(plans.maker(source.prelu_backward, _PRELU))
    plans.make_ufuncs(plans.maker(source.relu_stats, _RELU))
    for body in (
        masks.relu_mask,
        masks.relu_mask_backward,
        masks.relu_dropout,
        masks.relu_dropout_backward,
    ):
        plans.make_ufuncs(body)


def _array(given: npt.ArrayLike) -> Array:
    """As an array; other functions know what a mask means, kernels over blocks do not."""
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError("fastact.fused takes no masked arrays; fill them first")
    return np.asarray(given)


class _Call:
    """The arguments of one call, checked: their dtype, their shape, and where channels are.

    ``shape`` is (elements before the axis of channels, channels, elements after it). ``axis`` None:
    there is one channel. The first of the arrays given says what the shape is; ``promoting`` names
    those that say what the dtype is, if it is not all.
    """

    def __init__(
        self,
        function: str,
        given: Mapping[str, npt.ArrayLike | None],
        axis: int | None,
        promoting: Sequence[str] = (),
    ) -> None:
        self.function = function
        self.arrays = {k: _array(v) for k, v in given.items() if v is not None}
        names = promoting or self.arrays
        self.dtype, self.kind = _common_dtype(function, [self.arrays[name] for name in names])
        first, x = next(iter(self.arrays.items()))
        self.full_shape = x.shape
        self.axis = axis
        if axis is None:
            self.shape = (1, 1, x.size)
            return
        if x.ndim == 0:
            raise ValueError(f"{function}: {first} must have at least one dimension")
        self.axis = shapes.axis_number(function, axis, x.shape)
        self.shape = shapes.around(function, axis, x.shape)

    def vector(self, name: str) -> Array:
        """One number for each channel; zeros if it is not given."""
        channels = self.shape[1]
        if name not in self.arrays:
            return np.zeros(channels, self.dtype)
        vector = self.arrays[name]
        if self.axis is not None:
            shapes.check_vector(self.function, name, vector.shape, self.axis, self.full_shape)
        return _prepared(vector, self.dtype)

    def matrices(self, *names: str, out: Any, contiguous: bool = False) -> list[Array]:
        """The arrays of these names that there are, and the output, made if it is not given."""
        given = [(name, self.arrays[name]) for name in names if name in self.arrays]
        for name, array in given:
            if array.shape != self.full_shape:
                raise ValueError(
                    f"{self.function}: {name} must have shape {self.full_shape}, got {array.shape}"
                )
        out = self.output("out", out)
        arrays = [_prepared(array, self.dtype, contiguous) for _, array in given]
        return [*(_apart(array, out) for array in arrays), out]

    def output(self, name: str, out: Any) -> Array:
        if out is None:
            return np.empty(self.full_shape, self.dtype)
        error: type[Exception] = ValueError
        if not isinstance(out, np.ndarray):
            problem, error = type(out).__name__, TypeError
        elif out.dtype != self.dtype:
            problem, error = f"one of {out.dtype}", TypeError
        elif out.shape != self.full_shape:
            problem = f"shape {out.shape}"
        elif out.flags.carray:
            return out
        else:
            problem = "one that is " + ("not contiguous" if out.flags.writeable else "read-only")
        raise error(
            f"{self.function}: {name} must be a C-contiguous, writable ndarray of {self.dtype} and "
            f"shape {self.full_shape}, got {problem}"
        )

    def run(self, plan: plans.Plan, matrices: list[Array], vector: Array) -> Any:
        vector = _apart(vector, matrices[-1])
        return plans.run(plan.ready(self.dtype, self.kind), matrices, self.shape, vector)


def _flat(function: str, given: Mapping[str, npt.ArrayLike], out: Any) -> list[Array]:
    """The arrays and the output, contiguous, for kernels that know no shape."""
    arrays: list[Any] = list(given.values())
    first = arrays[0]
    if type(first) is np.ndarray:
        dtype, shape = first.dtype, first.shape
        known = dtype.char in FLOATS and dtype.isnative
        if known and as_they_are(arrays, dtype, shape, out):
            return [*arrays, np.empty(shape, dtype) if out is None else out]
    return _Call(function, given, None).matrices(*given, out=out, contiguous=True)


def _check_mask(function: str, mask: Any, count: int, writeable: bool) -> None:
    wanted = f"{function}: mask must be a contiguous ndarray of uint8"
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8:
        raise TypeError(f"{wanted}, got {getattr(mask, 'dtype', type(mask).__name__)}")
    shape = ((count + 7) // 8,)
    if mask.shape != shape:
        raise ValueError(f"{wanted} of shape {shape}, got shape {mask.shape}")
    if not mask.flags.c_contiguous or (writeable and not mask.flags.writeable):
        problem = "is not contiguous" if not mask.flags.c_contiguous else "is read-only"
        raise ValueError(f"{wanted}, got one that {problem}")


def _dropout(function: str, p: float, seed: int, dtype: np.dtype[Any]) -> Array:
    """What the kernel needs to know, in four words."""
    *integers, factor = dropout_numbers(function, p, seed)
    vector = np.array([*integers, 0], np.int64)
    vector[3:].view(np.float64 if dtype.itemsize == 8 else np.float32)[0] = factor
    return vector


def dropout_numbers(function: str, p: float, seed: int) -> tuple[int, int, int, float]:
    """The two words of the key, the threshold, and the factor for what is kept."""
    if not 0 <= p < 1:
        raise ValueError(f"{function}: p must be at least 0 and less than 1, got {p}")
    if not 0 <= operator.index(seed) < 1 << 64:
        raise ValueError(f"{function}: seed must be from 0 to 2**64 - 1, got {seed}")
    threshold = min(round(p * 2**32), 2**32 - 1)
    return seed & 0xFFFFFFFF, seed >> 32, threshold, 1 / (1 - p)


def _common_dtype(function: str, arrays: Sequence[Array]) -> tuple[np.dtype[Any], Kind]:
    dtype = np.result_type(*arrays)
    if dtype.kind in "biu":
        dtype = np.result_type(dtype, np.float16)  # as np.exp promotes them
    if dtype.kind == "f" and dtype.char in FLOATS:
        return dtype if dtype.isnative else dtype.newbyteorder(), FLOATS[dtype.char]
    if dtype.name == "bfloat16":
        return dtype, BFLOAT16
    raise TypeError(
        f"{function}: {dtype} is not supported; it takes float16, bfloat16, float32 and float64"
    )


def _prepared(array: Array, dtype: np.dtype[Any], contiguous: bool = True) -> Array:
    """The array, or a copy that kernels can read: of this dtype, without gaps but between rows."""
    if array.dtype is not dtype:
        array = array.astype(dtype, copy=False)
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    inner = array.ndim == 2 and not contiguous and array.strides[-1] == array.itemsize
    return array if inner and flags.aligned else array.copy(order="C")


def _apart(array: Array, out: Array) -> Array:
    """The array, or a copy if writing the output would change what is still to be read."""
    if array is out or not np.may_share_memory(array, out):
        return array
    same = array.ctypes.data == out.ctypes.data and array.strides == out.strides
    return array if same else array.copy()

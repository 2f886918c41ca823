"""``fastact.losses`` for arrays on a GPU.

    loss, grad = fastact.cuda.losses.cross_entropy_with_grad(logits, labels, out=logits)

A loss that is reduced is an array without dimensions, of the caller's library, so nothing waits for
it. Sums are in float64, and which thread adds what depends on the shape alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from fastact.catalogue.entries import constrain
from fastact.catalogue.losses import Loss
from fastact.cuda import arrays, kernels
from fastact.cuda.arrays import KINDS, View
from fastact.cuda.launch import (
    Launch,
    check_outputs,
    check_together,
    check_without_gaps,
    row_grid,
)
from fastact.losses import elements
from fastact.losses.reductions import check_reduction
from fastact.public import shapes

_OF_LABELS = ["cross_entropy", "cross_entropy_grad", "cross_entropy_with_grad"]

__all__ = [*_OF_LABELS, *elements.NAMES]

_terms = functools.cache(kernels.terms)
_summed = functools.cache(kernels.summed)
_label_weights = functools.cache(kernels.label_weights)
_cross_entropy = functools.cache(kernels.cross_entropy)


# --- losses of elements -------------------------------------------------------------------------


def _run(
    function: str,
    loss: Loss,
    suffix: str,
    given: tuple[Any, Any],
    parameters: Mapping[str, Any],
    reduction: str,
    out: Any,
    stream: Any,
) -> Any:
    check_reduction(function, reduction, loss.reductions)
    parameters = loss.completed(parameters)
    views = {n: arrays.view(function, n, a) for n, a in zip(loss.arrays, given, strict=True)}
    like, (of, targets) = given[0], views.values()
    if targets.shape != of.shape:
        raise ValueError(
            f"{function}: {loss.arrays[1]} must have the shape of {loss.arrays[0]}, {of.shape}, "
            f"got {targets.shape}"
        )
    check_without_gaps(function, views)
    check_together(function, views)
    for small, large in loss.constraints:
        ends = [parameters.get(str(end), end) for end in (small, large)]
        if all(isinstance(end, (int, float)) for end in ends):
            constrain(function, str(small), ends[0], str(large), ends[1])
    repeated = {
        name: _repeated(function, name, number, of)
        for name, number in parameters.items()
        if not isinstance(number, (int, float))
    }
    none, with_grad = reduction == "none", bool(suffix)
    divisor = elements.divisor_of(reduction, of.shape)
    with arrays.allocating_on(like, stream):
        grad = arrays.empty(like, of, of.shape) if with_grad and out is None else out
        value = arrays.empty(like, of, of.shape if none else ())
        targets_of = {} if grad is None else {"out": arrays.view(function, "out", grad)}
        check_together(function, views | targets_of)
        check_without_gaps(function, targets_of)
        inputs = [*views.values(), *repeated.values()]
        check_outputs(function, targets_of, inputs if out is not None else [], of.shape)
        on = arrays.launch_stream(
            [*views.values(), *repeated.values(), *targets_of.values()], stream
        )
        blocks, threads = _grid(of.size)
        sums = value if none else arrays.empty(like, of, (blocks[0],), "float64")
        wanted = ("gradient",) * with_grad + (("value",) if none else ("sum",))
        kernel = _terms(loss, of.kind, wanted, tuple(name in repeated for name in parameters))
        pointers = [view.pointer for view in [*inputs, *targets_of.values()]]
        counts = [of.size, *(view.size for view in repeated.values())]
        numbers = [float(n) for name, n in parameters.items() if name not in repeated]
        launch = Launch(kernel, blocks, threads, of.device, counts)
        launch([*pointers, arrays.address(sums)], [1 / max(1, divisor), *numbers], on)
        if not none:
            by, _kept = _number(of.device, float(divisor))
            _reduce(of, sums, blocks[0], by, value, on)
    results = (value, grad) if suffix == "_with_grad" else (grad if with_grad else value,)
    finished = [
        r if r is out and out is not None else arrays.finished(like, r, stream) for r in results
    ]
    return tuple(finished) if len(finished) > 1 else finished[0]


def _repeated(function: str, name: str, given: Any, of: View) -> View:
    """An array that has a number for each of the last axes, of the type that is computed in."""
    view = arrays.view(function, name, given)
    shape = view.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    if shape != of.shape[len(of.shape) - len(shape) :] or not view.contiguous:
        raise ValueError(
            f"{function}: {name} must be a number, or have the last axes of shape {of.shape} and "
            f"no gaps; its shape is {view.shape}"
        )
    if view.kind is not KINDS[of.kind.compute] or view.device != of.device:
        raise TypeError(
            f"{function}: {name} must be of {of.kind.compute} on GPU {of.device}, got "
            f"{view.kind.name} on GPU {view.device}"
        )
    return view


def _grid(size: int) -> tuple[tuple[int], tuple[int]]:
    """Blocks and threads for elements: by their number alone, since sums depend on it."""
    if kernels.simulated():
        return (2,), (4,)
    wanted = -(-size // (kernels.THREADS * kernels.PART_ROWS))
    return (max(1, min(wanted, 4 * kernels.PARTS)),), (kernels.THREADS,)


def _reduce(of: View, numbers: Any, count: int, divisor: int, value: Any, stream: int) -> None:
    """The sum of ``count`` numbers over what is at the address ``divisor``."""
    launch = Launch(_summed(of.kind), *_one_block(), of.device, (count,))
    launch([arrays.address(numbers), arrays.address(value), divisor], (), stream)


def _one_block() -> tuple[tuple[int], tuple[int]]:
    return (1,), (4,) if kernels.simulated() else (kernels.THREADS,)


@functools.lru_cache(256)
def _number(device: int, number: float) -> tuple[int, Any]:
    """The address of a number on a GPU, which nobody writes to, and what keeps it there."""
    import numpy as np
    from numba import cuda

    with cuda.gpus[device]:
        kept = cuda.to_device(np.full(1, number))
    return arrays.memory("fastact.cuda.losses", "number", kept).pointer, kept


globals().update(
    {name: elements.define(name, _run, "fastact.cuda.losses", "stream") for name in elements.NAMES}
)


# --- cross-entropy ------------------------------------------------------------------------------


def cross_entropy(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    stream: Any = None,
) -> Any:
    """On a GPU: ``fastact.losses.cross_entropy`` of integer labels.

    A label that is no class is no error, which somebody would have to wait for: the loss is NaN.

    Parameters
    ----------
    logits : array
        On a GPU, without gaps.
    labels : array
        int64, of the shape of logits without ``axis``, without gaps.
    axis : int, default -1
        The axis of classes.
    weight : array, optional
        A factor for each class, of float64.
    ignore_index : int, default -100
        Where labels are this number, the loss is 0.
    reduction : {"mean", "sum", "none"}
        The mean of classes with weights is that with these weights.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is that of logits.

    Returns
    -------
    array
        Without dimensions, or for "none" of the shape of labels.
    """
    return _of_labels(
        "cross_entropy", logits, labels, axis, weight, ignore_index, reduction, stream
    )


def cross_entropy_with_grad(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Any = None,
    stream: Any = None,
) -> tuple[Any, Any]:
    """``cross_entropy`` and its gradient by the logits, which ``out`` may be.

    Parameters are those of ``cross_entropy``.
    """
    name = "cross_entropy_with_grad"
    return _of_labels(
        name, logits, labels, axis, weight, ignore_index, reduction, stream, True, out
    )


def cross_entropy_grad(
    logits: Any,
    labels: Any,
    *,
    axis: int = -1,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Any = None,
    stream: Any = None,
) -> Any:
    """The gradient of ``cross_entropy`` by the logits.

    Parameters are those of ``cross_entropy_with_grad``.
    """
    name = "cross_entropy_grad"
    return _of_labels(
        name, logits, labels, axis, weight, ignore_index, reduction, stream, True, out
    )[1]


def _of_labels(
    function: str,
    logits: Any,
    labels: Any,
    axis: int,
    weight: Any,
    ignore_index: int,
    reduction: str,
    stream: Any,
    gradient: bool = False,
    out: Any = None,
) -> Any:
    check_reduction(function, reduction)
    of = arrays.view(function, "logits", logits)
    axis = shapes.axis_number(function, axis, of.shape)
    around = shapes.around(function, axis, of.shape)
    rows, classes = around[0] * around[2], around[1]
    small = (*of.shape[:axis], *of.shape[axis + 1 :])
    at = _of(function, "labels", labels, "int64", small, of)
    weights = 0 if weight is None else _of(function, "weight", weight, "float64", (classes,), of)
    views = {"logits": of}
    with arrays.allocating_on(logits, stream):
        if gradient:
            out_is_new = out is None
            out = arrays.empty(logits, of, of.shape) if out_is_new else out
            target = {"out": arrays.view(function, "out", out)}
            check_outputs(function, target, [] if out_is_new else [of], of.shape)
            views |= target
        check_without_gaps(function, views)
        check_together(function, views)
        on = arrays.launch_stream([*views.values()], stream)
        none = reduction == "none"
        value = arrays.empty(logits, of, small if none else ())
        losses = value if none else arrays.empty(logits, of, (rows,), "float64")
        divisor, _kept = _number(of.device, 1.0)
        if reduction == "mean":
            made = arrays.empty(logits, of, (1,), "float64")
            divisor = arrays.address(made)
            weigh = _label_weights(weight is not None)
            numbers = (rows, classes, ignore_index)
            Launch(weigh, *_one_block(), of.device, numbers)([at, weights, divisor], (), on)
        kernel = _cross_entropy(of.kind, gradient, weight is not None, not none)
        launch = Launch(kernel, *row_grid(rows, classes), of.device, (*around, ignore_index))
        grad = arrays.address(out) if gradient else 0
        if rows:
            launch([of.pointer, at, weights, grad, arrays.address(losses), divisor], (), on)
        if not none:
            _reduce(of, losses, rows, divisor, value, on)
    finished = arrays.finished(logits, value, stream)
    if not gradient:
        return finished
    return finished, arrays.finished(logits, out, stream) if out_is_new else out


def _of(function: str, name: str, given: Any, dtype: str, shape: tuple[int, ...], of: View) -> int:
    """The address of an array of this dtype and shape without gaps."""
    at = arrays.memory(function, name, given)
    gaps = not arrays.without_gaps(at.shape, at.strides, 8)
    if (at.dtype, at.shape, at.device) != (dtype, shape, of.device) or gaps:
        raise ValueError(
            f"{function}: {name} must be {dtype} of shape {shape} without gaps on GPU {of.device}, "
            f"got {at.dtype} of shape {at.shape} on GPU {at.device}"
        )
    return at.pointer

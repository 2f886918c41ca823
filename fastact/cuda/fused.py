"""Fused training kernels on a GPU: ``fastact.fused`` for arrays with ``__cuda_array_interface__``.

What is summed up is the same every time, since which thread adds what depends on the shape alone:
float32 and half types in float32 within parts of 16 rows or more, of which there are 256 at most,
and those in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastact.catalogue import Activation
from fastact.catalogue.dtypes import INTEGERS, Kind
from fastact.catalogue.entries import activation_of
from fastact.cuda import arrays, kernels, launch
from fastact.cuda.arrays import View
from fastact.cuda.kernels import PART_ROWS, PARTS, THREADS, TOTAL_COLUMNS, TOTAL_ROWS
from fastact.fused import chosen_activation
from fastact.public import shapes
from fastact.source import fused as source

__all__ = [
    "bias_act",
    "bias_act_backward",
    "prelu_backward",
    "relu_mask",
    "relu_mask_backward",
]


def bias_act(
    x: Any,
    bias: Any,
    activation: str = "relu",
    residual: Any = None,
    *,
    axis: int = -1,
    out: Any = None,
    stream: Any = None,
    **parameters: Any,
) -> Any:
    """``activation(x + bias [+ residual])`` in one pass, as ``fastact.fused.bias_act``.

    Parameters
    ----------
    x, residual : array
        On a GPU, of one shape, without gaps.
    bias : array
        One number for each channel.
    activation, axis, **parameters
        See there.
    out : array, optional
        Where the result goes; it may be x or residual.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is x's.

    Returns
    -------
    array
        Of x's shape and library.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit, or are not all on one GPU.
    """
    name = "bias_act"
    entry, numbers = chosen_activation(name, activation, parameters)
    given = {"x": x, "residual": residual}
    kernel = functools.partial(_of_activation, source.bias_act, entry, residual is not None)
    return _fused(name, kernel, given, {"bias": bias}, numbers, axis, out, stream)[0]


def bias_act_backward(
    grad: Any,
    saved: Any,
    activation: str = "relu",
    bias: Any = None,
    residual: Any = None,
    *,
    axis: int = -1,
    out: Any = None,
    stream: Any = None,
    **parameters: Any,
) -> tuple[Any, Any]:
    """Gradients of ``bias_act`` by x and by the bias: ``fastact.fused.bias_act_backward``.

    Parameters
    ----------
    grad : array
        Gradient by the output, on a GPU, without gaps.
    saved, activation, bias, residual, axis, **parameters
        See there.
    out : array, optional
        Where dx goes; it may be grad or saved.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is grad's.

    Returns
    -------
    (array, array)
        dx, of grad's shape, and dbias, of one dimension.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit, or are not all on one GPU.
    """
    name = "bias_act_backward"
    entry, numbers = chosen_activation(name, activation, parameters)
    given = {"grad": grad, "saved": saved, "residual": residual}
    kernel = functools.partial(
        _of_activation, source.bias_act_backward, entry, residual is not None
    )
    return _fused(name, kernel, given, {"bias": bias}, numbers, axis, out, stream)


def prelu_backward(
    grad: Any, x: Any, weight: Any, axis: int = 1, out: Any = None, *, stream: Any = None
) -> tuple[Any, Any]:
    """Gradients of ``prelu`` by x and by the weight: ``fastact.fused.prelu_backward``.

    Parameters
    ----------
    grad, x : array
        On a GPU, of one shape, without gaps.
    weight : array
        One number for each channel.
    axis : int, default 1
        The axis of x that counts channels.
    out : array, optional
        Where dx goes; it may be grad or x.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is grad's.

    Returns
    -------
    (array, array)
        dx, of x's shape, and dweight, of weight's.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit, or are not all on one GPU.
    """
    given = {"grad": grad, "x": x}
    vector = {"weight": weight}
    return _fused("prelu_backward", _prelu, given, vector, (), axis, out, stream)


def relu_mask(x: Any, out: Any = None, mask: Any = None, *, stream: Any = None) -> tuple[Any, Any]:
    """ReLU, and a bit for each positive element: ``fastact.fused.relu_mask``.

    Parameters
    ----------
    x : array
        On a GPU, without gaps.
    out : array, optional
        Where the result goes; it may be x.
    mask : array of uint8, optional
        Where the bits go: a byte for each eight elements, lowest bit first.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is x's.

    Returns
    -------
    (array, array)
        ``relu(x)``, and the bits, as ``np.packbits(x > 0, axis=None, bitorder="little")``.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit, or are not all on one GPU.
    """
    name = "relu_mask"
    of = arrays.view(name, "x", x)
    bits = mask
    if mask is None:
        with arrays.allocating_on(x, stream):
            bits = arrays.empty(x, of, ((of.size + 7) // 8,), "uint8")
    return _eight(name, kernels.mask, "x", x, bits, out, stream), bits


def relu_mask_backward(grad: Any, mask: Any, out: Any = None, *, stream: Any = None) -> Any:
    """Gradient of ``relu_mask``: grad where there is a bit, else 0.

    Parameters
    ----------
    grad : array
        Gradient by the output, on a GPU, without gaps.
    mask : array of uint8
        What ``relu_mask`` gave.
    out : array, optional
        Where the result goes; it may be grad.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is grad's.

    Returns
    -------
    array
        Gradient by x.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit, or are not all on one GPU.
    """
    return _eight("relu_mask_backward", kernels.mask_backward, "grad", grad, mask, out, stream)


# --- kernels of an activation -------------------------------------------------------------------


@functools.cache
def _of_activation(
    make: Callable[..., source.FusedKernel], entry: Activation, with_residual: bool, kind: Kind
) -> source.FusedKernel:
    return make(entry, kind, with_residual)


@functools.cache
def _prelu(kind: Kind) -> source.FusedKernel:
    return source.prelu_backward(activation_of("prelu"), kind)


_columns = functools.cache(kernels.columns)
_channels = functools.cache(kernels.channels)
_total = functools.cache(kernels.total)
_mask_kernel = functools.cache(lambda make, kind: make(kind))


# --- how a call goes ----------------------------------------------------------------------------


def _fused(
    function: str,
    kernel: Callable[[Kind], source.FusedKernel],
    given: dict[str, Any],
    vector: dict[str, Any],
    parameters: tuple[float, ...],
    axis: int,
    out: Any,
    stream: Any,
) -> tuple[Any, Any]:
    """Run a kernel of matrices and a vector: the output, and the sums, if it has any."""
    views = {k: arrays.view(function, k, a) for k, a in given.items() if a is not None}
    first = next(iter(given))
    like, of = given[first], views[first]
    shape, kind = of.shape, of.kind
    axis = shapes.axis_number(function, axis, shape)
    before, channels, after = shapes.around(function, axis, shape)
    for name, other in views.items():
        if other.shape != shape:
            raise ValueError(f"{function}: {name} must have shape {shape}, got {other.shape}")
    ((vector_name, numbers),) = vector.items()
    if numbers is None:  # nothing to be added
        pointer, _ = arrays.kept_zeros(of.device, kind, channels)
        strides = (kind.itemsize,)
        views[vector_name] = View(pointer, (channels,), strides, kind, of.device, of.stream)
    else:
        views[vector_name] = arrays.view(function, vector_name, numbers)
    shapes.check_vector(function, vector_name, views[vector_name].shape, axis, shape)
    made = kernel(kind)
    if after == 1:
        parts = max(1, min(PARTS, -(-before // PART_ROWS)))
    else:
        parts = max(1, min(PARTS, -(-before * after // (PART_ROWS * THREADS))))
    outputs = {} if out is None else {"out": arrays.view(function, "out", out)}
    launch.check_without_gaps(function, views | outputs)
    launch.check_together(function, views | outputs)
    launch.check_outputs(function, outputs, list(views.values()), shape)

    empty = 0 in (before, channels, after)
    result, sums, totals = out, None, None
    with arrays.allocating_on(like, stream):
        if out is None:
            result = arrays.empty(like, of, shape)
        if made.term and empty:
            totals = arrays.zeros(like, of, (channels,))
        elif made.term:
            totals = arrays.empty(like, of, (channels,))
            sums = arrays.empty(like, of, (parts * channels,), kind.compute)
    target = arrays.view(function, "out", result)
    *matrices, along = views.values()
    on = arrays.launch_stream([*views.values(), target], stream)
    numbers_in = launch.rounded(parameters, kind)
    address = 0 if sums is None else arrays.memory(function, "sums", sums).pointer
    pointers = [*(m.pointer for m in matrices), target.pointer, along.pointer, address]
    if empty:
        pass
    elif after == 1:
        width = kernels.vector_width(kind)
        if channels % width or any(pointer % 16 for pointer in pointers[:-2]):
            width = 1
        grid, block = _columns_grid(channels // width, parts)
        steps = [channels * kind.itemsize] * (len(matrices) + 1)
        arguments = [*pointers, before, channels, *steps, *numbers_in]
        launch.run(_columns(made, width), grid, block, on, of.device, *arguments)
    else:
        threads = 4 if kernels.simulated() else THREADS
        arguments = [*pointers, before, channels, after, *numbers_in]
        launch.run(_channels(made), (channels, parts), (threads,), on, of.device, *arguments)
    if sums is not None:
        arguments = [address, arrays.view(function, "sums", totals).pointer, parts, channels]
        block = (4, 2) if kernels.simulated() else (TOTAL_COLUMNS, TOTAL_ROWS)
        across = -(-channels // block[0])
        launch.run(_total(kind), (across,), block, on, of.device, *arguments)
    if out is None:
        result = arrays.finished(like, result)
    return result, None if totals is None else arrays.finished(like, totals)


def _columns_grid(columns: int, parts: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Blocks and threads along columns and along parts: one thread for each part, no more."""
    most = 4 if kernels.simulated() else THREADS
    wide = 1
    while wide < min(columns, most):
        wide *= 2
    # A power of two that divides the parts.
    high = 1
    while wide * high < most and parts % (2 * high) == 0:
        high *= 2
    return (-(-columns // wide), parts // high), (wide, high)


def _eight(
    function: str, make: Any, name: str, given: Any, mask: Any, out: Any, stream: Any
) -> Any:
    """Run a kernel over groups of eight elements and a byte of the mask."""
    of = arrays.view(function, name, given)
    bits = arrays.memory(function, "mask", mask)
    wanted = ((of.size + 7) // 8,)
    if bits.dtype != "uint8":
        raise TypeError(f"{function}: mask must be of dtype uint8, got {bits.dtype}")
    if bits.shape != wanted or not arrays.without_gaps(wanted, bits.strides, 1):
        raise ValueError(f"{function}: mask must have shape {wanted} and no gaps, got {bits.shape}")
    if bits.device != of.device:
        raise ValueError(f"{function}: {name} is on GPU {of.device}, but mask on GPU {bits.device}")
    outputs = {} if out is None else {"out": arrays.view(function, "out", out)}
    launch.check_together(function, {name: of, **outputs})
    launch.check_outputs(function, outputs, [of], of.shape)
    launch.check_without_gaps(function, {name: of, **outputs})
    # What is written must not be read, too; the mask is written in the forward direction.
    apart = {name: of, **outputs} if make is kernels.mask else outputs
    of_mask = View(bits.pointer, wanted, (1,), INTEGERS["B"], of.device, of.stream)
    for other, view in apart.items():
        if arrays.overlaps(of_mask, view):
            raise ValueError(f"{function}: mask shares memory with {other}")
    result = launch.output(given, of, of.shape, out, stream)
    target = arrays.view(function, "out", result)
    if of.size:
        aligned = of.pointer % 16 == 0 and target.pointer % 16 == 0
        grid, block = launch.elementwise_grid((of.size + 7) // 8, of.device)
        on = arrays.launch_stream([of, target], stream)
        arguments = (of.pointer, target.pointer, bits.pointer, of.size, int(aligned))
        launch.run(_mask_kernel(make, of.kind), grid, block, on, of.device, *arguments)
    return arrays.finished(given, result) if out is None else out

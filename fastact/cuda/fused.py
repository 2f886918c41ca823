"""Fused training kernels on a GPU: ``fastact.fused`` for arrays with ``__cuda_array_interface__``.

What is summed up is the same every time, since which thread adds what depends on the shape alone:
float32 and half types in float32 within parts of 16 rows or more, of which there are 256 at most,
and those in float64.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastact.catalogue.dtypes import INTEGERS, Kind
from fastact.catalogue.entries import activation_of
from fastact.cuda import arrays, kernels, launch
from fastact.cuda.arrays import View
from fastact.cuda.calls import Apart, Seen
from fastact.cuda.kernels import PART_ROWS, PARTS, THREADS, TOTAL_COLUMNS, TOTAL_ROWS
from fastact.cuda.launch import Launch
from fastact.fused import (
    EXACT,
    ActivationStats,
    check_stats,
    chosen_activation,
    dropout_numbers,
)
from fastact.public import shapes
from fastact.source import fused as source

__all__ = [
    "bias_act",
    "bias_act_backward",
    "prelu_backward",
    "relu_dropout",
    "relu_dropout_backward",
    "relu_mask",
    "relu_mask_backward",
    "relu_stats",
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
    names: tuple[str, ...] = ("x",)
    given: tuple[Any, ...] = (x,)
    if residual is not None:
        names, given = ("x", "residual"), (x, residual)
    call = _of_activation("bias_act", source.bias_act, activation, names, parameters)
    return call(given, bias, axis, out, stream)[0]


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
    names: tuple[str, ...] = ("grad", "saved")
    given: tuple[Any, ...] = (grad, saved)
    if residual is not None:
        names, given = ("grad", "saved", "residual"), (grad, saved, residual)
    function, make = "bias_act_backward", source.bias_act_backward
    call = _of_activation(function, make, activation, names, parameters)
    return call(given, bias, axis, out, stream)


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
    return _prelu()((grad, x), weight, axis, out, stream)


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


def relu_dropout(
    x: Any, p: float = 0.5, seed: int = 0, out: Any = None, *, stream: Any = None
) -> Any:
    """ReLU and dropout, of the same elements as on the CPU: ``fastact.fused.relu_dropout``.

    Parameters
    ----------
    x : array
        On a GPU, without gaps.
    p, seed
        See there.
    out : array, optional
        Where the result goes; it may be x.
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
    return _dropout("relu_dropout", kernels.relu_dropout, {"x": x}, p, seed, out, stream)


def relu_dropout_backward(
    grad: Any, x: Any, p: float = 0.5, seed: int = 0, out: Any = None, *, stream: Any = None
) -> Any:
    """Gradient of ``relu_dropout``: ``fastact.fused.relu_dropout_backward``.

    Parameters
    ----------
    grad, x : array
        On a GPU, of one shape, without gaps.
    p, seed
        What ``relu_dropout`` was called with.
    out : array, optional
        Where the result goes; it may be grad or x.
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
    given = {"grad": grad, "x": x}
    make = kernels.relu_dropout_backward
    return _dropout("relu_dropout_backward", make, given, p, seed, out, stream)


def relu_stats(x: Any, stats: ActivationStats, out: Any = None, *, stream: Any = None) -> Any:
    """ReLU, and how often each unit is active: ``fastact.fused.relu_stats``.

    The counts are added to ``stats`` on the CPU, which waits for them.

    Parameters
    ----------
    x : array
        On a GPU, without gaps; units along the last axis.
    stats : ActivationStats
        What is counted is added to it.
    out : array, optional
        Where the result goes; it may be x.
    stream : optional
        A stream of PyTorch, CuPy or Numba, or its handle; the default is x's.

    Returns
    -------
    array
        ``relu(x)``.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit, or stats has counted another number of units.
    """
    name = "relu_stats"
    of = arrays.view(name, "x", x)
    samples, units, _ = shapes.around(name, -1, of.shape)
    check_stats(name, stats)
    stats.check_units(name, units)
    if samples > EXACT:
        raise ValueError(f"{name}: x must have at most {EXACT} samples, got {samples}")
    result, counts = _stats()((x,), None, -1, out, stream)
    stats.add(arrays.to_host(counts).astype("int64"), samples)
    return result


# --- how a call goes ----------------------------------------------------------------------------

_columns = functools.cache(kernels.columns)
_channels = functools.cache(kernels.channels)
_total = functools.cache(kernels.total)
_of_kind = functools.cache(lambda make, kind: make(kind))


@dataclasses.dataclass(frozen=True)
class _Known:
    """Launches for arrays of some layouts: of the kernel, and of what adds up the parts' sums."""

    launch: Launch
    total: Launch | None
    apart: Apart
    of: View
    channels: int
    parts: int
    #: Of the vector, where none is given.
    zeros: View | None


class _Matrices:
    """Calls of a kernel of matrices and a vector, with its parameters."""

    def __init__(
        self,
        function: str,
        make: Callable[[Kind], source.FusedKernel],
        parameters: Sequence[float],
        names: Sequence[str],
        vector: str,
        counts: bool = False,
    ) -> None:
        """``counts``: the sums are counts, which half types could not hold."""
        self._counts = counts
        self._function, self._parameters = function, tuple(parameters)
        self._names, self._vector = tuple(names), vector
        self._make = functools.cache(make)
        self._seen: Seen[_Known] = Seen()

    def __call__(
        self, given: tuple[Any, ...], vector: Any, axis: int, out: Any, stream: Any
    ) -> tuple[Any, Any]:
        """The output, and the sums, if there are any; ``vector`` None stands for zeros."""
        operands = given if vector is None else (*given, vector)
        if stream is None:
            results = [out]
            found = self._seen.find(operands, results, axis)
            if found is not None:
                known, pointers, library = found
                if known.apart.holds(pointers):
                    on = library.stream(known.of.device)
                    return results[0], self._launched(known, given[0], pointers, on)
        return self._checked(given, vector, axis, out, stream)

    def _launched(self, known: _Known, like: Any, pointers: list[int], stream: int) -> Any:
        """Launch; the sums, if there are any. Addresses: of matrices, vector, if given, output."""
        of = known.of
        *matrices, target = pointers
        along = matrices.pop() if known.zeros is None else known.zeros.pointer
        totals, partial = None, 0
        if known.total is not None:
            dtype = of.kind.compute if self._counts else ""
            totals = arrays.empty(like, of, (known.channels,), dtype)
            size = (known.parts * known.channels,)
            sums = arrays.empty(like, of, size, of.kind.compute)
            partial = arrays.address(sums)
        numbers = launch.rounded(self._parameters, of.kind)
        known.launch([*matrices, target, along, partial], numbers, stream)
        if known.total is not None:
            known.total([partial, arrays.address(totals)], (), stream)
        return totals

    def _checked(
        self, given: tuple[Any, ...], vector: Any, axis: int, out: Any, stream: Any
    ) -> tuple[Any, Any]:
        function = self._function
        pairs = zip(self._names, given, strict=True)
        views = {name: arrays.view(function, name, array) for name, array in pairs}
        like, of = given[0], views[self._names[0]]
        shape, kind = of.shape, of.kind
        around = shapes.around(function, axis, shape)
        channels = around[1]
        for name, other in views.items():
            if other.shape != shape:
                raise ValueError(f"{function}: {name} must have shape {shape}, got {other.shape}")
        zeros = None
        if vector is None:  # nothing to be added
            pointer, _ = arrays.kept_zeros(of.device, kind, channels)
            zeros = View(pointer, (channels,), (kind.itemsize,), kind, of.device, of.stream)
        views[self._vector] = zeros or arrays.view(function, self._vector, vector)
        number = shapes.axis_number(function, axis, shape)
        shapes.check_vector(function, self._vector, views[self._vector].shape, number, shape)
        made = self._make(kind)
        outputs = {} if out is None else {"out": arrays.view(function, "out", out)}
        launch.check_without_gaps(function, views | outputs)
        launch.check_together(function, views | outputs)
        launch.check_outputs(function, outputs, list(views.values()), shape)

        with arrays.allocating_on(like, stream):
            result = arrays.empty(like, of, shape) if out is None else out
            if 0 in shape:
                totals = arrays.zeros(like, of, (channels,)) if made.term else None
                return self._finished(like, result, out, totals)
            target = arrays.view(function, "out", result)
            given_views = [view for view in views.values() if view is not zeros]
            pointers = [view.pointer for view in [*given_views, target]]
            apart = Apart(given_views, [target])
            sums = arrays.KINDS[kind.compute] if self._counts else kind
            aligned = launch.is_aligned(pointers)
            main, total, parts = _launches(made, sums, around, aligned, of.device)
            known = _Known(main, total, apart, of, channels, parts, zeros)
            on = arrays.launch_stream([*views.values(), target], stream)
            totals = self._launched(known, like, pointers, on)
        operands = given if vector is None else (*given, vector)
        self._seen.remember(operands, [result], axis, (of, shape), known)
        return self._finished(like, result, out, totals)

    @staticmethod
    def _finished(like: Any, result: Any, out: Any, totals: Any) -> tuple[Any, Any]:
        """As arrays of the caller's library."""
        return (
            arrays.finished(like, result) if out is None else out,
            None if totals is None else arrays.finished(like, totals),
        )


def _launches(
    made: source.FusedKernel,
    sums: Kind,
    around: tuple[int, int, int],
    aligned: bool,
    device: int,
) -> tuple[Launch, Launch | None, int]:
    """Of the kernel, of what adds up its sums, if it has any, and how many parts these have.

    ``sums`` is the kind of what they add up to.
    """
    before, channels, after = around
    kind = made.kind
    if after == 1:
        parts = max(1, min(PARTS, -(-before // PART_ROWS)))
        width = kernels.vector_width(kind)
        if channels % width or not aligned:
            width = 1
        grid, block = _columns_grid(channels // width, parts)
        steps = [channels * kind.itemsize] * (made.matrices + 1)
        kernel, numbers = _columns(made, width), [before, channels, *steps]
        main = Launch(kernel, grid, block, device, numbers)
    else:
        parts = max(1, min(PARTS, -(-before * after // (PART_ROWS * THREADS))))
        threads = 4 if kernels.simulated() else THREADS
        main = Launch(_channels(made), (channels, parts), (threads,), device, around)
    if not made.term:
        return main, None, parts
    tile = (4, 2) if kernels.simulated() else (TOTAL_COLUMNS, TOTAL_ROWS)
    across = (-(-channels // tile[0]),)
    return main, Launch(_total(sums), across, tile, device, (parts, channels)), parts


def _of_activation(
    function: str,
    make: Callable[..., source.FusedKernel],
    activation: str,
    names: tuple[str, ...],
    given: Mapping[str, Any],
) -> _Matrices:
    """Calls with an activation, found by what was given for an earlier one."""
    found: Callable[..., _Matrices] = _new_of_activation
    if not all(type(value) in (int, float, str) for value in given.values()):
        found = _new_of_activation.__wrapped__  # what cannot be looked up
    # 0.0 and -0.0 are equal and yet another parameter: their text tells them apart.
    zeros = str([value for value in given.values() if value == 0]) if given else ""
    return found(function, make, activation, names, tuple(given.items()), zeros)


@functools.lru_cache(256)
def _new_of_activation(
    function: str,
    make: Callable[..., source.FusedKernel],
    activation: str,
    names: tuple[str, ...],
    given: tuple[tuple[str, Any], ...],
    zeros: str,
) -> _Matrices:
    entry, numbers = chosen_activation(function, activation, dict(given))
    with_residual = "residual" in names
    return _Matrices(
        function, lambda kind: make(entry, kind, with_residual), numbers, names, "bias"
    )


@functools.cache
def _prelu() -> _Matrices:
    entry = activation_of("prelu")
    make = functools.partial(source.prelu_backward, entry)
    return _Matrices("prelu_backward", make, (), ("grad", "x"), "weight")


@functools.cache
def _stats() -> _Matrices:
    make = functools.partial(source.relu_stats, activation_of("relu"))
    return _Matrices("relu_stats", make, (), ("x",), "", counts=True)


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
        numbers = (of.size, int(aligned))
        run = Launch(_of_kind(make, of.kind), grid, block, of.device, numbers)
        run((of.pointer, target.pointer, bits.pointer), (), on)
    return arrays.finished(given, result) if out is None else out


def _dropout(
    function: str, make: Any, given: dict[str, Any], p: float, seed: int, out: Any, stream: Any
) -> Any:
    """Run a kernel of dropout on arrays of one shape."""
    *integers, scale = dropout_numbers(function, p, seed)
    views = {name: arrays.view(function, name, array) for name, array in given.items()}
    like, of = next(iter(given.values())), next(iter(views.values()))
    for name, other in views.items():
        if other.shape != of.shape:
            raise ValueError(f"{function}: {name} must have shape {of.shape}, got {other.shape}")
    outputs = {} if out is None else {"out": arrays.view(function, "out", out)}
    launch.check_together(function, views | outputs)
    launch.check_outputs(function, outputs, list(views.values()), of.shape)
    launch.check_without_gaps(function, views | outputs)
    result = launch.output(like, of, of.shape, out, stream)
    target = arrays.view(function, "out", result)
    if of.size:
        operands = [*views.values(), target]
        grid, block = launch.elementwise_grid(-(-of.size // 512) * 128, of.device)
        on = arrays.launch_stream(operands, stream)
        run = Launch(_of_kind(make, of.kind), grid, block, of.device, (of.size, *integers))
        run([view.pointer for view in operands], (scale,), on)
    return arrays.finished(like, result) if out is None else out

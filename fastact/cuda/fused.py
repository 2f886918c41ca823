"""Fused training kernels on a GPU: ``fastact.fused`` for arrays with ``__cuda_array_interface__``.

What is summed up is the same every time, since which thread adds what depends on the shape alone:
float32 and half types in float32 within parts of 16 rows or more, of which there are 256 at most,
and those in float64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastact.catalogue.dtypes import INTEGERS, Kind
from fastact.catalogue.entries import activation_of
from fastact.cuda import arrays, kernels, launch, workspace
from fastact.cuda.arrays import View
from fastact.cuda.calls import Checked, Made, Remembered, Run, filled
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
    call = _of_activation(_bias_act, activation, residual is not None, parameters)
    given = (x,) if residual is None else (x, residual)
    return call(given, bias, axis, out, stream)


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
    out : array or (array, array), optional
        Where dx goes; it may be grad or saved. Where dx and dbias go, if it is a tuple.
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
    call = _of_activation(_bias_act_backward, activation, residual is not None, parameters)
    given = (grad, saved) if residual is None else (grad, saved, residual)
    return call.with_sums(given, bias, axis, out, stream)


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
    out : array or (array, array), optional
        Where dx goes; it may be grad or x. Where dx and dweight go, if it is a tuple.
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
    return _prelu().with_sums((grad, x), weight, axis, out, stream)


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
    result, bits = _relu_mask((x,), [out, mask], None, stream)
    return result, bits


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
    return _relu_mask_backward((grad, mask), [out], None, stream)[0]


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
    numbers = dropout_numbers("relu_dropout", p, seed)
    return _relu_dropout((x,), [out], None, stream, numbers)[0]


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
    numbers = dropout_numbers("relu_dropout_backward", p, seed)
    return _relu_dropout_backward((grad, x), [out], None, stream, numbers)[0]


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
    result, counts = _stats().with_sums((x,), None, -1, out, stream)
    stats.add(arrays.to_host(counts).astype("int64"), samples)
    return result


# --- how a call goes ----------------------------------------------------------------------------

_columns = functools.cache(kernels.columns)
_channels = functools.cache(kernels.channels)
_total = functools.cache(kernels.total)
_of_kind = functools.cache(lambda make, kind: make(kind))


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
        self._called = Remembered(self._check)

    def __call__(
        self, given: tuple[Any, ...], vector: Any, axis: int, out: Any, stream: Any
    ) -> Any:
        """The output; ``vector`` None stands for zeros."""
        operands = given if vector is None else (*given, vector)
        return self._called(operands, [out], axis, stream, self._parameters)[0]

    def with_sums(
        self, given: tuple[Any, ...], vector: Any, axis: int, out: Any, stream: Any
    ) -> tuple[Any, Any]:
        """The same of a kernel that has sums: these, too, which ``out`` may have a place for."""
        if not isinstance(out, tuple):
            out = (out, None)
        elif len(out) != 2:
            raise ValueError(f"{self._function}: out must be an array, or a tuple of 2")
        operands = given if vector is None else (*given, vector)
        result, sums = self._called(operands, [*out], axis, stream, self._parameters)
        return result, sums

    def _check(self, operands: Sequence[Any], wanted: list[Any], axis: int, stream: Any) -> Checked:
        *given, vector = operands if len(operands) > len(self._names) else (*operands, None)
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
            pointer = arrays.kept_zeros(of.device, channels * kind.itemsize)
            zeros = View(pointer, (channels,), (kind.itemsize,), kind, of.device, of.stream)
        views[self._vector] = zeros or arrays.view(function, self._vector, vector)
        number = shapes.axis_number(function, axis, shape)
        shapes.check_vector(function, self._vector, views[self._vector].shape, number, shape)
        of_sums = arrays.KINDS[kind.compute] if self._counts else kind
        made: list[Made] = [
            (of, shape, ""),
            (of, (channels,), "" if of_sums is kind else of_sums.name),
        ][: len(wanted)]
        called = ["out", "out[1]"]
        must_be = {name: how[1] for name, how in zip(called, made, strict=False)}
        outputs = {
            name: arrays.view(function, name, array)
            for name, array in zip(called, wanted, strict=False)
            if array is not None
        }
        launch.check_without_gaps(function, views | outputs)
        launch.check_together(function, views | outputs)
        launch.check_outputs(function, outputs, list(views.values()), must_be)

        results = filled(like, wanted, made, stream)
        targets = [arrays.view(function, "out", result) for result in results]
        inputs = [view for view in views.values() if view is not zeros]
        aligned = launch.is_aligned([view.pointer for view in [*inputs, *targets]])
        launches = _launches(self._make(kind), of_sums, around, aligned, of.device)
        return Checked(inputs, results, targets, made, _run(launches, like, of, zeros))


def _run(
    launches: tuple[Launch | None, Launch | None, int], like: Any, of: View, zeros: View | None
) -> Run:
    """Given addresses of matrices, of the vector unless it is ``zeros``, of output and sums."""
    main, total, count = launches

    def run(pointers: Sequence[int], numbers: Sequence[Any], stream: int) -> None:
        *given, target = pointers
        along = given.pop() if zeros is None else zeros.pointer
        if main is not None:
            main((*given, target, along, 0), numbers, stream)

    if total is None:
        return run
    like = arrays.empty(like, of, (0,))  # that of the call is not to be kept

    def run_with_sums(pointers: Sequence[int], numbers: Sequence[Any], stream: int) -> None:
        *given, target, sums = pointers
        along = given.pop() if zeros is None else zeros.pointer
        space = workspace.space(like, of, count, stream)
        with space.lock:
            if main is not None:
                main((*given, target, along, space.pointer), numbers, stream)
            total((space.pointer, sums), (), stream)

    return run_with_sums


def _launches(
    made: source.FusedKernel,
    sums: Kind,
    around: tuple[int, int, int],
    aligned: bool,
    device: int,
) -> tuple[Launch | None, Launch | None, int]:
    """Of the kernel, of what adds up its sums, if it has any, and how many sums of parts there are.

    ``sums`` is the kind of what they add up to. None is what has nothing to do.
    """
    before, channels, after = around
    kind = made.kind
    main, parts = None, 0
    if not channels:
        return None, None, 0
    if after == 1 and before:
        parts = max(1, min(PARTS, -(-before // PART_ROWS)))
        width = kernels.vector_width(kind)
        if channels % width or not aligned:
            width = 1
        grid, block = _columns_grid(channels // width, parts)
        steps = [channels * kind.itemsize] * (made.matrices + 1)
        kernel, numbers = _columns(made, width), [before, channels, *steps]
        main = Launch(kernel, grid, block, device, numbers)
    elif before * after:
        parts = max(1, min(PARTS, -(-before * after // (PART_ROWS * THREADS))))
        width = kernels.vector_width(kind)
        if after % width or not aligned:
            width = 1
        threads = 4 if kernels.simulated() else THREADS
        groups = (before, channels, after // width)
        main = Launch(_channels(made, width), (channels, parts), (threads,), device, groups)
    if not made.term:
        return main, None, 0
    tile = (4, 2) if kernels.simulated() else (TOTAL_COLUMNS, TOTAL_ROWS)
    across = (-(-channels // tile[0]),)
    total = Launch(_total(sums), across, tile, device, (parts, channels))
    return main, total, parts * channels


#: What makes the kernel of an activation, for which function, and what its matrices are called.
_bias_act = (source.bias_act, "bias_act", ("x",))
_bias_act_backward = (source.bias_act_backward, "bias_act_backward", ("grad", "saved"))
_OfActivation = tuple[Callable[..., source.FusedKernel], str, tuple[str, ...]]


def _of_activation(
    what: _OfActivation, activation: str, residual: bool, given: Mapping[str, Any]
) -> _Matrices:
    """Calls with an activation, found by what was given for an earlier one."""
    if not given and type(activation) is str:
        return _new_of_activation(what, activation, residual)
    if not all(type(value) in (int, float, str) for value in given.values()):
        # What cannot be looked up.
        return _new_of_activation.__wrapped__(what, activation, residual, tuple(given.items()))
    # 0.0 and -0.0 are equal and yet another parameter: their text tells them apart.
    zeros = str([value for value in given.values() if value == 0])
    return _new_of_activation(what, activation, residual, tuple(given.items()), zeros)


@functools.lru_cache(256)
def _new_of_activation(
    what: _OfActivation,
    activation: str,
    residual: bool,
    given: tuple[tuple[str, Any], ...] = (),
    zeros: str = "",
) -> _Matrices:
    make, function, names = what
    entry, numbers = chosen_activation(function, activation, dict(given))
    names = (*names, "residual") if residual else names
    return _Matrices(function, lambda kind: make(entry, kind, residual), numbers, names, "bias")


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


def _eight(function: str, make: Any, names: tuple[str, ...], called: tuple[str, ...]) -> Remembered:
    """Calls of a kernel over groups of eight elements and a byte of the mask.

    The mask is the last of the arrays or of the results.
    """
    reads_mask = "mask" in names

    def check(given: Sequence[Any], wanted: list[Any], _: Any, stream: Any) -> Checked:
        like, name = given[0], names[0]
        of = arrays.view(function, name, like)
        length = ((of.size + 7) // 8,)
        made: list[Made] = [(of, of.shape, ""), (of, length, "uint8")][: len(called)]
        out, mask = wanted[0], given[-1] if reads_mask else wanted[-1]
        outputs = {} if out is None else {"out": arrays.view(function, "out", out)}
        launch.check_together(function, {name: of, **outputs})
        launch.check_outputs(function, outputs, [of], of.shape)
        launch.check_without_gaps(function, {name: of, **outputs})
        # What is written must not be read, too; the mask is written in the forward direction.
        apart = outputs if reads_mask else {name: of, **outputs}
        if mask is not None:
            of_mask = _mask(function, mask, name, of)
            for other, view in apart.items():
                if arrays.overlaps(of_mask, view):
                    raise ValueError(f"{function}: mask shares memory with {other}")
        results = filled(like, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        of_mask = _mask(function, given[-1] if reads_mask else results[-1], name, of)
        inputs, targets = ([of, of_mask], [target]) if reads_mask else ([of], [target, of_mask])
        run = None
        if of.size:
            aligned = launch.is_aligned([of.pointer, target.pointer, of_mask.pointer])
            grid, block = launch.elementwise_grid(length[0], of.device)
            numbers = (of.size, int(aligned))
            kernel = Launch(_of_kind(make, of.kind), grid, block, of.device, numbers)

            def with_mask_last(
                pointers: Sequence[int], numbers: Sequence[Any], stream: int
            ) -> None:
                given, mask, target = pointers
                kernel((given, target, mask), numbers, stream)

            run = with_mask_last if reads_mask else kernel
        return Checked(inputs, results, targets, made, run)

    return Remembered(check)


def _mask(function: str, mask: Any, name: str, of: View) -> View:
    """A view of the mask for an array. Raises if it does not fit."""
    bits, wanted = arrays.memory(function, "mask", mask), ((of.size + 7) // 8,)
    if bits.dtype != "uint8":
        raise TypeError(f"{function}: mask must be of dtype uint8, got {bits.dtype}")
    if bits.shape != wanted or not arrays.without_gaps(wanted, bits.strides, 1):
        raise ValueError(f"{function}: mask must have shape {wanted} and no gaps, got {bits.shape}")
    if bits.device != of.device:
        raise ValueError(f"{function}: {name} is on GPU {of.device}, but mask on GPU {bits.device}")
    return View(bits.pointer, wanted, (1,), INTEGERS["B"], of.device, bits.stream, bits.writable)


_relu_mask = _eight("relu_mask", kernels.mask, ("x",), ("out", "mask"))
_relu_mask_backward = _eight(
    "relu_mask_backward", kernels.mask_backward, ("grad", "mask"), ("out",)
)


def _dropout(function: str, make: Any, names: tuple[str, ...]) -> Remembered:
    """Calls of a kernel of dropout on arrays of one shape."""

    def check(given: Sequence[Any], wanted: list[Any], _: Any, stream: Any) -> Checked:
        pairs = zip(names, given, strict=True)
        views = {name: arrays.view(function, name, array) for name, array in pairs}
        like, of = given[0], views[names[0]]
        for name, other in views.items():
            if other.shape != of.shape:
                raise ValueError(
                    f"{function}: {name} must have shape {of.shape}, got {other.shape}"
                )
        (out,) = wanted
        outputs = {} if out is None else {"out": arrays.view(function, "out", out)}
        launch.check_together(function, views | outputs)
        launch.check_outputs(function, outputs, list(views.values()), of.shape)
        launch.check_without_gaps(function, views | outputs)
        made: list[Made] = [(of, of.shape, "")]
        results = filled(like, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        run = None
        if of.size:
            grid, block = launch.elementwise_grid(-(-of.size // 512) * 128, of.device)
            run = Launch(_of_kind(make, of.kind), grid, block, of.device, (of.size,))
        return Checked([*views.values()], results, [target], made, run)

    return Remembered(check, rounds=False)


_relu_dropout = _dropout("relu_dropout", kernels.relu_dropout, ("x",))
_relu_dropout_backward = _dropout(
    "relu_dropout_backward", kernels.relu_dropout_backward, ("grad", "x")
)

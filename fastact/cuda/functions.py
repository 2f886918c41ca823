"""The public functions on a GPU, built from the catalogue.

They have the signatures of those on the CPU, and ``stream`` at the end.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastact.catalogue import (
    Activation,
    Entry,
    Form,
    Gated,
    Joined,
    Largest,
    Randomized,
    RowFormula,
    Rows,
    Variants,
)
from fastact.catalogue.dtypes import Kind
from fastact.cuda import arrays, kernels
from fastact.cuda.arrays import View
from fastact.cuda.launch import (
    Elementwise,
    check_outputs,
    check_together,
    check_without_gaps,
    elementwise_grid,
    output,
    rounded,
    row_grid,
    run,
)
from fastact.public import shapes
from fastact.public.define import constraints, define, names, select
from fastact.public.documentation import documentation_on_gpu
from fastact.public.names import FORMS, OTHER_NAMES

__all__ = ["NAMES", "build"]

#: Names of all functions.
NAMES = sorted([*FORMS, *OTHER_NAMES])


@functools.cache
def build(name: str) -> Callable[..., Any]:
    """The function of this name; raises AttributeError if there is none."""
    if name in OTHER_NAMES:
        return build(OTHER_NAMES[name])
    if name not in FORMS:
        raise AttributeError(f"module 'fastact.cuda' has no attribute {name!r}")
    form = FORMS[name]
    halves = isinstance(form.entry, Gated) and form.entry.halves
    return (_of_halves if halves else _MAKERS[type(form.entry)])(form)


def _define(form: Form, body: str, **known: Any) -> Any:
    doc, module = documentation_on_gpu(form), "fastact.cuda"
    return define(form, body, doc, module=module, last="stream=None", **known)


def _calling(form: Form, run: Callable[..., Any]) -> Any:
    """A function that calls another one with all of its arguments."""
    arguments = [*form.arrays, *(p.name for p in form.parameters), form.out, "stream"]
    return _define(form, f"return run({', '.join(arguments)})", run=run)


def _given(form: Form) -> str:
    """Source of the arrays by name."""
    return f"{{{', '.join(f'{name!r}: {name}' for name in form.arrays)}}}"


# --- how a call goes ----------------------------------------------------------------------------


def call(
    function: str,
    kernel: Elementwise,
    given: dict[str, Any],
    parameters: Sequence[Any],
    out: Any,
    stream: Any,
    vectors: dict[str, View] | None = None,
) -> Any:
    """Call a kernel on arrays, which are broadcast; the result, made like the first if not given.

    ``out``: an array, or a tuple of them where the kernel has several outputs. ``vectors`` are more
    inputs, already looked at.
    """
    outputs = kernel.outputs
    views = {name: arrays.view(function, name, array) for name, array in given.items()}
    views |= vectors or {}
    first = next(iter(given.values()))
    of = views[next(iter(given))]
    seen = {v.shape for v in views.values()}
    shape = of.shape if len(seen) == 1 else arrays.broadcast_shape(function, sorted(seen))
    results = [out] if outputs == 1 else list(out or (None,) * outputs)
    if len(results) != outputs:
        raise ValueError(f"{function}: out must be a tuple of {outputs} arrays")
    made = [result is None for result in results]
    if any(made):
        with arrays.allocating_on(first, stream):
            results = [arrays.empty(first, of, shape) if r is None else r for r in results]
    called = ["out"] if outputs == 1 else [f"out[{k}]" for k in range(outputs)]
    targets = {n: arrays.view(function, n, a) for n, a in zip(called, results, strict=True)}
    check_together(function, views | targets)
    inputs = list(views.values())
    if len(seen) > 1 or shape != of.shape:
        inputs = [arrays.broadcast(function, v, shape) for v in inputs]
    check_outputs(function, targets, [] if all(made) else inputs, shape)
    on = arrays.launch_stream([*inputs, *targets.values()], stream)
    kernel(inputs, list(targets.values()), rounded(parameters, of.kind), on)
    if not any(made):
        return out
    finished = tuple(
        arrays.finished(first, result) if new else result
        for new, result in zip(made, results, strict=True)
    )
    return finished[0] if outputs == 1 else finished


# --- activations and gated units ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Work:
    """What a kernel does with an activation: the source of that, and how many arrays it has."""

    source: Callable[[Activation, Kind], str]
    arrays: int
    outputs: int = 1


_WORK = {
    "forward": _Work(kernels.forward, 1),
    "backward": _Work(kernels.backward, 2),
    "backward_from_output": _Work(kernels.backward_from_output, 2),
    "gated_forward": _Work(kernels.gated, 2),
    "gated_backward": _Work(kernels.gated_backward, 3, 2),
}


@functools.cache
def _kernel(entry: Activation, which: str, weights: bool = False) -> Elementwise:
    """The kernel of an entry; ``weights``: its parameter is an array, too."""
    work = _WORK[which]
    number = entry.arrays if which == "forward" else work.arrays
    parameters = len(entry.parameters) if which in ("forward", "backward") else 0
    parameters += len(entry.derivative_parameters) if which == "backward" else 0
    name = f"{entry.name}_{which}{'_weights' * weights}"
    if weights:
        number, parameters = number + parameters, 0
    source = functools.partial(work.source, entry)
    return Elementwise(name, source, number, parameters, work.outputs)


def _which(form: Form) -> str:
    """What the kernel of a form does; in place it is the forward's."""
    return "forward" if form.which == "in_place" else form.which


def _activation(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Activation)
    which = _which(form)
    kernel = _kernel(entry, which)
    body, parameters = constraints(form), names(form)
    given = f"{form.name!r}, kernel, {_given(form)}"
    if entry.channels:
        known = {"with_weights": _with_weights, "weighted": _kernel(entry, which, True)}
        passed = f"{given}, weighted, {parameters!r}, {parameters}, axis, {form.out}, stream"
        return _define(form, f"{body}return with_weights({passed})", kernel=kernel, **known)
    passed = f"({parameters},)" if parameters else "()"
    body += f"return call({given}, {passed}, {form.out}, stream)"
    return _define(form, body, kernel=kernel, call=call)


def _with_weights(
    function: str,
    kernel: Elementwise,
    given: dict[str, Any],
    weighted: Elementwise,
    name: str,
    weight: Any,
    axis: int,
    out: Any,
    stream: Any,
) -> Any:
    """Call a kernel whose parameter is a number, or an array: one for each channel."""
    if isinstance(weight, int | float):
        return call(function, kernel, given, (weight,), out, stream)
    x = arrays.view(function, "x", given["x"])
    vector = arrays.view(function, name, weight)
    shape = shapes.channels(function, name, vector.shape, axis, x.shape)
    return call(function, weighted, given, (), out, stream, {name: vector.followed_by_ones(shape)})


def _gated(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Gated)
    which = f"gated_{_which(form)}"
    if isinstance(entry.of, Variants):
        return _with_choice(form, which, entry.of.variants)
    body = f"return call({form.name!r}, kernel, {_given(form)}, (), {form.out}, stream)"
    return _define(form, body, kernel=_kernel(entry.of, which), call=call)


def _variants(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Variants)
    return _with_choice(form, _which(form), entry.variants)


def _with_choice(form: Form, which: str, entries: Mapping[str, Activation]) -> Any:
    table = {key: _kernel(entry, which) for key, entry in entries.items()}
    body = (
        f"{select(form, 'table')}"
        f"return call({form.name!r}, chosen, {_given(form)}, (), {form.out}, stream)"
    )
    return _define(form, body, table=table, call=call)


# --- a parameter that is drawn ------------------------------------------------------------------


def _randomized(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Randomized)
    which, function = _which(form), form.name
    kernel, weighted = _kernel(entry, which), _kernel(entry, which, True)

    def forward(
        x: Any, lower: Any, upper: Any, training: bool, rng: Any, noise: Any, out: Any, stream: Any
    ) -> Any:
        if not training:
            mean = entry.mean(function, lower, upper)
            return call(function, kernel, {"x": x}, (mean,), out, stream)
        of = arrays.view(function, "x", x)
        # NumPy draws them, as on the CPU; they are rounded to the dtype on the way.
        drawn = entry.draw(function, lower, upper, rng, of.shape)
        with arrays.allocating_on(x, stream):
            numbers = arrays.copied(x, of, drawn)
        filled = numbers if noise is None else noise
        call(function, _ones_where_positive(), {"x": x, "drawn": numbers}, (), filled, stream)
        return call(function, weighted, {"x": x, "noise": filled}, (), out, stream)

    def backward(
        grad: Any, x: Any, lower: Any, upper: Any, noise: Any, out: Any, stream: Any
    ) -> Any:
        given = {"grad": grad, "x": x}
        if noise is None:
            mean = entry.mean(function, lower, upper)
            return call(function, kernel, given, (mean,), out, stream)
        return call(function, weighted, given | {"noise": noise}, (), out, stream)

    return _calling(form, backward if which == "backward" else forward)


def _one_where_positive(x: Any, drawn: Any) -> Any:
    return 1 if x > 0 else drawn


@functools.cache
def _ones_where_positive() -> Elementwise:
    entry = Activation(name="one_where_positive", formula=_one_where_positive, arrays=2)
    return _kernel(entry, "forward")


# --- halves of an array -------------------------------------------------------------------------


def _halves(function: str, of: View, axis: int) -> tuple[View, View]:
    axis, half = shapes.halved(function, axis, of.shape)
    return of.part(axis, 0, half), of.part(axis, half, half)


def _on_views(
    function: str,
    kernel: Elementwise,
    inputs: Mapping[str, View],
    outputs: dict[str, View],
    stream: Any,
    separate: bool,
) -> None:
    """Run a kernel on views of one shape."""
    check_together(function, {**inputs, **outputs})
    shape = next(iter(outputs.values())).shape
    for name, given in inputs.items():
        if given.shape != shape:
            raise ValueError(f"{function}: {name} must have shape {shape}, got {given.shape}")
    views = list(inputs.values())
    for name, target in outputs.items():  # which are apart from each other
        check_outputs(function, {name: target}, [] if separate else views, shape)
    on = arrays.launch_stream([*views, *outputs.values()], stream)
    kernel(views, list(outputs.values()), (), on)


def _check_shape(function: str, name: str, of: View, shape: tuple[int, ...]) -> None:
    if of.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {shape}, got {of.shape}")


def _of_halves(form: Form) -> Any:
    """A gated unit of the halves of one array."""
    entry, function = form.entry, form.name
    assert isinstance(entry, Gated)
    assert isinstance(entry.of, Activation)
    kernel = _kernel(entry.of, f"gated_{form.which}")

    def forward(x: Any, axis: int, out: Any, stream: Any) -> Any:
        of = arrays.view(function, "x", x)
        up, gate = _halves(function, of, axis)
        result = output(x, of, up.shape, out, stream)
        target = arrays.view(function, "out", result)
        _check_shape(function, "out", target, up.shape)
        inputs = {"gate": gate, "up": up}
        _on_views(function, kernel, inputs, {"out": target}, stream, out is None)
        return arrays.finished(x, result) if out is None else out

    def backward(grad: Any, x: Any, axis: int, out: Any, stream: Any) -> Any:
        of = arrays.view(function, "x", x)
        up, gate = _halves(function, of, axis)
        result = output(x, of, of.shape, out, stream)
        target = arrays.view(function, "out", result)
        _check_shape(function, "out", target, of.shape)
        by_up, by_gate = _halves(function, target, axis)
        inputs = {"grad": arrays.view(function, "grad", grad), "gate": gate, "up": up}
        outputs = {"out (gate)": by_gate, "out (up)": by_up}
        _on_views(function, kernel, inputs, outputs, stream, out is None)
        return arrays.finished(x, result) if out is None else out

    return _calling(form, forward if form.which == "forward" else backward)


def _joined(form: Form) -> Any:
    """Two functions, one after the other along an axis."""
    entry, function = form.entry, form.name
    assert isinstance(entry, Joined)

    def forward(x: Any, axis: int, out: Any, stream: Any) -> Any:
        of = arrays.view(function, "x", x)
        shape = shapes.doubled(function, axis, of.shape)
        result = output(x, of, shape, out, stream)
        target = arrays.view(function, "out", result)
        _check_shape(function, "out", target, shape)
        halves = _halves(function, target, axis)
        for kernel, half in zip((entry.first, entry.second), halves, strict=True):
            work = _kernel(kernel, "forward")
            _on_views(function, work, {"x": of}, {"out": half}, stream, out is None)
        return arrays.finished(x, result) if out is None else out

    def backward(grad: Any, x: Any, axis: int, out: Any, stream: Any) -> Any:
        of, by = arrays.view(function, "x", x), arrays.view(function, "grad", grad)
        _check_shape(function, "grad", by, shapes.doubled(function, axis, of.shape))
        first, second = _halves(function, by, axis)
        result = output(x, of, of.shape, out, stream)
        target = arrays.view(function, "out", result)
        _check_shape(function, "out", target, of.shape)
        inputs = {"grad (first half)": first, "grad (second half)": second, "x": of}
        kernel = _kernel(entry.derivative, "forward")
        _on_views(function, kernel, inputs, {"out": target}, stream, out is None)
        return arrays.finished(x, result) if out is None else out

    return _calling(form, forward if form.which == "forward" else backward)


# --- rows ---------------------------------------------------------------------------------------


@functools.cache
def _row_kernel(formula: RowFormula, kind: Kind) -> kernels.CudaKernel:
    return kernels.rows(formula, kind)


def _rows(form: Form) -> Any:
    entry, function = form.entry, form.name
    assert isinstance(entry, Rows)
    formula = entry.backward if form.which == "backward" else entry.formula

    def run_rows(given: dict[str, Any], axis: int, out: Any, stream: Any) -> Any:
        """On arrays of one shape, without gaps."""
        views = {key: arrays.view(function, key, array) for key, array in given.items()}
        like, of = next(iter(given.values())), next(iter(views.values()))
        around = shapes.around(function, axis, of.shape)
        result = output(like, of, of.shape, out, stream)
        target = {"out": arrays.view(function, "out", result)}
        everything = views | target
        for key, other in everything.items():
            _check_shape(function, key, other, of.shape)
        check_without_gaps(function, everything)
        check_together(function, everything)
        check_outputs(function, target, list(views.values()) * (out is not None), of.shape)
        if of.size:
            before, length, after = around
            on = arrays.launch_stream([*everything.values()], stream)
            pointers = [v.pointer for v in everything.values()]
            grid, block = row_grid(before * after, length)
            run(_row_kernel(formula, of.kind), grid, block, on, of.device, *pointers, *around)
        return arrays.finished(like, result) if out is None else out

    body = f"return run({_given(form)}, axis, {form.out}, stream)"
    return _define(form, body, run=run_rows)


# --- the largest of rows ------------------------------------------------------------------------

_largest_kernel = functools.cache(lambda make, kind: make(kind))


def _run_largest(
    function: str,
    make: Any,
    x: View,
    y: View,
    indices: Any,
    shape: tuple[int, ...],
    axis: int,
    stream: Any,
) -> None:
    """Run one of the two kernels; ``shape`` is that of the array with the axis."""
    at = arrays.memory(function, "indices", indices)
    axis = shapes.axis_number(function, axis, shape)
    small = (*shape[:axis], *shape[axis + 1 :])
    if at.dtype != "int64" or at.shape != small or at.device != x.device:
        raise ValueError(
            f"{function}: indices must be int64 of shape {small} on GPU {x.device}, got {at.dtype} "
            f"of shape {at.shape} on GPU {at.device}"
        )
    if not (arrays.without_gaps(small, at.strides, 8) and x.contiguous and y.contiguous):
        raise ValueError(f"{function}: an array has gaps between its elements; copy it first")
    check_together(function, {"x": x, "out": y})
    if math.prod(shape):
        grid, block = elementwise_grid(math.prod(small), x.device)
        on = arrays.launch_stream([x, y], stream)
        kernel = _largest_kernel(make, x.kind)
        around = shapes.around(function, axis, shape)
        run(kernel, grid, block, on, x.device, x.pointer, y.pointer, at.pointer, *around)


def _largest(form: Form) -> Any:
    function = form.name

    def forward(x: Any, axis: int, out: Any, stream: Any) -> tuple[Any, Any]:
        of = arrays.view(function, "x", x)
        shape = shapes.without_pieces(function, axis, of.shape)
        values, indices = out or (None, None)
        apart = values is None
        with arrays.allocating_on(x, stream):
            values = arrays.empty(x, of, shape) if values is None else values
            indices = arrays.empty(x, of, shape, "int64") if indices is None else indices
        target = arrays.view(function, "out[0]", values)
        check_outputs(function, {"out[0]": target}, [] if apart else [of], shape)
        _run_largest(function, kernels.maxout, of, target, indices, of.shape, axis, stream)
        return arrays.finished(x, values), arrays.finished(x, indices)

    def backward(grad: Any, indices: Any, pieces: int, axis: int, out: Any, stream: Any) -> Any:
        of = arrays.view(function, "grad", grad)
        shape = shapes.with_length(function, axis, pieces, of.shape)
        result = output(grad, of, shape, out, stream)
        target = arrays.view(function, "out", result)
        check_outputs(function, {"out": target}, [of] * (out is not None), shape)
        make = kernels.maxout_backward
        _run_largest(function, make, of, target, indices, shape, axis, stream)
        return arrays.finished(grad, result) if out is None else out

    return _calling(form, forward if form.which == "forward" else backward)


_MAKERS: dict[type[Entry], Callable[[Form], Any]] = {
    Activation: _activation,
    Randomized: _randomized,
    Variants: _variants,
    Gated: _gated,
    Joined: _joined,
    Rows: _rows,
    Largest: _largest,
}

"""The public functions on a GPU, built from the catalogue.

They have the signatures of those on the CPU, and ``stream`` at the end.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
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
from fastact.cuda.calls import Call
from fastact.cuda.launch import (
    Elementwise,
    Launch,
    check_outputs,
    check_together,
    check_without_gaps,
    elementwise_grid,
    output,
    row_grid,
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
    which, given = _which(form), ", ".join(form.arrays)
    integers = entry.keeps_integers and which == "forward"
    call = Call(form.name, _kernel(entry, which), form.arrays, integers=integers)
    body, parameters = constraints(form), names(form)
    if not entry.channels:
        passed = f"({parameters},)" if parameters else "()"
        return _define(
            form, f"{body}return call(({given},), {passed}, {form.out}, stream)", call=call
        )
    (weight,) = entry.parameters

    def along(views: dict[str, View], axis: int) -> dict[str, View]:
        of, x = views[weight], views["x"]
        shape = shapes.channels(form.name, weight, of.shape, axis, x.shape)
        return views | {weight: of.followed_by_ones(shape)}

    weighted = Call(form.name, _kernel(entry, which, True), (*form.arrays, weight), along)
    body += f"""\
if isinstance({weight}, (int, float)):
    return call(({given},), ({weight},), {form.out}, stream)
return weighted(({given}, {weight}), (), {form.out}, stream, axis)"""
    return _define(form, body, call=call, weighted=weighted)


def _gated(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Gated)
    which = f"gated_{_which(form)}"
    if isinstance(entry.of, Variants):
        return _with_choice(form, which, entry.of.variants)
    body = f"return call(({', '.join(form.arrays)}), (), {form.out}, stream)"
    return _define(form, body, call=Call(form.name, _kernel(entry.of, which), form.arrays))


def _variants(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Variants)
    return _with_choice(form, _which(form), entry.variants)


def _with_choice(form: Form, which: str, entries: Mapping[str, Activation]) -> Any:
    calls = {
        key: Call(form.name, _kernel(entry, which), form.arrays) for key, entry in entries.items()
    }
    given = f"({', '.join(form.arrays)},)"
    body = f"{select(form, 'calls')}return chosen({given}, (), {form.out}, stream)"
    return _define(form, body, calls=calls)


# --- a parameter that is drawn ------------------------------------------------------------------


def _randomized(form: Form) -> Any:
    entry = form.entry
    assert isinstance(entry, Randomized)
    which, function = _which(form), form.name
    call = Call(function, _kernel(entry, which), form.arrays)
    weighted = Call(function, _kernel(entry, which, True), (*form.arrays, "noise"))
    ones = Call(function, _one_where_positive(), ("x", "drawn"))

    def forward(
        x: Any, lower: Any, upper: Any, training: bool, rng: Any, noise: Any, out: Any, stream: Any
    ) -> Any:
        if not training:
            mean = entry.mean(function, lower, upper)
            return call((x,), (mean,), out, stream)
        of = arrays.view(function, "x", x)
        # NumPy draws them, as on the CPU; they are rounded to the dtype on the way.
        drawn = entry.draw(function, lower, upper, rng, of.shape)
        with arrays.allocating_on(x, stream):
            numbers = arrays.copied(x, of, drawn)
        filled = numbers if noise is None else noise
        ones((x, numbers), (), filled, stream)
        return weighted((x, filled), (), out, stream)

    def backward(
        grad: Any, x: Any, lower: Any, upper: Any, noise: Any, out: Any, stream: Any
    ) -> Any:
        if noise is None:
            return call((grad, x), (entry.mean(function, lower, upper),), out, stream)
        return weighted((grad, x, noise), (), out, stream)

    return _calling(form, backward if which == "backward" else forward)


def _noise(x: Any, drawn: Any) -> Any:
    return 1 if x > 0 else drawn


@functools.cache
def _one_where_positive() -> Elementwise:
    entry = Activation(name="one_where_positive", formula=_noise, arrays=2)
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
    kernel.run(views, list(outputs.values()), (), on)


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
            launch = Launch(_row_kernel(formula, of.kind), grid, block, of.device, around)
            launch(pointers, (), on)
        return arrays.finished(like, result) if out is None else out

    given = ", ".join(f"{name!r}: {name}" for name in form.arrays)
    return _define(form, f"return run({{{given}}}, axis, {form.out}, stream)", run=run_rows)


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
        pointers = (x.pointer, y.pointer, at.pointer)
        Launch(kernel, grid, block, x.device, around)(pointers, (), on)


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

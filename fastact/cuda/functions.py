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
from fastact.catalogue.dtypes import INTEGERS, Kind
from fastact.cuda import arrays, kernels
from fastact.cuda.arrays import View
from fastact.cuda.calls import Call, Checked, Made, Remembered, Run, filled
from fastact.cuda.launch import (
    Elementwise,
    Launch,
    check_outputs,
    check_together,
    check_without_gaps,
    elementwise_grid,
    is_aligned,
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


def _remembering(form: Form, check: Callable[..., Checked]) -> Any:
    """A function whose parameters are part of what is remembered of a call."""
    given, extra = ", ".join(form.arrays), ", ".join(p.name for p in form.parameters)
    extra = f"({extra})" if len(form.parameters) > 1 else extra
    if form.outputs > 1:
        wanted = f"[*({form.out} or ({'None, ' * form.outputs}))]"
        body = f"return tuple(call(({given},), {wanted}, {extra}, stream))"
    else:
        body = f"return call(({given},), [{form.out}], {extra}, stream)[0]"
    return _define(form, body, call=Remembered(check))


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


#: A part of an array of the call, whose number it has.
_Part = tuple[int, View]


def _on_parts(
    function: str,
    kernel: Elementwise,
    of: Sequence[View],
    inputs: Mapping[str, _Part],
    outputs: Mapping[str, _Part],
    separate: bool,
) -> Run | None:
    """Runs a kernel on parts, of one shape, of the call's arrays; None if they are empty."""
    named = {name: part for name, (_, part) in [*inputs.items(), *outputs.items()]}
    check_together(function, named)
    shape = named[next(iter(outputs))].shape
    for name in inputs:
        _check_shape(function, name, named[name], shape)
    views = [named[name] for name in inputs]
    for name in outputs:  # which are apart from each other
        check_outputs(function, {name: named[name]}, [] if separate else views, shape)
    if 0 in shape:
        return None
    places = [
        (k, part.pointer - of[k].pointer) for k, part in [*inputs.values(), *outputs.values()]
    ]
    aligned = is_aligned([view.pointer for view in [*of, *named.values()]])
    launch = kernel.launch([*named.values()], aligned)

    def run(pointers: Sequence[int], numbers: Sequence[Any], stream: int) -> None:
        launch([pointers[k] + offset for k, offset in places], numbers, stream)

    return run


def _check_shape(function: str, name: str, of: View, shape: tuple[int, ...]) -> None:
    if of.shape != shape:
        raise ValueError(f"{function}: {name} must have shape {shape}, got {of.shape}")


def _of_halves(form: Form) -> Any:
    """A gated unit of the halves of one array."""
    entry, function = form.entry, form.name
    assert isinstance(entry, Gated)
    assert isinstance(entry.of, Activation)
    kernel = _kernel(entry.of, f"gated_{form.which}")

    def forward(given: Sequence[Any], wanted: list[Any], axis: Any, stream: Any) -> Checked:
        (x,) = given
        of = arrays.view(function, "x", x)
        up, gate = _halves(function, of, axis)
        made: list[Made] = [(of, up.shape, "")]
        results = filled(x, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        _check_shape(function, "out", target, up.shape)
        inputs, separate = {"gate": (0, gate), "up": (0, up)}, wanted[0] is None
        run = _on_parts(function, kernel, [of, target], inputs, {"out": (1, target)}, separate)
        return Checked([of], results, [target], made, run)

    def backward(given: Sequence[Any], wanted: list[Any], axis: Any, stream: Any) -> Checked:
        grad, x = given
        of, by = arrays.view(function, "x", x), arrays.view(function, "grad", grad)
        up, gate = _halves(function, of, axis)
        made: list[Made] = [(of, of.shape, "")]
        results = filled(grad, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        _check_shape(function, "out", target, of.shape)
        by_up, by_gate = _halves(function, target, axis)
        inputs = {"grad": (0, by), "gate": (1, gate), "up": (1, up)}
        outputs = {"out (gate)": (2, by_gate), "out (up)": (2, by_up)}
        views, separate = [by, of, target], wanted[0] is None
        run = _on_parts(function, kernel, views, inputs, outputs, separate)
        return Checked([by, of], results, [target], made, run)

    return _remembering(form, forward if form.which == "forward" else backward)


def _joined(form: Form) -> Any:
    """Two functions, one after the other along an axis."""
    entry, function = form.entry, form.name
    assert isinstance(entry, Joined)

    def forward(given: Sequence[Any], wanted: list[Any], axis: Any, stream: Any) -> Checked:
        (x,) = given
        of = arrays.view(function, "x", x)
        shape = shapes.doubled(function, axis, of.shape)
        made: list[Made] = [(of, shape, "")]
        results = filled(x, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        _check_shape(function, "out", target, shape)
        runs = [
            _on_parts(
                function,
                _kernel(part, "forward"),
                [of, target],
                {"x": (0, of)},
                {"out": (1, half)},
                wanted[0] is None,
            )
            for part, half in zip(
                (entry.first, entry.second), _halves(function, target, axis), strict=True
            )
        ]

        def both(pointers: Sequence[int], numbers: Sequence[Any], stream: int) -> None:
            for run in runs:
                if run is not None:
                    run(pointers, numbers, stream)

        return Checked([of], results, [target], made, both)

    def backward(given: Sequence[Any], wanted: list[Any], axis: Any, stream: Any) -> Checked:
        grad, x = given
        of, by = arrays.view(function, "x", x), arrays.view(function, "grad", grad)
        _check_shape(function, "grad", by, shapes.doubled(function, axis, of.shape))
        first, second = _halves(function, by, axis)
        made: list[Made] = [(of, of.shape, "")]
        results = filled(grad, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        _check_shape(function, "out", target, of.shape)
        inputs = {"grad (first half)": (0, first), "grad (second half)": (0, second), "x": (1, of)}
        kernel, views = _kernel(entry.derivative, "forward"), [by, of, target]
        outputs, separate = {"out": (2, target)}, wanted[0] is None
        run = _on_parts(function, kernel, views, inputs, outputs, separate)
        return Checked([by, of], results, [target], made, run)

    return _remembering(form, forward if form.which == "forward" else backward)


# --- rows ---------------------------------------------------------------------------------------


@functools.cache
def _row_kernel(formula: RowFormula, kind: Kind) -> kernels.CudaKernel:
    return kernels.rows(formula, kind)


def _rows(form: Form) -> Any:
    entry, function = form.entry, form.name
    assert isinstance(entry, Rows)
    formula = entry.backward if form.which == "backward" else entry.formula

    def check(given: Sequence[Any], wanted: list[Any], axis: Any, stream: Any) -> Checked:
        """Arrays are of one shape, without gaps."""
        pairs = zip(form.arrays, given, strict=True)
        views = {key: arrays.view(function, key, array) for key, array in pairs}
        of = next(iter(views.values()))
        around = shapes.around(function, axis, of.shape)
        made: list[Made] = [(of, of.shape, "")]
        results = filled(given[0], wanted, made, stream)
        target = {"out": arrays.view(function, "out", results[0])}
        everything = views | target
        for key, other in everything.items():
            _check_shape(function, key, other, of.shape)
        check_without_gaps(function, everything)
        check_together(function, everything)
        apart = [] if wanted[0] is None else list(views.values())
        check_outputs(function, target, apart, of.shape)
        run = None
        if of.size:
            before, length, after = around
            grid, block = row_grid(before * after, length)
            run = Launch(_row_kernel(formula, of.kind), grid, block, of.device, around)
        return Checked([*views.values()], results, [*target.values()], made, run)

    return _remembering(form, check)


# --- the largest of rows ------------------------------------------------------------------------

_largest_kernel = functools.cache(lambda make, kind: make(kind))


def _check_largest(
    function: str, make: Any, x: View, y: View, indices: Any, shape: tuple[int, ...], axis: int
) -> tuple[View, Launch | None]:
    """Of the indices, and one of the two kernels; ``shape`` is that of the array with the axis."""
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
    steps = arrays.contiguous_strides(small, 8)
    of = View(at.pointer, small, steps, INTEGERS["q"], at.device, at.stream, at.writable)
    if not math.prod(shape):
        return of, None
    grid, block = elementwise_grid(math.prod(small), x.device)
    around = shapes.around(function, axis, shape)
    return of, Launch(_largest_kernel(make, x.kind), grid, block, x.device, around)


def _largest(form: Form) -> Any:
    function = form.name

    def forward(given: Sequence[Any], wanted: list[Any], axis: Any, stream: Any) -> Checked:
        (x,) = given
        of = arrays.view(function, "x", x)
        shape = shapes.without_pieces(function, axis, of.shape)
        made: list[Made] = [(of, shape, ""), (of, shape, "int64")]
        results = filled(x, wanted, made, stream)
        target = arrays.view(function, "out[0]", results[0])
        apart = [] if wanted[0] is None else [of]
        check_outputs(function, {"out[0]": target}, apart, shape)
        at, run = _check_largest(function, kernels.maxout, of, target, results[1], of.shape, axis)
        return Checked([of], results, [target, at], made, run)

    def backward(
        given: Sequence[Any], wanted: list[Any], extra: tuple[Any, Any], stream: Any
    ) -> Checked:
        (grad, indices), (pieces, axis) = given, extra
        of = arrays.view(function, "grad", grad)
        shape = shapes.with_length(function, axis, pieces, of.shape)
        made: list[Made] = [(of, shape, "")]
        results = filled(grad, wanted, made, stream)
        target = arrays.view(function, "out", results[0])
        check_outputs(function, {"out": target}, [] if wanted[0] is None else [of], shape)
        make = kernels.maxout_backward
        at, launch = _check_largest(function, make, of, target, indices, shape, axis)

        def run(pointers: Sequence[int], numbers: Sequence[Any], stream: int) -> None:
            grad, indices, result = pointers
            if launch is not None:
                launch((grad, result, indices), numbers, stream)

        return Checked([of, at], results, [target], made, run)

    return _remembering(form, forward if form.which == "forward" else backward)


_MAKERS: dict[type[Entry], Callable[[Form], Any]] = {
    Activation: _activation,
    Randomized: _randomized,
    Variants: _variants,
    Gated: _gated,
    Joined: _joined,
    Rows: _rows,
    Largest: _largest,
}

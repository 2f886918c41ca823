"""Calls of kernels: arrays are checked once for each of their layouts.

What the checks read of an array is its *layout* (dtype, shape, strides and device), and where it
is. So a second call with arrays of layouts that were checked before only has to look whether
addresses are as well aligned, and whether outputs are apart from inputs, or the very same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

from fastact.catalogue.dtypes import Kind
from fastact.cuda import arrays
from fastact.cuda.arrays import View
from fastact.cuda.launch import (
    Elementwise,
    check_outputs,
    check_together,
    is_aligned,
    rounded,
)

__all__ = ["Call", "Checked", "Made", "Remembered", "Run", "Seen", "filled"]

#: Layouts that a function remembers; a program that has more of them begins again.
REMEMBERED = 256

#: Runs kernels, given addresses, inputs first, parameters and the handle of a stream.
Run = Callable[[Sequence[int], Sequence[Any], int], object]
#: What a result is made like: a view, a shape, and the name of a dtype other than the view's.
Made = tuple[View, tuple[int, ...], str]


Found = TypeVar("Found")


class _Known(NamedTuple):
    run: Run
    kind: Kind
    device: int
    #: Positions of an output and of another operand, the distances from one to the other between
    #: which they overlap, and whether they may be the very same.
    apart: tuple[tuple[int, int, int, int, bool], ...]


class Seen:
    """What was found out about calls of one function.

    ``extra`` is what else is part of a call, such as the number of an axis. ``rounds``: parameters
    are numbers of the arrays' dtype; otherwise kernels get them as they are.
    """

    def __init__(self, rounds: bool = True) -> None:
        self._rounds = rounds
        self._known: dict[Hashable, _Known] = {}
        self._made: dict[Hashable, tuple[Made, ...]] = {}

    def launched(
        self,
        given: Sequence[Any],
        results: list[Any],
        extra: Hashable,
        parameters: Sequence[Any] = (),
    ) -> bool:
        """Run what was run for arrays like these, on their library's current stream.

        False if there was no such call. Where ``results`` are None they are made.
        """
        kind: Any = type(given[0])
        library = arrays.library_of(kind)
        if library is None:
            return False
        read = library.read
        pointers: list[int] = []
        layout: list[Hashable] = [type(extra), extra]  # 1.0 is no axis, 1 is
        for array in given:
            if type(array) is not kind and arrays.library_of(type(array)) is not library:
                return False
            read(array, pointers, layout)
        inputs = len(layout)
        for k, result in enumerate(results):
            if result is None:
                made = _found(self._made, layout[:inputs])
                if made is None:
                    return False
                result = results[k] = arrays.empty(given[0], *made[k])
            elif type(result) is not kind and arrays.library_of(type(result)) is not library:
                return False
            read(result, pointers, layout)
        layout.append(is_aligned(pointers))
        known = _found(self._known, layout)
        if known is None:
            return False
        run, of, device, apart = known
        for o, k, low, high, may_be_same in apart:
            distance = pointers[k] - pointers[o]
            if low < distance < high and not (may_be_same and distance == 0):
                return False
        if parameters and self._rounds:
            parameters = rounded(parameters, of)
        run(pointers, parameters, library.stream(device))
        return True

    def remember(
        self,
        given: Sequence[Any],
        inputs: Sequence[View],
        results: Sequence[Any],
        outputs: Sequence[View],
        extra: Hashable,
        made: Sequence[Made],
        run: Run,
    ) -> None:
        """What to run for arrays like these, which are there as views, too.

        ``run`` may rely on the alignment of addresses where all of them are aligned.
        """
        library = arrays.library_of(type(given[0]))
        everything = [*given, *results]
        if library is None or any(arrays.library_of(type(a)) is not library for a in everything):
            return
        pointers: list[int] = []
        layout: list[Hashable] = [type(extra), extra]  # 1.0 is no axis, 1 is
        for array in given:
            library.read(array, pointers, layout)
        of_inputs = tuple(layout)
        for array in results:
            library.read(array, pointers, layout)
        layout.append(is_aligned(pointers))
        if len(self._known) >= REMEMBERED:
            self._known.clear()
            self._made.clear()
        self._made[of_inputs] = tuple(made)
        of = inputs[0]
        self._known[tuple(layout)] = _Known(run, of.kind, of.device, _apart(inputs, outputs))


def _found(known: dict[Hashable, Found], layout: Sequence[Hashable]) -> Found | None:
    try:
        return known.get(tuple(layout))
    except TypeError:  # an axis that is a list, or the like: whoever checks it can say so
        return None


def _apart(
    inputs: Sequence[View], outputs: Sequence[View]
) -> tuple[tuple[int, int, int, int, bool], ...]:
    """How outputs are apart from the operands before them."""
    views = [*inputs, *outputs]
    spans = [arrays.span(view) for view in views]
    pairs = []
    for o in range(len(inputs), len(views)):
        for k in range(o):
            (low, high), (other_low, other_high) = spans[o], spans[k]
            may_be_same = k < len(inputs) and _same_layout(views[k], views[o])
            pairs.append((o, k, low - other_high, high - other_low, may_be_same))
    return tuple(pairs)


def _same_layout(a: View, b: View) -> bool:
    return a.shape == b.shape and a.strides == b.strides


# --- functions of any kind ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Checked:
    """What a call turned out to be: views, results, and what to run; None is nothing to do."""

    inputs: Sequence[View]
    results: Sequence[Any]
    outputs: Sequence[View]
    made: Sequence[Made]
    run: Run | None


class Remembered:
    """A function that is given arrays and results, of which some may be None, and returns results.

    ``check`` has the same arguments: it raises what there is to be raised, makes results, and says
    what to run. It is not called for arrays like those of an earlier call.
    """

    def __init__(
        self,
        check: Callable[[Sequence[Any], list[Any], Any, Any], Checked],
        rounds: bool = True,
    ) -> None:
        self._check, self._seen, self._rounds = check, Seen(rounds), rounds

    def __call__(
        self,
        given: Sequence[Any],
        results: list[Any],
        extra: Hashable,
        stream: Any,
        parameters: Sequence[Any] = (),
    ) -> list[Any]:
        if stream is None:
            wanted = results.copy()
            if self._seen.launched(given, wanted, extra, parameters):
                return wanted
        like, call = given[0], self._check(given, results, extra, stream)
        if call.run is not None:
            views = [*call.inputs, *call.outputs]
            numbers = rounded(parameters, views[0].kind) if self._rounds else parameters
            pointers, on = [view.pointer for view in views], arrays.launch_stream(views, stream)
            call.run(pointers, numbers, on)
            if 0 not in views[0].shape:
                self._seen.remember(
                    given, call.inputs, call.results, call.outputs, extra, call.made, call.run
                )
        return [
            arrays.finished(like, result, stream) if wanted is None else wanted
            for wanted, result in zip(results, call.results, strict=True)
        ]


def filled(like: Any, results: Sequence[Any], made: Sequence[Made], stream: Any) -> list[Any]:
    """The results, those that are None made."""
    if all(result is not None for result in results):
        return list(results)
    with arrays.allocating_on(like, stream):
        return [
            arrays.empty(like, *how) if result is None else result
            for result, how in zip(results, made, strict=True)
        ]


# --- elementwise kernels ------------------------------------------------------------------------

#: Changes the views of inputs, given the hashable thing that a call passed along.
Adapt = Callable[[dict[str, View], Any], dict[str, View]]


class Call:
    """Calls of one function: ``call(arrays, parameters, out, stream)`` runs its kernel.

    Arrays, whose names in error messages are ``names``, are broadcast. ``out`` is an array, or a
    tuple where the kernel has several outputs; what is None is made like the first array. The
    result is ``out``, or what was made. ``integers``: arrays of these are taken, too.
    """

    def __init__(
        self,
        function: str,
        kernel: Elementwise,
        names: Sequence[str],
        adapt: Adapt | None = None,
        integers: bool = False,
    ) -> None:
        self._function, self._kernel, self._names = function, kernel, tuple(names)
        self._adapt, self._integers = adapt, integers
        self._outputs = kernel.outputs
        self._seen = Seen()

    def __call__(
        self,
        given: tuple[Any, ...],
        parameters: Sequence[Any],
        out: Any,
        stream: Any,
        extra: Hashable = None,
    ) -> Any:
        """``extra`` is what ``adapt`` gets."""
        if stream is None:
            one = self._outputs == 1
            results = [out] if one else list(out or (None,) * self._outputs)
            if self._seen.launched(given, results, extra, parameters):
                if one:
                    return results[0]
                given_all = out and all(a is b for a, b in zip(out, results, strict=True))
                return out if given_all else tuple(results)
        return self._checked(given, parameters, out, stream, extra)

    def _checked(
        self,
        given: tuple[Any, ...],
        parameters: Sequence[Any],
        out: Any,
        stream: Any,
        extra: Hashable,
    ) -> Any:
        function, outputs = self._function, self._outputs
        pairs = zip(self._names, given, strict=True)
        integers = self._integers
        as_given = {name: arrays.view(function, name, array, integers) for name, array in pairs}
        views = as_given if self._adapt is None else self._adapt(as_given, extra)
        first, of = given[0], views[self._names[0]]
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
        pairs = zip(called, results, strict=True)
        targets = {name: arrays.view(function, name, array, integers) for name, array in pairs}
        check_together(function, views | targets)
        inputs = list(views.values())
        if len(seen) > 1 or shape != of.shape:
            inputs = [arrays.broadcast(function, v, shape) for v in inputs]
        check_outputs(function, targets, [] if all(made) else inputs, shape)
        operands = [*inputs, *targets.values()]
        numbers = rounded(parameters, of.kind)
        if operands[0].size:
            pointers = [operand.pointer for operand in operands]
            launch = self._kernel.launch(operands, is_aligned(pointers))
            launch(pointers, numbers, arrays.launch_stream(operands, stream))
            before, after = [*as_given.values()], [*targets.values()]
            how = [(of, shape, "")] * outputs
            self._seen.remember(given, before, results, after, extra, how, launch)
        if not any(made):
            return out
        finished = tuple(
            arrays.finished(first, result, stream) if new else result
            for new, result in zip(made, results, strict=True)
        )
        return finished[0] if outputs == 1 else finished

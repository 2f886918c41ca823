"""Calls of kernels: arrays are checked once for each of their layouts.

What the checks read of an array is its *layout* (dtype, shape, strides and device), and where it
is. So a second call with arrays of layouts that were checked before only has to look whether
addresses are as well aligned, and whether outputs are apart from inputs, or the very same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from fastact.catalogue.dtypes import Kind
from fastact.cuda import arrays
from fastact.cuda.arrays import View
from fastact.cuda.launch import (
    Elementwise,
    Launch,
    check_outputs,
    check_together,
    is_aligned,
    rounded,
)

__all__ = ["Apart", "Call", "Seen"]

#: Layouts that a function remembers; a program that has more of them begins again.
REMEMBERED = 256

Known = TypeVar("Known")


class Seen(Generic[Known]):
    """What is known of calls whose arrays have some layouts, for arrays of one library.

    ``extra`` is what else is part of a call, such as the number of an axis.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Known] = {}
        self._made: dict[Hashable, tuple[View, tuple[int, ...]]] = {}

    def find(
        self, given: Sequence[Any], results: list[Any], extra: Hashable
    ) -> tuple[Known, list[int], arrays.Library] | None:
        """What is known, and all addresses. Where ``results`` are None they are made first."""
        kind: Any = type(given[0])
        library = arrays.library_of(kind)
        if library is None:
            return None
        pointers: list[int] = []
        layouts: list[Hashable] = [extra]
        if not _read(library, kind, given, pointers, layouts):
            return None
        if results[0] is None:
            made = self._made.get(tuple(layouts))
            if made is None or results.count(None) != len(results):
                return None
            results[:] = [arrays.empty(given[0], *made) for _ in results]
        if not _read(library, kind, results, pointers, layouts):
            return None
        known = self._known.get((is_aligned(pointers), *layouts))
        return None if known is None else (known, pointers, library)

    def remember(
        self,
        given: Sequence[Any],
        results: Sequence[Any],
        extra: Hashable,
        made: tuple[View, tuple[int, ...]],
        known: Known,
    ) -> None:
        """``made``: what results are made like, and their shape."""
        kind: Any = type(given[0])
        library = arrays.library_of(kind)
        pointers: list[int] = []
        layouts: list[Hashable] = [extra]
        if library is None or not _read(library, kind, given, pointers, layouts):
            return
        of_inputs = tuple(layouts)
        if not _read(library, kind, results, pointers, layouts):
            return
        if len(self._known) >= REMEMBERED:
            self._known.clear()
            self._made.clear()
        self._made[of_inputs] = made
        self._known[(is_aligned(pointers), *layouts)] = known


def _read(
    library: arrays.Library,
    kind: type,
    operands: Sequence[Any],
    pointers: list[int],
    layouts: list[Hashable],
) -> bool:
    """Add addresses and layouts; False if an array is not of that kind."""
    for array in operands:
        if type(array) is not kind:
            return False
        pointer, layout = library.read(array)
        pointers.append(pointer)
        layouts.append(layout)
    return True


class Apart:
    """Whether outputs are apart from the other arrays of a call, whose layouts are known."""

    def __init__(self, inputs: Sequence[View], outputs: Sequence[View]) -> None:
        views = [*inputs, *outputs]
        spans = [arrays.span(view) for view in views]
        #: Positions of an output and of another operand, the bytes around the address that each
        #: has, and whether both may be the very same.
        self._pairs = [
            (o, k, *spans[o], *spans[k], k < len(inputs) and _same_layout(views[k], views[o]))
            for o in range(len(inputs), len(views))
            for k in range(o)
        ]

    def holds(self, pointers: Sequence[int]) -> bool:
        for o, k, low, high, other_low, other_high, may_be_same in self._pairs:
            distance = pointers[k] - pointers[o]
            if distance == 0 and may_be_same:
                continue
            if distance + other_low < high and distance + other_high > low:
                return False
        return True


def _same_layout(a: View, b: View) -> bool:
    return a.shape == b.shape and a.strides == b.strides


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
        self._seen: Seen[tuple[Launch, Apart, Kind]] = Seen()

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
            results = [out] if self._outputs == 1 else list(out or (None,) * self._outputs)
            found = self._seen.find(given, results, extra)
            if found is not None:
                (launch, apart, kind), pointers, library = found
                if apart.holds(pointers):
                    numbers = rounded(parameters, kind) if parameters else ()
                    launch(pointers, numbers, library.stream(launch.device))
                    if out is not None:
                        return out
                    return results[0] if self._outputs == 1 else tuple(results)
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
            aligned = is_aligned(pointers)
            launch = self._kernel.launch(operands, aligned)
            launch(pointers, numbers, arrays.launch_stream(operands, stream))
            known = (launch, Apart([*as_given.values()], [*targets.values()]), of.kind)
            self._seen.remember(given, results, extra, (of, shape), known)
        if not any(made):
            return out
        finished = tuple(
            arrays.finished(first, result) if new else result
            for new, result in zip(made, results, strict=True)
        )
        return finished[0] if outputs == 1 else finished

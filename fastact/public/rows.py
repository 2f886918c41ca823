"""Functions of rows along an axis, softmax and its like, and maxout."""

from __future__ import annotations

import functools
import math
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue import Activation, Form, Largest, RowFormula, Rows
from fastact.catalogue.dtypes import Kind, float_dtypes
from fastact.cpu import rows as kernels
from fastact.cpu.compiler import Unit
from fastact.cpu.ufunc import Loop, Shape, make
from fastact.public import shapes
from fastact.public.checks import as_they_are, check_out
from fastact.public.define import define
from fastact.public.documentation import documentation
from fastact.public.elementwise import kernel_ufunc
from fastact.source.totals import known

__all__ = ["labelled_ufunc", "largest", "part_ufunc", "row_ufunc", "rows"]

Array = npt.NDArray[Any]


def rows(form: Form) -> Any:
    """``f`` or ``f_backward`` of a function of rows."""
    entry = form.entry
    assert isinstance(entry, Rows)
    formula = entry.backward if form.which == "backward" else entry.formula
    made = _RowFunction(form.name, formula)
    first, arrays = form.arrays[0], ", ".join(form.arrays)
    body = f"""\
if type({first}) is ndarray and not keywords:
    if {first}.size >= LONG_ROW:
        result = of_long_rows(({arrays},), axis, out)
        if result is not None:
            return result
    if axis != -1:
        if out is None:
            out = output({arrays})
        if {first}.ndim > 2 and in_the_middle(({arrays},), axis, out):
            return out
return ufunc({arrays}, out, axis=axis, **keywords)"""
    names = {"ndarray": np.ndarray, "LONG_ROW": LONG_ROW, "of_long_rows": made.of_long_rows}
    names |= {"output": made.output, "in_the_middle": made.in_the_middle}
    names |= {"ufunc": made.ufunc, "part_ufunc": made.part, "result_ufunc": made.result}
    names |= {"middle_ufunc": made.middle}
    return define(form, body, documentation(form), module="fastact", last="**keywords", **names)


def largest(form: Form) -> Any:
    """``f`` or ``f_backward`` of maxout."""
    assert isinstance(form.entry, Largest)
    name = form.name
    if form.which == "forward":
        ufunc = row_ufunc(f"{name}.ufunc", "(n)->(),()", "..l", kernels.maxout)
        body = f"""\
if "axes" in keywords:
    return ufunc(x, out=out, **keywords)
without_pieces({name!r}, axis, shape(x))
return ufunc(x, out=out, axis=axis, **keywords)"""
        names: dict[str, Any] = {"without_pieces": shapes.without_pieces, "shape": np.shape}
    else:
        ufunc = row_ufunc(f"{name}.ufunc", "(),()->(n)", ".l.", kernels.maxout_backward)
        body = "return run(grad, indices, pieces, axis, out, **keywords)"
        names = {"run": _largest_backward(name, ufunc)}
    names["ufunc"] = ufunc
    return define(form, body, documentation(form), module="fastact", last="**keywords", **names)


def _largest_backward(name: str, ufunc: np.ufunc) -> Callable[..., Array]:
    def run(grad: Any, indices: Any, pieces: int, axis: int, out: Any, **keywords: Any) -> Array:
        grad, indices = np.asanyarray(grad), np.asanyarray(indices)
        broadcast = np.broadcast_shapes(grad.shape, indices.shape)
        shape = shapes.with_length(name, axis, pieces, broadcast)
        if out is None:
            out = np.empty(shape, ufunc.resolve_dtypes((grad.dtype, indices.dtype, None))[-1])
        else:
            check_out(name, out, shape)
        return ufunc(grad, indices, out, axis=axis, **keywords)

    return run


def row_ufunc(
    name: str, signature: str, dtypes: str, unit: Callable[[Kind], Unit], half: bool = True
) -> np.ufunc:
    """A generalized ufunc; ``dtypes`` has a dot for each operand of the array's own dtype."""
    own = [(dtype, kind) for dtype, kind in float_dtypes() if half or kind.itemsize > 2]
    others = {"d": kernels.DOUBLE, "l": kernels.INDEX}

    def of(dtype: np.dtype[Any], kind: Kind) -> Loop:
        return Loop(
            tuple(dtype if c == "." else np.dtype(others[c].name) for c in dtypes),
            tuple(kind if c == "." else others[c] for c in dtypes),
            0,
            lambda: unit(kind),
        )

    doc = f"The kernel of ``{name.partition('.')[0]}``."
    return make(name, doc, Shape.of(signature), [of(dtype, kind) for dtype, kind in own])


# --- rows side by side --------------------------------------------------------------------------

#: With so many, where an axis has others before it, all are the business of one call. Two threads,
#: (64, 100, 49) float32 along axis 1: 1.2 to 2 times faster.
FEW_SIDE_BY_SIDE, MANY_SIDE_BY_SIDE = 8, 1024

# --- long rows ----------------------------------------------------------------------------------

#: The driver hands out whole rows. Where an array has at most FEW_ROWS rows, of at least LONG_ROW
#: elements each, threads take parts of them: one kernel for the sums of the parts, and another,
#: elementwise, for the results. 1 row of 10^6 float32, 2 threads: 1.2 to 1.3 times faster.
FEW_ROWS = 8
LONG_ROW = 1 << 18
#: Elements of a part; they stay in a core's cache between the first and the second time.
PART = 8192


@functools.cache
def part_ufunc(formula: RowFormula) -> np.ufunc:
    """What parts of rows add to the sums of a formula, as ``kernels.partial`` says."""
    arrays = len(formula.inputs)
    inputs = ",".join(["(n)"] * arrays)
    sums = ("(),(),()", ".dd") if arrays == 1 else ("()", "d")
    kept = ("(n),", ".") if formula.keeps_term else ("", "")
    return row_ufunc(
        f"{formula.name}.part_ufunc",
        f"{inputs}->{kept[0]}{sums[0]}",
        "." * arrays + kept[1] + sums[1],
        lambda kind: kernels.partial(formula, kind),
        half=not formula.keeps_term,
    )


def labelled_ufunc(formula: RowFormula, name: str) -> np.ufunc:
    """Cross-entropy of rows with labels, as ``kernels.labelled`` says."""
    signature, dtypes = "(n),(),(),()->(n),(),(),(),()", ".ldd.dddd"
    unit = functools.partial(kernels.labelled, formula)
    return row_ufunc(name, signature, dtypes, unit)


class _RowFunction:
    """The ufuncs of a formula of rows: of whole rows, and the two that long rows need."""

    def __init__(self, name: str, formula: RowFormula) -> None:
        self.name, self.formula = name, formula
        arrays = len(formula.inputs)
        inputs = ",".join(["(n)"] * arrays)
        self.ufunc = row_ufunc(
            f"{name}.ufunc",
            f"{inputs}->(n)",
            "." * (arrays + 1),
            lambda kind: kernels.whole(formula, kind),
        )
        self.middle = row_ufunc(
            f"{name}.middle_ufunc",
            f"{inputs},()->(n)",
            f"{'.' * arrays}l.",
            lambda kind: kernels.middle(formula, kind),
        )
        self.part = part_ufunc(formula)
        result = Activation(
            name=name, formula=formula.result, arrays=arrays, about=("of the sum", "what it lost")
        )
        about = f"The results of ``{name}``, given the sums of rows."
        self.result = kernel_ufunc(result, "forward", f"{name}.result_ufunc", about)

    def output(self, *arrays: Any) -> Array | None:
        """An output that lies in memory as the first of these arrays; None if they differ.

        NumPy makes one whose last axis is that of the rows, and gives it back with its axes moved,
        in an order that is slow to work on: adding to softmax(x, 0) took 8 times as long.
        """
        first = arrays[0]
        if not all(type(a) is np.ndarray and a.shape == first.shape for a in arrays):
            return None
        try:
            dtype = self.ufunc.resolve_dtypes((*(a.dtype for a in arrays), None))[-1]
        except TypeError:
            return None  # said better by the ufunc
        return np.empty_like(first, dtype)

    def in_the_middle(self, arrays: tuple[Any, ...], axis: int, out: Array | None) -> bool:
        """Whether the axis has some before it, and few after it, and ``out`` is done.

        NumPy calls a loop for each index of those before: calls that are too short to be shared.
        """
        first = arrays[0]
        shape: tuple[int, ...] = first.shape
        axis = shapes.axis_number(self.name, axis, shape)
        rows = math.prod(shape[axis + 1 :])
        if axis == 0 or not FEW_SIDE_BY_SIDE <= rows <= MANY_SIDE_BY_SIDE or not first.size:
            return False
        if out is None or not as_they_are(arrays, first.dtype, shape, out):
            return False
        flat = (math.prod(shape[:axis]), shape[axis] * rows)
        self.middle(*(a.reshape(flat) for a in arrays), rows, out.reshape(flat))
        return True

    def of_long_rows(self, arrays: tuple[Any, ...], axis: int, out: Array | None) -> Any:
        """The result, computed by parts; None if these are not few long rows."""
        if not _splits(self.name, arrays, axis, out):
            return None
        if out is None:
            out = np.empty_like(arrays[0])
        with np.errstate(all="ignore"):
            self._by_parts([a.swapaxes(axis, -1) for a in arrays], out.swapaxes(axis, -1))
        return out

    def _by_parts(self, arrays: list[Array], out: Array) -> None:
        """The function of rows along the last axis."""
        kept = [out] if self.formula.keeps_term else []
        sums = []
        for views in zip(*map(_parts, [*arrays, *kept]), strict=True):
            found = self.part(*views)
            sums.append(found[len(kept) :] if len(arrays) == 1 else (found,))
        # There are few of them: wider numbers cost nothing, where there are any.
        wide = np.longdouble
        totals = [
            np.concatenate(pieces, axis=-1).astype(wide) for pieces in zip(*sums, strict=True)
        ]
        high, low = _known(self.formula.total, *totals)
        # The second part is what the first has lost to rounding.
        first = high.astype(out.dtype)
        second = ((high - first) + low).astype(out.dtype)
        start = 0
        for views in zip(*map(_parts, [*(kept or arrays), out]), strict=True):
            columns = slice(start, start := start + views[0].shape[-2])
            if first.shape[-1] == 1:  # the same for all parts of a row
                columns = slice(None)
            known = (part[..., columns, np.newaxis] for part in (first, second))
            self.result(*views[:-1], *known, views[-1])


def _splits(function: str, arrays: tuple[Any, ...], axis: int, out: Array | None) -> bool:
    """Whether these are few long rows, and arrays without any peculiarity."""
    first = arrays[0]
    length = first.shape[shapes.axis_number(function, axis, first.shape)]
    return (
        length >= LONG_ROW
        and first.size <= FEW_ROWS * length
        and first.dtype in (np.float32, np.float64)
        and all(
            type(a) is np.ndarray
            and a.shape == first.shape
            and a.dtype == first.dtype
            and a.flags.aligned
            and a.dtype.isnative
            # Elements are replaced one by one: an output may be an input, but not overlap it.
            and (out is None or out is a or not np.may_share_memory(out, a))
            for a in (*arrays, *([] if out is None else [out]))
        )
        and (out is None or out.flags.writeable)
    )


def _parts(array: Array) -> list[Array]:
    """Views of an array with its last axis in parts: those of full length, and the last one."""
    *others, length = array.shape
    count, rest = divmod(length, PART)
    views = [array[..., : length - rest].reshape(*others, count, PART)]
    if rest:
        views.append(array[..., np.newaxis, length - rest :])
    return views


def _known(total: str, *sums: Array) -> tuple[Array, Array | float]:
    """What ``result`` gets to know, from the sums of parts as ``rows.partial`` gives them."""
    if total == "sum":
        return _of_sums(total)(None, sums[0].sum(-1, keepdims=True), 0.0, None)
    tops, rests, counts = sums
    top = tops.max(-1, keepdims=True)
    at_top = tops == top
    factors = np.exp(tops - top)
    others = np.where(at_top, rests, (rests + counts) * factors).sum(-1, keepdims=True)
    count = np.where(at_top, counts, 0).sum(-1, keepdims=True)
    if total == "logarithm":
        return _of_sums(total)(top, others, 0.0, count)
    # Terms are relative to their part's own top. NaN where the largest element is infinite.
    return factors / (others + count + (top - top)), 0.0


@functools.cache
def _of_sums(total: str) -> Callable[..., tuple[Array, Array | float]]:
    """What the kernels compute of sums, on arrays of float64."""
    body = textwrap.indent(known(total, wider=True), "    ")
    namespace: dict[str, Any] = {"log1p_of_sum": np.log1p}
    namespace |= dict.fromkeys("AT", lambda number: number)
    exec(f"def of(top, total, low, count):\n{body}    return first, second", namespace)
    return namespace["of"]

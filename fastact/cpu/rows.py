"""Kernels over rows, as loops of generalized ufuncs: softmax and its relatives, and maxout."""

from __future__ import annotations

from fastact.catalogue import RowFormula
from fastact.catalogue.dtypes import Kind
from fastact.cpu.compiler import Unit
from fastact.cpu.loops import unit_of_source
from fastact.cpu.row_middle import MiddleSource, MiddleVectorSource
from fastact.cpu.row_source import BESIDE, DOUBLE, INDEX, Source, indented
from fastact.cpu.row_vectors import VectorSource
from fastact.cpu.target import traits
from fastact.source.formulas import call

__all__ = [
    "DOUBLE",
    "INDEX",
    "labelled",
    "maxout",
    "maxout_backward",
    "middle",
    "partial",
    "whole",
]


def whole(formula: RowFormula, kind: Kind) -> Unit:
    """``out = result(...)`` for each row: ``(n)->(n)``, and ``(n),(n)->(n)`` for gradients."""
    return _source(kind)(formula, kind, [kind], partial=False).unit()


def partial(formula: RowFormula, kind: Kind) -> Unit:
    """What a part of a row adds to its sum: ``(n),(n)->()`` for gradients.

    ``(n)->(),(),()`` for functions that need the largest element: that, the sum of the other
    elements' terms, and how many elements are as large. ``(n)->(n),(),(),()`` where ``result`` is a
    function of the terms: these come first.
    """
    outputs = [kind] * formula.keeps_term
    outputs += [kind, DOUBLE, DOUBLE] if len(formula.inputs) == 1 else [DOUBLE]
    return _source(kind)(formula, kind, outputs, partial=True).unit()


def middle(formula: RowFormula, kind: Kind) -> Unit:
    """The same for many small matrices of rows side by side (see ``row_middle``)."""
    source = MiddleVectorSource if _wide(kind) else MiddleSource
    return source(formula, kind, [kind], partial=False).unit()


def labelled(formula: RowFormula, kind: Kind) -> Unit:
    """Cross-entropy of rows with labels: ``(n),(),(),()->(n),(),(),(),()``.

    ``formula`` is that of softmax. Inputs are the elements, the label, and two numbers: by what the
    softmax is multiplied, and what is taken off at the label, where both cancel to what is exact.
    Outputs are the gradient; the element at the label; logarithm of the sum less that; logarithm of
    the sum; and the gradient at the label. A label that is none is less than 0.
    """
    outputs = [kind, DOUBLE, DOUBLE, DOUBLE, DOUBLE]
    return _source(kind)(formula, kind, outputs, partial=False, labelled=True).unit()


def _source(kind: Kind) -> type[Source]:
    return VectorSource if _wide(kind) else Source


def _wide(kind: Kind) -> bool:
    """Explicit vectors where they have 512 bits and a sum needs no more than float64."""
    return "avx512" in traits() and kind.compute == "float32"


# --- maxout ---------------------------------------------------------------------------------------


def maxout(kind: Kind) -> Unit:
    """``(n)->(),()``: the largest element of each row, and the index of the first such one."""
    compute = kind.compute
    beside = BESIDE[compute]
    index = "int32" if compute == "float32" else "int64"

    def value(element: str) -> str:
        return f"T({call(kind.load, element)})"

    def many(read: str) -> str:
        """Rows side by side."""
        return f"""\
r = 0
while r < rows:
    width = rows - r
    if width > {beside}:
        width = {beside}
    for q in range(width):
        store(best, q, {read.replace("j * c0", "0")})
        store(which, q, {index}(0))
        independent()
    for j in range(1, n):
        for q in range(width):
            x = {read}
            top = load(best, q)
            larger = (x > top) | ((x != x) & (top == top))
            store(best, q, select(larger, x, top))
            store(which, q, select(larger, {index}(j), load(which, q)))
            independent()
    for q in range(width):
        shifted(a1, (r + q) * s1)[0] = {call(kind.store, "load(best, q)")}
        shifted(a2, (r + q) * s2)[0] = int64(load(which, q))
    r += width
"""

    text = f"""\
def loop(args, dimensions, steps, data):
    rows = dimensions[0]
    n = dimensions[1]
    a0 = operand(args, 0, {kind.storage})
    a1 = operand(args, 1, {kind.storage})
    a2 = operand(args, 2, int64)
    s0 = steps[0]
    s1 = steps[1]
    s2 = steps[2]
    c0 = steps[3]
    best = new_best()
    which = new_which()
    if s0 == {kind.itemsize}:
{indented(many(value("load(shifted(a0, r * s0 + j * c0), q)")), 2)}
    elif n <= 16:
{indented(many(value("load(shifted(a0, (r + q) * s0 + j * c0), 0)")), 2)}
    else:
        for r in range(rows):
            p0 = shifted(a0, r * s0)
            top = {value("p0[0]")}
            first = 0
            if c0 == {kind.itemsize}:
                top = T(-INFINITY)
                for i in range(n):
                    top = maximum(top, {value("load(p0, i)")})
                    eight_wide_twice()
                # The first one of those: by blocks, then one by one.
                found = T(0)
                while found == T(0):
                    stop = first + 256
                    if stop > n:
                        stop = n
                    for i in range(first, stop):
                        x = {value("load(p0, i)")}
                        found = plus_any_order(found, select((x == top) | (x != x), T(1), T(0)))
                        eight_wide_twice()
                    if found == T(0):
                        first = stop
                x = {value("p0[first]")}
                while x < top or (x == x and top != top):
                    first += 1
                    x = {value("p0[first]")}
            else:
                for j in range(1, n):
                    x = {value("shifted(p0, j * c0)[0]")}
                    larger = (x > top) | ((x != x) & (top == top))
                    top = select(larger, x, top)
                    first = select(larger, j, first)
            shifted(a1, r * s1)[0] = {call(kind.store, "top")}
            shifted(a2, r * s2)[0] = first
"""
    arrays = {"new_best": (compute, beside), "new_which": (index, beside)}
    return unit_of_source(
        f"maxout-{kind.name}", text, [kind, kind, INDEX], compute, arrays, __name__
    )


def maxout_backward(kind: Kind) -> Unit:
    """``(),()->(n)``: the gradient where the index is, 0 elsewhere."""
    size = kind.itemsize
    text = f"""\
def loop(args, dimensions, steps, data):
    rows = dimensions[0]
    n = dimensions[1]
    a0 = operand(args, 0, {kind.storage})
    a1 = operand(args, 1, int64)
    a2 = operand(args, 2, {kind.storage})
    s0 = steps[0]
    s1 = steps[1]
    s2 = steps[2]
    c2 = steps[3]
    if s0 == {size} and s1 == 8 and s2 == {size}:
        for j in range(n):
            p2 = shifted(a2, j * c2)
            for r in range(rows):
                store(p2, r, select(load(a1, r) == j, load(a0, r), {kind.storage}(0)))
                independent()
        return
    for r in range(rows):
        grad = shifted(a0, r * s0)[0]
        index = shifted(a1, r * s1)[0]
        p2 = shifted(a2, r * s2)
        if c2 == {size}:
            for j in range(n):
                store(p2, j, {kind.storage}(0))
                independent()
        else:
            for j in range(n):
                shifted(p2, j * c2)[0] = {kind.storage}(0)
        if index >= 0 and index < n:
            shifted(p2, index * c2)[0] = grad
"""
    kinds = [kind, INDEX, kind]
    return unit_of_source(f"maxout_backward-{kind.name}", text, kinds, kind.compute, None, __name__)

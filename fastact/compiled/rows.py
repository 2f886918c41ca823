"""Functions of rows for Numba: softmax and its like, and maxout.

They take the three steps of ``fastact.cpu.row_source``, one row after the other. Sums are in
float64, as there, but in the order that LLVM chooses.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite.binding import llvm_version_info
from numba import njit, types

from fastact.catalogue import RowFormula
from fastact.catalogue.dtypes import FLOATS
from fastact.compiled.kernels import NAMESPACE, define
from fastact.cpu.row_source import Source, indented, two_sum

__all__ = ["maxout", "maxout_backward", "of_rows"]

#: Which of two numbers is larger; NaN is. LLVM 15, which Numba 0.61 has, compiles ``maximum`` of
#: vectors alone.
_LARGER = (
    "maximum(top, x0)" if llvm_version_info[0] >= 20 else "select((x0 > top) | (x0 != x0), x0, top)"
)
_OPTIONS = {"error_model": "numpy", "fastmath": False}
_KINDS = {kind.name: kind for kind in FLOATS.values()}


class _Row(Source):
    """The source of one row of a one-dimensional array, or of one for each input."""

    def row(self) -> str:
        names = [f"a{k}" for k in self.inputs]
        values = self.values(lambda k: f"T(a{k}[i])")
        top = (
            f"for i in range(n):\n    x0 = T(a0[i])\n    top = {_LARGER}\n" if self.has_top else ""
        )
        # In float64, as good as exact: what the total loses is kept.
        exact = two_sum("total", "low", "added")
        add = "total = plus_any_order(total, added)\n" if self.narrow else exact
        add += "count = plus_any_order(count, one)\n" if self.counts else ""
        add += "out[i] = e\n" if self.keeps_term else ""
        again = "x0 = out[i]\n" if self.keeps_term else values
        body = f"""\
n = a0.size
top = T(-INFINITY)
{top}total = A(0)
low = A(0)
count = T(0)
for i in range(n):
{indented(values + self.terms() + add)}
{self.known("0")}for i in range(n):
{indented(again + self.results(self.keeps_term) + "out[i] = y")}
"""
        return f"{self.functions()}\n\ndef row({', '.join(names)}, out):\n{indented(body)}\n"

    @property
    def narrow(self) -> bool:
        return self.kind.compute == "float32"


@functools.cache
def of_rows(formula: RowFormula, compute: str) -> Any:
    """``run(*arrays, axis, out)``: the function along an axis; ``out`` is of the shape of each."""
    kind = _KINDS[compute]
    namespace = NAMESPACE | {"T": getattr(types, compute), "np": np}
    row = define("row", _Row(formula, kind, [kind], partial=False).row(), namespace)
    names = [f"a{k}" for k in range(len(formula.inputs))]
    matrices = [f"m{name} = np.ascontiguousarray({name}).reshape({{}})" for name in (*names,)]
    text = f"""\
def run({", ".join(names)}, axis, out):
    before = 1
    after = 1
    for d in range(out.ndim):
        if d < axis:
            before *= out.shape[d]
        elif d > axis:
            after *= out.shape[d]
    n = out.shape[axis]
    if after == 1:
{indented(chr(10).join(m.format("(before, n)") for m in matrices), 2)}
        mout = out.reshape((before, n))
        for b in range(before):
            row({", ".join(f"m{name}[b]" for name in names)}, mout[b])
        return
{indented(chr(10).join(m.replace("m", "t", 1).format("(before, n, after)") for m in matrices))}
    tout = out.reshape((before, n, after))
    for b in range(before):
        for a in range(after):
            row({", ".join(f"t{name}[b, :, a]" for name in names)}, tout[b, :, a])
"""
    return njit(**_OPTIONS)(define("run", text, {"np": np, "row": njit(**_OPTIONS)(row)}))


@njit(**_OPTIONS)
def maxout(x: Any, values: Any, indices: Any) -> None:
    """The largest element of each row of the matrix x, and the index of the first such one."""
    for r in range(x.shape[0]):
        top = x[r, 0]
        first = 0
        for i in range(1, x.shape[1]):
            if x[r, i] > top or (x[r, i] != x[r, i] and top == top):
                top = x[r, i]
                first = i
        values[r] = top
        indices[r] = first


@njit(**_OPTIONS)
def maxout_backward(grad: Any, indices: Any, out: Any) -> None:
    """``grad`` where the index is, 0 elsewhere, in each row of the matrix ``out``."""
    out[...] = 0
    for r in range(out.shape[0]):
        if 0 <= indices[r] < out.shape[1]:
            out[r, indices[r]] = grad[r]

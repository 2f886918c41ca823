"""Kernels over rows along an axis with few others after it, such as the channels of small images.

NumPy would call a loop of rows for each index of the axes before: calls too short to be shared.
Here all indices of these axes are the items of one call. Each has ``n`` times ``rows`` elements,
one after the other, and its rows are side by side.
"""

from __future__ import annotations

from typing import Any

from fastact.cpu.row_source import ARRAYS, BESIDE, INDEX, Source, indented
from fastact.cpu.row_vectors import VectorSource

__all__ = ["MiddleSource", "MiddleVectorSource"]


class _Middle(Source):
    """``(m),()->(m)``, and ``(m),(m),()->(m)`` for gradients; the scalar is ``rows``."""

    form = "middle"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.kinds.insert(self.out, INDEX)
        self.out += 1
        self.long = [*self.inputs, self.out]

    def loop(self) -> str:
        size, beside = self.kind.itemsize, BESIDE[self.kind.compute]
        operands = "".join(
            f"first{k} = operand(args, {k}, {self.kinds[k].storage})\n" for k in self.long
        )
        item = "".join(f"a{k} = shifted(first{k}, item * steps[{k}])\n" for k in self.long)
        strides = "".join(f"s{k} = {size}\nc{k} = rows * {size}\n" for k in self.long)
        body = f"""\
rows = operand(args, {len(self.inputs)}, int64)[0]
if rows < 1:
    rows = 8
n = dimensions[1] // rows
{operands}{strides}
{ARRAYS}for item in range(dimensions[0]):
{indented(item)}
    r = 0
    while r < rows:
        width = rows - r
        if width > {beside}:
            width = {beside}
{indented(self.side_by_side(), 2)}
        r += width
"""
        return "def loop(args, dimensions, steps, data):\n" + indented(body)


class MiddleSource(_Middle):
    """With loops that LLVM vectorizes."""


class MiddleVectorSource(_Middle, VectorSource):
    """With explicit vectors."""

"""Fused kernels as functions of matrices: a ufunc for each, and the sum of its blocks' sums."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.cpu import blocks, layout
from fastact.cpu.ufunc import Blocks, Loop, Shape, make
from fastact.dtypes import BFLOAT16, FLOATS, Kind, bfloat16_dtype

__all__ = ["Maker", "run", "run_flat"]

Array = npt.NDArray[Any]
#: Makes a kernel for a dtype.
Maker = Callable[[Kind], blocks.Kernel]

#: Contiguous matrices of fewer columns are taken as having a multiple of that, at most so many. Not
#: tuned: what vectors of 8 to 32 numbers need to pay.
NARROW = 64
FOLDED = 128


@functools.cache
def _ufunc(maker: Maker, by_rows: bool) -> tuple[np.ufunc, blocks.Kernel]:
    """The generalized ufunc, and the kernel for float32."""
    kernels = [(np.dtype(char), maker(kind)) for char, kind in FLOATS.items()]
    bfloat16 = bfloat16_dtype()
    if bfloat16 is not None:
        kernels.append((bfloat16, maker(BFLOAT16)))

    def of(dtype: np.dtype[Any], kernel: blocks.Kernel) -> Loop:
        compute = np.dtype(kernel.kind.compute)
        own = [dtype] * kernel.matrices
        own.append(np.dtype(kernel.vector_dtype) if kernel.vector_dtype else dtype)
        others = [compute] * (bool(kernel.term) + bool(kernel.parameters))
        dtypes = (*own, *others, dtype)
        return Loop(dtypes, (kernel.kind,) * len(dtypes), 0, lambda: kernel.unit(by_rows))

    kernel = next(kernel for dtype, kernel in kernels if dtype == np.float32)
    summed, parameters = bool(kernel.term), bool(kernel.parameters)
    described = Blocks(kernel.matrices + 1, by_rows, summed, parameters)
    shape = Shape.of(kernel.signature(by_rows), described)
    form = "rows" if by_rows else "columns"
    name = f"fused.{kernel.name}.{form}"
    doc = f"A kernel of ``fastact.fused``: {kernel.name}, by {form}."
    return make(name, doc, shape, [of(*pair) for pair in kernels]), kernel


def run(
    maker: Maker,
    arrays: Sequence[Array],
    shape: tuple[int, int, int],
    vector: Array,
    parameters: Array | None,
) -> Array | None:
    """Run a kernel; the sums, one for each channel, if it has any.

    ``arrays`` are the matrices, the output last: of one shape and dtype, with no gaps but between
    rows. ``shape`` is theirs: before the axis of channels, along it, and after it.
    """
    before, channels, after = shape
    by_rows = after > 1
    ufunc, kernel = _ufunc(maker, by_rows)
    if 0 in shape:
        return np.zeros(channels) if kernel.term else None
    rows, columns = (before * channels, after) if by_rows else (before, channels)
    if any(a.shape != (rows, columns) for a in arrays):
        arrays = [a.reshape(rows, columns) for a in arrays]
    if by_rows:
        vector = np.tile(vector, before)
    compute: type[np.floating[Any]] | None = None
    if kernel.term:
        compute = np.float64 if arrays[0].itemsize == 8 else np.float32
    fold = 1
    if columns < NARROW and not by_rows and all(a.flags.c_contiguous for a in arrays):
        fold = min(rows, FOLDED // columns)
    if fold == 1:
        sums = _call(ufunc, by_rows, arrays, vector, parameters, compute)
        if sums is None:
            return None
        return _total(sums.reshape(before, channels)) if by_rows else sums
    # Several short rows are taken as one; those that are left over are computed by themselves.
    whole = rows // fold * fold
    wide = [a[:whole].reshape(rows // fold, fold * columns) for a in arrays]
    sums = _call(ufunc, False, wide, np.tile(vector, fold), parameters, compute)
    if sums is not None:
        sums = _total(sums.reshape(fold, columns))
    if whole < rows:
        rest = _call(ufunc, False, [a[whole:] for a in arrays], vector, parameters, compute)
        sums = sums if rest is None else sums + rest
    return sums


def run_flat(maker: Maker, arrays: Sequence[Array], vector: Array) -> None:
    """Run a kernel that has a body; shapes do not matter."""
    ufunc, _ = _ufunc(maker, False)
    *inputs, out = (a.reshape(1, -1) for a in arrays)
    if out.size:
        ufunc(*inputs, vector, out=out)


def _call(
    ufunc: np.ufunc,
    by_rows: bool,
    arrays: Sequence[Array],
    vector: Array,
    parameters: Array | None,
    compute: Any,
) -> Array | None:
    """Call the ufunc on two-dimensional arrays; the sums over rows, or of each row."""
    *inputs, out = arrays
    more = () if parameters is None else (parameters,)
    if compute is None:
        ufunc(*inputs, vector, *more, out=out)
        return None
    sums = np.zeros(_sums_shape(len(out), out.shape[1], by_rows), compute)
    ufunc(*inputs, vector, sums, *more, out=out)
    return _total(sums)


def _total(sums: Array) -> Array:
    """The sum of rows: by 64, and of those in float64."""
    if len(sums) <= 64:
        return sums[0] if len(sums) == 1 else np.add.reduce(sums, axis=0)
    whole = len(sums) // 64 * 64
    parts = np.add.reduce(sums[:whole].reshape(-1, 64, sums.shape[1]), axis=1)
    return np.add.reduce(parts, axis=0, dtype=np.float64) + np.add.reduce(sums[whole:], axis=0)


def _sums_shape(rows: int, columns: int, by_rows: bool) -> tuple[int, int]:
    """As many sums as there are blocks (as in ``driver.describe``)."""
    if by_rows:
        return -(-columns // min(columns, layout.BLOCK_SUMMED_COLUMNS)), rows
    width = min(columns, layout.BLOCK_COLUMNS)
    height = max(layout.BLOCK_ROWS, layout.BLOCK_ELEMENTS // width)
    return -(-rows // height), columns

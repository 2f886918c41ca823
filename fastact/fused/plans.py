"""Fused kernels as functions of matrices: a generalized ufunc for each, and how to call it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.catalogue import Activation
from fastact.catalogue.dtypes import FLOATS, Kind, float_dtypes
from fastact.cpu import blocks, layout
from fastact.cpu.ufunc import Blocks, Loop, Shape, make
from fastact.public.checks import as_they_are
from fastact.source.fused import FusedKernel

__all__ = ["Maker", "Plan", "make_ufuncs", "maker", "plan", "run", "run_flat"]

Array = npt.NDArray[Any]
#: Makes a kernel for a dtype.
Maker = Callable[[Kind], FusedKernel]

#: Contiguous matrices of fewer columns are taken as having a multiple of that, at most so many, for
#: vectors of 8 to 32 numbers to pay. Not so small matrices, since it takes 15 us.
NARROW = 64
FOLDED = 128
SMALL = 4096


@functools.cache
def _ufunc(maker: Maker, by_rows: bool) -> np.ufunc:
    """The generalized ufunc."""
    kernels = [(dtype, maker(kind)) for dtype, kind in float_dtypes()]

    def of(dtype: np.dtype[Any], kernel: FusedKernel) -> Loop:
        compute = np.dtype(kernel.kind.compute)
        own = [dtype] * kernel.matrices
        own.append(np.dtype(kernel.vector_dtype) if kernel.vector_dtype else dtype)
        others = [compute] * (bool(kernel.term) + bool(kernel.parameters))
        total = [compute] * bool(kernel.term)
        dtypes = (*own, *others, dtype, *total)
        return Loop(dtypes, (kernel.kind,) * len(dtypes), 0, lambda: blocks.unit(kernel, by_rows))

    kernel = kernels[0][1]
    summed, parameters = bool(kernel.term), bool(kernel.parameters)
    described = Blocks(kernel.matrices + 1, by_rows, summed, parameters)
    shape = Shape.of(blocks.signature(kernel, by_rows), described)
    form = "rows" if by_rows else "columns"
    name = f"fused.{kernel.name}.{form}"
    doc = f"A kernel of ``fastact.fused``: {kernel.name}, by {form}."
    return make(name, doc, shape, [of(*pair) for pair in kernels])


def make_ufuncs(maker: Maker) -> None:
    """Make all of a kernel's ufuncs, so that ``ufunc.loops`` knows them."""
    for by_rows in (False, True)[: 1 if maker(FLOATS["f"]).body else 2]:
        _ufunc(maker, by_rows)


@functools.cache
def maker(kernel: Callable[..., FusedKernel], entry: Activation, *of: Any) -> Maker:
    """The kernel of an entry as a function of the dtype, the same one for the same arguments."""
    return functools.cache(lambda kind: kernel(entry, kind, *of))


@functools.cache
def plan(kernel: Callable[..., FusedKernel], entry: Activation) -> Plan:
    """Of a kernel without parameters."""
    return Plan(maker(kernel, entry))


class Plan:
    """A fused kernel with its parameters, ready to be called."""

    def __init__(self, maker: Maker, parameters: Sequence[float] = ()) -> None:
        self.maker = maker
        self._parameters = parameters
        self._by_dtype: dict[np.dtype[Any], _Ready] = {}

    def ready(self, dtype: np.dtype[Any], kind: Kind) -> _Ready:
        """What calls with this dtype need."""
        known = self._by_dtype.get(dtype)
        if known is None:
            compute = np.dtype(kind.compute)
            parameters = None
            if self._parameters:  # float16 rounds its own, as in other functions
                rounded = np.array(self._parameters, dtype if dtype.char == "e" else np.float64)
                parameters = rounded.astype(compute)
            summed = compute if self.maker(kind).term else None
            known = _Ready(self.maker, parameters, summed, _zeros(dtype))
            self._by_dtype[dtype] = known
        return known

    def quickly(
        self, arrays: Sequence[Any], vector: Any, axis: int, out: Any
    ) -> tuple[Array, Any] | None:
        """Call it if nothing has to be prepared: the output, and the sums, if it has any.

        ``vector`` None stands for zeros. The arrays must be contiguous matrices of one dtype that
        has been seen before, and must not overlap with the output unless they are the same object.
        """
        first = arrays[0]
        if type(first) is not np.ndarray or axis not in (-1, 1):
            return None
        dtype, shape = first.dtype, first.shape
        known = self._by_dtype.get(dtype)
        if known is None or len(shape) != 2 or 0 in shape or _is_narrow(*shape):
            return None
        columns = shape[1]
        if vector is None:
            if columns > _ZEROS:
                return None
            vector = known.zeros[:columns]
        if not as_they_are([*arrays], dtype, shape, out):
            return None
        if not as_they_are([vector], dtype, (columns,), None) or (
            out is not None and np.may_share_memory(vector, out)
        ):
            return None
        return known.call(False, [*arrays, vector], shape, out)


#: Length of the vector of zeros that is kept for each dtype.
_ZEROS = 8192


@functools.cache
def _zeros(dtype: np.dtype[Any]) -> Array:
    zeros = np.zeros(_ZEROS, dtype)
    zeros.flags.writeable = False
    return zeros


class _Ready:
    """What a plan needs to know of a dtype."""

    def __init__(
        self, maker: Maker, parameters: Array | None, summed: np.dtype[Any] | None, zeros: Array
    ) -> None:
        self.maker = maker
        self.by_columns = _ufunc(maker, False)
        self.parameters = () if parameters is None else (parameters,)
        self.summed = summed
        self.zeros = zeros

    def call(
        self, by_rows: bool, inputs: list[Array], shape: tuple[int, ...], out: Array | None
    ) -> tuple[Array, Any]:
        """Call it on matrices of this shape and a vector: the output, and the sums if any."""
        ufunc = _ufunc(self.maker, True) if by_rows else self.by_columns
        if self.summed is None:
            return ufunc(*inputs, *self.parameters, out=out), None
        room = np.empty(_blocks_summed(*shape, by_rows), self.summed)
        return ufunc(*inputs, room, *self.parameters, out=(out, None))


def _is_narrow(rows: int, columns: int) -> bool:
    return columns < NARROW and rows * columns > SMALL


@functools.lru_cache(1024)
def _blocks_summed(rows: int, columns: int, by_rows: bool) -> tuple[int, int]:
    """The shape of the sums of blocks: how many there are of each column, or each row.

    It depends on the matrix alone, and with it what is added to what.
    """
    if by_rows:
        return -(-columns // layout.BLOCK_SUMMED_COLUMNS), rows
    height = max(layout.BLOCK_ROWS, layout.BLOCK_ELEMENTS // min(columns, layout.BLOCK_COLUMNS))
    return -(-rows // height), columns


def run(
    ready: _Ready, arrays: Sequence[Array], shape: tuple[int, int, int], vector: Array
) -> Array | None:
    """Run a kernel; the sums, one for each channel, if it has any.

    ``arrays`` are the matrices, the output last: of one shape and dtype, with no gaps but between
    rows. ``shape`` is theirs: before the axis of channels, along it, and after it.
    """
    before, channels, after = shape
    if 0 in shape:
        return None if ready.summed is None else np.zeros(channels, ready.summed)
    by_rows = after > 1
    rows, columns = (before * channels, after) if by_rows else (before, channels)
    if any(a.shape != (rows, columns) for a in arrays):
        arrays = [a.reshape(rows, columns) for a in arrays]

    def call(arrays: Sequence[Array], vector: Array) -> Array | None:
        *inputs, out = arrays
        return ready.call(by_rows, [*inputs, vector], out.shape, out)[1]

    if by_rows:
        sums = call(arrays, vector if before == 1 else np.tile(vector, before))
        return None if sums is None else _total(sums.reshape(before, channels))
    fold = 1
    if _is_narrow(rows, columns) and all(a.flags.c_contiguous for a in arrays):
        fold = min(rows, FOLDED // columns)
    if fold == 1:
        return call(arrays, vector)
    # Several short rows are taken as one; those that are left over are computed by themselves.
    whole = rows // fold * fold
    wide = [a[:whole].reshape(rows // fold, fold * columns) for a in arrays]
    sums = call(wide, np.tile(vector, fold))
    if sums is not None:
        sums = _total(sums.reshape(fold, columns))
    if whole < rows:
        rest = call([a[whole:] for a in arrays], vector)
        sums = None if sums is None or rest is None else sums + rest
    return sums


def _total(sums: Array) -> Array:
    return sums[0] if len(sums) == 1 else np.add.reduce(sums, axis=0, dtype=np.float64)


def run_flat(maker: Maker, arrays: Sequence[Array], vector: Array) -> None:
    """Run a kernel that has a body; shapes do not matter."""
    size = arrays[-1].size
    if size:
        *inputs, out = [a.reshape(1, size) for a in arrays]
        _ufunc(maker, False)(*inputs, vector, out=out)

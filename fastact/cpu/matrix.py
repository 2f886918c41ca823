"""Fused kernels run over whole matrices: cut into blocks, called, and their sums added up."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.cpu import blocks, machine
from fastact.cpu.launch import Launcher, address

__all__ = ["Matrices", "run"]

Array = npt.NDArray[Any]

#: Elements of a block, about; columns of a block whose rows are summed, and of one whose columns
#: are; rows that share the sums of their columns, at least.
ELEMENTS = 16384
COLUMNS_OF_SUMMED_ROWS = 4096
COLUMNS = 1024
ROWS = 64
#: Matrices of fewer columns are taken as having a multiple of that, at most so many.
NARROW = 64
FOLDED = 128


@dataclasses.dataclass(frozen=True)
class Matrices:
    """What the template of records depends on: sizes, in bytes where it says so.

    ``steps`` are the bytes from one row to the next, for each matrix. ``after``: vector and sums
    have a number for each row, and not for each column.
    """

    rows: int
    columns: int
    by_rows: bool
    itemsize: int
    steps: tuple[int, ...]

    @functools.cached_property
    def fold(self) -> int:
        """How many rows are taken as one, because they are short and without gaps."""
        contiguous = all(step == self.columns * self.itemsize for step in self.steps)
        if self.by_rows or not contiguous or self.columns >= NARROW:
            return 1
        return max(1, min(self.rows, FOLDED // self.columns))

    @functools.cached_property
    def grid(self) -> tuple[Array, Array, Array, Array]:
        """First row, rows, first column and columns of each block but those of the rest."""
        rows, columns = self.rows // self.fold, self.columns * self.fold
        width = min(columns, COLUMNS_OF_SUMMED_ROWS if self.by_rows else COLUMNS)
        height = max(1 if self.by_rows else ROWS, ELEMENTS // width)
        corners = np.meshgrid(range(0, rows, height), range(0, columns, width), indexing="ij")
        top, left = (corner.ravel() for corner in corners)
        return top, np.minimum(height, rows - top), left, np.minimum(width, columns - left)

    @functools.cached_property
    def sums_shape(self) -> tuple[int, int]:
        top, _, left, _ = self.grid
        if self.by_rows:
            return len(np.unique(left)), self.rows
        return len(np.unique(top)) + (self.rest > 0), self.columns * self.fold

    @functools.cached_property
    def rest(self) -> int:
        """Rows that are too few to be taken as one."""
        return self.rows % self.fold

    def template(self, sums_itemsize: int) -> Array:
        """The records of all blocks, with offsets in place of addresses."""
        top, heights, left, widths = self.grid
        records = np.zeros((len(top), blocks.MATRICES + 2 * len(self.steps)), np.int64)
        records[:, blocks.ROWS], records[:, blocks.COLUMNS] = heights, widths
        if self.by_rows:
            records[:, blocks.VECTOR] = top * self.itemsize
            summed = np.unique(left, return_inverse=True)[1] * self.rows + top
        else:
            records[:, blocks.VECTOR] = left * self.itemsize
            row_block = np.unique(top, return_inverse=True)[1]
            summed = row_block * (self.columns * self.fold) + left
        records[:, blocks.SUMS] = summed * sums_itemsize
        for k, step in enumerate(self.steps):
            position = blocks.MATRICES + 2 * k
            records[:, position] = top * (step * self.fold) + left * self.itemsize
            records[:, position + 1] = step * self.fold
        if not self.rest:
            return records
        rest = np.zeros((1, records.shape[1]), np.int64)
        rest[0, blocks.ROWS], rest[0, blocks.COLUMNS] = self.rest, self.columns
        last = self.sums_shape[0] - 1
        rest[0, blocks.SUMS] = last * self.sums_shape[1] * sums_itemsize
        for k, step in enumerate(self.steps):
            position = blocks.MATRICES + 2 * k
            rest[0, position : position + 2] = (self.rows - self.rest) * step, step
        return np.concatenate([records, rest])


@functools.lru_cache(maxsize=512)
def _template(
    rows: int, columns: int, by_rows: bool, itemsize: int, steps: tuple[int, ...], sums_size: int
) -> tuple[Matrices, Array, int]:
    """The matrices, their records but for the addresses, and the elements of a block."""
    matrices = Matrices(rows, columns, by_rows, itemsize, steps)
    records = matrices.template(sums_size)
    return matrices, records, int(records[0, blocks.ROWS] * records[0, blocks.COLUMNS])


@functools.cache
def _launcher(
    make: Callable[..., blocks.Kernel], of: tuple[Any, ...], by_rows: bool
) -> tuple[blocks.Kernel, Launcher]:
    kernel = make(*of)
    kind = kernel.kind

    def sample() -> tuple[Array, int, Any]:
        dtype = np.dtype(kind.storage)
        arrays = [np.zeros((64, 64), dtype) for _ in range(kernel.matrices + 1)]
        numbers = np.zeros(64, kind.compute), np.zeros(64, dtype)
        steps = _steps(arrays, 64, by_rows)
        itemsize, size = dtype.itemsize, numbers[0].itemsize
        matrices, template, elements = _template(64, 64, by_rows, itemsize, steps, size)
        sums = np.zeros(matrices.sums_shape, kind.compute)
        addresses = _addresses(arrays, numbers[0], numbers[1], sums)
        return template + addresses, elements, (arrays, numbers, sums)

    return kernel, Launcher(kernel.unit(by_rows), kind.itemsize * (kernel.matrices + 1), sample)


def run(
    make: Callable[..., blocks.Kernel],
    of: tuple[Any, ...],
    arrays: Sequence[Array],
    shape: tuple[int, int, int],
    vector: Array | None = None,
    parameters: Array | None = None,
) -> Array | None:
    """Run the kernel ``make(*of)``; the sums in float64, one for each channel, if it has any.

    ``arrays`` are the matrices, the output last: of one shape and dtype, with no gaps but between
    rows. ``shape`` is theirs: before the axis of channels, along it, and after it.
    """
    before, channels, after = shape
    by_rows = after > 1
    kernel, launcher = _launcher(make, of, by_rows)
    if 0 in shape:
        return np.zeros(channels) if kernel.term else None
    rows, columns = (before * channels, after) if by_rows else (before, channels)
    compute = kernel.compute
    steps = _steps(arrays, columns, by_rows)
    matrices, template, elements = _template(
        rows, columns, by_rows, arrays[0].itemsize, steps, compute.itemsize
    )
    groups = before if by_rows else matrices.fold
    if vector is not None and groups > 1:
        vector = np.tile(vector, groups)
    sums = np.zeros(matrices.sums_shape, compute) if kernel.term else None
    addresses = _addresses(arrays, parameters, vector, sums)
    addresses[blocks.STREAMED] = _is_streamed(arrays, steps, addresses)
    launcher(template + addresses, elements)
    if sums is None:
        return None
    total = np.add.reduce(sums, axis=0, dtype=np.float64)
    return total if groups == 1 else np.add.reduce(total.reshape(groups, channels), axis=0)


def _is_streamed(arrays: Sequence[Array], steps: tuple[int, ...], addresses: Array) -> bool:
    """Whether the output shall go past the cache: larger than that, not in place, and aligned."""
    if arrays[0].nbytes * len(arrays) < machine.last_level_cache():
        return False
    *inputs, output = addresses[blocks.MATRICES :: 2].tolist()
    return output not in inputs and output % 16 == 0 and steps[-1] % 16 == 0


def _steps(arrays: Sequence[Array], columns: int, by_rows: bool) -> tuple[int, ...]:
    """Bytes from one row to the next, for each of the arrays."""
    step = columns * arrays[0].itemsize
    if by_rows:
        return (step,) * len(arrays)
    return tuple([a.strides[0] if a.ndim == 2 and len(a) > 1 else step for a in arrays])


def _addresses(
    arrays: Sequence[Array], parameters: Array | None, vector: Array | None, sums: Array | None
) -> Array:
    """What is added to each record of a template."""
    words = [0, 0]
    words += [0 if a is None else address(a) for a in (parameters, vector, sums)]
    words.append(0)
    for array in arrays:
        words += [address(array), 0]
    return np.array(words, np.int64)

"""Kernels over items of any kind, called from Python and shared out by the driver.

Where NumPy's own machinery has no shape for an operation, its items are described by *records* of
words, one for each. To the driver an item is a row of an operand that is not there, whose length
stands for the work that it is.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.cpu import compiler, layout, native, pool
from fastact.cpu.placeholder import LOOP_TYPE

__all__ = ["Launcher", "address"]

_TWO_WORDS, _THREE_WORDS = struct.Struct("2q").pack, struct.Struct("3q").pack

#: Where the operand that is not there would be. Nothing looks.
_NOWHERE = 1 << 60


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's data begin; ``array.ctypes.data`` takes four times as long."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):  # read-only, with gaps, or of another's dtype
        return array.ctypes.data


class Launcher:
    """Calls a kernel over records; ``sample`` makes a record to measure it by, of so many elements.

    ``nbytes`` are those of memory that each element moves.
    """

    def __init__(
        self,
        unit: compiler.Unit,
        nbytes: int,
        sample: Callable[[], tuple[npt.NDArray[np.int64], int, Any]],
    ) -> None:
        with compiler.lock:
            function = compiler.load(unit)
            self._driver = LOOP_TYPE(native.shared("row_driver"))
        self._nbytes = nbytes
        record = (ctypes.c_int64 * layout.KERNEL_WORDS)()
        record[layout.KERNEL_LOOP] = function
        record[layout.KERNEL_STATE] = pool.pool().address
        record[layout.KERNEL_OPERANDS] = 2
        record[layout.KERNEL_OUTPUTS] = 1
        record[layout.KERNEL_ROWS] = 0b10  # the output has rows
        record[layout.KERNEL_ITEMSIZES] = 8
        record[layout.KERNEL_ITEMSIZES + 1] = nbytes
        record[layout.KERNEL_LARGE_FROM] = 1 << 62
        self._record = record
        self._data = ctypes.addressof(record)
        cost = max(1, self._cost(*sample()))
        record[layout.KERNEL_COST] = cost
        record[layout.KERNEL_LARGE_FROM] = max(1, layout.AWAKE_NS * 1000 // cost)

    def __call__(self, records: npt.NDArray[np.int64], elements: int) -> None:
        """Run the kernel on all records, which have so many elements each, about."""
        step = max(layout.LONG_ROW, elements * self._nbytes)
        # The driver's operands: inputs come first. Packed bytes cost less than ctypes' arrays.
        args = _TWO_WORDS(address(records), _NOWHERE)
        steps = _THREE_WORDS(records.strides[0], step, self._nbytes)
        dimensions = _TWO_WORDS(len(records), elements)
        self._driver(args, dimensions, steps, self._data)

    def _cost(self, records: npt.NDArray[np.int64], elements: int, _alive: Any) -> int:
        """Picoseconds per element, on data in the cache."""
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            self(records, elements)
            best = min(best, time.perf_counter() - start)
        return round(best * 1e12 / elements)

"""NumPy ufuncs made of compiled loops.

A ufunc's tables are filled with a placeholder. The first call that needs a dtype's loop lands in
the placeholder, which compiles the kernel (or loads it from the cache), puts the driver into the
table in its own place, and runs the call. NumPy looks a loop up in the table at each call.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastact import loading
from fastact.catalogue.dtypes import Kind
from fastact.cpu import cache, compiler, layout, pool, shared
from fastact.cpu.numpy_api import c_function
from fastact.cpu.placeholder import LOOP_TYPE, address_of, placeholder

__all__ = ["Blocks", "Loop", "Shape", "loops", "make"]


@dataclasses.dataclass(frozen=True)
class Loop:
    """One loop of a ufunc: NumPy's types of its operands, their kinds, and the code to compile.

    The last ``parameters`` of the inputs are usually scalars.
    """

    dtypes: tuple[np.dtype[Any], ...]
    kinds: tuple[Kind, ...]
    parameters: int
    unit: Callable[[], compiler.Unit]


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What the driver of kernels over blocks of a matrix asks (see ``blocks``)."""

    matrices: int
    by_rows: bool
    summed: bool
    parameters: bool


@dataclasses.dataclass(frozen=True)
class Shape:
    """How many inputs and outputs a ufunc has, and for a generalized one its signature.

    The signature has one dimension, such as in ``(n),()->(n)``: the length of rows; or it is that
    of a kernel over ``blocks``.
    """

    inputs: int
    outputs: int = 1
    signature: str = ""
    blocks: Blocks | None = None

    @classmethod
    def of(cls, signature: str, blocks: Blocks | None = None) -> Shape:
        """That of a generalized ufunc."""
        inputs, _, outputs = signature.partition("->")
        return cls(inputs.count("("), outputs.count("("), signature, blocks)

    @property
    def with_rows(self) -> list[bool]:
        operands = self.signature.replace("->", ",").split(",")
        if not self.signature:
            operands = ["()"] * (self.inputs + self.outputs)
        return [operand != "()" for operand in operands]


def make(name: str, doc: str, shape: Shape, loops: Sequence[Loop]) -> np.ufunc:
    """A ufunc with these loops.

    The order of the loops of built-in dtypes is the order in which NumPy tries them.
    """
    # Wrong settings in the environment raise here; in an inner loop nothing can.
    pool.pool()
    cache.max_bytes()
    builtin = [loop for loop in loops if all(dtype.isbuiltin == 1 for dtype in loop.dtypes)]
    kernels = [_LoopRecord(name, loop, shape) for loop in loops]
    types = bytes(dtype.num for loop in builtin for dtype in loop.dtypes)
    functions = (ctypes.c_void_p * len(builtin))(*[address_of(_kernel_placeholder)] * len(builtin))
    data = (ctypes.c_void_p * len(builtin))()
    # NumPy copies none of these: they live as long as the process.
    texts = (name.encode(), doc.encode())
    _forever.append((functions, data, types, texts))
    counts = (len(builtin), shape.inputs, shape.outputs, _NO_IDENTITY)
    if shape.signature:
        ufunc = c_function("PyUFunc_FromFuncAndDataAndSignature")(
            functions, data, types, *counts, *texts, 0, shape.signature.encode()
        )
    else:
        ufunc = c_function("PyUFunc_FromFuncAndData")(functions, data, types, *counts, *texts, 0)
    with contextlib.suppress(AttributeError):  # NumPy before 2.2; pickle searches modules then
        ufunc.__module__ = "fastact"
    position = 0
    for kernel in kernels:
        if kernel.loop in builtin:
            data[position] = kernel.address
            kernel.install = functools.partial(functions.__setitem__, position)
            position += 1
        else:
            kernel.install = functools.partial(_register_user_loop, ufunc, kernel)
            kernel.install(address_of(_kernel_placeholder))
    return ufunc


def loops() -> list[tuple[str, Loop]]:
    """The loops of all ufuncs made so far, each with its ufunc's name."""
    return [(kernel.name, kernel.loop) for kernel in _kernels.values()]


# --- kernels ------------------------------------------------------------------------------------

_forever: list[Any] = []
_kernels: dict[int, _LoopRecord] = {}


class _LoopRecord:
    """A loop's record in memory (see ``layout``), and what is needed to fill it."""

    install: Callable[[int], None]

    def __init__(self, name: str, loop: Loop, shape: Shape) -> None:
        self.name = name
        self.loop = loop
        self.shape = shape
        self._record = (ctypes.c_int64 * layout.KERNEL_WORDS)()
        self.address = ctypes.addressof(self._record)
        _kernels[self.address] = self

    @property
    def driver(self) -> str:
        if self.shape.blocks:
            return "block_driver"
        return "row_driver" if self.shape.signature else "driver"

    def load(self) -> None:
        """Get the machine code and let NumPy call it."""
        with loading.lock:
            if self._record[layout.KERNEL_LOOP]:
                return
            driver = shared.address(self.driver)
            function = compiler.load(self.loop.unit())
            self._record[layout.KERNEL_STATE] = pool.pool().address
            if self.shape.blocks:
                self._describe_blocks(function, self.shape.blocks)
            else:
                self._describe(function)
            self._record[layout.KERNEL_LOOP] = function
            self.install(driver)

    def _describe(self, function: int) -> None:
        record, kinds = self._record, self.loop.kinds
        # A job has room for so many steps: of each operand, and inside its rows.
        if len(kinds) + sum(self.shape.with_rows) > layout.MAX_OPERANDS:
            raise ValueError(f"{self.name} has too many operands for the driver")
        record[layout.KERNEL_OPERANDS] = len(kinds)
        record[layout.KERNEL_OUTPUTS] = self.shape.outputs
        record[layout.KERNEL_ROWS] = sum(row << k for k, row in enumerate(self.shape.with_rows))
        for k, kind in enumerate(kinds):
            record[layout.KERNEL_ITEMSIZES + k] = kind.itemsize
        cost, row_cost = _costs(function, self.loop, self.shape)
        record[layout.KERNEL_COST], record[layout.KERNEL_ROW_COST] = cost, row_cost
        record[layout.KERNEL_LARGE_FROM] = max(1, layout.AWAKE_NS * 1000 // cost)

    def _describe_blocks(self, function: int, blocks: Blocks) -> None:
        pool.pool().load_large()  # the driver shares by what that needs
        record, itemsize = self._record, self.loop.kinds[0].itemsize
        record[layout.KERNEL_OPERANDS] = blocks.matrices
        record[layout.KERNEL_BY_ROWS] = blocks.by_rows
        record[layout.KERNEL_SUMMED] = blocks.summed
        record[layout.KERNEL_PARAMETERS] = blocks.parameters
        record[layout.KERNEL_ITEMSIZES] = itemsize
        record[layout.KERNEL_COST] = _block_cost(function, blocks.matrices, itemsize)


_COST_ELEMENTS = 4096


def _costs(function: int, of: Loop, shape: Shape) -> tuple[int, int]:
    """Picoseconds per element and per row, on data in the cache: what the driver decides by.

    Takes some 20 us.
    """
    sizes = [kind.itemsize for kind in of.kinds]
    buffers = [np.zeros(_COST_ELEMENTS * size, np.uint8) for size in sizes]
    args = (ctypes.c_void_p * len(sizes))(*[b.ctypes.data for b in buffers])
    loop = LOOP_TYPE(function)

    def picoseconds(items: int, row: int) -> float:
        lengths = [row if with_row else 1 for with_row in shape.with_rows]
        steps = [size * length for size, length in zip(sizes, lengths, strict=True)]
        for k in range(shape.inputs - of.parameters, shape.inputs):
            steps[k] = 0
        rows = [size for size, with_row in zip(sizes, shape.with_rows, strict=True) if with_row]
        all_steps = (ctypes.c_ssize_t * (len(steps) + len(rows)))(*steps, *rows)
        dimensions = (ctypes.c_ssize_t * 2)(items, row)
        return _best_of_five(loop, args, dimensions, all_steps)

    if not shape.signature:
        elapsed = picoseconds(_COST_ELEMENTS, 1) - picoseconds(0, 1)
        return max(1, round(elapsed / _COST_ELEMENTS)), 0
    long, short = 64, 4
    of_long, of_short = (picoseconds(_COST_ELEMENTS // row, row) for row in (long, short))
    per_element = max(
        1.0, (of_long - of_short * short / long) / (_COST_ELEMENTS * (1 - short / long))
    )
    per_row = max(0.0, (of_short - _COST_ELEMENTS * per_element) / (_COST_ELEMENTS // short))
    return round(per_element), round(per_row)


def _block_cost(function: int, matrices: int, itemsize: int) -> int:
    """Picoseconds per element of a kernel over blocks, on one row: some kernels take no more."""
    n = _COST_ELEMENTS
    memory = np.zeros((matrices + 3, n))  # sums may be wider than the elements
    call = (ctypes.c_int64 * layout.CALL_WORDS)(1, n, 1, n, 1)
    for k, word in enumerate((layout.CALL_PARAMETERS, layout.CALL_VECTOR, layout.CALL_SUMS)):
        call[word] = memory[k].ctypes.data
    for k in range(matrices):
        call[layout.CALL_MATRICES + 2 * k] = memory[3 + k].ctypes.data
        call[layout.CALL_MATRICES + 2 * k + 1] = n * itemsize
    args = (ctypes.c_void_p * 2)(0, ctypes.addressof(call))
    steps = (ctypes.c_ssize_t * 2)(1, 0)
    elapsed = _best_of_five(LOOP_TYPE(function), args, (ctypes.c_ssize_t * 1)(1), steps)
    return max(1, round(elapsed / n))


def _best_of_five(loop: Any, args: Any, dimensions: Any, steps: Any) -> float:
    """Picoseconds that a loop takes."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        loop(args, dimensions, steps, None)
        best = min(best, time.perf_counter() - start)
    return best * 1e12


@placeholder
def _kernel_placeholder(data: int) -> int:
    kernel = _kernels[data]
    kernel.load()
    return shared.address(kernel.driver)


_NO_IDENTITY = -1  # PyUFunc_None


def _register_user_loop(ufunc: np.ufunc, kernel: _LoopRecord, function: int) -> None:
    """Register, or register again, a loop that involves a dtype from outside NumPy."""
    dtypes = kernel.loop.dtypes
    numbers = (ctypes.c_int * len(dtypes))(*[dtype.num for dtype in dtypes])
    user_type = max(numbers)
    register = c_function("PyUFunc_RegisterLoopForType")
    if register(ufunc, user_type, function, numbers, kernel.address) < 0:
        raise RuntimeError(f"NumPy refused the {dtypes[0]} loop of {ufunc.__name__}")

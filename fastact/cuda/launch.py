"""From views to launches: checks, the form of a kernel that fits, how many blocks."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastact.catalogue.dtypes import Kind
from fastact.cuda import arrays, kernels, native
from fastact.cuda.arrays import View
from fastact.cuda.kernels import IN_FLIGHT, THREADS, CudaKernel

__all__ = [
    "Elementwise",
    "Launch",
    "check_outputs",
    "check_together",
    "check_without_gaps",
    "elementwise_grid",
    "is_aligned",
    "rounded",
    "row_grid",
]


def check_together(function: str, views: dict[str, View]) -> None:
    """Raises unless all are on one device and of one dtype."""
    (first, one), *others = views.items()
    for name, other in others:
        if other.device != one.device:
            raise ValueError(
                f"{function}: {first} is on GPU {one.device}, but {name} on GPU {other.device}"
            )
        if other.kind is not one.kind:
            raise TypeError(
                f"{function}: {first} is of dtype {one.kind.name}, but {name} of {other.kind.name}"
            )


def check_outputs(
    function: str,
    outputs: dict[str, View],
    inputs: Sequence[View],
    shape: tuple[int, ...] | dict[str, tuple[int, ...]],
) -> None:
    """Raises unless the outputs have this shape, or these, and can be written in any order."""
    for name, out in outputs.items():
        must_be = shape[name] if isinstance(shape, dict) else shape
        if out.shape != must_be:
            raise ValueError(f"{function}: {name} must have shape {must_be}, got {out.shape}")
        if not out.writable:
            raise ValueError(f"{function}: {name} is read-only")
        steps = zip(out.shape, out.strides, strict=True)
        if out.size and any(step == 0 and n > 1 for n, step in steps):
            raise ValueError(f"{function}: {name} has elements that share memory")
        others = [other for key, other in outputs.items() if key < name]
        if any(o.pointer == out.pointer for o in others) or any(
            arrays.overlaps(out, other) for other in [*inputs, *others]
        ):
            raise ValueError(
                f"{function}: {name} shares memory with another argument, and not element by "
                f"element"
            )


def check_without_gaps(function: str, views: dict[str, View]) -> None:
    """Raises unless each has its elements one after the other."""
    for name, view in views.items():
        if not view.contiguous:
            raise ValueError(f"{function}: {name} has gaps between its elements; copy it first")


def rounded(parameters: Sequence[Any], kind: Kind) -> list[float]:
    """Parameters as a launch passes them on: float16 rounds its own, as on the CPU.

    An integer that the dtype does not have counts as the nearest one.
    """
    if kind.is_integer:
        ends = np.iinfo(kind.name)
        return [min(max(operator.index(n), ends.min), ends.max) for n in parameters]
    if kind.name == "float16":
        parameters = [np.float16(number) for number in parameters]
    return [float(number) for number in parameters]


class Launch:
    """A kernel with its grid and the numbers that go between addresses and parameters.

    It may be called again and again, with other addresses, from any thread.
    """

    def __init__(
        self,
        kernel: CudaKernel,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        device: int,
        numbers: Sequence[int],
    ) -> None:
        self._kernel, self._grid, self._block = kernel, grid, block
        self.device, self._numbers = device, tuple(numbers)
        self._native: native.Launcher | None = None
        self._tried = kernels.simulated()

    def __call__(self, pointers: Sequence[int], parameters: Sequence[Any], stream: int) -> None:
        launcher = self._native
        if launcher is not None and launcher(pointers, parameters, stream) == 0:
            return
        # Where the driver refuses, another device may be the current one, or this thread has none
        # yet: Numba knows what to do, and raises what is to be raised.
        self._with_numba(pointers, parameters, stream)
        if not self._tried:
            self._tried = True
            kernel = self._kernel
            shape = (self._grid, self._block, kernel.arguments)
            self._native = native.launcher(kernel.compiled, *shape, len(pointers), self._numbers)

    def _with_numba(self, pointers: Sequence[int], parameters: Sequence[Any], stream: int) -> None:
        from numba import cuda

        arguments = (*pointers, *self._numbers, *parameters)
        on = arrays.numba_stream(stream)
        if kernels.simulated() or cuda.current_context().device.id == self.device:
            self._kernel.compiled[self._grid, self._block, on](*arguments)
            return
        with cuda.gpus[self.device]:
            self._kernel.compiled[self._grid, self._block, on](*arguments)


class Elementwise:
    """An elementwise function of some arrays, with the kernels that it needs."""

    def __init__(
        self, name: str, source: Callable[[Kind], str], inputs: int, parameters: int, outputs: int
    ) -> None:
        self.counts = (inputs, parameters, outputs)
        self.outputs = outputs
        self.name = name
        self.source = functools.cache(source)
        self._linear = functools.cache(
            lambda kind: kernels.linear(name, kind, self.source(kind), *self.counts)
        )
        self._strided = functools.cache(
            lambda kind, dimensions: kernels.strided(
                name, kind, self.source(kind), *self.counts, dimensions
            )
        )

    def launch(self, operands: Sequence[View], aligned: bool) -> Launch:
        """For arrays like these, of one shape, dtype and device, of which there are elements.

        ``aligned``: their addresses are multiples of 16.
        """
        first = operands[0]
        n, kind, itemsize = first.size, first.kind, first.kind.itemsize
        lengths, strides = [n], [[itemsize]] * len(operands)
        if not all(operand.contiguous for operand in operands):
            lengths, strides = arrays.collapsed(operands)
        # There are no loads of sixteen numbers of a byte.
        aligned = aligned and itemsize > 1
        if aligned and len(lengths) == 1 and all(s == [itemsize] for s in strides):
            work = -(-n // (kernels.vector_width(kind) * IN_FLIGHT))
            kernel, numbers = self._linear(kind), [n]
        else:
            work, kernel = n, self._strided(kind, len(lengths))
            numbers = [n, *lengths[1:], *(step for steps in strides for step in steps)]
        grid, block = elementwise_grid(work, first.device)
        return Launch(kernel, grid, block, first.device, numbers)


def is_aligned(pointers: Sequence[int]) -> bool:
    """Whether 16 bytes can be loaded and stored at once from all of these addresses on."""
    bits = 0
    for pointer in pointers:
        bits |= pointer
    return bits & 15 == 0


def elementwise_grid(work: int, device: int) -> tuple[tuple[int], tuple[int]]:
    """Blocks and threads for ``work`` independent pieces: at most twice what a GPU holds."""
    if kernels.simulated():
        return (2,), (4,)
    most = 2 * 2048 // THREADS * _multiprocessors(device)
    return (max(1, min(-(-work // THREADS), most)),), (THREADS,)


def row_grid(rows: int, length: int) -> tuple[tuple[int], tuple[int]]:
    """Blocks and threads for rows: a block a row, of a warp or more."""
    if kernels.simulated():
        return (2,), (4,)
    threads = 32
    while threads < THREADS and 4 * threads < length:
        threads *= 2
    return (min(rows, 1 << 20),), (threads,)


@functools.cache
def _multiprocessors(device: int) -> int:
    from numba import cuda

    with cuda.gpus[device]:
        return cuda.get_current_device().MULTIPROCESSOR_COUNT

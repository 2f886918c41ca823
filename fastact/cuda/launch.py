"""From views to launches: checks, the form of a kernel that fits, how many blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastact.catalogue.dtypes import Kind
from fastact.cuda import arrays, kernels
from fastact.cuda.arrays import View
from fastact.cuda.kernels import IN_FLIGHT, THREADS, CudaKernel

__all__ = [
    "Elementwise",
    "check_outputs",
    "check_together",
    "check_without_gaps",
    "elementwise_grid",
    "output",
    "rounded",
    "row_grid",
    "run",
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
    function: str, outputs: dict[str, View], inputs: Sequence[View], shape: tuple[int, ...]
) -> None:
    """Raises unless the outputs have this shape and can be written in any order."""
    for name, out in outputs.items():
        if out.shape != shape:
            raise ValueError(f"{function}: {name} must have shape {shape}, got {out.shape}")
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


def output(like: Any, of: View, shape: tuple[int, ...], out: Any, stream: Any) -> Any:
    """The output, made if it is not given."""
    if out is not None:
        return out
    with arrays.allocating_on(like, stream):
        return arrays.empty(like, of, shape)


def rounded(parameters: Sequence[Any], kind: Kind) -> list[Any]:
    """Parameters in the type that is computed in: float16 rounds its own, as on the CPU."""
    if not parameters:
        return []
    if kind.name == "float16":
        parameters = [np.float16(number) for number in parameters]
    compute = np.float64 if kind.compute == "float64" else np.float32
    return [compute(number) for number in parameters]


def run(
    kernel: CudaKernel,
    grid: tuple[int, ...],
    block: tuple[int, ...],
    stream: Any,
    device: int,
    *arguments: Any,
) -> None:
    """Launch on a device."""
    from numba import cuda

    if kernels.simulated() or cuda.current_context().device.id == device:
        kernel.compiled[grid, block, stream](*arguments)
    else:
        with cuda.gpus[device]:
            kernel.compiled[grid, block, stream](*arguments)


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

    def __call__(
        self,
        inputs: Sequence[View],
        outputs: Sequence[View],
        parameters: Sequence[float],
        stream: Any,
    ) -> None:
        """Run on arrays of one shape, dtype and device."""
        operands = [*inputs, *outputs]
        first = operands[0]
        n = first.size
        if n == 0:
            return
        pointers = [operand.pointer for operand in operands]
        itemsize = first.kind.itemsize
        lengths, strides = [n], [[itemsize]] * len(operands)
        if not all(operand.contiguous for operand in operands):
            lengths, strides = arrays.collapsed(operands)
        without_gaps = len(lengths) == 1 and all(s == [itemsize] for s in strides)
        if without_gaps and all(pointer % 16 == 0 for pointer in pointers):
            work = -(-n // (kernels.vector_width(first.kind) * IN_FLIGHT))
            kernel = self._linear(first.kind)
            arguments = [*pointers, n, *parameters]
        else:
            work = n
            kernel = self._strided(first.kind, len(lengths))
            flat = [step for steps in strides for step in steps]
            arguments = [*pointers, n, *lengths[1:], *flat, *parameters]
        grid, block = elementwise_grid(work, first.device)
        run(kernel, grid, block, stream, first.device, *arguments)


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

"""Launches through CUDA's driver itself, which cost a microsecond where Numba's cost some twenty.

Numba converts and looks at each argument of each launch. Here their types are known: each argument
has eight bytes in a block of memory, the driver has the addresses of those, and a launch writes the
numbers and calls ``cuLaunchKernel``.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Launcher", "capture", "launcher"]

_FLOATS = {"float32": ctypes.c_float, "float64": ctypes.c_double}


class Launcher:
    """A kernel of the driver's with its grid; a call returns the driver's status, 0 if all is well.

    ``types`` are those of the kernel's arguments: first addresses, as many as ``pointers`` says,
    then ``numbers``, the same in each launch, then what a launch passes on. ``launch`` is
    ``cuLaunchKernel``, or what has its arguments.
    """

    def __init__(
        self,
        launch: Callable[..., int],
        function: int,
        grid: Sequence[int],
        block: Sequence[int],
        types: Sequence[str],
        pointers: int,
        numbers: Sequence[int],
    ) -> None:
        self._launch = launch
        # Arguments that ctypes need not convert: a launch takes 1.1 us until it is in the driver,
        # not 1.9.
        shape = [ctypes.c_uint(n) for n in (*_three(grid), *_three(block), 0)]
        self._stream = ctypes.c_void_p()
        memory = self._memory = (ctypes.c_int64 * len(types))()
        start = ctypes.addressof(memory)
        addresses = (ctypes.c_void_p * len(types))(*range(start, start + 8 * len(types), 8))
        self._arguments = (ctypes.c_void_p(function), *shape, self._stream, addresses, None)
        self._write_pointers = struct.Struct(f"={pointers}q").pack_into
        first = pointers + len(numbers)
        memory[pointers:first] = list(numbers)
        self._slots = [
            _FLOATS.get(name, ctypes.c_int64).from_buffer(memory, 8 * k)
            for k, name in enumerate(types[first:], first)
        ]
        # The driver copies the arguments before it returns.
        self._lock = threading.Lock()

    def __call__(self, pointers: Sequence[int], parameters: Sequence[Any], stream: int) -> int:
        with self._lock:
            self._write_pointers(self._memory, 0, *pointers)
            for slot, parameter in zip(self._slots, parameters, strict=True):
                slot.value = parameter
            self._stream.value = stream
            return self._launch(*self._arguments)


def _three(lengths: Sequence[int]) -> tuple[int, ...]:
    return (*lengths, 1, 1)[:3]


def launcher(
    dispatcher: Any,
    grid: Sequence[int],
    block: Sequence[int],
    types: Sequence[str],
    pointers: int,
    numbers: Sequence[int],
) -> Launcher | None:
    """For a kernel that Numba has compiled and loaded; None if it does not say where it is."""
    launch = _of_driver("cuLaunchKernel")
    try:
        (kernel,) = dispatcher.overloads.values()
        handle = kernel._codelibrary.get_cufunc().handle
        function = int(getattr(handle, "value", handle))
    except (AttributeError, TypeError, ValueError):  # another version of numba-cuda
        return None
    if launch is None:
        return None
    return Launcher(launch, function, grid, block, types, pointers, numbers)


def capture(stream: int) -> int:
    """A number for what a stream's work is being captured into, a graph; 0 if it is not."""
    info = _of_driver("cuStreamGetCaptureInfo_v2")
    if info is None:
        return 0
    state, number = ctypes.c_int(), ctypes.c_uint64()
    status = info(ctypes.c_void_p(stream), ctypes.byref(state), ctypes.byref(number), *[None] * 3)
    return number.value if status == 0 and state.value == _ACTIVE else 0


_ACTIVE = 1


@functools.cache
def _of_driver(name: str) -> Callable[..., int] | None:
    """A function of CUDA's driver; None where there is none."""
    library = "nvcuda" if sys.platform == "win32" else "libcuda.so.1"
    try:
        function = getattr(ctypes.CDLL(library), name)
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]

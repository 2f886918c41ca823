"""Launches through CUDA's driver itself, which cost a microsecond where Numba's cost some twenty.

Numba converts and looks at each argument of each launch. Here their types are known: each argument
has eight bytes in a block of memory, the driver has the addresses of those, and a launch writes the
numbers and calls ``cuLaunchKernel``.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["Launcher", "launcher"]

_FLOATS = {"float32": ctypes.c_float, "float64": ctypes.c_double}


class Launcher:
    """A kernel of the driver's with its grid; a call returns the driver's status, 0 if all is well.

    ``types`` are those of the kernel's arguments: int64, float32 or float64. ``launch`` is
    ``cuLaunchKernel``, or what has its arguments.
    """

    def __init__(
        self,
        launch: Callable[..., int],
        function: int,
        grid: Sequence[int],
        block: Sequence[int],
        types: Sequence[str],
    ) -> None:
        self._launch = launch
        self._shape = (function, *_three(grid), *_three(block), 0)
        self._memory = (ctypes.c_int64 * len(types))()
        start = ctypes.addressof(self._memory)
        places = range(start, start + 8 * len(types), 8)
        self._addresses = (ctypes.c_void_p * len(types))(*places)
        self._slots = [
            _FLOATS.get(name, ctypes.c_int64).from_buffer(self._memory, 8 * k)
            for k, name in enumerate(types)
        ]
        # The driver copies the arguments before it returns.
        self._lock = threading.Lock()

    def __call__(self, arguments: Sequence[Any], stream: int) -> int:
        with self._lock:
            for slot, argument in zip(self._slots, arguments, strict=True):
                slot.value = argument
            return self._launch(*self._shape, stream, self._addresses, None)


def _three(lengths: Sequence[int]) -> tuple[int, ...]:
    return (*lengths, 1, 1)[:3]


def launcher(
    dispatcher: Any, grid: Sequence[int], block: Sequence[int], types: Sequence[str]
) -> Launcher | None:
    """For a kernel that Numba has compiled and loaded; None if it does not say where it is."""
    launch = _driver_launch()
    try:
        (kernel,) = dispatcher.overloads.values()
        handle = kernel._codelibrary.get_cufunc().handle
        function = int(getattr(handle, "value", handle))
    except (AttributeError, TypeError, ValueError):  # another version of numba-cuda
        return None
    return Launcher(launch, function, grid, block, types) if launch else None


@functools.cache
def _driver_launch() -> Callable[..., int] | None:
    """``cuLaunchKernel``."""
    name = "nvcuda" if sys.platform == "win32" else "libcuda.so.1"
    try:
        launch = ctypes.CDLL(name).cuLaunchKernel
    except (OSError, AttributeError):
        return None
    unsigned = [ctypes.c_uint] * 7
    pointer = ctypes.c_void_p
    launch.argtypes = [pointer, *unsigned, pointer, pointer, pointer]
    launch.restype = ctypes.c_int
    return launch  # type: ignore[no-any-return]

"""NumPy ufuncs made of compiled loops. The only file that touches NumPy's C API.

A ufunc's tables are filled with a placeholder. The first call that needs a dtype's loop lands in
the placeholder, which compiles the kernel (or loads it from the cache), puts the driver into the
table in its own place, and runs the call. NumPy looks a loop up in the table at each call.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastact.cpu import compiler, native, pool
from fastact.dtypes import Kind

__all__ = ["Loop", "make"]


@dataclasses.dataclass(frozen=True)
class Loop:
    """One loop of a ufunc: NumPy's types of its operands, their kinds, and the code to compile."""

    dtypes: tuple[np.dtype[Any], ...]
    kinds: tuple[Kind, ...]
    unit: Callable[[], compiler.Unit]


def make(name: str, doc: str, inputs: int, loops: Sequence[Loop]) -> np.ufunc:
    """A ufunc with these loops and one output.

    The order of the loops of built-in dtypes is the order in which NumPy tries them.
    """
    builtin = [loop for loop in loops if all(dtype.isbuiltin == 1 for dtype in loop.dtypes)]
    kernels = [_Kernel(loop) for loop in loops]
    types = bytes(dtype.num for loop in builtin for dtype in loop.dtypes)
    functions = (ctypes.c_void_p * len(builtin))(*[_placeholder_address()] * len(builtin))
    data = (ctypes.c_void_p * len(builtin))()
    # NumPy copies none of these: they live as long as the process.
    tables = (functions, data, types, name.encode(), doc.encode())
    _forever.append(tables)
    ufunc = _c_api("PyUFunc_FromFuncAndData")(
        functions, data, types, len(builtin), inputs, 1, _NO_IDENTITY, *tables[3:], 0
    )
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
            kernel.install(_placeholder_address())
    return ufunc


# --- kernels ------------------------------------------------------------------------------------

_forever: list[Any] = []
_kernels: dict[int, _Kernel] = {}
_load_lock = threading.RLock()


class _Kernel:
    """A loop's record in memory (the layout is the pool's), and what is needed to fill it."""

    install: Callable[[int], None]

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._record = (ctypes.c_int64 * pool.KERNEL_WORDS)()
        self.address = ctypes.addressof(self._record)
        _kernels[self.address] = self

    @property
    def loaded(self) -> bool:
        return self._record[pool.KERNEL_LOOP] != 0

    def load(self) -> None:
        """Get the machine code and let NumPy call it."""
        with _load_lock:
            if self.loaded:
                return
            record, kinds = self._record, self.loop.kinds
            driver = compiler.load(native.DRIVER)
            function = compiler.load(self.loop.unit())
            record[pool.KERNEL_STATE] = pool.pool().address
            record[pool.KERNEL_OPERANDS] = len(kinds)
            for k, kind in enumerate(kinds):
                record[pool.KERNEL_ITEMSIZES + k] = kind.itemsize
            record[pool.KERNEL_COST] = _picoseconds_per_element(function, kinds)
            record[pool.KERNEL_LOOP] = function
            self.install(driver)


_COST_ELEMENTS = 4096


def _picoseconds_per_element(function: int, kinds: Sequence[Kind]) -> int:
    """How fast a loop is on data in the cache: what the driver decides by. Takes some 20 us."""
    sizes = [kind.itemsize for kind in kinds]
    buffers = [np.zeros(_COST_ELEMENTS * size, np.uint8) for size in sizes]
    args = (ctypes.c_void_p * len(kinds))(*[b.ctypes.data for b in buffers])
    steps = (ctypes.c_ssize_t * len(kinds))(*sizes)
    loop = _LOOP_TYPE(function)

    def seconds(count: int) -> float:
        dimensions = (ctypes.c_ssize_t * 1)(count)
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            loop(args, dimensions, steps, None)
            best = min(best, time.perf_counter() - start)
        return best

    elapsed = seconds(_COST_ELEMENTS) - seconds(0)
    return max(1, round(elapsed * 1e12 / _COST_ELEMENTS))


# --- the placeholder ----------------------------------------------------------------------------

_LOOP_TYPE = ctypes.CFUNCTYPE(
    None,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
)


@_LOOP_TYPE
def _placeholder(args: int, dimensions: int, steps: int, data: int) -> None:
    """The inner loop of a kernel that is not loaded: load it, then run the call.

    An inner loop cannot fail, NumPy would return whatever is in the output array. So the kernel is
    loaded whatever signal handlers raise meanwhile (Ctrl-C), and that is raised after the call.
    """
    flags = _floating_point_flags()
    kernel, raised, ended = _kernels[data], None, threading.Event()
    try:
        while not kernel.loaded:
            try:
                kernel.load()
            except Exception:
                raised = RuntimeError
                raise  # ctypes prints it
            except BaseException as interruption:
                raised = type(interruption)
        _restore_floating_point_flags(flags)
        _LOOP_TYPE(compiler.load(native.DRIVER))(args, dimensions, steps, data)
    finally:
        if raised is not None:
            caller = threading.get_ident()
            threading.Thread(target=_raise_after, args=(ended, caller, raised), daemon=True).start()
            ended.set()


def _placeholder_address() -> int:
    return ctypes.cast(_placeholder, ctypes.c_void_p).value or 0


def _raise_after(ended: threading.Event, thread: int, error: type[BaseException]) -> None:
    """Raise ``error`` in another thread once its callback has returned."""
    ended.wait()
    # The callback still has to return: what is raised inside it is printed and forgotten.
    time.sleep(0.01)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


@functools.cache
def _floating_point_environment() -> Any:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


_ALL_EXCEPTIONS = 0x3D if compiler.X86 else 0x1F


def _floating_point_flags() -> Any:
    flags = ctypes.c_int64()
    _floating_point_environment().fegetexceptflag(ctypes.byref(flags), _ALL_EXCEPTIONS)
    return flags


def _restore_floating_point_flags(flags: Any) -> None:
    _floating_point_environment().fesetexceptflag(ctypes.byref(flags), _ALL_EXCEPTIONS)


# --- NumPy's C API ------------------------------------------------------------------------------

_NO_IDENTITY = -1  # PyUFunc_None
_POINTERS = ctypes.POINTER(ctypes.c_void_p)
_PROTOTYPES = {
    # name: position in the table, then the result's and the arguments' types
    "PyUFunc_FromFuncAndData": (
        1,
        ctypes.py_object,
        _POINTERS,
        _POINTERS,
        ctypes.c_char_p,
        *[ctypes.c_int] * 4,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_int,
    ),
    "PyUFunc_RegisterLoopForType": (
        2,
        ctypes.c_int,
        ctypes.py_object,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_int),
        ctypes.c_void_p,
    ),
}


@functools.cache
def _c_api(name: str) -> Callable[..., Any]:
    from numpy._core._multiarray_umath import _UFUNC_API  # type: ignore[attr-defined]

    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    position, *prototype = _PROTOTYPES[name]
    table = ctypes.cast(get_pointer(_UFUNC_API, None), _POINTERS)
    return ctypes.PYFUNCTYPE(*prototype)(table[position])  # type: ignore[arg-type]


def _register_user_loop(ufunc: np.ufunc, kernel: _Kernel, function: int) -> None:
    """Register, or register again, a loop that involves a dtype from outside NumPy."""
    dtypes = kernel.loop.dtypes
    numbers = (ctypes.c_int * len(dtypes))(*[dtype.num for dtype in dtypes])
    user_type = max(numbers)
    register = _c_api("PyUFunc_RegisterLoopForType")
    if register(ufunc, user_type, function, numbers, kernel.address) < 0:
        raise RuntimeError(f"NumPy refused the {dtypes[0]} loop of {ufunc.__name__}")

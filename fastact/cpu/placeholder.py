"""Inner loops in Python that stand in until machine code is loaded.

NumPy cannot be told of a failure inside an inner loop: it would return whatever is in the output
array. So the machine code is loaded whatever signal handlers raise meanwhile (Ctrl-C), the call is
completed, and then the exception is raised in the thread that called.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from fastact.cpu.compiler import X86

__all__ = ["LOOP_TYPE", "address_of", "placeholder"]

#: The C type of an inner loop: (args, dimensions, steps, data), all as addresses.
LOOP_TYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)


def placeholder(load: Callable[[int], int]) -> Any:
    """An inner loop that calls ``load(data)`` for the address of the loop to run, and runs it."""

    @LOOP_TYPE
    def loop(args: int, dimensions: int, steps: int, data: int) -> None:
        flags = _floating_point_flags()
        function, raised, ended = 0, None, threading.Event()
        try:
            while not function:
                try:
                    function = load(data)
                except Exception:
                    raised = RuntimeError
                    raise  # ctypes prints it
                except BaseException as interruption:
                    raised = type(interruption)
            _restore_floating_point_flags(flags)
            LOOP_TYPE(function)(args, dimensions, steps, data)
        finally:
            if raised is not None:
                _raise_in_caller(raised, ended)
                ended.set()

    return loop


def address_of(loop: Any) -> int:
    return ctypes.cast(loop, ctypes.c_void_p).value or 0


def _raise_in_caller(error: type[BaseException], ended: threading.Event) -> None:
    """Raise ``error`` in this thread, once the callback that it is in has returned."""
    caller = ctypes.c_ulong(threading.get_ident())

    def wait_and_raise() -> None:
        ended.wait()
        # What is raised before the callback has returned is printed and forgotten.
        time.sleep(0.01)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(caller, ctypes.py_object(error))

    threading.Thread(target=wait_and_raise, daemon=True).start()


# NumPy turns floating-point flags into warnings after the call; compiling leaves some behind.


@functools.cache
def _floating_point_environment() -> Any:
    return ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)


_ALL_EXCEPTIONS = 0x3D if X86 else 0x1F


def _floating_point_flags() -> Any:
    flags = ctypes.c_int64()
    _floating_point_environment().fegetexceptflag(ctypes.byref(flags), _ALL_EXCEPTIONS)
    return flags


def _restore_floating_point_flags(flags: Any) -> None:
    _floating_point_environment().fesetexceptflag(ctypes.byref(flags), _ALL_EXCEPTIONS)

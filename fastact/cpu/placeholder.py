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
import traceback
from collections.abc import Callable
from typing import Any

from fastact import loading
from fastact.cpu.target import X86

__all__ = ["LOOP_TYPE", "address_of", "placeholder"]

#: The C type of an inner loop: (args, dimensions, steps, data), all as addresses.
LOOP_TYPE = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)


def placeholder(load: Callable[[int], int]) -> Any:
    """An inner loop that calls ``load(data)`` for the address of the loop to run, and runs it."""

    @LOOP_TYPE  # type: ignore[untyped-decorator]
    def loop(args: int, dimensions: int, steps: int, data: int) -> None:
        ended = threading.Event()
        try:
            flags = _floating_point_flags()
            function, error = _uninterrupted(lambda: load(data))
            if error is not None:
                _raise_in_caller(error, ended)
            if function is not None:
                _restore_floating_point_flags(flags)
                LOOP_TYPE(function)(args, dimensions, steps, data)
        finally:
            ended.set()

    return loop


def _uninterrupted(load: Callable[[], int]) -> tuple[int | None, BaseException | None]:
    """The result of ``load()`` if it has one, and what was raised in it or meanwhile.

    Signal handlers run in the main thread, so there ``load`` gets a thread of its own: what a
    handler raises inside Numba or llvmlite could be swallowed there.
    """
    result: int | None = None
    error: BaseException | None = None
    done = threading.Event()

    def run() -> None:
        nonlocal result, error
        try:
            result = load()
        except Exception as failure:
            error = RuntimeError(f"fastact could not load a kernel: {failure!r}")
            traceback.print_exc()
        finally:
            done.set()

    main = threading.current_thread() is threading.main_thread()
    # What interrupts loading in this thread (a signal handler, ``__del__``) may call a function
    # that has to be loaded: another thread would wait for the lock for ever.
    if not main or loading.held_here():
        run()
        return result, error
    started = False
    while True:
        try:
            if not started:
                threading.Thread(target=run, name="fastact-load").start()
                started = True  # interrupted before this, a second thread finds the work done
            done.wait()  # an interrupted Thread.join would count as the thread's end
            return result, error
        except BaseException as interruption:
            error = interruption


def address_of(loop: Any) -> int:
    return ctypes.cast(loop, ctypes.c_void_p).value or 0


def _raise_in_caller(error: BaseException, ended: threading.Event) -> None:
    """Raise an ``error`` of that type in this thread, once ``ended`` is set."""
    caller = ctypes.c_ulong(threading.get_ident())

    def wait_and_raise() -> None:
        ended.wait()
        # The callback still has to return: what is raised inside it is printed and forgotten.
        time.sleep(0.01)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(caller, ctypes.py_object(type(error)))

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

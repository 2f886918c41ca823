"""What the compiled code of the pool and of the recycler has in common: threads, and the clock.

Importing this module imports Numba.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from fastact.cpu import layout as p
from fastact.cpu.intrinsics import call_c, set_word, stack, word

__all__ = ["compiled", "create_thread", "larger", "magnitude", "now", "smaller", "two_words"]

compiled: Any = njit(  # type: ignore[call-overload]
    error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
)

two_words = stack(16)
signal_set = stack(8 * p.SIGNAL_SET_WORDS)


# Numba's own min, max and abs contain code that raises.


@compiled
def smaller(a, b):
    return a if a < b else b


@compiled
def larger(a, b):
    return a if a > b else b


@compiled
def magnitude(a):
    return a if a >= 0 else -a


@compiled
def now(clock_gettime):
    """Nanoseconds of the monotonic clock, given the address of the function that tells them."""
    timespec = two_words()
    call_c(clock_gettime, p.CLOCK_MONOTONIC, timespec, 0, 0, 0, 0, 0, 0)
    return word(timespec, 0) * 1_000_000_000 + word(timespec, 1)


@compiled
def create_thread(create, set_mask, thread, run, argument):
    """Start a thread that no signal is delivered to; whether it could be started.

    Signals are for the threads that the program knows of. ``create`` and ``set_mask`` are the
    addresses of ``pthread_create`` and ``pthread_sigmask``; the thread's handle goes to ``thread``.
    """
    mask, everything = signal_set(), signal_set()
    for i in range(p.SIGNAL_SET_WORDS):
        set_word(everything, i, -1)
    call_c(set_mask, p.SIG_SETMASK, everything, mask, 0, 0, 0, 0, 0)
    failed = call_c(create, thread, 0, run, argument, 0, 0, 0, 0) & 0xFFFFFFFF
    call_c(set_mask, p.SIG_SETMASK, mask, 0, 0, 0, 0, 0, 0)
    return failed == 0

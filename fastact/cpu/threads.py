"""What the compiled code of the pool and of the recycler has in common: threads, and the clock."""

from __future__ import annotations

from fastact.cpu import layout as p
from fastact.cpu.words import call_c, set_word, stack, word

__all__ = ["create_thread", "larger", "magnitude", "now", "smaller", "two_words"]

two_words = stack(16)
signal_set = stack(8 * p.SIGNAL_SET_WORDS)


def smaller(a, b):
    return a if a < b else b


def larger(a, b):
    return a if a > b else b


def magnitude(a):
    return a if a >= 0 else -a


def now(clock_gettime):
    """Nanoseconds of the monotonic clock, given the address of the function that tells them."""
    timespec = two_words()
    call_c(clock_gettime, p.CLOCK_MONOTONIC, timespec)
    return word(timespec, 0) * 1_000_000_000 + word(timespec, 1)


def create_thread(create, set_mask, thread, run, argument):
    """Start a thread that no signal is delivered to; whether it could be started.

    Signals are for the threads that the program knows of. ``create`` and ``set_mask`` are the
    addresses of ``pthread_create`` and ``pthread_sigmask``; the thread's handle goes to ``thread``.
    """
    mask, everything = signal_set(), signal_set()
    for i in range(p.SIGNAL_SET_WORDS):
        set_word(everything, i, -1)
    call_c(set_mask, p.SIG_SETMASK, everything, mask)
    failed = call_c(create, thread, 0, run, argument) & 0xFFFFFFFF
    call_c(set_mask, p.SIG_SETMASK, mask, 0)
    return failed == 0

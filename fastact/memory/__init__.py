"""Recycled memory for large NumPy arrays: fresh results without page faults.

The system gives a large array its memory page by page, zeroed, when it is first written to, and
takes it back when the array is freed. That costs more than most computations on the array. Here the
memory of freed arrays is kept, up to a bound and for some seconds, and handed out again:

    import fastact as fa

    fa.memory.enable()

From then on every large array that NumPy allocates is recycled, whoever computes it: ``a + b``,
``np.maximum(x, 0)``, ``fa.relu(x)``.

NumPy keeps its allocator per context (:pep:`567`): ``enable`` is for arrays made by the calling
thread and by asyncio tasks that it starts. Call it in other threads as well. What is retained is
shared by all of them, and any of them may free an array.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import ctypes
import dataclasses
import functools
import mmap
import operator
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from fastact import loading
from fastact.cpu import machine, numpy_api
from fastact.memory import compiled, layout

__all__ = ["MemoryStats", "clear", "disable", "enable", "recycling", "stats"]

#: The share of the machine's memory that may be retained by default.
_SHARE = 8
_IDLE_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class MemoryStats:
    """What ``fastact.memory.stats`` returns. Blocks are the large allocations; smaller ones are
    NumPy's own affair.

    Attributes
    ----------
    enabled : bool
        Whether new arrays of this thread are recycled.
    max_bytes, idle_seconds : int, float
        The bound on what is retained, and for how long.
    retained_bytes, retained_blocks : int
        What is kept now for arrays to come.
    used_bytes, used_blocks : int
        What arrays use now.
    reused, mapped, released : int
        How many requests were met with retained blocks, how many blocks came from the system, and
        how many went back, since the process started.
    """

    enabled: bool
    max_bytes: int
    idle_seconds: float
    retained_bytes: int
    retained_blocks: int
    used_bytes: int
    used_blocks: int
    reused: int
    mapped: int
    released: int


def enable(max_bytes: int | None = None, idle_seconds: float | None = None) -> None:
    """Recycle the memory of large arrays that this thread makes, from now on.

    Parameters
    ----------
    max_bytes : int, optional
        How many bytes may be retained, not counting arrays in use; for the whole process. The
        default is what was set before, at first an eighth of the memory of the machine or of its
        control group (container).
    idle_seconds : float, optional
        Memory that nobody asked for during this time goes back to the system. The default is what
        was set before, at first 10.

    Raises
    ------
    TypeError, ValueError
        If ``max_bytes`` is not an integer of at least 0, or ``idle_seconds`` not a number above 0.
    NotImplementedError
        On Windows.

    Notes
    -----
    From 128 KiB on, arrays are aligned to the cache line (64 bytes). ``np.zeros`` is recycled, too.
    NumPy's ``MemoryError`` is raised as ever when there is no memory, but only after all that is
    retained has been given back.

    The environment variable ``FASTACT_MEMORY`` does the same when fastact is imported: ``1``, or
    the bound, such as ``512M`` or ``2G``.

    >>> fa.memory.enable(max_bytes=2**30)
    >>> y = np.ones(1_000_000)
    >>> del y
    >>> fa.memory.stats().retained_bytes >= 8_000_000
    True
    >>> fa.memory.disable()
    """
    bound = _checked_bound(max_bytes)
    idle = _checked_idle(idle_seconds)
    recycler = _recycler()
    recycler.configure(bound, idle)
    if not recycler.is_current():
        huge = numpy_api.asks_for_huge_pages() and mmap.PAGESIZE == layout.PAGE
        recycler.words[layout.HUGE] = huge
        _replaced.set(numpy_api.c_function("PyDataMem_SetHandler")(recycler.capsule))


def disable() -> None:
    """Let this thread's new arrays come from where they came before ``enable``, and clear.

    Arrays that were made meanwhile stay valid for as long as they live. Does nothing where
    recycling is not enabled.

    >>> fa.memory.enable()
    >>> x = np.ones(1_000_000)
    >>> fa.memory.disable()
    >>> x.sum()
    np.float64(1000000.0)
    """
    if _made is None:
        return
    if _made.is_current():
        numpy_api.c_function("PyDataMem_SetHandler")(_replaced.get())
    clear()


def clear() -> None:
    """Give all retained memory back to the system, whichever thread freed it.

    >>> fa.memory.clear()
    >>> fa.memory.stats().retained_bytes
    0
    """
    if _made is not None:
        _made.trim(layout.END_OF_TIME)


def stats() -> MemoryStats:
    """What is retained, what is in use, and how often memory was reused.

    >>> fa.memory.stats().enabled
    False
    """
    if _made is None:
        return MemoryStats(False, _default_bound(), _IDLE_SECONDS, 0, 0, 0, 0, 0, 0, 0)
    words = _made.words
    positions = [layout.RETAINED_BYTES, layout.RETAINED_BLOCKS, layout.USED_BYTES]
    positions += [layout.USED_BLOCKS, layout.REUSED, layout.MAPPED, layout.RELEASED]
    return MemoryStats(
        _made.is_current(),
        words[layout.MAX_BYTES],
        words[layout.IDLE_NS] / 1e9,
        *(words[position] for position in positions),
    )


@contextlib.contextmanager
def recycling(max_bytes: int | None = None, idle_seconds: float | None = None) -> Iterator[None]:
    """Recycle the memory of large arrays that this thread makes inside a ``with`` block.

    The parameters are those of ``enable``, for the time of the block. At its end, what is retained
    is given back, unless recycling was enabled before.

    >>> with fa.memory.recycling():
    ...     fa.memory.stats().enabled
    True
    """
    before = stats()
    enable(max_bytes, idle_seconds)
    try:
        yield
    finally:
        _recycler().configure(before.max_bytes, round(before.idle_seconds * 1e9))
        if not before.enabled:
            disable()


# --- the allocator ------------------------------------------------------------------------------

_replaced: contextvars.ContextVar[Any] = contextvars.ContextVar("replaced_handler")
_made: _Recycler | None = None


class _Recycler:
    """The allocator's state and NumPy's handler for it; one for the process, never disposed of."""

    def __init__(self) -> None:
        self.words = (ctypes.c_int64 * layout.STATE_WORDS)()
        self.address = ctypes.addressof(self.words)
        self.words[layout.MAX_BYTES] = _default_bound()
        self.words[layout.IDLE_NS] = round(_IDLE_SECONDS * 1e9)
        self.words[layout.MAP_FLAGS] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        linux = sys.platform == "linux"
        # Elsewhere MADV_DONTNEED is but a hint.
        self.words[layout.ZERO_UP_TO] = layout.ZERO_BYTES if linux else layout.END_OF_TIME
        for slot, name in (
            (layout.MMAP, "mmap"),
            (layout.MUNMAP, "munmap"),
            (layout.MREMAP, "mremap"),
            (layout.MADVISE, "madvise"),
            (layout.MEMSET, "memset"),
            (layout.MEMCPY, "memcpy"),
            (layout.CLOCK_GETTIME, "clock_gettime"),
        ):
            self.words[slot] = machine.c_address(name)
        if machine.FUTEX_NUMBER is not None:
            self._configure_reaper(machine.FUTEX_NUMBER)
        default = numpy_api.default_handler()
        self.words[layout.DEFAULT_CONTEXT] = default.context or 0
        functions = {}
        for slot, name in (
            (layout.DEFAULT_MALLOC, "malloc"),
            (layout.DEFAULT_CALLOC, "calloc"),
            (layout.DEFAULT_REALLOC, "realloc"),
            (layout.DEFAULT_FREE, "free"),
        ):
            self.words[slot] = getattr(default, name)
            functions[name] = compiled.address(name)
        self._handler = numpy_api.Handler(b"fastact_recycling", 1, self.address, **functions)
        self.capsule = numpy_api.handler_capsule(self._handler)
        # Arrays may be freed when all modules are gone.
        for item in (self.words, self._handler, self.capsule):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))

    def _configure_reaper(self, futex: int) -> None:
        self.words[layout.FUTEX] = futex
        for slot, name in (
            (layout.SYSCALL, "syscall"),
            (layout.PTHREAD_CREATE, "pthread_create"),
            (layout.PTHREAD_SIGMASK, "pthread_sigmask"),
            (layout.PTHREAD_JOIN, "pthread_join"),
        ):
            self.words[slot] = machine.c_address(name)
        self.words[layout.REAPER_FUNCTION] = compiled.address("reaper")

    def configure(self, max_bytes: int | None, idle: int | None) -> None:
        """Set the bound and the idle time in nanoseconds, where they are given."""
        if max_bytes is not None:
            self.words[layout.MAX_BYTES] = max_bytes
        if idle is not None and idle != self.words[layout.IDLE_NS]:
            self.stop()  # the reaper sleeps for a part of that time
            self.words[layout.IDLE_NS] = idle
            self.resume()
        self.trim()

    def is_current(self) -> bool:
        """Whether NumPy uses it in this context."""
        return numpy_api.c_function("PyDataMem_GetHandler")() is self.capsule

    def trim(self, before: int = 0) -> None:
        """Give back what is beyond the bound, and what was freed before a time."""
        self._call("trim", before)

    def _call(self, name: str, *arguments: int) -> int:
        return _c_function(name, len(arguments))(self.address, *arguments)

    def stop(self) -> None:
        """Take the lock, and end the reaper."""
        while not self._call("hold"):
            time.sleep(0)
        try:
            while self.words[layout.REAPER] == layout.REAPER_STARTING:
                time.sleep(0)
            if self.words[layout.REAPER_THREAD]:
                self.words[layout.STOP] = 1
                machine.futex_wake(self.address + 8 * layout.STOP)
                machine.join(self.words[layout.REAPER_THREAD])
            for word in (layout.REAPER, layout.REAPER_THREAD, layout.STOP):
                self.words[word] = 0
        except BaseException:  # Ctrl-C
            self._call("let_go")
            raise

    def resume(self) -> None:
        self._call("let_go")
        self._call("start_reaper")

    def resume_in_child(self) -> None:
        self._call("let_go")
        # Recycling a page that the parent has, too, would copy it first.
        self.trim(layout.END_OF_TIME)


def _recycler() -> _Recycler:
    """The allocator, made on first use."""
    global _made
    if sys.platform == "win32":
        raise NotImplementedError("fastact.memory is not available on Windows")
    with loading.lock:
        if _made is None:
            _made = _Recycler()
            atexit.register(_at_exit, _made)
    return _made


def _at_exit(recycler: _Recycler) -> None:
    """No thread may be left when the process ends, and none may be started any more."""
    recycler.stop()
    recycler.words[layout.REAPER_FUNCTION] = 0
    recycler.resume()


@functools.cache
def _c_function(name: str, arguments: int) -> Any:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * (1 + arguments))
    return prototype(compiled.address(name))


def _at_fork(method: Callable[[_Recycler], None]) -> Callable[[], None]:
    return lambda: None if _made is None else method(_made)


loading.at_fork(
    _at_fork(_Recycler.stop), _at_fork(_Recycler.resume), _at_fork(_Recycler.resume_in_child)
)

# --- settings -----------------------------------------------------------------------------------


def _default_bound() -> int:
    return 0 if sys.platform == "win32" else machine.available_memory() // _SHARE


def _checked_bound(max_bytes: int | None) -> int | None:
    if max_bytes is None:
        return None
    try:
        bound = operator.index(max_bytes)
    except TypeError:
        raise TypeError(
            f"enable: max_bytes must be an integer, got {type(max_bytes).__name__}"
        ) from None
    if bound < 0:
        raise ValueError(f"enable: max_bytes must be at least 0, got {bound}")
    return min(bound, layout.END_OF_TIME)


def _checked_idle(idle_seconds: float | None) -> int | None:
    if idle_seconds is None:
        return None
    if isinstance(idle_seconds, str) or not idle_seconds > 0:
        raise ValueError(f"enable: idle_seconds must be a number above 0, got {idle_seconds!r}")
    return min(round(min(float(idle_seconds), 1e9) * 1e9), layout.END_OF_TIME)


def enable_from_environment() -> None:
    """Do what ``FASTACT_MEMORY`` says."""
    text = os.environ.get("FASTACT_MEMORY", "")
    if text.lower() in ("", "0", "off"):
        return
    if text.lower() in ("1", "on"):
        enable()
        return
    match = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT])(?:i?B)?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(
            f"FASTACT_MEMORY is {text!r}; it must be 0, 1, or a size such as 512M or 2G"
        )
    enable(int(float(match[1]) * 1024 ** (1 + "KMGT".index(match[2].upper()))))

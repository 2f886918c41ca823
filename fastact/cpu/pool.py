"""The worker pool as Python sees it: its memory, its settings, how it starts, stops and forks.

What runs without the interpreter, the driver and the workers, is in ``driver``. Both sides share
one block of memory; ``layout`` says what is where in it.

Three layers share out large calls: ``pool``, this package's own worker threads (Linux); ``numba``,
the threads of Numba's TBB or OpenMP layer (elsewhere, where there is one); and ``serial``.
``FASTACT_THREADING_LAYER`` chooses one of them.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import mmap
import operator
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from fastact import loading
from fastact.cpu import machine, shared
from fastact.cpu.layout import (
    AWAKE,
    CLOCK_GETTIME,
    CPU_MASK,
    CPU_MASK_BYTES,
    CREATED,
    ELEMENTS,
    FUTEX,
    LARGE,
    LAYER,
    LAYERS,
    LOCK,
    MAX_WORKERS,
    PARALLEL_FOR,
    PIECES,
    PTHREAD_CREATE,
    PTHREAD_SETAFFINITY,
    PTHREAD_SIGMASK,
    SCHED_GETCPU,
    SCHED_YIELD,
    SHARE,
    SPLIT_FUNCTION,
    STATE_WORDS,
    STOP,
    STREAM_FROM,
    SYSCALL,
    THREADS,
    WORKER_ASLEEP,
    WORKER_FUNCTION,
    WORKER_THREAD,
    WORKER_WORDS,
    WORKERS,
)
from fastact.cpu.placeholder import address_of, placeholder

__all__ = [
    "get_num_threads",
    "num_threads",
    "pool",
    "set_num_threads",
    "threading_layer",
]

_MADV_WIPEONFORK = 18


# --- the pool -----------------------------------------------------------------------------------

_chosen_threads: int | None = None


class _Pool:
    """The shared memory and the layer that runs on it; one for the process."""

    def __init__(self) -> None:
        self.layer = _choose_layer()
        self._large = 0
        self._memory = _wiped_on_fork(8 * STATE_WORDS)
        view = (ctypes.c_int64 * STATE_WORDS).from_buffer(self._memory)
        # Workers and NumPy's loops use this memory until the very end of the process.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(view))
        self.words = view
        self.address = ctypes.addressof(view)
        self.configure()

    def configure(self) -> None:
        """Fill the memory with what the driver needs to know; no worker may be running."""
        threads = get_num_threads()
        ctypes.memset(self.address, 0, 8 * STATE_WORDS)
        self.words[STREAM_FROM] = machine.last_level_cache()
        if not self._large:
            self.words[LARGE] = address_of(_large_placeholder)
            return
        self.words[ELEMENTS] = shared.address("elements")
        self.words[SHARE] = shared.address("share")
        if self.layer == "pool":
            self._configure_workers()
        elif self.layer == "numba":
            self._configure_numba_layer()
        self.words[LAYER] = LAYERS[self.layer]
        self.words[THREADS] = threads
        self.words[LARGE] = self._large

    def load_large(self) -> int:
        """Load what calls of many elements need; the first such call gets here."""
        with loading.lock:
            if not self._large:
                self._large = shared.address("large")
                self.configure()
            return self._large

    def _configure_workers(self) -> None:
        self.words[FUTEX] = machine.FUTEX_NUMBER or 0
        for slot, name in (
            (SYSCALL, "syscall"),
            (SCHED_GETCPU, "sched_getcpu"),
            (SCHED_YIELD, "sched_yield"),
            (PTHREAD_CREATE, "pthread_create"),
            (PTHREAD_SIGMASK, "pthread_sigmask"),
            (PTHREAD_SETAFFINITY, "pthread_setaffinity_np"),
            (CLOCK_GETTIME, "clock_gettime"),
        ):
            self.words[slot] = machine.c_address(name)
        for cpu in os.sched_getaffinity(0):
            if cpu < 8 * CPU_MASK_BYTES:
                bit = 1 << (cpu % 64)
                mask = self.words[CPU_MASK + cpu // 64] | bit
                self.words[CPU_MASK + cpu // 64] = mask - (1 << 64) if mask >> 63 == 1 else mask
        self.words[PIECES] = shared.address("pieces")
        self.words[WORKER_FUNCTION] = shared.address("worker")

    def _configure_numba_layer(self) -> None:
        layer = _numba_layer()
        if layer is None:
            self.layer = "serial"
            return
        self.words[PARALLEL_FOR] = layer.parallel_for
        self.words[SPLIT_FUNCTION] = shared.address("split")

    def stop(self) -> None:
        """End the workers; calls run serially until ``configure`` or ``resume``."""
        self.words[THREADS] = 0
        # A call that is being shared out finishes first; the driver looks at THREADS again once it
        # has the lock.
        while self.words[LOCK] != 0:
            time.sleep(0)
        self.words[STOP] = 1
        time.sleep(0)  # a system call: STOP is seen before ASLEEP changes
        for number in range(self.words[CREATED]):
            record = WORKERS + number * WORKER_WORDS
            # A worker that is just about to sleep finds this changed, and does not.
            self.words[record + WORKER_ASLEEP] = 0
            machine.futex_wake(self.address + 8 * (record + WORKER_ASLEEP))
            machine.join(self.words[record + WORKER_THREAD])
        self.words[CREATED] = self.words[AWAKE] = self.words[STOP] = 0

    def resume(self) -> None:
        self.words[THREADS] = get_num_threads()


def _wiped_on_fork(nbytes: int) -> mmap.mmap:
    """Zeroed memory that is zero again in a forked child, where there are no workers.

    All zero means "serial", so even a child that was forked behind Python's back is safe.
    """
    if sys.platform != "linux":
        return mmap.mmap(-1, nbytes)
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # Linux before 4.14: os.register_at_fork has to do
        memory.madvise(_MADV_WIPEONFORK)
    return memory


def _choose_layer() -> str:
    chosen = os.environ.get("FASTACT_THREADING_LAYER", "").lower()
    has_pool = machine.FUTEX_NUMBER is not None
    if not chosen:
        return "pool" if has_pool else "numba"
    if chosen not in LAYERS:
        names = ", ".join(sorted(LAYERS))
        raise ValueError(f"FASTACT_THREADING_LAYER is {chosen!r}; it must be one of {names}")
    return "numba" if chosen == "pool" and not has_pool else chosen


def _numba_layer() -> Any:
    """The extension module of Numba's TBB or OpenMP layer, started; None where there is neither.

    Nor is there one where Numba is not installed.

    Numba's third layer, workqueue, ends the process when two threads use it at once (Numba issue
    7872), and the second thread may be a user's own ``prange``.
    """
    import importlib

    try:
        from numba.np.ufunc import parallel
    except ModuleNotFoundError:
        return None

    threads: Any = parallel
    threads._launch_threads()
    module = {"tbb": "tbbpool", "omp": "omppool"}.get(threads.threading_layer())
    return module and importlib.import_module(f"numba.np.ufunc.{module}")


@placeholder
def _large_placeholder(data: int) -> int:
    return pool().load_large()


_pool: _Pool | None = None


def pool() -> _Pool:
    """The pool, made on first use. No thread is started before a call is large enough for it."""
    global _pool
    with loading.lock:
        if _pool is None:
            _pool = _Pool()
            atexit.register(_pool.stop)
    return _pool


def threading_layer() -> str:
    """Who shares out large calls: ``"pool"``, ``"numba"`` or ``"serial"``."""
    return pool().layer


# --- forks --------------------------------------------------------------------------------------


def _before_fork() -> None:
    # No worker survives a fork; and Python 3.12 warns of forks with threads running.
    if _pool is not None:
        _pool.stop()


def _after_fork_in_parent() -> None:
    if _pool is not None:
        _pool.resume()


def _after_fork_in_child() -> None:
    if _pool is not None:
        if _pool.layer == "numba":
            # GNU OpenMP ends a forked child at its first parallel call.
            _pool.layer = "serial"
        _pool.configure()


loading.at_fork(_before_fork, _after_fork_in_parent, _after_fork_in_child)

# --- settings -----------------------------------------------------------------------------------


def get_num_threads() -> int:
    """Number of threads that a large call may use, the calling one included.

    The default is ``FASTACT_NUM_THREADS``, else the number of CPUs that this process may use, by
    its affinity and by its control group's quota.

    >>> fa.get_num_threads() >= 1
    True
    """
    if _chosen_threads is not None:
        return _chosen_threads
    text = os.environ.get("FASTACT_NUM_THREADS")
    if text is None:
        return machine.available_cpus()
    try:
        return _checked(int(text), "FASTACT_NUM_THREADS")
    except ValueError:
        raise ValueError(
            f"FASTACT_NUM_THREADS is {text!r}; it must be a number from 1 to {MAX_WORKERS + 1}"
        ) from None


def set_num_threads(n: int) -> None:
    """Let large calls use ``n`` threads, the calling one included, from now on.

    The setting holds for the whole process. 1 means that every call runs on the caller's thread.

    Raises
    ------
    TypeError
        If ``n`` is not an integer.
    ValueError
        If ``n`` is less than 1 or greater than 256.
    """
    _choose_threads(_checked(n, "set_num_threads: n"))


@contextlib.contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Let large calls use ``n`` threads inside a ``with`` block.

    >>> with fa.num_threads(1):
    ...     fa.get_num_threads()
    1
    """
    before = _chosen_threads
    set_num_threads(n)
    try:
        yield
    finally:
        _choose_threads(before)


def _choose_threads(n: int | None) -> None:
    global _chosen_threads
    with loading.lock:
        _chosen_threads = n
        if _pool is not None:
            _pool.resume()


def _checked(n: int, name: str) -> int:
    try:
        value = operator.index(n)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(n).__name__}") from None
    if not 1 <= value <= MAX_WORKERS + 1:
        raise ValueError(f"{name} must be from 1 to {MAX_WORKERS + 1}, got {value}")
    return value

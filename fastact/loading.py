"""One lock, held while anything is loaded on first use, and while the process forks.

A forked child has only the thread that forked. A lock that another thread held stays locked in it
for ever: of a module that was being imported, of Numba or LLVM at work. So whatever is loaded late
(a public name, a kernel, ml_dtypes) is loaded under ``lock``, and a fork waits for it.

The lock is taken before the import system's locks of modules, never while one of them is held: no
module of this package takes it while it is imported. What a program imports by itself
(``import fastact.fused``) holds no ``lock``; a fork waits for that, too.

Numba has a lock of its own, which comes before this one: functions that it compiles may name ours,
which then are loaded while it holds its lock. Whoever holds ``lock`` and has Numba compile
something gives ``lock`` back for as long as another thread has Numba's (``numba_compiles``). A fork
takes both.
"""

from __future__ import annotations

import contextlib

# It has hooks for forks of its own, and Numba imports it: were it imported while a fork waits here,
# the hook for after the fork would be called, but not the one for before.
import logging  # noqa: F401
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import _bootstrap  # type: ignore[attr-defined]
from typing import Any

__all__ = ["at_fork", "held_here", "lock", "numba_compiles"]


lock = threading.RLock()

#: What first uses import.
_PACKAGES = {"fastact", "llvmlite", "ml_dtypes", "numba", "numpy"}
#: So long a fork waits for imports; nothing that works takes longer.
_PATIENCE_SECONDS = 60.0

_Hook = Callable[[], None]
_hooks: list[tuple[_Hook, _Hook, _Hook]] = []


def held_here() -> bool:
    """Whether this thread holds ``lock`` or Numba's, so that another one would wait for it."""
    compilers = _lock_of_numba()
    return _own()._is_owned() or (compilers is not None and compilers._is_owned())


@contextlib.contextmanager
def numba_compiles() -> Iterator[None]:
    """While it lasts, this thread has Numba's lock.

    If another one has it, that may wait for ``lock``, which this one may hold: it is given back
    until Numba's is free. So what is loaded may have been loaded by somebody else meanwhile.
    """
    compilers = _lock_of_numba()
    if not compilers.acquire(blocking=False):
        held = _own()._release_save() if _own()._is_owned() else None
        try:
            compilers.acquire()
        finally:  # also after Ctrl-C, or whoever holds it would release what is not taken
            if held is not None:
                _own()._acquire_restore(held)
    try:
        yield
    finally:
        compilers.release()


def _own() -> Any:
    """``lock`` with the methods that ``threading.Condition`` uses."""
    return lock


def _lock_of_numba() -> Any:
    """The lock that Numba's compilers hold; None before Numba is imported."""
    module = sys.modules.get("numba.core.compiler_lock")
    compilers = getattr(module, "global_compiler_lock", None)
    return None if compilers is None else compilers._lock


def at_fork(before: _Hook, in_parent: _Hook, in_child: _Hook) -> None:
    """Have these called when the process forks: before, and after it on either side.

    All are called while ``lock`` is held: nothing is being loaded.
    """
    _hooks.append((before, in_parent, in_child))


def _imported_elsewhere() -> bool:
    """Whether another thread is importing something of ``_PACKAGES``.

    Python has no public way to ask that. ``_module_locks`` has a weak reference to the lock of each
    module that is being imported, from before it is looked for until it is complete.
    """
    references = getattr(_bootstrap, "_module_locks", {})
    names = [name for name in list(references) if name.partition(".")[0] in _PACKAGES]
    if not names:
        return False
    locks = [reference() for name in names if (reference := references.get(name))]
    owners = {getattr(lock, "owner", None) for lock in locks}
    # An owner that is no thread any more is one that the parent had.
    return bool(owners & sys._current_frames().keys() - {threading.get_ident()})


#: Locks that a fork has taken, in this order.
_taken: list[Any] = []


def _take() -> None:
    compilers = _lock_of_numba()
    locks = [lock] if compilers is None else [compilers, lock]
    for each in locks:
        each.acquire()
    _taken[:] = locks  # another thread may want to fork at the same time


def _give_back() -> None:
    for each in reversed(_taken.copy()):
        each.release()


def _before() -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    _take()
    while (_imported_elsewhere() or (len(_taken) == 1 and _lock_of_numba())) and (
        time.monotonic() < deadline
    ):
        _give_back()  # who imports may need them
        try:
            time.sleep(0.001)
        finally:  # also after Ctrl-C: the process forks all the same
            _take()
    for before, _, _ in _hooks:
        before()


def _in_parent() -> None:
    for _, in_parent, _ in reversed(_hooks):
        in_parent()
    _give_back()


def _in_child() -> None:
    for _, _, in_child in reversed(_hooks):
        in_child()
    _give_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

"""One lock, held while anything is loaded on first use, and while the process forks.

A forked child has only the thread that forked. A lock that another thread held stays locked in it
for ever: of a module that was being imported, of Numba or LLVM at work. So whatever is loaded late
(a public name, a kernel, ml_dtypes) is loaded under ``lock``, and a fork waits for it.

The lock is taken before the import system's locks of modules, never while one of them is held: no
module of this package takes it while it is imported. What a program imports by itself
(``import fastact.fused``) holds no ``lock``; a fork waits for that, too.

Once Numba is there, its own lock is taken before this one. Functions that it compiles may name
ours, which then are loaded while it holds its lock; and what we load may have to be compiled.
"""

from __future__ import annotations

# It has hooks for forks of its own, and Numba imports it: were it imported while a fork waits here,
# the hook for after the fork would be called, but not the one for before.
import logging  # noqa: F401
import os
import sys
import threading
import time
from collections.abc import Callable
from importlib import _bootstrap  # type: ignore[attr-defined]
from typing import Any

__all__ = ["at_fork", "held_here", "lock"]


class _Lock:
    """A lock that one thread may take several times; and Numba's before it, once there is one."""

    def __init__(self) -> None:
        self._own = threading.RLock()
        self._before: list[Any] = []  # what was taken before it, each time

    def acquire(self) -> None:
        compilers = _lock_of_numba()
        if compilers is not None:
            compilers.acquire()
        self._own.acquire()
        self._before.append(compilers)

    def release(self) -> None:
        compilers = self._before.pop()
        self._own.release()
        if compilers is not None:
            compilers.release()

    def held_here(self) -> bool:
        compilers = _lock_of_numba()
        own: Any = self._own
        return own._is_owned() or (compilers is not None and compilers.is_locked())

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


def _lock_of_numba() -> Any:
    """The lock that Numba's compilers hold; None before Numba is imported."""
    module = sys.modules.get("numba.core.compiler_lock")
    return getattr(module, "global_compiler_lock", None)


#: One lock: there is no order to get wrong.
lock = _Lock()

#: What first uses import.
_PACKAGES = {"fastact", "llvmlite", "ml_dtypes", "numba", "numpy"}
#: So long a fork waits for imports; nothing that works takes longer.
_PATIENCE_SECONDS = 60.0

_Hook = Callable[[], None]
_hooks: list[tuple[_Hook, _Hook, _Hook]] = []


def held_here() -> bool:
    """Whether this thread holds ``lock`` or Numba's, so that another one would wait for it."""
    return lock.held_here()


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


def _before() -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    lock.acquire()
    while _imported_elsewhere() and time.monotonic() < deadline:
        lock.release()  # who imports may need it
        try:
            time.sleep(0.001)
        finally:  # also after Ctrl-C: the process forks all the same
            lock.acquire()
    for before, _, _ in _hooks:
        before()


def _in_parent() -> None:
    for _, in_parent, _ in reversed(_hooks):
        in_parent()
    lock.release()


def _in_child() -> None:
    for _, _, in_child in reversed(_hooks):
        in_child()
    lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)

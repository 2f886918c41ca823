"""A word to whoever waits for a compiler, if that is somebody at a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

__all__ = ["compiling"]

_TEXT = "fastact: compiling kernels for this CPU, once; `fastact warmup` does it ahead"
#: Seconds of compiling, in all, that pass without a word.
_PATIENCE = 1.0
_spent = 0.0
_told = False


def _tell() -> None:
    global _told
    _told = True
    with contextlib.suppress(OSError, ValueError):
        print(_TEXT, file=sys.stderr, flush=True)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """While this lasts, a kernel is compiled that somebody waits for."""
    global _spent
    # No thread where nobody would be told.
    timer = threading.Timer(max(0.0, _PATIENCE - _spent), _tell) if _is_to_be_told() else None
    start = time.perf_counter()
    try:
        if timer:
            timer.start()
        yield
    finally:
        _spent += time.perf_counter() - start
        if timer:
            timer.cancel()
            timer.join()  # a fork warns of threads


def _is_to_be_told() -> bool:
    quiet = os.environ.get("FASTACT_QUIET", "") not in ("", "0")
    try:
        return not (_told or quiet) and sys.stderr is not None and sys.stderr.isatty()
    except (AttributeError, ValueError):  # a stand-in for it, or closed
        return False

"""Memory between two kernels, kept from call to call: so a call with ``out=`` allocates nothing.

Calls on one stream run one after the other, so they share their memory; those of two streams do
not. What is captured in a CUDA graph may run on any stream, at any time: a capture has memory of
its own, which is never used for anything else. That is the stream's, if it has some: a call like
those that are captured, made before, spares the capture an allocation.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Hashable
from typing import Any

from fastact.cuda import arrays, native
from fastact.cuda.arrays import View

__all__ = ["Space", "space"]


@dataclasses.dataclass(frozen=True)
class Space:
    """Some memory. The kernels of one call are launched while ``lock`` is held."""

    pointer: int
    count: int
    memory: Any
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


_lock = threading.Lock()
_spaces: dict[Hashable, Space] = {}
#: Too small for what came later, and yet part of a graph.
_captured: list[Space] = []


def space(like: Any, of: View, count: int, stream: int) -> Space:
    """Room for numbers of the type that ``of`` is computed in, of the library of ``like``."""
    # One handle stands for each thread's own default stream.
    owner = threading.get_ident() if stream == arrays.PER_THREAD else 0
    with _lock:
        capture = native.capture(stream)
        key = (of.device, stream, owner, of.kind.compute, capture)
        kept = _spaces.get(key)
        if kept is None and capture:
            kept = _spaces.pop((*key[:-1], 0), None)
            if kept is not None:
                _spaces[key] = kept
        if kept is None or kept.count < count:
            if kept is not None and capture:
                _captured.append(kept)
            with arrays.allocating_on(like, stream):
                memory = arrays.empty(like, of, (count,), of.kind.compute)
            kept = _spaces[key] = Space(arrays.address(memory), count, memory)
        return kept

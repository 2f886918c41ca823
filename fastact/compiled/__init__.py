"""The functions inside code that Numba compiles: ``@njit``, ``@vectorize``, ``@stencil``, ...

Numba calls ``initialize`` by itself, through the entry point ``numba_extensions``, before it
compiles anything, and ``initialize_on_gpu`` before it compiles anything for a GPU. A function
becomes known to Numba when it is built, which is when its name is first used: so a program that
uses none pays for none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastact.public import made

if TYPE_CHECKING:
    from fastact.catalogue import Form

__all__ = ["initialize", "initialize_on_gpu"]


def initialize() -> None:
    """Have Numba know the functions that have been built, and those to come."""
    made.tell(_overload)


def _overload(function: Any, of: made.Kernel | Form) -> None:
    # Imported late: the first use of Numba needs none of it.
    from fastact.compiled import functions, ufuncs

    if isinstance(of, made.Kernel):
        ufuncs.overload_ufunc(function, of)
    else:
        functions.overload_function(function, of)
    ufuncs.refresh()


def initialize_on_gpu() -> None:
    """The same for ``@cuda.jit``."""
    made.tell(_overload_on_gpu)


def _overload_on_gpu(function: Any, of: made.Kernel | Form) -> None:
    from fastact.compiled import gpu

    gpu.overload_on_gpu(function, of)
    gpu.refresh()

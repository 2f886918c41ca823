"""NumPy's C API, called through ctypes. The only file that knows positions in its tables."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

__all__ = ["Handler", "asks_for_huge_pages", "c_function", "default_handler", "handler_capsule"]

_POINTERS = ctypes.POINTER(ctypes.c_void_p)
#: Of a function that makes a ufunc: what it returns, and what it takes.
_MAKE_UFUNC = (
    ctypes.py_object,
    _POINTERS,
    _POINTERS,
    ctypes.c_char_p,
    *[ctypes.c_int] * 4,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_int,
)
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    # name: table and position, then the result's and the arguments' types
    "PyUFunc_FromFuncAndData": ("_UFUNC_API", 1, *_MAKE_UFUNC),
    "PyUFunc_FromFuncAndDataAndSignature": ("_UFUNC_API", 31, *_MAKE_UFUNC, ctypes.c_char_p),
    "PyUFunc_RegisterLoopForType": (
        "_UFUNC_API",
        2,
        ctypes.c_int,
        ctypes.py_object,
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.POINTER(ctypes.c_int),
        ctypes.c_void_p,
    ),
    "PyDataMem_SetHandler": ("_ARRAY_API", 304, ctypes.py_object, ctypes.py_object),
    "PyDataMem_GetHandler": ("_ARRAY_API", 305, ctypes.py_object),
}
_DEFAULT_HANDLER = 306


@functools.cache
def c_function(name: str) -> Callable[..., Any]:
    """A function of NumPy's C API; it raises what that has set."""
    table, position, *prototype = _PROTOTYPES[name]
    return ctypes.PYFUNCTYPE(*prototype)(_table(table)[position])


def _table(name: str) -> Any:
    return ctypes.cast(_pointer(getattr(_multiarray_umath, name), None), _POINTERS)


def _pointer(capsule: Any, name: bytes | None) -> int:
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return get(capsule, name)


# --- the data-allocation hook (NEP 49) ----------------------------------------------------------

_CAPSULE_NAME = b"mem_handler"


class Handler(ctypes.Structure):
    """``PyDataMem_Handler``, version 1."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


def default_handler() -> Handler:
    """NumPy's own."""
    slot = ctypes.cast(_table("_ARRAY_API")[_DEFAULT_HANDLER], ctypes.POINTER(ctypes.py_object))
    return Handler.from_address(_pointer(slot.contents.value, _CAPSULE_NAME))


def handler_capsule(handler: Handler) -> Any:
    """What ``PyDataMem_SetHandler`` takes; ``handler`` must live as long as the process."""
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    return new(ctypes.addressof(handler), _CAPSULE_NAME, None)


def asks_for_huge_pages() -> bool:
    """Whether NumPy asks the system for huge pages (``NUMPY_MADVISE_HUGEPAGE``)."""
    return _multiarray_umath._get_madvise_hugepage()

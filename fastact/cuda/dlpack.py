"""Arrays handed over by DLPack, in both directions: for JAX, whose interface knows no bfloat16.

A consumer gets the memory itself, without a copy, and frees it. The protocol's structures are those
of its version 0, which every library takes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

__all__ = ["CPU", "GPU", "Owned", "read"]

#: Kinds of devices.
CPU, GPU = 1, 2
#: Codes of dtypes.
_CODES = {"int": 0, "uint": 1, "float": 2, "bfloat": 4}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("number", ctypes.c_int32),
        ("dimensions", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("free", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


#: What consumers have, by the address of its structure, and all that keeps it there.
_handed_over: dict[int, Any] = {}


def _forget(address: int) -> None:
    _handed_over.pop(address, None)


_free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_forget)


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_new_capsule.restype = ctypes.py_object
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_pointer.restype = ctypes.c_void_p
_NAME = b"dltensor"


class Owned:
    """Memory of Numba's, ``array``, without gaps, as an array of a dtype, to be given away.

    ``device`` is the kind of its device and its number; ``ready(stream)`` makes a stream wait until
    the data are there.
    """

    def __init__(self, array: Any, pointer: int, dtype: str, device: tuple[int, int]) -> None:
        self.array, self.pointer, self.dtype = array, pointer, dtype
        self.shape: tuple[int, ...] = tuple(array.shape)
        self._device = device
        self.ready: Callable[[Any], None] = lambda stream: None

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device

    def __dlpack__(self, stream: Any = None, **_: Any) -> Any:
        self.ready(stream)
        name = self.dtype.rstrip("0123456789")
        shape = (ctypes.c_int64 * len(self.shape))(*self.shape)
        bits = int(self.dtype[len(name) :])
        of = _Tensor(self.pointer, *self._device, len(shape), _CODES[name], bits, 1, shape)
        managed = _Managed(of, None, _free)
        address = ctypes.addressof(managed)
        _handed_over[address] = (managed, shape, self.array)
        return _new_capsule(address, _NAME, None)


def read(array: Any, stream: int | None) -> tuple[int, tuple[int, ...], Any, str, tuple[int, int]]:
    """Address, shape, strides in elements or None, dtype and device of another library's array.

    ``stream`` waits for its data; the numbers of streams are the protocol's.
    """
    kind, number = map(int, array.__dlpack_device__())
    capsule = array.__dlpack__(stream=stream if kind == GPU else None)
    of = _Managed.from_address(_pointer(capsule, _NAME)).tensor
    names = {code: name for name, code in _CODES.items()}
    shape = tuple(of.shape[: of.dimensions]) if of.dimensions else ()
    strides = tuple(of.strides[: of.dimensions]) if of.strides and of.dimensions else None
    dtype = f"{names.get(of.code, f'code {of.code}, bits ')}{of.bits}"
    return (of.data or 0) + of.offset, shape, strides, dtype, (kind, number)

"""What kernels use in Numba's CUDA simulator: the names of ``device``, in Python on the host.

Elements are NumPy scalars and addresses those of the host's memory, so that kernels run as they
are, bit for bit, if slowly.
"""

from __future__ import annotations

import ctypes
import math
import types as python_types
from fractions import Fraction
from typing import Any

import numpy as np

from fastact.cpu import half

__all__ = ["formula", "jit"]

_FORMATS: dict[Any, tuple[Any, int, int]] = {
    np.float32: (np.uint32, 23, 127),
    np.float64: (np.uint64, 52, 1023),
}


def formula(function: Any) -> Any:
    return function


def jit(function: Any, arguments: tuple[str, ...], cached: bool) -> Any:
    """A kernel whose numbers have these types, without NumPy's warnings in any of its threads."""
    from numba import cuda

    names = function.__globals__  # in which the simulator puts a ``cuda`` of its own
    names |= {
        "errstate": np.errstate,
        "convert": tuple(int if name == "int64" else getattr(np, name) for name in arguments),
        "original": function,
    }
    exec(_WITHOUT_WARNINGS, names)
    return cuda.jit(names["simulated"])


_WITHOUT_WARNINGS = """
def simulated(*given):
    with errstate(all="ignore"):
        original(*[to(number) for to, number in zip(convert, given)])
"""


def times(a: Any, b: Any) -> Any:
    return a * b


def fma(a: Any, b: Any, c: Any) -> Any:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    if isinstance(a, np.float32):
        return np.float32(_sum_to_odd(float(a) * float(b), float(c)))
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if not exact:
        return a * b + c  # the sign of zero
    try:
        return np.float64(float(exact))
    except OverflowError:
        return np.float64(math.inf if exact > 0 else -math.inf)


def _sum_to_odd(a: float, b: float) -> float:
    """a + b, rounded to odd: rounding once more, to float32, is right (Boldo and Melquiond, 2008).

    The product of two float32 is exact in float64.
    """
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)
    if error == 0 or math.frexp(total)[0] * 2**53 % 2 == 1:
        return total
    return math.nextafter(total, math.inf if error > 0 else -math.inf)


def product_low(a: Any, b: Any, product: Any) -> Any:
    return fma(a, b, -product)


def absolute(x: Any) -> Any:
    return np.abs(x)


def copysign(x: Any, sign: Any) -> Any:
    return np.copysign(x, sign)


def sqrt(x: Any) -> Any:
    return np.sqrt(x)


def select(condition: Any, if_true: Any, if_false: Any) -> Any:
    return if_true if condition else if_false


def _power(rounded: Any, offset: int) -> Any:
    integer, bits, bias = _FORMATS[type(rounded)]
    shifted: Any = rounded.view(integer) << integer(bits)
    return integer(shifted + integer((bias + offset) << bits)).view(type(rounded))


def power_of_two(rounded: Any) -> Any:
    return _power(rounded, 0)


def scale(x: Any, rounded: Any) -> Any:
    up = 64 if isinstance(x, np.float32) else 512
    return x * _power(rounded, up) * type(x)(2.0**-up)


def mantissa(x: Any) -> Any:
    return type(x)(np.frexp(x)[0] * 2)


def exponent(x: Any) -> Any:
    return type(x)(np.frexp(x)[1] - 1)


# --- half types ---------------------------------------------------------------------------------


def _of_cpu(name: str) -> Any:
    code = getattr(half, name).py_func.__code__
    names: dict[str, Any] = {
        "float32_bits": lambda value: value.view(np.uint32),
        "float32_from_bits": lambda bits: np.uint32(bits).view(np.float32),
        "uint16": np.uint16,
        "uint32": np.uint32,
        "INFINITY": half.INFINITY,
    }
    return python_types.FunctionType(code, names)


load_bfloat16, store_bfloat16 = _of_cpu("load_bfloat16"), _of_cpu("store_bfloat16")


def load_float16(bits: Any) -> Any:
    return np.float32(bits.view(np.float16))


def store_float16(value: Any) -> Any:
    return np.float16(value).view(np.uint16)


# --- memory -------------------------------------------------------------------------------------


def _at(address: int, dtype: Any, count: int) -> Any:
    memory = (ctypes.c_char * (np.dtype(dtype).itemsize * count)).from_address(int(address))
    return np.frombuffer(memory, dtype)


def load_one(address: int, dtype: Any) -> Any:
    return _at(address, dtype, 1)[0]


def store_one(address: int, value: Any) -> None:
    _at(address, type(value), 1)[0] = value


def load_sixteen(address: int, dtype: Any) -> Any:
    assert address % 16 == 0
    return tuple(_at(address, dtype, 16 // np.dtype(dtype).itemsize))


def _store_sixteen(address: int, *values: Any) -> None:
    assert address % 16 == 0
    _at(address, type(values[0]), len(values))[:] = values


store_sixteen_2 = store_sixteen_4 = store_sixteen_8 = _store_sixteen

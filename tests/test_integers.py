"""Functions of integers do the same compiled as in Python."""

from __future__ import annotations

import ctypes

import pytest

from fastact.cpu import driver, integers, llvm
from fastact.cpu import layout as p

LIMIT = 3


def arithmetic(a, b):
    """A docstring is no code."""
    total = a * 7 - (b << 2) + (a >> 1)
    total += (a & b) | (a ^ ~b)
    total -= -b
    if b != 0:
        total += a // b * 1000 + a % b
    return total


def comparisons(a, b):
    result = 0
    if a < b:
        result |= 1
    elif a <= b:
        result |= 2
    else:
        result |= 4
    both = a > 0 and b > 0
    if both or not a > b:
        result |= 8
    return result + 16 * (a == b) + 32 * (a >= b)


def choices(a, b):
    c, d = (a if a > b else b), (b if a > b else a)
    first = second = a and b
    return 100 * (first or 7) + 10 * c - d + second


def loops(a, b):
    count = total = 0
    for i in range(a):
        if i == LIMIT:
            continue
        for j in range(b, a, 2):
            if j > 9:
                break
            total += i * j
            j += 100  # what comes next does not depend on it
    while True:
        count += 1
        if count >= b:
            return total + count
        total -= 1


def inner(a):  # noqa: RET503
    if a > p.MAX_OPERANDS:
        return a
    a += 1


def calls(a, b):
    return inner(a) + inner(inner(b) + a)


NUMBERS = [-(2**40) - 3, -17, -8, -1, 0, 1, 2, 5, 13, 2**40 + 1]


def compiled(function):
    text = integers.ir_text(function, None, llvm.SYMBOL)
    symbol = f"test_{function.__name__}"
    address = llvm.link(llvm.machine_code(llvm.portable_ir(text), symbol, False), symbol)
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(address)


@pytest.mark.parametrize("function", [arithmetic, comparisons, choices])
def test_like_python(function):
    in_machine_code = compiled(function)
    for a in NUMBERS:
        for b in NUMBERS:
            assert in_machine_code(a, b) == int(function(a, b)), (a, b)


def test_loops_like_python():
    in_machine_code = compiled(loops)
    for a in range(-2, 14):
        for b in range(-2, 12):
            assert in_machine_code(a, b) == loops(a, b)


def test_calls_like_python():
    # Without a return statement the result is 0.
    in_machine_code = compiled(calls)
    for a in NUMBERS[:-1]:
        for b in NUMBERS[:-1]:
            first = (inner(b) or 0) + a
            assert in_machine_code(a, b) == (inner(a) or 0) + (inner(first) or 0)


def returns_text(a, b):
    return "text"


def calls_python(a, b):
    return max(a, b)


def compares_twice(a, b):
    return 0 < a < b


def unpacks(a, b):
    for i, j in ((a, b), (b, a)):
        a += i * j
    return a


def of_nothing(a, b):
    return a + not_there  # noqa: F821


@pytest.mark.parametrize(
    "function", [returns_text, calls_python, compares_twice, unpacks, of_nothing]
)
def test_what_is_not_integers_is_refused(function):
    with pytest.raises(SyntaxError, match=function.__name__):
        integers.ir_text(function, None, llvm.SYMBOL)


def test_instructions_are_only_for_compiled_functions():
    with pytest.raises(TypeError, match="can only be compiled"):
        driver.larger(driver.word(0, 0), 1)

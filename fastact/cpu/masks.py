"""Fused kernels over arrays without shape: one-bit masks, and dropout from counters.

They are kernels over ``blocks`` of one row. A block begins with a whole byte of a mask and with a
whole group of random numbers: no two threads write one byte, and who computes a block makes no
difference.
"""

from __future__ import annotations

import textwrap

from fastact.catalogue.dtypes import Kind
from fastact.cpu import layout as p
from fastact.source.formulas import call
from fastact.source.fused import FusedKernel
from fastact.source.random import philox

__all__ = [
    "GROUP",
    "relu_dropout",
    "relu_dropout_backward",
    "relu_mask",
    "relu_mask_backward",
]

#: Counters whose random numbers are made at once, and are four times as many.
COUNTERS = 128
GROUP = 4 * COUNTERS


# --- masks --------------------------------------------------------------------------------------

_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}


def relu_mask(kind: Kind) -> FusedKernel:
    """y = relu(x), and a bit for each element that is positive."""
    infinity = f"uint16({_INFINITY.get(kind.name, 0)})"

    def part(eight: str) -> str:
        return f"""\
for i in range(count // 8):
    bits[i] = {eight}(x, y, 8 * i, {infinity})
"""

    value = f"T({call(kind.load, 'x[i]')})"
    body = f"""\
{_arrays(kind)}
bits = at(word(call, {p.CALL_VECTOR}) + left // 8, uint8)
if past_cache:
{textwrap.indent(part("relu_eight_streamed"), "    ")}
else:
{textwrap.indent(part("relu_eight"), "    ")}
if count % 8 != 0:
    last = uint8(0)
    for i in range(count - count % 8, count):
        value = {value}
        y[i] = {kind.storage}(0) if value <= T(0) else x[i]
        last |= uint8((value > T(0)) << (i % 8))
    bits[count // 8] = last
"""
    return FusedKernel("relu_mask", kind, "", 1, body=body, vector_dtype="uint8")


def relu_mask_backward(kind: Kind) -> FusedKernel:
    """y = x where there is a bit, else 0."""

    def part(eight: str) -> str:
        return f"""\
for i in range(count // 8):
    {eight}(x, y, 8 * i, bits[i])
"""

    body = f"""\
{_arrays(kind)}
bits = at(word(call, {p.CALL_VECTOR}) + left // 8, uint8)
if past_cache:
{textwrap.indent(part("kept_eight_streamed"), "    ")}
else:
{textwrap.indent(part("kept_eight"), "    ")}
for i in range(count - count % 8, count):
    y[i] = x[i] if (bits[i // 8] >> (i % 8)) & 1 else {kind.storage}(0)
"""
    return FusedKernel("relu_mask_backward", kind, "", 1, body=body, vector_dtype="uint8")


def _arrays(kind: Kind, inputs: int = 1) -> str:
    """Source: where the block's elements are, and how many."""
    return f"""\
count = columns
x = at(address0, {kind.storage})
y = at(address{inputs}, {kind.storage})"""


# --- dropout ------------------------------------------------------------------------------------


def relu_dropout(kind: Kind) -> FusedKernel:
    """y = relu(x) * scale where an element is kept, else 0."""
    # NaN that is kept stays.
    return _dropout("relu_dropout", kind, 1, "(value > T(0)) | (value != value)")


def relu_dropout_backward(kind: Kind) -> FusedKernel:
    """y = x * scale where an element is kept and the second array's is positive, else 0."""
    return _dropout("relu_dropout_backward", kind, 2, "z > T(0)")


def _dropout(name: str, kind: Kind, inputs: int, condition: str) -> FusedKernel:
    """The vector has four words: the key's, the threshold, and the factor, in its type.

    Element i is kept if the word number (i % 512) // 128 of the counter (i // 512) * 128 + i % 128
    is at least the threshold.
    """
    load = f"T({call(kind.load, 'load({}, base + j)')})"
    read = [f"value = {load.format('x')}"]
    pointers = [_arrays(kind, inputs)]
    if inputs == 2:
        pointers.append(f"saved = at(address1, {kind.storage})")
        read.append(f"z = {load.format('saved')}")
    result = f"T(select(kept & ({condition}), T(value * scale), T(0)))"
    newline = "\n"
    body = f"""\
{newline.join(pointers)}
numbers = word(call, {p.CALL_VECTOR})
k0, k1 = uint32(word(numbers, 0)), uint32(word(numbers, 1))
threshold = uint32(word(numbers, 2))
scale = at(numbers + 24, T)[0]
words = new_words()
for base in range(0, count, {GROUP}):
    start = (left + base) // 4
    for c in range({COUNTERS}):
        counter = uint64(start + c)
{textwrap.indent(philox(), "        ")}
        store(words, c, w0)
        store(words, {COUNTERS} + c, w1)
        store(words, {2 * COUNTERS} + c, w2)
        store(words, {3 * COUNTERS} + c, w3)
        independent()
    rest = count - base
    for j in range(rest if rest < {GROUP} else {GROUP}):
        kept = load(words, j) >= threshold
{textwrap.indent(newline.join(read), "        ")}
        store(y, base + j, {call(kind.store, result)})
        independent()
"""
    arrays = (("new_words", ("uint32", GROUP)),)
    return FusedKernel(name, kind, "", inputs, body=body, vector_dtype="int64", arrays=arrays)

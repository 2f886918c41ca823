"""Fused kernels over arrays without shape: one-bit masks, and dropout from counters.

As in ``blocks``, a kernel's items are parts that records describe. A part begins with a whole byte
of a mask and with a whole group of random numbers: no two threads write one byte, and who computes
a part makes no difference.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastact.cpu import machine
from fastact.cpu.launch import Launcher, address
from fastact.cpu.loops import call, unit_of_source
from fastact.dtypes import Kind

__all__ = ["dropout", "mask", "masked"]

Array = npt.NDArray[Any]

# A record: how many elements, the number of the first one, whether to store past the cache; then
# the addresses of two inputs, of the output, and of the numbers that all parts share.
COUNT, FIRST, STREAMED, INPUT, SECOND, OUTPUT, NUMBERS = range(7)
WORDS = 7

#: Elements of a part.
PART = 16384
#: Counters whose random numbers are made at once, and are four times as many.
COUNTERS = 128
GROUP = 4 * COUNTERS


# --- masks --------------------------------------------------------------------------------------

_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}


def _mask_source(kind: Kind) -> str:
    infinity = f"uint16({_INFINITY.get(kind.name, 0)})"

    def part(eight: str) -> str:
        return f"""\
for i in range(count // 8):
    bits[i] = {eight}(x, y, 8 * i, {infinity})
"""

    value = f"T({call(kind.load, 'x[i]')})"
    return _loop(
        kind,
        f"""\
bits = at(word(record, {SECOND}), uint8)
if word(record, {STREAMED}) != 0:
{textwrap.indent(part("relu_eight_streamed"), "    ")}    stream_fence()
else:
{textwrap.indent(part("relu_eight"), "    ")}
if count % 8 != 0:
    last = uint8(0)
    for i in range(count - count % 8, count):
        value = {value}
        y[i] = {kind.storage}(0) if value <= T(0) else x[i]
        last |= uint8((value > T(0)) << (i % 8))
    bits[count // 8] = last
""",
    )


def _masked_source(kind: Kind) -> str:
    def part(eight: str) -> str:
        return f"""\
for i in range(count // 8):
    {eight}(x, y, 8 * i, bits[i])
"""

    return _loop(
        kind,
        f"""\
bits = at(word(record, {SECOND}), uint8)
if word(record, {STREAMED}) != 0:
{textwrap.indent(part("kept_eight_streamed"), "    ")}    stream_fence()
else:
{textwrap.indent(part("kept_eight"), "    ")}
for i in range(count - count % 8, count):
    y[i] = x[i] if (bits[i // 8] >> (i % 8)) & 1 else {kind.storage}(0)
""",
    )


# --- dropout ------------------------------------------------------------------------------------

#: Philox4x32-10: four 32-bit words out of a counter and a key. J. K. Salmon, M. A. Moraes, R. O.
#: Dror and D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def _philox() -> str:
    """Source: the words w0 to w3 of the counter ``counter`` under the key (k0, k1)."""
    lines = ["w0 = uint32(counter)", "w1 = uint32(counter >> uint64(32))"]
    lines += ["w2 = uint32(0)", "w3 = uint32(0)"]
    for r in range(_ROUNDS):
        keys = [f"uint32(k{i} + uint32({r * _WEYL[i] & 0xFFFFFFFF}))" for i in range(2)]
        lines += [
            f"product0 = uint64({_MULTIPLIERS[0]}) * uint64(w0)",
            f"product1 = uint64({_MULTIPLIERS[1]}) * uint64(w2)",
            f"w0 = uint32(uint32(product1 >> uint64(32)) ^ w1 ^ {keys[0]})",
            "w1 = uint32(product1)",
            f"w2 = uint32(uint32(product0 >> uint64(32)) ^ w3 ^ {keys[1]})",
            "w3 = uint32(product0)",
        ]
    return "\n".join(lines)


def _dropout_source(kind: Kind, backward: bool) -> str:
    """``relu(x) * scale`` where an element is kept; or ``grad * scale`` where it is, and x > 0."""
    load = f"T({call(kind.load, 'load({}, base + j)')})"
    read = f"value = {load.format('x')}"
    if backward:
        read += f"\nz = {load.format('saved')}"
        result = "select(kept & (z > T(0)), T(value * scale), T(0))"
    else:
        # NaN that is kept stays.
        result = "select(kept & ((value > T(0)) | (value != value)), T(value * scale), T(0))"
    return _loop(
        kind,
        f"""\
saved = at(word(record, {SECOND}), {kind.storage})
first = word(record, {FIRST})
numbers = word(record, {NUMBERS})
k0, k1 = uint32(word(numbers, 0)), uint32(word(numbers, 1))
threshold = uint32(word(numbers, 2))
scale = at(numbers + 24, T)[0]
words = new_words()
for base in range(0, count, {GROUP}):
    start = (first + base) // 4
    for c in range({COUNTERS}):
        counter = uint64(start + c)
{textwrap.indent(_philox(), "        ")}
        store(words, c, w0)
        store(words, {COUNTERS} + c, w1)
        store(words, {2 * COUNTERS} + c, w2)
        store(words, {3 * COUNTERS} + c, w3)
        independent()
    rest = count - base
    for j in range(rest if rest < {GROUP} else {GROUP}):
        kept = load(words, j) >= threshold
{textwrap.indent(read, "        ")}
        store(y, base + j, {call(kind.store, f"T({result})")})
        independent()
""",
    )


# --- running ------------------------------------------------------------------------------------


def _loop(kind: Kind, part: str) -> str:
    return f"""
def loop(args, dimensions, steps, data):
    for item in range(dimensions[0]):
        record = word(address(args), 0) + item * steps[0]
        count = word(record, {COUNT})
        x = at(word(record, {INPUT}), {kind.storage})
        y = at(word(record, {OUTPUT}), {kind.storage})
{textwrap.indent(part, "        ")}"""


@functools.cache
def _launcher(name: str, kind: Kind) -> Launcher:
    sources: dict[str, Callable[[Kind], str]] = {
        "relu_mask": _mask_source,
        "relu_mask_backward": _masked_source,
        "relu_dropout": functools.partial(_dropout_source, backward=False),
        "relu_dropout_backward": functools.partial(_dropout_source, backward=True),
    }
    arrays = {"new_words": ("uint32", GROUP)} if "dropout" in name else {}
    text = sources[name](kind)
    unit = unit_of_source(f"{name}-{kind.name}", text, [kind], kind.compute, arrays, __name__)

    def sample() -> tuple[Array, int, Any]:
        x = np.zeros((3, 4096), kind.storage)
        numbers = np.zeros(4, np.int64)
        return _records(x[0], x[1], x[2], numbers, False), x[0].size, (x, numbers)

    return Launcher(unit, 2 * kind.itemsize, sample)


def _records(x: Array, second: Array | None, y: Array, numbers: Array | None, bits: bool) -> Array:
    n = x.size
    first = np.arange(0, n, PART)
    records = np.zeros((len(first), WORDS), np.int64)
    records[:, COUNT] = np.minimum(PART, n - first)
    records[:, FIRST] = first
    # Non-temporal stores pay where the arrays are larger than the cache, and never in place.
    start = address(y)
    records[:, STREAMED] = (
        2 * x.nbytes >= machine.last_level_cache() and start != address(x) and start % 16 == 0
    )
    records[:, INPUT] = address(x) + first * x.itemsize
    records[:, OUTPUT] = start + first * y.itemsize
    if second is not None:
        offsets = first // 8 if bits else first * second.itemsize
        records[:, SECOND] = address(second) + offsets
    if numbers is not None:
        records[:, NUMBERS] = address(numbers)
    return records


def mask(kind: Kind, x: Array, y: Array, bits: Array) -> None:
    """y = relu(x), and a bit for each element that is positive."""
    if x.size:
        _launcher("relu_mask", kind)(_records(x, bits, y, None, True), PART)


def masked(kind: Kind, grad: Array, bits: Array, out: Array) -> None:
    """out = grad where there is a bit, else 0."""
    if grad.size:
        _launcher("relu_mask_backward", kind)(_records(grad, bits, out, None, True), PART)


def dropout(
    kind: Kind, x: Array, z: Array | None, out: Array, p: float, seed: int, scale: float
) -> None:
    """out = relu(x) * scale where an element is kept; with z, x * scale where z > 0 besides.

    Element i is kept if the word number (i % 512) // 128 of the counter (i // 512) * 128 + i % 128
    under the key ``seed`` is at least p 2^32.
    """
    if not x.size:
        return
    threshold = min(round(p * 2**32), 2**32 - 1)
    numbers = np.array([seed & 0xFFFFFFFF, seed >> 32, threshold, 0], np.int64)
    numbers[3:].view(kind.compute)[0] = scale
    name = "relu_dropout" if z is None else "relu_dropout_backward"
    _launcher(name, kind)(_records(x, z, out, numbers, False), PART)

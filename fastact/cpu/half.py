"""float16 and bfloat16 to and from float32, in branch-free integer arithmetic, and comparisons.

bfloat16 is the upper half of a float32. float16 has a conversion instruction on AArch64 and, as the
extension F16C, on x86-64 since 2012; kernels for older or generic x86-64 use the two ``portable``
functions instead, because there LLVM would call a library function that is not in the process.

Importing this module imports Numba.
"""

from __future__ import annotations

from typing import Any

from numba import boolean, float32, njit, uint16, uint32
from numba.extending import intrinsic

from fastact.cpu.arithmetic import compared_halves, constant
from fastact.cpu.intrinsics import (
    float16_to_float32,
    float32_bits,
    float32_from_bits,
    float32_to_float16,
)
from fastact.cpu.target import traits

INFINITY = 0x7F800000  # the bits of a float32
SIGN = 0x80000000


@njit(forceinline=True)
def load_bfloat16(bits):
    return float32_from_bits(uint32(uint32(bits) << uint32(16)))


@njit(forceinline=True)
def store_bfloat16(value):
    bits = float32_bits(value)
    last = uint32((bits >> uint32(16)) & uint32(1))
    nearest_even = uint32(bits + uint32(0x7FFF) + last)
    quiet = uint32(bits | uint32(0x00400000))
    is_nan = uint32(bits & uint32(0x7FFFFFFF)) > uint32(INFINITY)
    return uint16((quiet if is_nan else nearest_even) >> uint32(16))


@njit(forceinline=True)
def portable_load_float16(bits):
    magnitude = uint32(uint32(bits & uint16(0x7FFF)) << uint32(13))
    # Rebase the exponent by a multiplication with 2 ** 112, which is exact for subnormals as well.
    scaled = float32_bits(float32_from_bits(magnitude) * float32_from_bits(uint32(0x77800000)))
    special = uint32(magnitude | uint32(INFINITY))
    finite = magnitude < uint32(0x7C00 << 13)
    sign = uint32(uint32(bits & uint16(0x8000)) << uint32(16))
    return float32_from_bits(uint32((scaled if finite else special) | sign))


@njit(forceinline=True)
def portable_store_float16(value):
    bits = float32_bits(value)
    sign = uint32(bits & uint32(SIGN))
    magnitude = uint32(bits ^ sign)
    last = uint32((magnitude >> uint32(13)) & uint32(1))
    normal = uint32(uint32(magnitude - uint32(0x38000000) + uint32(0xFFF) + last) >> uint32(13))
    # The last place of 0.5 is 2 ** -24, float16's smallest step: the addition rounds for us.
    half = float32(0.5)
    subnormal = uint32(float32_bits(float32_from_bits(magnitude) + half) - float32_bits(half))
    payload = uint32((magnitude >> uint32(13)) & uint32(0x3FF))
    nan = uint32(uint32(0x7E00) | payload)
    finite = subnormal if magnitude < uint32(0x38800000) else normal
    special = nan if magnitude > uint32(INFINITY) else uint32(0x7C00)
    result = special if magnitude >= uint32(0x47800000) else finite
    return uint16(result | uint32(sign >> uint32(16)))


_HAS_CONVERSION = "f16c" in traits()

load_float16: Any = float16_to_float32 if _HAS_CONVERSION else portable_load_float16
store_float16: Any = float32_to_float16 if _HAS_CONVERSION else portable_store_float16

# --- on the bits --------------------------------------------------------------------------------

_INFINITIES = {"float16": 0x7C00, "bfloat16": 0x7F80}


def choices(dtype: str) -> dict[str, Any]:
    """What the source of a formula that only chooses may call (see ``source.choices``)."""

    def comparison(operator: str) -> Any:
        @intrinsic
        def compare(typingctx, a, b):  # type: ignore[no-untyped-def]
            def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
                a, b = arguments
                return compared_halves(builder, operator, a, b, _INFINITIES[dtype])

            return boolean(uint16, uint16), codegen

        return compare

    @intrinsic
    def negative(typingctx, x):  # type: ignore[no-untyped-def]
        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (x,) = arguments
            return builder.xor(x, constant(x.type, 0x8000))

        return uint16(uint16), codegen

    names = {"less": "<", "less_or_equal": "<=", "greater": ">", "greater_or_equal": ">="}
    return {"negative": negative} | {name: comparison(op) for name, op in names.items()}

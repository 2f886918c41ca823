"""What formulas call, as LLVM instructions on numbers or on vectors of numbers.

``intrinsics`` makes functions of Numba's out of these, ``vectors`` runs formulas on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba.core import cgutils

from fastact.catalogue.dtypes import Kind
from fastact.cpu.target import traits
from fastact.cpu.words import call

__all__ = [
    "absolute",
    "bits",
    "call",
    "constant",
    "copysign",
    "exponent",
    "fma",
    "frozen",
    "like",
    "loaded",
    "looked_up",
    "mantissa",
    "maximum",
    "power_of_two",
    "product_low",
    "repeated",
    "same_size_integer",
    "scale",
    "sqrt",
    "stored",
    "suffix",
]

#: Without it LLVM would call a function of libm for each element.
_FMA = "fma" in traits()
_WIDE = "avx512" in traits()
#: LLVM 15 has the instruction ``llvm.maximum``, but no machine code for it on x86.
_HAS_MAXIMUM = llvm_version_info[0] > 15

#: Bits of the mantissa, bias of the exponent.
_FORMATS = {"float": (23, 127), "double": (52, 1023)}
_int = ir.IntType(32)


def element(kind: Any) -> Any:
    return kind.element if isinstance(kind, ir.VectorType) else kind


def like(kind: Any, of: Any) -> Any:
    """The type ``of``, or as long a vector of it as ``kind`` is one."""
    return ir.VectorType(of, kind.count) if isinstance(kind, ir.VectorType) else of


def constant(kind: Any, number: Any) -> Any:
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [number] * kind.count)
    return ir.Constant(kind, number)


def bits(kind: Any) -> int:
    """Of one element."""
    number = element(kind)
    return number.width if isinstance(number, ir.IntType) else 32 if str(number) == "float" else 64


def suffix(kind: Any) -> str:
    """Of LLVM's intrinsics on that type."""
    number, width = element(kind), bits(kind)
    name = f"{'i' if isinstance(number, ir.IntType) else 'f'}{width}"
    return f"v{kind.count}{name}" if isinstance(kind, ir.VectorType) else name


def frozen(builder: Any, value: Any) -> Any:
    # llvmlite has no builder.freeze.
    instruction = ir.instructions.Instruction(builder.block, value.type, "freeze", [value])
    builder._insert(instruction)
    return instruction


def absolute(builder: Any, x: Any) -> Any:
    return call(builder, f"llvm.fabs.{suffix(x.type)}", x.type, [x])


def sqrt(builder: Any, x: Any) -> Any:
    return call(builder, f"llvm.sqrt.{suffix(x.type)}", x.type, [x])


def copysign(builder: Any, x: Any, sign: Any) -> Any:
    return call(builder, f"llvm.copysign.{suffix(x.type)}", x.type, [x, sign])


def fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once if the CPU can do that as fast."""
    if not _FMA:
        return builder.fadd(builder.fmul(a, b), c)
    return call(builder, f"llvm.fma.{suffix(a.type)}", a.type, [a, b, c])


def product_low(builder: Any, a: Any, b: Any, product: Any) -> Any:
    """a * b - product exactly, product being a * b rounded."""
    if _FMA:
        return fma(builder, a, b, builder.fneg(product))
    if str(element(a.type)) == "float":
        double = like(a.type, ir.DoubleType())
        exact = builder.fmul(builder.fpext(a, double), builder.fpext(b, double))
        return builder.fptrunc(builder.fsub(exact, builder.fpext(product, double)), a.type)
    return _dekker(builder, a, b, product)


def _dekker(builder: Any, a: Any, b: Any, product: Any) -> Any:
    """Dekker, A floating-point technique for extending the available precision, 1971."""
    splitter = constant(a.type, 2.0**27 + 1)
    halves = []
    for value in (a, b):
        scaled = builder.fmul(splitter, value)
        high = builder.fsub(scaled, builder.fsub(scaled, value))
        halves.append((high, builder.fsub(value, high)))
    (a_high, a_low), (b_high, b_low) = halves
    rest = builder.fsub(builder.fmul(a_high, b_high), product)
    rest = builder.fadd(rest, builder.fmul(a_high, b_low))
    rest = builder.fadd(rest, builder.fmul(a_low, b_high))
    return builder.fadd(rest, builder.fmul(a_low, b_low))


def same_size_integer(kind: Any) -> Any:
    return like(kind, ir.IntType(32 if str(element(kind)) == "float" else 64))


def power_of_two(builder: Any, rounded: Any, offset: int = 0) -> Any:
    """2^(k + offset) where rounded = k + ROUNDER, whose lowest bits are k; a normal number."""
    mantissa, bias = _FORMATS[str(element(rounded.type))]
    integer = same_size_integer(rounded.type)
    shifted = builder.shl(builder.bitcast(rounded, integer), constant(integer, mantissa))
    biased = builder.add(shifted, constant(integer, (bias + offset) << mantissa))
    return builder.bitcast(biased, rounded.type)


def scale(builder: Any, x: Any, rounded: Any) -> Any:
    """x * 2^k where rounded = k + ROUNDER, down to the smallest subnormal number.

    k is at most half of the largest exponent.
    """
    if _WIDE and isinstance(x.type, ir.VectorType) and x.type.count * bits(x.type) == 512:
        return _scalef(builder, x, rounded)
    up = 64 if str(element(x.type)) == "float" else 512
    x = builder.fmul(x, power_of_two(builder, rounded, up))
    return builder.fmul(x, constant(x.type, 2.0**-up))


def _scalef(builder: Any, x: Any, rounded: Any) -> Any:
    """The same in one instruction, which rounds as the two multiplications do: once."""
    bits, _ = _FORMATS[str(element(x.type))]
    k = builder.fsub(rounded, constant(x.type, 1.5 * 2.0**bits))
    name = f"llvm.x86.avx512.mask.scalef.{'ps' if bits == 23 else 'pd'}.512"
    mask = ir.Constant(ir.IntType(x.type.count), -1)
    as_rounded_now = _int(4)
    return call(builder, name, x.type, [x, k, x, mask, as_rounded_now])


def mantissa(builder: Any, x: Any) -> Any:
    """x / 2^k with the k that brings a positive normal number between 1 and 2."""
    bits, bias = _FORMATS[str(element(x.type))]
    integer = same_size_integer(x.type)
    fraction = builder.and_(builder.bitcast(x, integer), constant(integer, (1 << bits) - 1))
    return builder.bitcast(builder.or_(fraction, constant(integer, bias << bits)), x.type)


def exponent(builder: Any, x: Any) -> Any:
    """This k."""
    bits, bias = _FORMATS[str(element(x.type))]
    integer = same_size_integer(x.type)
    biased = builder.lshr(builder.bitcast(x, integer), constant(integer, bits))
    return builder.sitofp(builder.sub(biased, constant(integer, bias)), x.type)


def maximum(builder: Any, a: Any, b: Any) -> Any:
    """The larger one; NaN if one is NaN; either zero of two."""
    if _HAS_MAXIMUM:
        name = f"llvm.maximum.{suffix(a.type)}"
        return frozen(builder, call(builder, name, a.type, [a, b], fastmath=("nsz",)))
    is_nan = builder.fcmp_unordered("uno", a, a)
    first = builder.or_(builder.fcmp_ordered(">", a, b), is_nan)
    return frozen(builder, builder.select(first, a, b))


# --- vectors ------------------------------------------------------------------------------------


def repeated(builder: Any, number: Any, kind: Any) -> Any:
    """The number in all places of a vector of type ``kind``; itself if that is none."""
    if not isinstance(kind, ir.VectorType):
        return number
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, _int(0))
    lanes = ir.Constant(ir.VectorType(_int, kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, undefined, lanes)


#: Instructions that look each element of a vector up in one or two registers, by the type and the
#: number of entries. They look at no more of an index than its lowest bits.
_LOOK_UPS = {
    ("float", 16, 16): "llvm.x86.avx512.permvar.sf.512",
    ("float", 16, 32): "llvm.x86.avx512.vpermi2var.ps.512",
    ("double", 8, 8): "llvm.x86.avx512.permvar.df.512",
    ("double", 8, 16): "llvm.x86.avx512.vpermi2var.pd.512",
}


def looked_up(builder: Any, kind: Any, table: Sequence[float], index: Any) -> Any:
    """``table[index]``; the lowest bits of the index count, as many as the table's length needs."""
    if isinstance(kind, ir.VectorType):
        name = _LOOK_UPS.get((str(kind.element), kind.count, len(table))) if _WIDE else None
        if name is None:
            return _by_lanes(builder, kind, table, index)
        registers = [
            ir.Constant(kind, [float(x) for x in table[start : start + kind.count]])
            for start in range(0, len(table), kind.count)
        ]
        operands = [registers[0], index, *registers[1:]]
        return call(builder, name, kind, operands)
    numbers = ir.ArrayType(kind, len(table))
    values = ir.Constant(numbers, [float(x) for x in table])
    array = cgutils.global_constant(builder, "fastact.table", values)
    inside = builder.and_(index, constant(index.type, len(table) - 1))
    return builder.load(builder.gep(array, [_int(0), builder.zext(inside, ir.IntType(64))]))


def _by_lanes(builder: Any, kind: Any, table: Sequence[float], index: Any) -> Any:
    result = ir.Constant(kind, ir.Undefined)
    for lane in range(kind.count):
        position = builder.extract_element(index, _int(lane))
        number = looked_up(builder, kind.element, table, position)
        result = builder.insert_element(result, number, _int(lane))
    return result


# --- half precision -----------------------------------------------------------------------------


def loaded(builder: Any, kind: Kind, x: Any) -> Any:
    """What is stored, in the type that it is computed in."""
    if kind.load == "load_float16":
        return builder.fpext(
            builder.bitcast(x, like(x.type, ir.HalfType())), like(x.type, ir.FloatType())
        )
    if kind.load == "load_bfloat16":
        wide = like(x.type, _int)
        return builder.bitcast(
            builder.shl(builder.zext(x, wide), constant(wide, 16)), like(x.type, ir.FloatType())
        )
    return x


def stored(builder: Any, kind: Kind, x: Any) -> Any:
    """The other way round, to the nearest, ties to even."""
    short = like(x.type, ir.IntType(16))
    if kind.store == "store_float16":
        return builder.bitcast(builder.fptrunc(x, like(x.type, ir.HalfType())), short)
    if kind.store == "store_bfloat16":
        return _to_bfloat16(builder, x, short)
    return x


def _to_bfloat16(builder: Any, x: Any, short: Any) -> Any:
    wide = like(x.type, _int)
    bits = builder.bitcast(x, wide)
    last = builder.and_(builder.lshr(bits, constant(wide, 16)), constant(wide, 1))
    nearest = builder.add(builder.add(bits, constant(wide, 0x7FFF)), last)
    quiet = builder.or_(bits, constant(wide, 0x00400000))
    is_number = builder.fcmp_ordered("ord", x, x)
    rounded = builder.select(is_number, nearest, quiet)
    return builder.trunc(builder.lshr(rounded, constant(wide, 16)), short)


def compared_halves(builder: Any, operator: str, a: Any, b: Any, infinity: int) -> Any:
    """A comparison of half-precision numbers by their bits; false where one is NaN.

    ``infinity``: the bits of that number, which tell float16 and bfloat16 apart.
    """

    def magnitude(x: Any) -> Any:
        return builder.and_(x, constant(x.type, 0x7FFF))

    def ordered(x: Any) -> Any:
        sign = builder.ashr(x, constant(x.type, 15))
        return builder.sub(builder.xor(magnitude(x), sign), sign)

    def is_number(x: Any) -> Any:
        return builder.icmp_unsigned("<=", magnitude(x), constant(x.type, infinity))

    holds = builder.icmp_signed(operator, ordered(a), ordered(b))
    return builder.and_(holds, builder.and_(is_number(a), is_number(b)))
